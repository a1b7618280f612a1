"""The demo's tasks, and the whole demo on few parts."""

from __future__ import annotations

from pathlib import Path

import pytest

from dflow.cadaccess import CadLoader
from dflow.dataset import DatasetExplorer
from dflow.demo.flow import SCHEMA, encode_part, gather_files, run_demo
from dflow.demo.parts import FAMILIES, write_parts
from dflow.storage import OptStorage
from dflow.storage.sample import describe_file


def test_files_are_found_below_every_source(tmp_path: Path) -> None:
    for name in ("b/y.step", "a/x.step", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = gather_files([str(tmp_path / "b"), str(tmp_path / "a")])
    assert found == [str(tmp_path / "a/x.step"), str(tmp_path / "b/y.step")]


def test_a_part_is_labelled_by_its_folder(tmp_path: Path) -> None:
    (path,) = write_parts(tmp_path / "parts", n_parts=1)
    storage = OptStorage(str(tmp_path / "sample"))
    written = encode_part(str(path), CadLoader(), storage)
    storage.close()
    sample = describe_file(Path(written), "sample", "part", -1)
    assert sample.value_map()["family"] == path.parent.name in FAMILIES
    assert {"faces", "edges"} <= set(sample.layout.groups)
    assert sample.row_count("faces") > 0


def test_the_schema_declares_the_label_only() -> None:
    assert SCHEMA["domain"] == "demo_parts"
    assert "family" in str(SCHEMA)
    assert not SCHEMA["groups"]


@pytest.mark.slow
def test_the_demo_makes_a_dataset_with_a_preview(tmp_path: Path) -> None:
    lines: list[str] = []
    result = run_demo(tmp_path, n_parts=12, max_workers=1, show=lines.append)
    assert result.n_parts == sum(result.sizes) == 12
    assert result.preview.read_bytes().startswith(b"\x89PNG")
    assert [f"  {family:<10}    2" in lines for family in FAMILIES] == [True] * len(FAMILIES)
    explorer = DatasetExplorer(flow_output_file=str(result.flow_file))
    assert len(explorer.get_file_info_all()) == 12
    explorer.close()
