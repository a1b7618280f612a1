"""A flow's folder: made, swept, set aside and brought back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dflow.errors import DatasetError, OutputFolderError
from dflow.flowmanager.history import folder
from dflow.storage.paths import TEMPORARY_PREFIX, FlowPaths
from tests.flowmanager.flowparts import tree_bytes


@pytest.fixture
def paths(tmp_path: Path) -> FlowPaths:
    """A prepared folder that holds an earlier run, and a lock."""
    paths = FlowPaths.of(tmp_path, "parts")
    folder.prepare(paths)
    (paths.encoded / "a.data").write_bytes(b"sample")
    paths.flow_file.write_text("{}")
    (paths.state / "journal.jsonl").write_text("entries")
    (paths.state / "lock.json").write_text("held")
    return paths


def test_preparing_twice_changes_nothing(paths: FlowPaths) -> None:
    before = tree_bytes(paths.root)
    folder.prepare(paths)
    assert tree_bytes(paths.root) == before


def test_a_folder_below_a_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "flows").write_text("a file")
    with pytest.raises(OutputFolderError, match=r"flows/parts: .* Give another flows_outputdir"):
        folder.prepare(FlowPaths.of(tmp_path, "parts"))


def test_sweeping_removes_temporary_names_and_unfinished_work_only(paths: FlowPaths) -> None:
    before = tree_bytes(paths.root)
    (paths.encoded / f"{TEMPORARY_PREFIX}a.data").write_text("half")
    (paths.root / f"{TEMPORARY_PREFIX}dataset").mkdir()
    (paths.root / f"{TEMPORARY_PREFIX}dataset" / "shard").write_text("half")
    (paths.state / "work").mkdir()
    (paths.state / "work" / "a.0.data").write_text("stage 0")
    assert folder.sweep(paths) == 3
    assert tree_bytes(paths.root) == before
    assert folder.sweep(paths) == 0


def test_what_is_set_aside_comes_back_and_the_lock_stays(paths: FlowPaths) -> None:
    before = tree_bytes(paths.root)
    folder.set_aside(paths)
    assert (paths.state / "lock.json").read_text() == "held"
    assert not paths.flow_file.exists()
    assert list(paths.encoded.iterdir()) == []
    (paths.encoded / "b.data").write_text("of the run that failed")
    paths.log.write_text("of the run that failed")
    folder.bring_back(paths)
    after = tree_bytes(paths.root)
    assert after.pop(paths.log.name) == b"of the run that failed"
    assert after == before


def test_what_is_dropped_does_not_come_back(paths: FlowPaths) -> None:
    folder.set_aside(paths)
    folder.drop_aside(paths)
    folder.bring_back(paths)
    assert not paths.flow_file.exists()
    assert list(tree_bytes(paths.root)) == [".dflow/lock.json"]


def test_without_anything_set_aside_nothing_happens(paths: FlowPaths) -> None:
    before = tree_bytes(paths.root)
    folder.drop_aside(paths)
    folder.bring_back(paths)
    assert tree_bytes(paths.root) == before


def test_sources_in_the_flow_s_own_folder_are_refused(paths: FlowPaths, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(paths.root)
    inside = paths.encoded / "a.data"
    for source in (str(inside), inside, link.resolve() / "encoded"):
        with pytest.raises(OutputFolderError, match=r"clean_output_dir=True would delete the source .* move it"):
            folder.refuse_sources_inside(paths, ["SELECT 1", 5, source])
    folder.refuse_sources_inside(paths, [str(tmp_path), str(paths.root) + "_too", paths.root / "gone", {"a": 1}])


def test_only_errors_of_the_system_become_the_flow_s(tmp_path: Path) -> None:
    message = r"Cannot write .*full.* make room or permit writing"
    with pytest.raises(OutputFolderError, match=message), folder.writing(tmp_path / "x"):
        raise OSError(28, "disk full")
    with pytest.raises(DatasetError), folder.writing(tmp_path):
        raise DatasetError("unchanged")
    with pytest.raises(ZeroDivisionError), folder.writing(tmp_path):
        os.write(1 // 0, b"")
