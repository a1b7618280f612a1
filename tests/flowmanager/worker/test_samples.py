"""A sample's files: what is linked, parked, discarded and swept."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from dflow.flowmanager.plan.batch import Batch, Feed, Item, TaskCall
from dflow.flowmanager.worker.samples import Sample, body_of, make_folders, sweep_item, work_folder
from dflow.storage import OptStorage
from dflow.storage.paths import TEMPORARY_PREFIX, FlowPaths, sample_name

NAME = sample_name("a.step")


@pytest.fixture
def paths(tmp_path) -> FlowPaths:
    paths = FlowPaths(tmp_path, "test")
    make_folders(paths)
    return paths


def batch_of(paths: FlowPaths, stage: int = 0) -> Batch:
    return Batch(0, TaskCall("encode", "transform", b"", (Feed("storage"),), stage=stage), (), paths)


def open_sample(paths: FlowPaths, stage: int = 0) -> Sample:
    return Sample(batch_of(paths, stage), Item(0, "a.step", "a.step"), -1)


def files(*folders: Path) -> list[str]:
    return sorted(path.name for folder in folders for path in folder.iterdir())


def test_only_the_users_writing_counts(paths):
    sample = open_sample(paths)
    sample.save_default("face_count", 6)
    sample.storage.set_schema({"version": "1.0", "domain": "d", "groups": {}})
    assert not sample.was_written
    sample.storage.save_data("faces/areas", np.ones(6))
    assert sample.was_written
    sample.discard()


def test_defaults_follow_the_framework_and_yield_to_the_user(paths):
    sample = open_sample(paths)
    sample.save_default("face_count", 6)
    sample.save_default("face_count", 12)
    assert sample.storage.load_metadata("face_count") == 12
    sample.storage.save_metadata("face_count", 7)
    sample.save_default("face_count", 18)
    assert sample.storage.load_metadata("face_count") == 7
    sample.discard()


@pytest.mark.parametrize("with_links", [True, False])
def test_parking_keeps_a_copy_that_later_writing_does_not_touch(paths, monkeypatch, with_links):
    if not with_links:

        def refuse(source, target):
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)
    first = open_sample(paths)
    first.storage.save_data("faces/areas", np.ones(6))
    first.park()
    parked = work_folder(paths) / f"{NAME}.0.data"
    before = parked.read_bytes()
    second = open_sample(paths, stage=1)
    second.storage.save_data("faces/more", np.zeros(6))
    second.seal()
    assert parked.read_bytes() == before
    assert OptStorage(paths.data_file(NAME)).array_keys() == ["faces/areas", "faces/more"]
    assert files(paths.encoded) == [f"{NAME}.data"]


def test_a_missing_predecessor_is_an_error_of_its_own(paths):
    with pytest.raises(FileNotFoundError):
        open_sample(paths, stage=1)


def test_sweeping_takes_what_the_item_left_and_nothing_else(paths):
    other = sample_name("b.step")
    for name in (NAME, sample_name("a.step", 1), other):
        paths.data_file(name).touch()
        paths.preview(name).touch()
        (paths.encoded / f"{TEMPORARY_PREFIX}12-{name}.data").touch()
        (work_folder(paths) / f"{name}.0.data").touch()
    (paths.encoded / sample_name("a.step", 2)).mkdir()
    sweep_item(paths, "a.step", keep_bodies=(0,))
    assert files(paths.encoded) == sorted([f"{NAME}.data", f"{other}.data", f"{TEMPORARY_PREFIX}12-{other}.data"])
    assert files(paths.stream_cache) == sorted([f"{NAME}.png", f"{other}.png"])
    assert len(files(work_folder(paths))) == 3


def test_sweeping_before_there_is_anything_is_fine(tmp_path):
    sweep_item(FlowPaths(tmp_path / "nowhere", "test"), "a.step", ())
    assert list(tmp_path.iterdir()) == []


def test_names_tell_the_body():
    assert [body_of(sample_name("a.step", body)) for body in (-1, 0, 17)] == [0, 0, 17]
