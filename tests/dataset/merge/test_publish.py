"""Publishing a build: all parts or none, from any point of an interruption; and shards that a new build may reuse."""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dflow.dataset.format.manifest import read_manifest
from dflow.dataset.format.tables import with_memory
from dflow.dataset.merge import publish
from dflow.dataset.merge.merge import make_folders
from dflow.dataset.merge.plan import MergePlan, plan_merge
from dflow.dataset.merge.publish import (
    Build,
    OldShard,
    Outputs,
    _exchange,
    block_digest,
    block_name,
    link_shard,
    old_shard,
    recover,
)
from dflow.dataset.validate import validate_dataset
from dflow.errors import DatasetError
from dflow.storage.paths import FlowPaths
from tests.dataset.samples import SMALL, make_samples, merge, outputs


class Killed(BaseException):
    """A process that ends in the middle of publishing."""


@pytest.fixture
def paths(tmp_path: Path) -> FlowPaths:
    return FlowPaths.of(tmp_path, "parts")


def _old(paths: FlowPaths, plan: MergePlan, group: str, index: int = 0) -> OldShard:
    manifest = with_memory(read_manifest(paths.dataset), paths.infoset)
    targets = [array.target for array in plan.groups[group].arrays]
    found = old_shard(manifest, str(paths.dataset), plan.block(group, index), targets)
    assert found is not None
    return found


def test_two_names_are_exchanged_in_one_step(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    if not _exchange(tmp_path / "a", tmp_path / "b"):
        pytest.skip("this file system cannot exchange names")
    assert (os.listdir(tmp_path / "a"), os.listdir(tmp_path / "b")) == (["b"], ["a"])
    with pytest.raises(OSError, match="none"):
        _exchange(tmp_path / "a", tmp_path / "none")


def test_a_build_is_beside_the_outputs_under_a_new_name(paths: FlowPaths) -> None:
    paths.root.mkdir(parents=True)
    builds = [Build.begin(Outputs.of(paths)) for _ in range(2)]
    assert builds[0].folder != builds[1].folder
    assert all(build.folder.name.startswith(".tmp-parts.dataset-") and build.dataset.is_dir() for build in builds)
    assert not any(build.is_ready() for build in builds)
    recover(Outputs.of(paths))
    assert os.listdir(paths.root) == []


def test_recovery_leaves_other_files_and_builds_of_other_datasets(paths: FlowPaths, tmp_path: Path) -> None:
    recover(Outputs.of(paths))  # without a folder there is nothing to do
    paths.root.mkdir(parents=True)
    for name in ("notes.txt", ".tmp-other.dataset-00", ".tmp-parts.datasetx"):
        (paths.root / name).mkdir()
    recover(Outputs.of(paths))
    assert len(os.listdir(paths.root)) == 3


def test_a_folder_that_cannot_be_replaced_is_an_error_with_the_way_out(
    paths: FlowPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = make_samples(paths, [(3, 1), (2, 1)])
    merge(paths, records[:1])
    before = outputs(paths)

    def refuse(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("dflow.dataset.merge.publish._exchange", refuse)
    with pytest.raises(DatasetError, match=r"cannot be replaced .*; it is unchanged. Permit writing .* run again"):
        merge(paths, records)
    assert outputs(paths) == before


def test_a_block_has_one_digest_and_another_for_every_difference(paths: FlowPaths) -> None:
    records = make_samples(paths, [(3, 1), (2, 4), (5, 2)])
    plan = plan_merge(records, SMALL)
    block, targets = plan.block("edges", 0), [array.target for array in plan.groups["edges"].arrays]
    digest = block_digest(block, targets, {})
    assert digest == block_digest(plan_merge(records[::-1], SMALL).block("edges", 0), targets, {})
    others = [
        block_digest(replace(block, crcs=block.crcs + 1), targets, {}),
        block_digest(replace(block, names=(*block.names[1:], "x")), targets, {}),
        block_digest(replace(block, start=block.start + 1), targets, {}),
        block_digest(block, [replace(targets[0], level=9), *targets[1:]], {}),
        block_digest(block, targets[1:], {}),
        block_digest(block, targets, {"edges/word": {"a": 0}}),
    ]
    assert len({digest, *others}) == 7


def test_a_published_shard_is_linked_and_shares_its_bytes(paths: FlowPaths, tmp_path: Path) -> None:
    records = make_samples(paths, [(3, 1), (2, 4)])
    merge(paths, records)
    plan = plan_merge(records, SMALL)
    make_folders(str(tmp_path / "new"), plan)
    old = _old(paths, plan, "edges")
    for _ in range(2):  # a repeated node finds its links
        assert link_shard(old, str(tmp_path / "new")) == list(old.files)
    assert all(os.path.samefile(paths.dataset / f.path, tmp_path / "new" / f.path) for f in old.files)


def test_a_damaged_or_missing_shard_is_not_reused(paths: FlowPaths, tmp_path: Path) -> None:
    records = make_samples(paths, [(3, 1), (2, 4)])
    merge(paths, records)
    plan = plan_merge(records, SMALL)
    make_folders(str(tmp_path / "new"), plan)
    old = _old(paths, plan, "edges")
    file = paths.dataset / old.files[0].path
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    whole = list(old.files[1:])
    assert link_shard(old, str(tmp_path / "new")) == whole
    file.unlink()
    assert link_shard(old, str(tmp_path / "new")) == whole


def test_without_an_equal_set_of_arrays_there_is_no_shard_to_reuse(paths: FlowPaths) -> None:
    records = make_samples(paths, [(3, 1), (2, 4)])
    merge(paths, records)
    plan = plan_merge(records, SMALL)
    block, targets = plan.block("edges", 0), [array.target for array in plan.groups["edges"].arrays]
    manifest = with_memory(read_manifest(paths.dataset), paths.infoset)
    assert manifest.blocks[block_name("edges", 0)] == block_digest(block, targets, {})
    assert old_shard(manifest, "", block, [*targets, replace(targets[0], name="other")]) is None
    assert old_shard(manifest, "", replace(block, index=99), targets) is None


@pytest.mark.parametrize("exchange", [True, False])
def test_a_process_that_dies_while_publishing_loses_nothing(
    paths: FlowPaths, monkeypatch: pytest.MonkeyPatch, exchange: bool
) -> None:
    """Every call that changes the folder is the last one once; the next merge finds whole data and the same bytes."""
    records = make_samples(paths, [(9, 3), (8, 5), (7, 2)])
    merge(paths, records)
    new = outputs(paths)
    shutil.rmtree(paths.dataset)
    merge(paths, records[:2])
    old = outputs(paths)
    if not exchange:
        monkeypatch.setattr("dflow.dataset.merge.publish._exchange", lambda first, second: False)
    deaths, n = 0, 0
    while True:
        with monkeypatch.context() as patch:
            countdown = _die_at(patch, n)
            try:
                merge(paths, records)
            except Killed:
                deaths += 1
        recover(Outputs.of(paths))
        found = outputs(paths)
        assert found in (old, new)
        assert not list(paths.root.glob(".tmp-*"))
        assert validate_dataset(paths.dataset) == []
        if not countdown.reached:
            break
        n += 1
        shutil.rmtree(paths.dataset)
        merge(paths, records[:2])
    assert deaths > 5
    assert found == new


def test_a_damaged_old_dataset_never_blocks_a_death_while_publishing(
    paths: FlowPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = make_samples(paths, [(9, 3), (8, 5)])
    for n in range(9):
        shutil.rmtree(paths.dataset, ignore_errors=True)
        merge(paths, records[:1])
        (paths.dataset / "manifest.json").unlink()
        with monkeypatch.context() as patch:
            _die_at(patch, n)
            with contextlib.suppress(Killed):
                merge(paths, records)
        assert merge(paths, records).n_samples == 2
        assert validate_dataset(paths.dataset) == []
        assert not list(paths.root.glob(".tmp-*"))


class _Countdown:
    def __init__(self, n: int) -> None:
        self.left, self.reached = n, False

    def tick(self) -> None:
        if self.left == 0:
            self.reached = True
            raise Killed
        self.left -= 1


def _die_at(patch: pytest.MonkeyPatch, n: int) -> _Countdown:
    """Die before the n-th rename, exchange or removal of the publishing step."""
    countdown = _Countdown(n)

    def dying(function: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            countdown.tick()
            return function(*arguments, **options)

        return call

    class DyingOs:
        def __getattr__(self, name: str) -> Any:
            real = getattr(os, name)
            return dying(real) if name in ("rename", "replace", "unlink") else real

    class DyingShutil:
        rmtree = staticmethod(dying(shutil.rmtree))

    patch.setattr(publish, "os", DyingOs())
    patch.setattr(publish, "shutil", DyingShutil())
    patch.setattr(publish, "_exchange", dying(publish._exchange))
    patch.setattr(publish.Build, "is_ready", dying(publish.Build.is_ready))
    return countdown


def test_shards_of_a_killed_merge_are_never_trusted(paths: FlowPaths) -> None:
    records = make_samples(paths, [(9, 3), (8, 5)])
    torn = paths.root / f".tmp-{paths.dataset.name}-0123" / "dataset" / "faces" / "face_areas"
    torn.mkdir(parents=True)
    (torn / "c.0").write_bytes(b"torn")
    merge(paths, records)
    assert validate_dataset(paths.dataset) == []
    assert not torn.exists()
