"""Blocks made before all samples are known: taken over where they are the merge's own, else made again; never seen."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from dask.delayed import Delayed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dflow.dataset.early import EarlyBuild, complete_blocks
from dflow.dataset.plan import plan_merge
from dflow.dataset.validate import validate_dataset
from dflow.records import SampleRecord, ShardRecord
from dflow.storage.paths import FlowPaths
from tests.dataset.samples import SMALL, make_samples, merge, outputs, write_sample


@pytest.fixture
def paths(tmp_path: Path) -> FlowPaths:
    return FlowPaths.of(tmp_path, "parts")


def plain_samples(paths: FlowPaths, sizes: Sequence[int], n_edges: int = 9) -> list[SampleRecord]:
    """Samples without text, by their number of faces, in the order of their sources."""
    return [
        write_sample(
            paths,
            f"cad/{i:03d}.step",
            {"faces/area": np.arange(n, dtype="f4") + i, "edges/kind": np.full(n_edges, i, "i4")},
        )
        for i, n in enumerate(sizes)
    ]


def make_early(paths: FlowPaths, known: Sequence[SampleRecord], before: str, suffix: str = "-early") -> EarlyBuild:
    early = EarlyBuild(paths, SMALL)
    run_nodes(early, early.nodes(known, before, suffix=suffix))
    return early


def run_nodes(early: EarlyBuild, nodes: Sequence[Delayed]) -> int:
    for node in nodes:
        early.add(node.compute(scheduler="synchronous"))
    return len(nodes)


def counted(reused: list[bool]) -> Callable[[Sequence[Delayed]], Iterator[ShardRecord]]:
    """Runs nodes and notes which of them took over a shard."""

    def compute(nodes: Sequence[Delayed]) -> Iterator[ShardRecord]:
        for node in nodes:
            record = node.compute(scheduler="synchronous")
            reused.append(record.reused)
            yield record

    return compute


def undisturbed(paths: FlowPaths, records: Sequence[SampleRecord]) -> dict[str, bytes]:
    """What a merge without anything made ahead gives."""
    merge(paths, records)
    found = outputs(paths)
    shutil.rmtree(paths.dataset)
    paths.infoset.unlink()
    paths.attribset.unlink()
    return found


def test_what_was_made_ahead_is_taken_over(paths: FlowPaths) -> None:
    records = plain_samples(paths, [9, 8, 7, 9, 9, 8, 7, 6, 9, 9])
    expected = undisturbed(paths, records)
    early = make_early(paths, records[:9], records[9].source)
    assert not paths.dataset.exists()
    reused: list[bool] = []
    merge(paths, records, early=early, compute=counted(reused))
    assert outputs(paths) == expected
    assert sum(reused) >= len(reused) // 2 > 0
    assert not all(reused)
    early.discard()
    assert validate_dataset(paths.dataset) == []
    assert [p.name for p in paths.root.iterdir() if p.name.startswith(".tmp-")] == []


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    sizes=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 6)), min_size=2, max_size=14),
    open_places=st.sets(st.integers(0, 13), min_size=1, max_size=4),
    failing=st.sets(st.integers(0, 13), max_size=2),
    seed=st.integers(0, 9),
)
def test_the_bytes_are_those_of_a_merge_without_it(
    tmp_path: Path, sizes: list[tuple[int, int]], open_places: set[int], failing: set[int], seed: int
) -> None:
    """In rounds, as slow files end in any order; some of them fail. Some samples lack arrays or hold text."""
    shutil.rmtree(tmp_path / "run", ignore_errors=True)
    paths = FlowPaths.of(tmp_path / "run", "parts")
    records = make_samples(paths, sizes)
    still_open = sorted({place % len(records) for place in open_places})
    final = [r for i, r in enumerate(records) if not (i in failing and i in still_open)]
    if not final:
        return
    expected = undisturbed(paths, final)
    draw, early, failed = random.Random(seed), EarlyBuild(paths, SMALL), set()
    while still_open:
        known = [r for i, r in enumerate(records) if i not in still_open and i not in failed]
        draw.shuffle(known)
        run_nodes(early, early.nodes(known, records[still_open[0]].source, suffix=f"-early{len(still_open)}"))
        ended = still_open.pop(draw.randrange(len(still_open)))
        failed |= {ended} & failing
    draw.shuffle(final)
    merge(paths, final, early=early)
    assert outputs(paths) == expected


@pytest.mark.parametrize("change", ["fails", "replaced", "lacking", "torn shard"])
def test_what_turned_out_otherwise_is_made_again(paths: FlowPaths, change: str) -> None:
    records = plain_samples(paths, [9] * 12)
    early = make_early(paths, records[:11], records[11].source)
    shards = early.shards()
    assert shards is not None
    assert len(shards[0].blocks) > 4
    final = list(records)
    if change == "fails":
        del final[2]
    elif change == "replaced":
        final[2] = write_sample(
            paths, records[2].source, {"faces/area": np.zeros(9, "f4"), "edges/kind": np.zeros(9, "i4")}
        )
    elif change == "lacking":
        final[11] = write_sample(
            paths, records[11].source, {"edges/kind": np.zeros(9, "i4"), "faces/more": np.zeros(9)}
        )
    else:
        victim = Path(shards[1]) / min(path for path in shards[0].files if path.startswith("faces/area"))
        victim.write_bytes(victim.read_bytes()[:-9])
    other = FlowPaths.of(paths.root.parent.parent / "other", "parts")
    other.root.mkdir(parents=True)
    os.symlink(paths.encoded, other.encoded)
    expected = merge(other, final)
    reused: list[bool] = []
    report = merge(paths, final, early=early, compute=counted(reused))
    assert (report.n_samples, report.n_bytes, report.rejected) == (expected.n_samples, expected.n_bytes, ())
    assert outputs(paths) == outputs(other)
    assert sum(reused) < len(shards[0].blocks)


def test_late_files_may_turn_the_majority_over(paths: FlowPaths) -> None:
    """By 7 to 6 they widen a dtype, and samples that contradicted the others no longer do."""
    kinds = ["i4"] * 6 + ["i8"] * 7
    records = [
        write_sample(paths, f"{i:02d}.step", {"edges/kind": np.full(9, i, kind)}) for i, kind in enumerate(kinds)
    ]
    expected = undisturbed(paths, records)
    early = make_early(paths, records[:10], records[10].source)
    assert early.shards() is not None
    reused: list[bool] = []
    assert merge(paths, records, early=early, compute=counted(reused)).rejected == ()
    assert outputs(paths) == expected
    assert not any(reused)


def test_a_sample_that_is_damaged_already_leaves_its_block_to_the_merge(paths: FlowPaths) -> None:
    records = plain_samples(paths, [9] * 12)
    paths.data_file(records[2].name).unlink()
    early = make_early(paths, records[:11], records[11].source)
    report = merge(paths, records, early=early)
    assert [name for name, _ in report.damaged] == [records[2].name]
    assert validate_dataset(paths.dataset) == []


@pytest.mark.parametrize("n_edges", [9, 1])
def test_a_sample_that_rots_after_it_was_read(paths: FlowPaths, n_edges: int) -> None:
    """All of it was taken while it was whole, or a block that was not made ahead finds out and none holds it."""
    records = plain_samples(paths, [9] * 12, n_edges)
    expected = undisturbed(paths, records if n_edges == 9 else records[:9] + records[10:])
    early = make_early(paths, records[:11], records[11].source)
    paths.data_file(records[9].name).write_bytes(b"torn")
    report = merge(paths, records, early=early)
    assert [name for name, _ in report.damaged] == ([] if n_edges == 9 else [records[9].name])
    assert outputs(paths) == expected


def test_only_blocks_in_front_of_the_first_open_file_are_complete(paths: FlowPaths) -> None:
    records = plain_samples(paths, [9] * 12)
    plan = plan_merge(records[:4] + records[5:], SMALL)
    assert complete_blocks(plan, records[0].source) == []
    found = complete_blocks(plan, records[4].source)
    assert found
    for group, index in found:
        block = plan.block(group, index)
        assert set(block.names) <= {record.name for record in records[:4]}
        assert block.stop == (index + 1) * plan.groups[group].shard_rows


def test_text_waits_for_the_words_of_all(paths: FlowPaths) -> None:
    records = make_samples(paths, [(9, 9)] * 12)
    groups = {group for group, _ in complete_blocks(plan_merge(records, SMALL), records[11].source)}
    assert groups == {"edges", "file"}


def test_each_block_is_tried_once(paths: FlowPaths) -> None:
    records = plain_samples(paths, [9] * 12)
    early = EarlyBuild(paths, SMALL)
    first = run_nodes(early, early.nodes([*records[:6], *records[7:11]], records[6].source, suffix="-a"))
    second = early.nodes(records[:11], records[11].source, suffix="-b")
    assert 0 < len(second) < first + len(second)
    assert len({str(node.key).rpartition("-")[0] for node in second}) == len(second)
    assert len(early.nodes(records[:11], records[11].source, suffix="-c")) == 0


def test_what_a_killed_run_made_is_swept_and_its_stragglers_cannot_write(paths: FlowPaths) -> None:
    records = plain_samples(paths, [9] * 12)
    killed = EarlyBuild(paths, SMALL)
    nodes = killed.nodes(records[:11], records[11].source, suffix="-early")
    killed.add(nodes[0].compute(scheduler="synchronous"))
    assert killed.folder is not None
    assert killed.folder.exists()
    merge(paths, records)
    assert not killed.folder.exists()
    before = outputs(paths)
    with pytest.raises(FileNotFoundError):
        nodes[1].compute(scheduler="synchronous")
    assert outputs(paths) == before


def test_a_dataset_stays_readable_and_old_while_blocks_are_made(paths: FlowPaths) -> None:
    records = plain_samples(paths, [9] * 12)
    merge(paths, records[:3])
    old = outputs(paths)
    early = make_early(paths, records[:11], records[11].source)
    assert outputs(paths) == old
    assert validate_dataset(paths.dataset) == []
    merge(paths, records, early=early)
    early.discard()
    assert validate_dataset(paths.dataset) == []
