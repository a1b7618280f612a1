"""One value per file, and statistics of a column, against plain loops over the files."""

from __future__ import annotations

import io
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dflow.dataset.explorer import DatasetExplorer
from dflow.dataset.query import distribution, reductions
from dflow.errors import QueryError
from dflow.schema.names import has_array
from tests.dataset.synthetic import Parts, random_parts, write_parts

ORACLES: dict[str, Any] = {
    "max": np.nanmax,
    "min": np.nanmin,
    "sum": np.nansum,
    "mean": np.nanmean,
    "std": np.nanstd,
    "count": lambda x, axis: (~np.isnan(x.astype(float))).sum(axis=axis),
    "any": lambda x, axis: (np.nan_to_num(x) != 0).any(axis=axis),
    "all": lambda x, axis: (np.where(np.isnan(x.astype(float)), 1, x) != 0).all(axis=axis),
}
EMPTY = {"max": np.nan, "min": np.nan, "mean": np.nan, "std": np.nan, "sum": 0, "count": 0, "any": False, "all": True}


@pytest.fixture(scope="module")
def parts() -> Parts:
    return random_parts(80, seed=5)


@pytest.fixture(scope="module")
def explorer(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> DatasetExplorer:
    return DatasetExplorer(write_parts(parts, tmp_path_factory.mktemp("reduce")).flow_file)


def oracle(parts: Parts, group: str, name: str, how: str) -> np.ndarray[Any, Any]:
    found = []
    for i in range(parts.n_files):
        rows = parts.of_file(group, name, i)
        rows = rows.astype(np.float64) if rows.dtype.kind == "f" else rows
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # files of nothing but NaN
            empty = np.full(rows.shape[1:], EMPTY[how])
            found.append(ORACLES[how](rows, axis=0) if len(rows) else empty)
    return np.array(found)


@pytest.mark.parametrize("how", ORACLES)
@pytest.mark.parametrize(
    ("group", "name"),
    [("faces", "face_areas"), ("faces", "face_types"), ("faces", "face_centroids"), ("edges", "edge_dihedral_angles")],
)
@pytest.mark.parametrize("block_rows", [None, 16])
def test_every_reduction_equals_a_loop_over_the_files(
    explorer: DatasetExplorer,
    parts: Parts,
    how: str,
    group: str,
    name: str,
    block_rows: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if block_rows:  # many blocks, through dask, files across their borders
        monkeypatch.setattr(distribution, "block_rows", lambda _: block_rows)
        monkeypatch.setattr(distribution, "EAGER_BYTES", 0)
    store = explorer._store
    found = reductions.reduce_rows(store, store.column(group, name), how)
    np.testing.assert_allclose(found, oracle(parts, group, name, how), rtol=2e-6, atol=1e-12)


def test_types_of_the_results(explorer: DatasetExplorer) -> None:
    assert explorer.reduce("faces", "face_types", "sum").dtype == np.int64
    assert explorer.reduce("faces", "face_types", "max").dtype == np.float64
    assert explorer.reduce("faces", "face_areas", "any").dtype == bool
    found = explorer.reduce("faces", "face_centroids", "mean")
    assert found.dims == ("file", "dim")
    assert found.name == "faces_face_centroids_mean"


def test_std_keeps_its_digits_far_from_zero(tmp_path: Path) -> None:
    values = np.array([1e8, 1e8 + 1, 1e8 + 2], np.float64)
    parts = Parts({"faces": np.array([3])}, {"faces": {"x": values}}, {"face_count": np.array([3], np.int32)})
    explorer = DatasetExplorer(write_parts(parts, tmp_path).flow_file)
    assert explorer.reduce("faces", "x", "std").item() == pytest.approx(np.std([0, 1, 2]), rel=1e-9)


def test_rows_of_samples_without_the_array_are_left_out(tmp_path: Path) -> None:
    parts = random_parts(20)
    labels = parts.rows["faces"]["face_labels"]
    lacking = parts.file_of_row("faces") % 3 == 0
    labels[lacking] = -1
    parts.values[has_array("faces", "face_labels")] = np.arange(20) % 3 != 0
    explorer = DatasetExplorer(write_parts(parts, tmp_path).flow_file)
    lowest = explorer.reduce("faces", "face_labels", "min").values
    assert np.isnan(lowest[::3]).all()
    assert np.nanmin(lowest) >= 0
    assert explorer.create_distribution("face_labels", None)["categories"].min() == 0
    assert explorer.create_distribution("face_labels", None)["n_missing"] == lacking.sum()


def test_an_unknown_reduction(explorer: DatasetExplorer) -> None:
    with pytest.raises(QueryError, match="no reduction 'median'; use one of max, min"):
        explorer.reduce("faces", "face_areas", "median")  # type: ignore[arg-type]


def test_results_are_kept_beside_the_dataset_and_follow_its_content(tmp_path: Path) -> None:
    paths = write_parts(random_parts(30, seed=1), tmp_path)
    before = sorted(p for p in paths.dataset.rglob("*"))
    first = DatasetExplorer(paths.flow_file).reduce("faces", "face_areas", "max")
    assert sorted(p for p in paths.dataset.rglob("*")) == before
    (entry,) = (paths.root / ".dflow" / "explorer").rglob("*.npy")
    whole = entry.read_bytes()
    entry.write_bytes(bytes([*whole[:-9], whole[-9] ^ 1, *whole[-8:]]))  # a kept result that was damaged is not used
    np.testing.assert_array_equal(DatasetExplorer(paths.flow_file).reduce("faces", "face_areas", "max"), first)
    content = io.BytesIO()
    np.save(content, first.values * 2)  # what is kept is what is used
    entry.write_bytes(content.getvalue() + zlib.crc32(content.getvalue()).to_bytes(4, "little"))
    again = DatasetExplorer(paths.flow_file).reduce("faces", "face_areas", "max")
    np.testing.assert_array_equal(again, first * 2)
    entry.write_bytes(b"torn")
    np.testing.assert_array_equal(DatasetExplorer(paths.flow_file).reduce("faces", "face_areas", "max"), first)
    other = write_parts(random_parts(30, seed=2), tmp_path / "other")
    paths.dataset.rename(tmp_path / "old")
    other.dataset.rename(paths.dataset)
    changed = DatasetExplorer(paths.flow_file).reduce("faces", "face_areas", "max")
    assert not np.array_equal(changed, first)
    assert not entry.exists()  # the results of the earlier dataset are swept


def test_a_folder_that_cannot_be_written_is_no_obstacle(tmp_path: Path) -> None:
    paths = write_parts(random_parts(10), tmp_path)
    (paths.root / ".dflow").write_text("not a folder")  # permissions do not bind the superuser
    assert len(DatasetExplorer(paths.flow_file).reduce("faces", "face_areas", "max")) == 10


@pytest.mark.parametrize("limit", [2**26, 100])
def test_statistics_equal_numpys(
    explorer: DatasetExplorer, parts: Parts, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reductions, "EXACT_QUANTILE_VALUES", limit)
    angles = parts.rows["edges"]["edge_dihedral_angles"].astype(np.float64)
    found = explorer.get_array_statistics("edges", "edge_dihedral_angles")
    assert found["mean"] == pytest.approx(np.nanmean(angles), rel=1e-9)
    assert found["std"] == pytest.approx(np.nanstd(angles), rel=1e-9)
    assert (found["min"], found["max"]) == (np.nanmin(angles), np.nanmax(angles))
    tolerance = 1e-6 if limit > 100 else np.nanmax(np.diff(np.sort(angles[~np.isnan(angles)])))
    for name, share in (("median", 0.5), ("q25", 0.25), ("q75", 0.75)):
        assert found[name] == pytest.approx(np.nanquantile(angles, share), abs=tolerance)


def test_statistics_of_nothing_are_nan(tmp_path: Path) -> None:
    parts = Parts({"faces": np.array([0, 0])}, {"faces": {"x": np.empty(0, np.float32)}}, {"n": np.zeros(2, np.int32)})
    explorer = DatasetExplorer(write_parts(parts, tmp_path).flow_file)
    assert all(np.isnan(v) for v in explorer.get_array_statistics("faces", "x").values())
    assert np.isnan(explorer.reduce("faces", "x", "max")).all()
    assert explorer.create_distribution("x")["hist"].sum() == 0
    assert explorer.get_file_list("faces", lambda ds: ds.x > 0).size == 0
