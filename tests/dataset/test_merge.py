"""The merge against brute force: what lies in the dataset is what lies in the samples, for every size and order."""

from __future__ import annotations

import contextlib
import os
import pickle
import random
import shutil
import subprocess
import sys
import time
import tracemalloc
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import xarray as xr
import zarr
from dask.delayed import Delayed, delayed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dflow.dataset.blocks import InFolder
from dflow.dataset.layout import MergeSettings
from dflow.dataset.merge import merge_dataset
from dflow.dataset.nodes import shard_nodes, word_nodes
from dflow.dataset.plan import plan_merge, predict_peak_bytes
from dflow.dataset.publish import Outputs, recover
from dflow.dataset.unmerged import lazy_dataset
from dflow.dataset.validate import validate_dataset
from dflow.errors import DatasetError, OutputFolderError
from dflow.records import SampleRecord, ShardRecord
from dflow.schema import SchemaBuilder
from dflow.storage.paths import FlowPaths
from tests.dataset.samples import SMALL, backwards, grid, merge, outputs, write_sample

SIZES = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5)), min_size=0, max_size=12)


@pytest.fixture
def paths(tmp_path: Path) -> FlowPaths:
    return FlowPaths.of(tmp_path, "parts")


def make_samples(paths: FlowPaths, sizes: Sequence[tuple[int, int]]) -> list[SampleRecord]:
    """Samples with the given numbers of faces and edges; every third lacks the grids and names its faces."""
    records = []
    for i, (n_faces, n_edges) in enumerate(sizes):
        arrays: dict[str, Any] = {
            "faces/face_areas": np.arange(n_faces, dtype=np.float32) + 100 * i,
            "faces/face_types": np.full(n_faces, i, np.int32),
            "edges/edge_lengths": np.arange(n_edges, dtype=np.float32) - 100 * i,
            "file/bounding_box": np.arange(6.0) + i,
        }
        if i % 3:
            arrays["faces/grid"] = grid(n_faces, i)
        else:
            arrays["faces/colour"] = np.array([("red", "blue", "grün")[j % 3] for j in range(n_faces)], dtype="U4")
        records.append(write_sample(paths, f"cad/{i:03d}.step", arrays, {"face_count": n_faces, "family": f"f{i % 2}"}))
    return records


def expected_rows(sizes: Sequence[tuple[int, int]]) -> dict[str, np.ndarray]:
    """The merged arrays, by brute force."""
    faces, edges = [n for n, _ in sizes], [n for _, n in sizes]
    words = [["red", "blue", "grün"][j % 3] for i, n in enumerate(faces) if i % 3 == 0 for j in range(n)]
    code = {word: position for position, word in enumerate(sorted(set(words)))}
    colours = [
        [code[["red", "blue", "grün"][j % 3]] if i % 3 == 0 else -1 for j in range(n)] for i, n in enumerate(faces)
    ]
    grids = [grid(n, i) if i % 3 else np.full((n, 2, 3), np.nan, "f4") for i, n in enumerate(faces)]
    return {
        "faces/face_areas": _joined([np.arange(n, dtype="f4") + 100 * i for i, n in enumerate(faces)], "f4"),
        "faces/face_types": np.repeat(np.arange(len(sizes)), faces).astype("i4"),
        "faces/file_id_code_faces": np.repeat(np.arange(len(sizes)), faces),
        "faces/grid": np.concatenate([np.zeros((0, 2, 3), "f4"), *grids]),
        "faces/colour": _joined(colours, "i4"),
        "edges/edge_lengths": _joined([np.arange(n, dtype="f4") - 100 * i for i, n in enumerate(edges)], "f4"),
        "file/bounding_box": np.array([np.arange(6.0) + i for i in range(len(sizes))]).reshape(-1, 6),
        "file/face_count": np.array(faces, "i4"),
        "file/row_count_faces": np.array(faces, "i8"),
        "file/row_start_faces": np.cumsum([0, *faces])[:-1],
        "file/row_start_edges": np.cumsum([0, *edges])[:-1],
    }


def _joined(parts: Sequence[Any], dtype: str) -> np.ndarray:
    return np.concatenate([np.zeros(0, dtype), *parts]).astype(dtype)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=SIZES, seed=st.integers(0, 5))
def test_merged_rows_equal_the_samples_rows(tmp_path: Path, sizes: list[tuple[int, int]], seed: int) -> None:
    paths = FlowPaths.of(tmp_path / "run", "parts")
    shutil.rmtree(tmp_path / "run", ignore_errors=True)
    records = make_samples(paths, sizes)
    random.Random(seed).shuffle(records)
    os.makedirs(paths.root, exist_ok=True)
    report = merge(paths, records)
    assert (report.n_samples, report.rejected, report.damaged) == (len(sizes), (), ())
    root = zarr.open_group(str(paths.dataset), mode="r")
    present = {f"{group}/{name}" for group, members in root.groups() for name, _ in members.arrays()}
    for key, expected in expected_rows(sizes).items():
        if key in present:
            np.testing.assert_array_equal(root[key][...], expected, err_msg=key)  # type: ignore[index]
            assert root[key].dtype == expected.dtype  # type: ignore[union-attr]
    if len(sizes) > 1:
        assert present >= expected_rows(sizes).keys()
    assert validate_dataset(paths.dataset) == []


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=SIZES, seed=st.integers(0, 5))
def test_bytes_do_not_depend_on_arrival_or_working_order(
    tmp_path: Path, sizes: list[tuple[int, int]], seed: int
) -> None:
    paths = FlowPaths.of(tmp_path / "run", "parts")
    shutil.rmtree(tmp_path / "run", ignore_errors=True)
    records = make_samples(paths, sizes)
    os.makedirs(paths.root, exist_ok=True)
    merge(paths, records)
    first = outputs(paths)
    shutil.rmtree(paths.dataset)
    random.Random(seed).shuffle(records)
    assert not merge(paths, records, compute=backwards).reused
    assert outputs(paths) == first


def test_bytes_are_equal_on_a_cluster_of_any_size(paths: FlowPaths) -> None:
    distributed = pytest.importorskip("distributed")
    from dflow.dataset.merger import OnClient

    records = make_samples(paths, [(7, 3), (0, 0), (9, 5), (4, 1), (8, 8)])
    merge(paths, records)
    first = outputs(paths)
    for n_workers in (1, 3):
        shutil.rmtree(paths.dataset)
        with (
            distributed.LocalCluster(
                n_workers=n_workers, threads_per_worker=1, processes=False, dashboard_address=":0", protocol="inproc"
            ) as cluster,
            distributed.Client(cluster) as client,
        ):
            merge(paths, records, compute=OnClient(client))
        assert outputs(paths) == first


def test_xarray_opens_the_dataset_without_a_warning(paths: FlowPaths) -> None:
    merge(paths, make_samples(paths, [(7, 3), (0, 0), (9, 5)]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tree = xr.open_datatree(str(paths.dataset), engine="zarr")
        faces = xr.open_zarr(str(paths.dataset), group="faces")
    assert sorted(tree.children) == ["edges", "faces", "file"]
    assert faces.sizes["face"] == 16
    assert faces["grid"].dims[0] == "face"
    assert faces["face_types"].dtype == np.int32
    assert "0 plane" in faces["face_types"].attrs["description"]
    assert tree["file"]["row_count_faces"].attrs == {"sample_dimension": "face"}


def test_declared_groups_exist_without_a_row(paths: FlowPaths) -> None:
    builder = SchemaBuilder(domain="CAD")
    group = builder.create_group("faces", "face")
    group.create_array("areas", ["face"], "float32")
    group.create_array("normals", ["face", "axis"], "float32")
    record = write_sample(paths, "a.step", {}, {"face_count": 3}, schema=builder.build())
    merge(paths, [record])
    faces = xr.open_zarr(str(paths.dataset), group="faces")
    assert faces["areas"].shape == (0,)
    assert faces["normals"].shape == (0, 0)
    file = xr.open_zarr(str(paths.dataset), group="file")
    assert file["face_count"].values.tolist() == [3]
    assert not file["has_faces_areas"].values.any()
    assert validate_dataset(paths.dataset) == []


def test_no_samples_make_an_empty_dataset(paths: FlowPaths) -> None:
    os.makedirs(paths.root)
    assert merge(paths, []).n_samples == 0
    assert xr.open_zarr(str(paths.dataset), group="file").sizes.get("file", 0) == 0
    assert pq.read_table(paths.infoset).num_rows == 0
    assert validate_dataset(paths.dataset) == []


def test_contradicting_sample_is_rejected_and_the_merge_goes_on(paths: FlowPaths) -> None:
    records = make_samples(paths, [(2, 1)] * 5)
    odd = write_sample(
        paths, "cad/002b.step", {"faces/face_types": np.zeros(2, np.int32), "faces/grid": np.zeros((2, 5), "f4")}
    )
    report = merge(paths, [*records, odd])
    assert report.n_samples == 5
    ((name, kind, reason),) = report.rejected
    assert (name, kind) == (odd.name, "schema")
    assert "faces/grid" in reason
    assert "5" in reason
    assert pq.read_table(paths.infoset)["description"].to_pylist() == [f"cad/{i:03d}.step" for i in range(5)]


def test_narrower_integers_are_widened_not_rejected(paths: FlowPaths) -> None:
    wide = [write_sample(paths, f"{i}.step", {"tags/code": np.arange(3) + 2**40}) for i in range(2)]
    narrow = write_sample(paths, "2.step", {"tags/code": np.arange(3, dtype=np.int32)})
    report = merge(paths, [*wide, narrow])
    assert report.rejected == ()
    codes = xr.open_zarr(str(paths.dataset), group="tags")["code"]
    assert codes.dtype == np.int64
    assert codes.values[-3:].tolist() == [0, 1, 2]


@pytest.mark.parametrize("harm", ["truncated", "missing", "foreign", "swapped", "flipped"])
def test_damaged_sample_is_reported_and_left_out(paths: FlowPaths, harm: str) -> None:
    records = make_samples(paths, [(5, 2), (6, 3), (7, 4), (3, 1)])
    victim = paths.data_file(records[1].name)
    content = victim.read_bytes()
    if harm == "truncated":
        victim.write_bytes(content[: len(content) // 2])
    elif harm == "missing":
        victim.unlink()
    elif harm == "foreign":
        victim.write_bytes(b"ISO-10303-21;")
    elif harm == "swapped":
        victim.write_bytes(paths.data_file(records[2].name).read_bytes())
    else:
        at = content.index(b"faces/face_areas/c/0") + len(b"faces/face_areas/c/0") + 2
        victim.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    report = merge(paths, records)
    assert report.n_samples == 3
    ((name, reason),) = report.damaged
    assert name == records[1].name
    assert reason
    assert validate_dataset(paths.dataset) == []
    types = xr.open_zarr(str(paths.dataset), group="faces")["face_types"].values
    assert types.tolist() == [0] * 5 + [2] * 7 + [3] * 3


def test_losing_every_sample_never_replaces_a_dataset(paths: FlowPaths) -> None:
    records = make_samples(paths, [(5, 2), (6, 3)])
    merge(paths, records[:1])
    before = outputs(paths)
    paths.encoded.rename(paths.root / "unmounted")
    with pytest.raises(DatasetError, match="none of the 2 samples can be read"):
        merge(paths, records)
    assert outputs(paths) == before


def test_trouble_that_is_not_the_files_own_is_no_damage(paths: FlowPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    records = make_samples(paths, [(5, 2), (6, 3)])

    def refuse(*arguments: Any, **options: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("dflow.dataset.blocks.read_expected", refuse)
    with pytest.raises(OutputFolderError, match="Permission denied"):
        merge(paths, records)


def test_unchanged_inputs_are_not_merged_again(paths: FlowPaths) -> None:
    records = make_samples(paths, [(5, 2), (6, 3)])
    merge(paths, records)
    before = paths.dataset.stat().st_ino
    assert merge(paths, records[::-1]).reused
    assert paths.dataset.stat().st_ino == before


@pytest.mark.parametrize("harm", ["shard", "table", "preview", "value"])
def test_changed_outputs_or_inputs_are_merged_again(paths: FlowPaths, harm: str) -> None:
    records = make_samples(paths, [(5, 2), (6, 3)])
    merge(paths, records)
    if harm == "shard":
        (paths.dataset / "faces" / "face_areas" / "c.0").unlink()
    elif harm == "table":
        paths.infoset.unlink()
    elif harm == "preview":
        paths.stream_cache.mkdir()
        paths.preview(records[0].name).write_bytes(b"png")
    else:
        paths.data_file(records[0].name).unlink()
        records[0] = write_sample(
            paths, "cad/000.step", {"faces/face_areas": np.ones(2, np.float32)}, {"face_count": 2}
        )
    assert not merge(paths, records).reused
    assert validate_dataset(paths.dataset) == []
    assert merge(paths, records).reused


def _noted(found: list[ShardRecord]) -> Any:
    def run(nodes: Sequence[Delayed]) -> Iterator[ShardRecord]:
        for node in nodes:
            found.append(node.compute(scheduler="synchronous"))
            yield found[-1]

    return run


@pytest.mark.parametrize("change", ["append", "touch", "rot", "insert"])
def test_only_the_shards_that_change_are_written_again(paths: FlowPaths, change: str) -> None:
    records = make_samples(paths, [(9, 3), (8, 5), (7, 2), (9, 9), (8, 1), (9, 4)])
    merge(paths, records[:5])
    if change == "append":
        after = records
    elif change == "insert":
        after = [write_sample(paths, "a/first.step", {"faces/face_areas": np.ones(1, "f4")}), *records[:5]]
    elif change == "touch":
        paths.data_file(records[4].name).unlink()
        arrays = {"faces/face_areas": np.full(8, 7, "f4"), "edges/edge_lengths": np.ones(1, "f4")}
        after = [*records[:4], write_sample(paths, "cad/004.step", arrays, {"face_count": 8, "family": "f0"})]
    else:
        shard = paths.dataset / "faces/face_areas/c.0"
        shard.write_bytes(shard.read_bytes()[::-1])
        after = records
    report = merge(paths, after, compute=_noted(found := []))
    shards = {(r.group, r.shard_index): r.reused for r in found if r.crcs}
    assert shards["faces", 0] is (change in ("append", "touch"))
    assert shards["faces", max(i for g, i in shards if g == "faces")] is False
    assert (report.n_samples, report.damaged) == (len(after), ())
    again = outputs(paths)
    shutil.rmtree(paths.dataset)
    merge(paths, after)
    assert outputs(paths) == again


class Killed(BaseException):
    """A process that ends in the middle of something."""


def test_a_merge_killed_in_any_shard_leaves_the_old_dataset_and_blocks_nothing(paths: FlowPaths) -> None:
    records = make_samples(paths, [(9, 3), (8, 5), (7, 2), (9, 9)])
    merge(paths, records[:3])
    old = outputs(paths)

    def killed_after(n: int) -> Any:
        def run(nodes: Sequence[Delayed]) -> Iterator[ShardRecord]:
            for i, node in enumerate(nodes):
                if i == n:
                    raise Killed
                yield node.compute(scheduler="synchronous")

        return run

    n_nodes = len(shard_nodes(plan_merge(records, SMALL), "", InFolder("")))
    assert n_nodes > 4
    for n in range(n_nodes):
        with pytest.raises(Killed):
            merge(paths, records, compute=killed_after(n))
        assert outputs(paths) == old
        assert validate_dataset(paths.dataset) == []
    assert merge(paths, records).n_samples == 4
    assert not list(paths.root.glob(".tmp-*"))


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
        monkeypatch.setattr("dflow.dataset.publish._exchange", lambda first, second: False)
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
    from dflow.dataset import publish

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


def test_a_straggler_of_a_dead_merge_cannot_write(paths: FlowPaths) -> None:
    records = make_samples(paths, [(9, 3), (8, 5)])
    straggler: list[Delayed] = []

    def dies(nodes: Sequence[Delayed]) -> Iterator[ShardRecord]:
        for node in nodes:
            if node.key.startswith("merge-"):
                straggler.append(node)
                raise Killed
            yield node.compute(scheduler="synchronous")

    with pytest.raises(Killed):
        merge(paths, records, compute=dies)
    merge(paths, records)
    before = outputs(paths)
    with pytest.raises(FileNotFoundError):
        straggler[0].compute(scheduler="synchronous")
    assert outputs(paths) == before


def test_a_reader_that_holds_the_old_folder_never_sees_the_new_one(paths: FlowPaths) -> None:
    records = make_samples(paths, [(9, 3), (8, 5), (7, 2)])
    merge(paths, records[:2])
    shard = "faces/face_areas/c.0"
    old = (paths.dataset / shard).read_bytes()
    folder = os.open(paths.dataset, os.O_RDONLY)
    shard_file = os.open(shard, os.O_RDONLY, dir_fd=folder)
    try:
        merge(paths, records[::-1])
        assert os.read(shard_file, 10**6) == old
        with pytest.raises(FileNotFoundError):
            os.open(shard, os.O_RDONLY, dir_fd=folder)
    finally:
        os.close(shard_file)
        os.close(folder)


def test_jobs_and_records_cross_a_process_boundary(paths: FlowPaths) -> None:
    plan = plan_merge(make_samples(paths, [(9, 3), (8, 5)]), SMALL)
    nodes = word_nodes(plan, InFolder(str(paths.encoded)))
    (task,) = dict(nodes[0].dask).values()
    record = pickle.loads(pickle.dumps(task))()
    assert record == ShardRecord("faces", 0, 0, seconds=record.seconds, words={"faces/colour": ("blue", "grün", "red")})
    assert pickle.loads(pickle.dumps(record)) == record
    assert [node.key for node in nodes[:1]] == ["words-faces-000000"]


def test_one_node_writes_each_shard_and_bears_its_name(paths: FlowPaths) -> None:
    plan = plan_merge(make_samples(paths, [(9, 3), (8, 5), (7, 2)]), SMALL)
    nodes = shard_nodes(plan, "", InFolder(str(paths.encoded)))
    keys = [node.key for node in nodes]
    assert len(set(keys)) == len(keys) == plan.n_shards
    assert "merge-faces-000001" in keys
    assert all(len(dict(node.dask)) == 1 for node in nodes)


def test_the_lazy_datasets_blocks_are_the_shards_and_hold_the_same(paths: FlowPaths) -> None:
    records = make_samples(paths, [(9, 3), (0, 5), (7, 2)])
    merge(paths, records)
    plan = plan_merge(records, SMALL)
    words = {"faces/colour": ("blue", "grün", "red")}
    for group in ("faces", "edges"):
        lazy = lazy_dataset(plan, group, InFolder(str(paths.encoded)), words)
        written = xr.open_zarr(str(paths.dataset), group=group)
        rows = plan.groups[group].shard_rows
        assert all(set(chunks[:-1]) <= {rows} for v in lazy.values() for chunks in v.chunks[:1])
        xr.testing.assert_identical(lazy.compute(scheduler="synchronous"), written.drop_attrs().compute())


def test_memory_stays_below_the_prediction(paths: FlowPaths) -> None:
    rng = np.random.default_rng(0)
    records = [
        write_sample(paths, f"{i:03d}.step", {"faces/face_uv_grids": rng.random((n, 10, 10, 7), np.float32)})
        for i, n in enumerate(rng.integers(0, 120, 160))
    ]
    plan = plan_merge(records)
    total = plan.groups["faces"].n_rows * 2800
    predicted = predict_peak_bytes(plan)
    peaks = node_peaks(paths, records)
    assert 0.1 * predicted < max(peaks) <= predicted
    assert total > 3 * predicted


def test_memory_stays_below_the_prediction_with_a_huge_sample_and_text(paths: FlowPaths) -> None:
    rng = np.random.default_rng(0)
    huge = {
        "faceface/d2_distance": rng.random((50_000, 32), np.float32),
        "faceface/kind": np.array(["near", "farther"] * 25_000, np.dtypes.StringDType()),
    }
    records = [write_sample(paths, "huge.step", huge), *make_samples(paths, [(3, 2)] * 3)]
    predicted = predict_peak_bytes(plan_merge(records))
    peaks = node_peaks(paths, records)
    assert huge["faceface/d2_distance"].nbytes < max(peaks) <= predicted


def node_peaks(paths: FlowPaths, records: Sequence[SampleRecord]) -> list[int]:
    """The most memory that each node of a merge held, in bytes."""
    delayed(int)("1").compute(scheduler="synchronous")  # what dask imports then is not a node's
    found: list[int] = []

    def run(nodes: Sequence[Delayed]) -> Iterator[ShardRecord]:
        for node in nodes:
            tracemalloc.start()
            try:
                record = node.compute(scheduler="synchronous")
                found.append(tracemalloc.get_traced_memory()[1])
            finally:
                tracemalloc.stop()
            yield record

    merge_dataset(records, paths, flow_name="parts", compute=run)
    return found


_CHILD = """
import pickle, sys
from pathlib import Path
from dflow.dataset.merge import compute_inline, merge_dataset
from dflow.storage.paths import FlowPaths
from tests.dataset.samples import SMALL
if __name__ == "__main__":
    records = pickle.load(sys.stdin.buffer)
    print("begin", flush=True)
    paths = FlowPaths(Path(sys.argv[1]), "parts")
    merge_dataset(records, paths, flow_name="parts", compute=compute_inline, settings=SMALL)
    print("done", flush=True)
"""


@pytest.mark.slow
def test_a_merge_killed_at_ten_random_moments_ends_byte_equal(paths: FlowPaths) -> None:
    """SIGKILL, from the first file to the last rename; what is published is whole after each."""
    records = make_samples(paths, [(9, 3), (8, 5), (7, 2), (9, 9)] * 8)
    merge(paths, records)
    new = outputs(paths)
    shutil.rmtree(paths.dataset)
    merge(paths, records[:20])
    old = outputs(paths)
    begin = time.perf_counter()
    merge(FlowPaths(_copy(paths), "parts"), records)
    duration = time.perf_counter() - begin
    rng, finished = random.Random(7), 0
    for _ in range(10):
        with subprocess.Popen(
            [sys.executable, "-c", _CHILD, str(paths.root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        ) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write(pickle.dumps(records))
            child.stdin.close()
            assert child.stdout.readline() == b"begin\n"
            time.sleep(rng.uniform(0, 1.2 * duration))
            child.kill()
            finished += b"done" in child.stdout.read()
        problems = validate_dataset(paths.dataset)
        assert [p for p in problems if "another build" not in p and "ids are not" not in p] == []
        recover(Outputs.of(paths))
        assert validate_dataset(paths.dataset) == []
        assert outputs(paths) in (old, new)
    merge(paths, records)
    assert outputs(paths) == new
    assert finished < 10


def _copy(paths: FlowPaths) -> Path:
    other = paths.root.with_name("copy")
    shutil.copytree(paths.encoded, other / "encoded")
    return other


def test_two_records_of_one_sample_are_refused(paths: FlowPaths) -> None:
    record = make_samples(paths, [(1, 1)])[0]
    with pytest.raises(DatasetError, match="two records"):
        merge(paths, [record, record])


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_read_only_folder_is_a_clear_error_and_harms_nothing(paths: FlowPaths) -> None:
    """As a user who is not root: root writes anywhere."""
    records = make_samples(paths, [(5, 2), (6, 3)])
    merge(paths, records)
    before = outputs(paths)
    script = (
        "import os, pickle, sys\n"
        "from dflow.storage.paths import FlowPaths\n"
        "from dflow.dataset.merge import merge_dataset, compute_inline\n"
        "from pathlib import Path\n"
        "paths = FlowPaths(Path(sys.argv[1]), 'parts')\n"
        "records = pickle.load(sys.stdin.buffer)\n"
        "os.setuid(65534) if os.getuid() == 0 else None\n"
        "try:\n"
        "    merge_dataset(records, paths, flow_name='parts', compute=compute_inline)\n"
        "except OSError as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    os.chmod(paths.root, 0o555)
    try:
        done = subprocess.run(
            [sys.executable, "-c", script, str(paths.root)],
            input=pickle.dumps(records[:1]),
            capture_output=True,
            check=True,
        )
    finally:
        os.chmod(paths.root, 0o755)
    assert done.stdout.decode().startswith("OutputFolderError")
    assert outputs(paths) == before


def test_a_full_disk_is_a_clear_error_and_harms_nothing(paths: FlowPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    records = make_samples(paths, [(5, 2), (6, 3)])
    merge(paths, records[:1])
    before = outputs(paths)

    def full(nodes: Sequence[Delayed]) -> Iterator[ShardRecord]:
        raise OSError(28, "No space left on device")
        yield

    with pytest.raises(OutputFolderError, match="No space left"):
        merge(paths, records, compute=full)
    assert outputs(paths) == before
    assert not list(paths.root.glob(".tmp-*"))


def test_a_disk_that_fills_up_while_shards_are_written(tmp_path: Path) -> None:
    """A tmpfs of 900 KiB: the old dataset stays whole, and the folder is as it was."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=900k", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("this machine does not allow mounts")
    try:
        paths, other = FlowPaths.of(disk, "parts"), FlowPaths.of(tmp_path, "parts")
        rng = np.random.default_rng(0)
        records = [write_sample(other, f"{i}.step", {"faces/noise": rng.random((300, 100))}) for i in range(5)]
        os.makedirs(paths.root)
        paths.encoded.symlink_to(other.encoded)
        merge(paths, records[:1], settings=MergeSettings())
        before = outputs(paths)
        with pytest.raises(OutputFolderError, match="No space left"):
            merge(paths, records, settings=MergeSettings())
        assert outputs(paths) == before
        assert validate_dataset(paths.dataset) == []
        assert not list(paths.root.glob(".tmp-*"))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_settings_bound_the_chunks(paths: FlowPaths) -> None:
    records = [
        write_sample(
            paths,
            "a.step",
            {"faces/face_uv_grids": np.zeros((600, 10, 10, 7), "f4"), "faces/face_types": np.zeros(600, "i4")},
        )
    ]
    plan = plan_merge(records, MergeSettings())
    rows = {a.target.name: a.target.chunk_rows for a in plan.groups["faces"].arrays}
    assert rows == {"face_uv_grids": 32, "face_types": 1024, "file_id_code_faces": 1024}
