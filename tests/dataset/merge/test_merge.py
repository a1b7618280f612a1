"""The merge against brute force: what lies in the dataset is what lies in the samples, for every size and order."""

from __future__ import annotations

import os
import random
import shutil
import tracemalloc
import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing
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

from dflow.dataset.format.folder import DatasetFolder
from dflow.dataset.format.manifest import read_manifest
from dflow.dataset.merge.block_reader import InFolder
from dflow.dataset.merge.merge import merge_dataset
from dflow.dataset.merge.plan import plan_merge, predict_peak_bytes
from dflow.dataset.merge.settings import MergeSettings
from dflow.dataset.validate import validate_dataset
from dflow.errors import DatasetError
from dflow.hoops.lazy_dataset import lazy_dataset
from dflow.records import SampleRecord, ShardRecord
from dflow.schema import SchemaBuilder
from dflow.storage.paths import FlowPaths
from tests.dataset.samples import SMALL, backwards, grid, make_samples, merge, outputs, write_sample

SIZES = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5)), min_size=0, max_size=12)


@pytest.fixture
def paths(tmp_path: Path) -> FlowPaths:
    return FlowPaths.of(tmp_path, "parts")


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


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
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
    assert validate_dataset(paths.dataset, beside=False) == []


def test_runs_of_many_samples_coded_and_not_give_the_samples_rows(paths: FlowPaths) -> None:
    """Arrays stored raw and compressed in one run, some absent; blocks that begin and end inside a sample."""
    draw = random.Random(3)
    sizes = [(draw.choice((0, 1, 30, 84, 86, 511, 513, 700)), draw.choice((0, 3, 511, 512, 900))) for _ in range(90)]
    settings = MergeSettings(chunk_bytes=4096, shard_bytes=(200_000, 400_000), shards=2)
    report = merge(paths, make_samples(paths, sizes), settings=settings)
    assert (report.n_samples, report.damaged) == (90, ())
    root = zarr.open_group(str(paths.dataset), mode="r")
    for key, expected in expected_rows(sizes).items():
        np.testing.assert_array_equal(root[key][...], expected, err_msg=key)  # type: ignore[index]
    assert validate_dataset(paths.dataset, beside=False) == []


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
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
    from dflow.hoops.merger import OnClient

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
    assert validate_dataset(paths.dataset, beside=False) == []


def test_no_samples_make_an_empty_dataset(paths: FlowPaths) -> None:
    os.makedirs(paths.root)
    assert merge(paths, []).n_samples == 0
    assert xr.open_zarr(str(paths.dataset), group="file").sizes.get("file", 0) == 0
    assert pq.read_table(paths.infoset).num_rows == 0
    assert validate_dataset(paths.dataset, beside=False) == []


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
    again = merge(paths, [*records, odd])  # nothing has changed, and it is still told
    assert again.reused
    assert (again.n_samples, again.rejected) == (5, report.rejected)


def test_narrower_integers_are_widened_not_rejected(paths: FlowPaths) -> None:
    wide = [write_sample(paths, f"{i}.step", {"tags/code": np.arange(3) + 2**40}) for i in range(2)]
    narrow = write_sample(paths, "2.step", {"tags/code": np.arange(3, dtype=np.int32)})
    report = merge(paths, [*wide, narrow])
    assert report.rejected == ()
    codes = xr.open_zarr(str(paths.dataset), group="tags")["code"]
    assert codes.dtype == np.int64
    assert codes.values[-3:].tolist() == [0, 1, 2]


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
    assert validate_dataset(paths.dataset, beside=False) == []
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


def test_two_records_of_one_sample_are_refused(paths: FlowPaths) -> None:
    record = make_samples(paths, [(1, 1)])[0]
    with pytest.raises(DatasetError, match="two records"):
        merge(paths, [record, record])


def test_shards_of_fill_values_only_are_written_and_listed(paths: FlowPaths) -> None:
    """A reader takes a shard that the manifest does not list for damage."""
    builder = SchemaBuilder("parts", "1.0")
    builder.create_group("faces", "face").create_array("gaps", ["face"], nan_policy="allow")
    records = []
    for i in range(40):
        arrays = {"faces/gaps": np.full(20, np.nan, "f4")} | ({"faces/grid": grid(20, i)} if i == 39 else {})
        records.append(write_sample(paths, f"{i:02d}", arrays, {"volume": np.nan}, schema=builder.build()))
    merge(paths, records)
    listed = set(read_manifest(paths.dataset).files)
    with closing(DatasetFolder(paths.dataset)) as folder:
        for key in ("faces/gaps", "faces/grid", "file/volume"):
            node = folder.arrays[key]
            shards = -(-node["shape"][0] // node["chunk_grid"]["configuration"]["chunk_shape"][0])
            assert sum(name.startswith(f"{key}/c.") for name in listed) == shards
            values = folder.reader(key).read()
            assert np.isnan(values[:-20] if key == "faces/grid" else values).all()
        assert np.isfinite(folder.reader("faces/grid").read()[-20:]).all()


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
