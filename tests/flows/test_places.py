"""Where the outputs lie changes nothing in the dataset."""

from __future__ import annotations

from pathlib import Path

import dflow
from dflow.demo.parts import write_parts
from tests.flows.labelled_tasks import encode, gather
from tests.trees import tree_digest


def test_datasets_are_equal_however_deep_their_folder_lies(tmp_path: Path) -> None:
    write_parts(tmp_path / "parts", n_parts=6)
    digests = []
    for out in (tmp_path / "shallow", tmp_path / "much" / "deeper" / "down"):
        flow = dflow.create_flow(name="f", tasks=[gather, encode], flows_outputdir=str(out), debug=True)
        _, summary, flow_file = flow.process(inputs={"sources": [str(tmp_path / "parts")]}, progress=False)
        assert summary["file_count"] == 6
        digests.append(tree_digest(Path(flow_file).with_suffix(".dataset")))
    assert digests[0] == digests[1]
