"""Finding CAD files, and labels beside them."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dflow.errors import KeyNotFoundError, SchemaError
from dflow.storage import CADFileRetriever, LabelStorage, LocalStorageProvider

NAMES = ["a.step", "b.STP", "c.stp.gz", "sub/d.IGES", "sub/deep/e.brep", "f.txt", "step", "g.step.bak", "ü.brp"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in NAMES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def found(folder: Path, **options: object) -> list[str]:
    paths = CADFileRetriever(LocalStorageProvider(folder), **options).get_file_list()
    assert all(os.path.isabs(path) for path in paths)
    assert paths == sorted(paths)
    return [os.path.relpath(path, folder) for path in paths]


def test_all_that_dflow_reads_is_found_whatever_the_case(folder: Path) -> None:
    assert found(folder) == ["a.step", "b.STP", "c.stp.gz", "sub/d.IGES", "sub/deep/e.brep", "ü.brp"]


@pytest.mark.parametrize("formats", [["stp", "step"], [".STEP", ".stp"]])
def test_formats_choose_by_suffix(folder: Path, formats: list[str]) -> None:
    assert found(folder, formats=formats) == ["a.step", "b.STP", "c.stp.gz"]


def test_patterns_are_wildcards_or_expressions(folder: Path) -> None:
    assert found(folder, filter_pattern="[ab].*") == ["a.step", "b.STP"]
    assert found(folder, filter_pattern=r"^[de]\.", use_regex=True) == ["sub/d.IGES", "sub/deep/e.brep"]


def test_a_missing_folder_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        LocalStorageProvider(tmp_path / "nowhere")


def test_links_in_a_circle_end(folder: Path) -> None:
    os.symlink(folder, folder / "sub" / "circle")
    assert len(found(folder)) == 6


def test_a_folder_that_may_not_be_read_is_logged(
    folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.scandir

    def scandir(path: str) -> object:
        if path.endswith("deep"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with caplog.at_level(logging.WARNING):
        assert "sub/deep/e.brep" not in found(folder)
    assert "left out" in caplog.text


def test_labels_come_back(tmp_path: Path) -> None:
    with LabelStorage(tmp_path / "labels", total_faces=4, total_edges=6) as labels:
        labels.save(LabelStorage.GRAPH_CADENTITY, 3)
        labels.save(LabelStorage.FACE_CADENTITY, [0, 1, 2, 1])
        labels.save_sparse(LabelStorage.EDGE_CADENTITY, [1, 5], [7, 8])
        labels.save_metadata("descriptions/face_labels", {0: "stock"})
    again = LabelStorage(tmp_path / "labels")
    assert again.load("graph") == 3
    assert again.load("node").tolist() == [0, 1, 2, 1]
    assert again.load("edge").tolist() == [-1, 7, -1, -1, -1, 8]
    assert again.load("edge").dtype == np.int32
    assert again.load_metadata("descriptions/face_labels") == {"0": "stock"}
    assert Path(again.get_file_path()).is_file()


def test_labels_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    labels = LabelStorage(tmp_path / "labels", total_faces=2)
    for call in (
        lambda: labels.save("node", [1, 2, 3]),
        lambda: labels.save("node", [0.5, 1]),
        lambda: labels.save_sparse("node", [2], [1]),
        lambda: labels.save_sparse("node", [-1], [1]),
        lambda: labels.save_sparse("edge", [0], [1]),
        lambda: labels.save_sparse("graph", [0], [1]),
    ):
        with pytest.raises(SchemaError):
            call()
    with pytest.raises(KeyNotFoundError):
        labels.load("node")


def test_importing_storage_loads_no_heavy_library() -> None:
    program = (
        "import sys, dflow.storage, dflow.storage.datasetstorage.schema_builder;"
        "print([m for m in ('OCP', 'vtk', 'torch', 'bokeh', 'dask', 'zarr', 'xarray', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
