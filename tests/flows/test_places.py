"""Where the outputs lie changes nothing in the dataset."""

from __future__ import annotations

from pathlib import Path

import dflow
from dflow.dataset.format.layout import MANIFEST
from dflow.dataset.format.manifest import read_manifest
from dflow.demo.parts import write_parts
from tests.flows.labelled_tasks import encode, gather
from tests.trees import tree_digest


def test_datasets_are_equal_however_deep_their_folder_lies(tmp_path: Path) -> None:
    write_parts(tmp_path / "parts", n_parts=6)
    digests, manifests = [], []
    for out in (tmp_path / "shallow", tmp_path / "much" / "deeper" / "down"):
        flow = dflow.create_flow(name="f", tasks=[gather, encode], flows_outputdir=str(out), debug=True)
        _, summary, flow_file = flow.process(inputs={"sources": [str(tmp_path / "parts")]}, progress=False)
        assert summary["file_count"] == 6
        dataset = Path(flow_file).with_suffix(".dataset")
        digests.append({name: digest for name, digest in tree_digest(dataset).items() if name != MANIFEST})
        manifests.append(read_manifest(dataset))
    assert digests[0] == digests[1]
    assert manifests[0].files == manifests[1].files  # the checksums of the tables, which hold paths, may differ
