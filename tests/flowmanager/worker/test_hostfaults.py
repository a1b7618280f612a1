"""What a host is asked after a failure, and what a batch does with the answer."""

from __future__ import annotations

import pytest

from dflow.flowmanager.worker import hostfaults, worker
from dflow.flowmanager.worker.hostfaults import can_read, host_fault, is_kept_from
from dflow.flowmanager.worker.samples import make_folders
from dflow.storage.paths import FlowPaths
from tests.flowmanager.batches import errors_of, make_batch


@pytest.fixture(autouse=True)
def forget(monkeypatch):
    monkeypatch.setattr(hostfaults, "_known", {})


def refuse(value: str) -> None:
    raise OSError(28, "No space left on device")


def test_a_sound_host_has_no_fault_and_nothing_is_left_behind(tmp_path):
    paths = FlowPaths(tmp_path, "f")
    make_folders(paths)
    assert host_fault(paths) == ""
    assert list(paths.encoded.iterdir()) == []


def test_a_lost_folder_and_a_dead_scratch_disk_are_named_and_asked_for_once_in_a_while(tmp_path, monkeypatch):
    paths = FlowPaths(tmp_path / "flow", "f")
    assert host_fault(paths) == f"does not see {paths.root}"
    paths.root.mkdir()
    assert "does not see" in host_fault(paths)  # the answer of a moment ago
    monkeypatch.setattr(hostfaults, "LASTING_SECONDS", -1.0)
    monkeypatch.setattr(hostfaults.tempfile, "gettempdir", lambda: str(tmp_path / "gone"))
    assert host_fault(paths) == f"cannot write {tmp_path / 'gone'}: No such file or directory (its scratch folder)"


def test_sources_that_are_kept_from_a_host_differ_from_those_that_are_not_there(tmp_path):
    (tmp_path / "a").write_text("x")
    assert can_read(str(tmp_path / "a"))
    assert can_read(str(tmp_path))
    assert not can_read(str(tmp_path / "b"))
    assert not is_kept_from(str(tmp_path / "a"))
    assert not is_kept_from(str(tmp_path / "b"))
    assert is_kept_from("x" * 5000)  # a name that the system refuses


@pytest.mark.parametrize("isolation", ["inline", "process"])
def test_a_batch_on_a_host_at_fault_is_given_up_whole(tmp_path, monkeypatch, isolation):
    monkeypatch.setattr(hostfaults, "_fault", lambda paths: "cannot write /x: No space left on device")
    result = worker.run_batch(make_batch(refuse, ["a", "b", "c"], tmp_path, isolation=isolation))
    assert {error.kind for error in errors_of(result)} == {"infrastructure"}
    assert len(errors_of(result)) == 3
    assert result.host_fault == "cannot write /x: No space left on device"


def test_a_batch_without_the_flows_folder_makes_none(tmp_path):
    batch = make_batch(refuse, ["a", "b"], tmp_path / "flow", isolation="inline")
    result = worker.run_batch(batch)
    assert [error.kind for error in errors_of(result)] == ["infrastructure", "infrastructure"]
    assert result.host_fault == f"does not see {tmp_path / 'flow'}"
    assert not (tmp_path / "flow").exists()
