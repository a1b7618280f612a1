"""One Parquet row per sample and tar shards, read by `datasets` and `webdataset`; subsets, missing arrays, no faces."""

from __future__ import annotations

import gc
import io
import json
import tarfile
import warnings

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dflow.dataset import DatasetLoader
from dflow.dataset.export import subsets
from dflow.dataset.export.export import export_dataset
from dflow.dataset.format.location import locate
from dflow.errors import SplitError, UnsupportedDataError
from dflow.storage.paths import FlowPaths
from tests.dataset.samples import merge, write_sample
from tests.dataset.synthetic import random_parts, write_parts


@pytest.fixture(scope="module")
def divided(tmp_path_factory):
    """A dataset of 40 samples with a split that leaves four out; one sample has no rows at all."""
    parts = random_parts(40, seed=6)
    place = locate(write_parts(parts, tmp_path_factory.mktemp("divided")).flow_file)
    with DatasetLoader(place.dataset) as loader:
        loader.split_from(["train"] * 24 + ["val"] * 6 + ["test"] * 6 + [None] * 4)
    return parts, place


@pytest.fixture(scope="module")
def dotted(tmp_path_factory):
    """Parts whose names differ behind the first dot only."""
    paths = FlowPaths.of(tmp_path_factory.mktemp("dotted"), "dotted")
    names = ["M3.2.step", "M3.5.step", "M3.step"]
    merge(paths, [write_sample(paths, name, {"faces/a": np.full(2, i)}) for i, name in enumerate(names)])
    return names, locate(dataset=paths.dataset)


def same(found, expected) -> bool:
    return found.dtype == expected.dtype and found.shape == expected.shape and found.tobytes() == expected.tobytes()


def array_of(column: pa.Array) -> np.ndarray:
    """The flat values of nested lists."""
    while pa.types.is_nested(column.type):
        column = column.flatten()
    return column.to_numpy(zero_copy_only=False)


def read_shards(shards: list[str]) -> list[dict]:
    """The samples as webdataset reads them; it leaves its files to the garbage collector."""
    import webdataset

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        samples = list(webdataset.WebDataset(shards, shardshuffle=False).decode())
        gc.collect()
    return samples


def test_hugging_face_loads_the_folder_bit_for_bit(divided, tmp_path, monkeypatch, small_blocks):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    parts, place = divided
    export_dataset(place, tmp_path / "out", "huggingface")
    loaded = datasets.load_dataset("parquet", data_dir=str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert {name: len(rows) for name, rows in loaded.items()} == {"train": 24, "validation": 6, "test": 6}
    for name, rows in loaded.items():
        ours = pq.read_table(tmp_path / "out" / f"{name}-00000-of-00001.parquet").combine_chunks()
        theirs = rows.data.table.combine_chunks()
        assert theirs.schema.remove_metadata() == ours.schema.remove_metadata()
        for file_id, values in zip(ours["id"].to_pylist(), ours["faces/face_uv_grids"], strict=True):
            expected = parts.of_file("faces", "face_uv_grids", file_id)
            assert same(array_of(values.values).reshape(expected.shape), expected)
        for column in ours.column_names:
            one, other = ours[column].combine_chunks(), theirs[column].combine_chunks()
            if pa.types.is_floating(one.type) or pa.types.is_nested(one.type):
                assert same(array_of(other), array_of(one)), column
            else:
                assert one == other, column
    empty = [len(areas) for areas in loaded["train"]["faces/face_areas"]].index(0)
    assert loaded["train"][empty]["id"] == 20
    assert loaded["train"][empty]["faces/face_uv_grids"] == []


def test_each_subset_has_its_file_and_samples_without_one_too(divided, tmp_path):
    parts, place = divided
    export_dataset(place, tmp_path / "out", "huggingface", columns=["faces", "file/category"])
    found = {path.name: pq.read_table(path) for path in (tmp_path / "out").glob("*-of-00001.parquet")}
    assert {name.partition("-")[0]: len(table) for name, table in found.items()} == {
        "train": 24,
        "validation": 6,
        "test": 6,
        "unassigned": 4,
    }
    table = found["test-00000-of-00001.parquet"]
    assert table["id"].to_pylist() == list(range(30, 36))
    assert table["source"].to_pylist()[0] == "part_000030.step"
    assert table.schema.field("faces/face_uv_grids").type == pa.list_(
        pa.list_(pa.list_(pa.list_(pa.float32(), 7), 3), 3)
    )
    assert table["file/category"].to_pylist() == parts.values["category"][30:36].tolist()
    assert (tmp_path / "out" / "labels.parquet").exists()


def test_the_stored_split_decides_whatever_the_table_says(tmp_path):
    place = locate(write_parts(random_parts(20, seed=7), tmp_path).flow_file)
    before = place.infoset.read_bytes()
    with DatasetLoader(place.dataset) as loader:
        sizes = loader.split()
    place.infoset.write_bytes(before)
    export_dataset(place, tmp_path / "out", "huggingface", columns="file")
    found = [
        len(pq.read_table(tmp_path / "out" / f"{s}-00000-of-00001.parquet")) for s in ("train", "validation", "test")
    ]
    assert tuple(found) == sizes
    place.infoset.unlink()
    place.dataset.with_suffix(".split").write_text("{")
    with pytest.raises(SplitError, match="not a split file"):
        export_dataset(locate(dataset=place.dataset), tmp_path / "other", "webdataset")


def test_what_a_sample_lacks_is_null_and_types_stay(tmp_path):
    paths = FlowPaths.of(tmp_path, "types")
    records = []
    for number in range(3):
        rows = {
            "faces/half": np.arange(number, dtype="f2"),
            "faces/big": np.full(number, 2**64 - 1, "u8"),
            "faces/flag": np.arange(number) == 0,
        }
        values = {}
        if number != 1:
            rows["faces/only"] = np.arange(number * 2, dtype="i1").reshape(-1, 2)
            values["mass"] = 2.5
        records.append(write_sample(paths, f"{number}.step", rows, values))
    merge(paths, records)
    export_dataset(locate(dataset=paths.dataset), tmp_path / "out", "huggingface")
    table = pq.read_table(tmp_path / "out" / "train-00000-of-00001.parquet")
    assert table["faces/only"].to_pylist() == [[], None, [[0, 1], [2, 3]]]
    assert table["file/mass"].to_pylist() == [2.5, None, 2.5]
    assert table["faces/flag"].to_pylist() == [[], [True], [True, False]]
    kinds = [table.schema.field(f"faces/{name}").type.value_type for name in ("half", "big", "flag", "only")]
    assert kinds == [pa.float16(), pa.uint64(), pa.bool_(), pa.list_(pa.int8(), 2)]


def test_complex_numbers_are_refused(tmp_path):
    paths = FlowPaths.of(tmp_path, "waves")
    merge(paths, [write_sample(paths, "a.step", {"faces/wave": np.ones(2, "c8")})])
    with pytest.raises(UnsupportedDataError, match="faces/wave is complex64"):
        export_dataset(locate(dataset=paths.dataset), tmp_path / "out", "huggingface")
    assert not (tmp_path / "out").exists()


def test_webdataset_keeps_samples_apart(dotted, tmp_path):
    pytest.importorskip("webdataset")
    names, place = dotted
    export_dataset(place, tmp_path / "out", "webdataset")
    shards = sorted(str(path) for path in (tmp_path / "out").glob("*.tar"))
    samples = read_shards(shards)
    assert [sample["json"]["source"] for sample in samples] == names
    assert [dict(sample["npz"])["faces/a"].tolist() for sample in samples] == [[0, 0], [1, 1], [2, 2]]
    assert len({sample["__key__"] for sample in samples}) == 3


def test_webdataset_shards_by_subset_and_size(divided, tmp_path, small_blocks, monkeypatch):
    pytest.importorskip("webdataset")
    monkeypatch.setattr(subsets, "SHARD_BYTES", 40_000)
    parts, place = divided
    export_dataset(place, tmp_path / "out", "webdataset")
    found = sorted(path.name for path in (tmp_path / "out").glob("*.tar"))
    assert {name.partition("-")[0] for name in found} == {"train", "validation", "test", "unassigned"}
    shards = [str(tmp_path / "out" / name) for name in found if name.startswith("train")]
    assert len(shards) > 1
    samples = read_shards(shards)
    assert [sample["json"]["id"] for sample in samples] == list(range(24))
    for sample in samples:
        rows = dict(sample["npz"])["faces/face_uv_grids"]
        assert same(rows, parts.of_file("faces", "face_uv_grids", sample["json"]["id"]))


def test_equal_datasets_give_equal_shards_without_pickles(dotted, partial, tmp_path):
    for out in ("one", "two"):
        export_dataset(dotted[1], tmp_path / out, "webdataset")
    shards = [tmp_path / out / "train-000000.tar" for out in ("one", "two")]
    assert shards[0].read_bytes() == shards[1].read_bytes()
    export_dataset(partial, tmp_path / "partial", "webdataset")
    with tarfile.open(tmp_path / "partial" / "train-000000.tar") as file:
        contents = {name: file.extractfile(name).read() for name in file.getnames()}
    assert sorted(contents) == [f"{i}.{kind}" for i in range(3) for kind in ("json", "npz")]
    assert json.loads(contents["0.json"])["source"].startswith("../../evil")
    with np.load(io.BytesIO(contents["1.npz"]), allow_pickle=False) as arrays:
        assert "faces/only" not in arrays.files
        assert arrays["faces/grid"].shape == (2, 2, 3)


@pytest.mark.parametrize("form", ["huggingface", "webdataset"])
def test_an_export_of_nothing(form, place, tmp_path):
    report = export_dataset(place, tmp_path / "out", form, ids=[])
    assert report.n_samples == 0
    if form == "huggingface":
        table = pq.read_table(tmp_path / "out" / "train-00000-of-00001.parquet")
        assert (len(table), "faces/face_areas" in table.column_names) == (0, True)
