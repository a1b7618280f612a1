"""Finding CAD files, and labels beside them."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dflow.storage import CADFileRetriever, LocalStorageProvider

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


def test_importing_storage_loads_no_heavy_library() -> None:
    program = (
        "import sys, dflow.storage, dflow.storage.datasetstorage.schema_builder;"
        "print([m for m in ('OCP', 'vtk', 'torch', 'bokeh', 'dask', 'zarr', 'xarray', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
