"""Moving, turning and scaling samples; standardisation."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dflow.dataset.query.store import DatasetStore, open_store
from dflow.dataset.training.samples import Item, SampleReader
from dflow.dataset.training.subset import CADDataset
from dflow.dataset.training.transforms import (
    Compose,
    FillNan,
    RandomRotation,
    Standardise,
    UnitBox,
    at_epoch,
    column_moments,
    random_rotation,
    similarity,
)
from dflow.errors import DatasetError, UnknownKeyError
from tests.dataset.synthetic import Parts, random_parts, write_parts


def block(size: tuple[float, float, float] = (2.0, 4.0, 8.0), corner: tuple[float, float, float] = (1, 1, 1)) -> Any:
    """A box with one grid a face: two opposite corners and the outward normal."""
    low, high = np.array(corner, float), np.array(corner, float) + size
    grids = np.zeros((6, 1, 2, 7), np.float32)
    areas = np.empty(6, np.float32)
    for face in range(6):
        axis, side = face % 3, face // 3
        fixed = (low, high)[side][axis]
        grids[face, 0, 0, :3], grids[face, 0, 1, :3] = low, high
        grids[face, 0, :, axis] = fixed
        grids[face, 0, :, 3 + axis] = 2 * side - 1
        grids[face, 0, :, 6] = 1
        areas[face] = np.prod(np.delete(size, axis))
    return {
        "id": 3,
        "faces/face_uv_grids": grids,
        "faces/face_areas": areas,
        "faces/face_types": np.zeros(6, np.int32),
        "edges/edge_lengths": np.array(size, np.float32),
        "file/bounding_box": np.concatenate([low, high]),
        "file/volume": np.float64(np.prod(size)),
    }


def check_consistent(item: Any) -> None:
    """The volume by the divergence theorem over the planar faces is the volume that the item states."""
    grids = item["faces/face_uv_grids"].astype(np.float64)
    flux = (grids[:, 0, 0, :3] * grids[:, 0, 0, 3:6]).sum(axis=1) @ item["faces/face_areas"].astype(np.float64) / 3
    assert flux == pytest.approx(float(item["file/volume"]), rel=1e-5)
    np.testing.assert_allclose(np.linalg.norm(grids[..., 3:6], axis=-1), 1, rtol=1e-5)


def test_everything_scales_turns_and_moves_together() -> None:
    item = block()
    check_consistent(item)
    turned = similarity(
        item, scale=0.5, rotation=random_rotation(np.random.default_rng(1)), centre=np.array([3.0, -1, 2])
    )
    check_consistent(turned)
    assert turned["file/volume"] == pytest.approx(64 / 8)
    np.testing.assert_allclose(turned["edges/edge_lengths"], [1, 2, 4])
    np.testing.assert_array_equal(turned["faces/face_uv_grids"][..., 6], 1)
    np.testing.assert_array_equal(turned["faces/face_types"], item["faces/face_types"])
    assert all(np.asarray(turned[k]).dtype == np.asarray(item[k]).dtype for k in item)
    assert item["faces/face_areas"][0] == 32  # the original is left alone
    points = turned["faces/face_uv_grids"][..., :3].reshape(-1, 3)
    assert np.all(points >= turned["file/bounding_box"][:3] - 1e-5)
    assert np.all(points <= turned["file/bounding_box"][3:] + 1e-5)


@pytest.mark.parametrize("with_box", [True, False])
def test_unit_box(with_box: bool) -> None:
    item = block()
    if not with_box:
        del item["file/bounding_box"]
    found = UnitBox()(item)
    points = found["faces/face_uv_grids"][..., :3]
    np.testing.assert_allclose(points.reshape(-1, 3).max(axis=0), [0.25, 0.5, 1])
    np.testing.assert_allclose(points.reshape(-1, 3).min(axis=0), [-0.25, -0.5, -1])
    check_consistent(found)


def test_unit_box_of_a_point_and_of_nothing() -> None:
    item = {"id": 0, "faces/face_centroids": np.full((1, 3), 5.0)}
    np.testing.assert_array_equal(UnitBox()(item)["faces/face_centroids"], np.zeros((1, 3)))
    empty = {"id": 0, "faces/face_centroids": np.empty((0, 3))}
    assert len(UnitBox()(empty)["faces/face_centroids"]) == 0
    with pytest.raises(DatasetError, match="UnitBox needs file/bounding_box or one of"):
        UnitBox()({"id": 0, "faces/face_areas": np.ones(1)})


def test_rotations_are_rotations_and_uniform() -> None:
    rng = np.random.default_rng(0)
    turns = np.array([random_rotation(rng) for _ in range(4000)])
    np.testing.assert_allclose(turns @ turns.transpose(0, 2, 1), np.broadcast_to(np.eye(3), turns.shape), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(turns), 1)
    assert np.abs(turns.mean(axis=0)).max() < 0.04  # of a uniform rotation every entry has mean 0 and variance 1/3
    np.testing.assert_allclose((turns**2).mean(axis=0), 1 / 3, atol=0.03)


def test_augmentation_depends_on_seed_epoch_and_sample_alone() -> None:
    item = block()
    turn = RandomRotation(seed=1)
    first = turn(item)["faces/face_uv_grids"]
    np.testing.assert_array_equal(first, turn(item)["faces/face_uv_grids"])
    for other in (RandomRotation(seed=2)(item), turn({**item, "id": 4}), turn.for_epoch(1)(item)):
        assert not np.allclose(other["faces/face_uv_grids"], first)
    whole = at_epoch(Compose((UnitBox(), turn)), 1)
    assert whole is not None
    np.testing.assert_array_equal(
        whole(item)["faces/face_uv_grids"], turn.for_epoch(1)(UnitBox()(item))["faces/face_uv_grids"]
    )
    assert at_epoch(None, 3) is None


def test_turning_about_z_keeps_heights() -> None:
    item = block()
    found = RandomRotation(axis="z")(item)["faces/face_uv_grids"]
    np.testing.assert_allclose(found[..., 2], item["faces/face_uv_grids"][..., 2], rtol=1e-6)
    assert not np.allclose(found, item["faces/face_uv_grids"])


def test_standardise() -> None:
    item = {"id": 0, "faces/a": np.array([1.0, 3.0]), "faces/b": np.array([[1, 5], [1, 9]])}
    transform = Standardise(
        {"faces/a": (np.array(2.0), np.array(2.0)), "faces/b": (np.array([1, 7]), np.array([0, 2]))}
    )
    found = pickle.loads(pickle.dumps(transform))(item)
    np.testing.assert_array_equal(found["faces/a"], np.array([-0.5, 0.5], np.float32))
    np.testing.assert_array_equal(found["faces/b"], [[0, -1], [0, 1]])
    assert found["faces/a"].dtype == np.float32
    with pytest.raises(UnknownKeyError, match=r"but the columns are .*columns= of get_dataset"):
        transform({"id": 0, "faces/a": np.ones(1)})


@pytest.fixture(scope="module")
def parts() -> Parts:
    return random_parts(60, seed=7)


@pytest.fixture(scope="module")
def store(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> DatasetStore:
    return open_store(write_parts(parts, tmp_path_factory.mktemp("items")).dataset)


def test_moments_over_blocks_equal_numpys(store: DatasetStore, parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dflow.dataset.training.transforms._SAMPLES", 7)
    ids = np.arange(0, parts.n_files, 2)
    keys = ["faces/face_uv_grids", "edges/edge_dihedral_angles", "file/volume"]
    found = column_moments(SampleReader(store, keys), ids)
    grids = np.concatenate([parts.of_file("faces", "face_uv_grids", i) for i in ids]).astype(np.float64)
    np.testing.assert_allclose(found["faces/face_uv_grids"].mean, grids.mean(axis=(0, 1, 2)), rtol=1e-9)
    np.testing.assert_allclose(found["faces/face_uv_grids"].std, grids.std(axis=(0, 1, 2)), rtol=1e-9)
    angles = np.concatenate([parts.of_file("edges", "edge_dihedral_angles", i) for i in ids]).astype(np.float64)
    assert found["edges/edge_dihedral_angles"].std == pytest.approx(np.nanstd(angles))
    assert found["file/volume"].mean == pytest.approx(parts.values["volume"][ids].mean())


def test_statistics_are_those_of_what_the_transform_delivers(store: DatasetStore) -> None:
    """Item by item, and for whole batches at once; NaN are counted, and become the mean in training."""
    keys = ["edges/edge_dihedral_angles", "faces/face_areas", "file/bounding_box"]
    ids = np.arange(1, 60, 2)

    def logarithm(item: Item) -> Item:
        return {**item, "faces/face_areas": np.log(item["faces/face_areas"])}

    class Whole:
        elementwise = True
        __call__ = staticmethod(logarithm)

    found = []
    for transform in (logarithm, Whole()):
        dataset = CADDataset(SampleReader(store, keys), ids, transform=transform)
        statistics = dataset.statistics()
        areas = np.concatenate([item["faces/face_areas"] for item in dataset]).astype(np.float64)
        angles = np.concatenate([item["edges/edge_dihedral_angles"] for item in dataset])
        assert statistics["faces/face_areas"][0] == pytest.approx(areas.mean())
        assert statistics["faces/face_areas"][1] == pytest.approx(areas.std())
        assert statistics.missing["edges/edge_dihedral_angles"] == np.isnan(angles).sum() > 0
        assert statistics.counts["edges/edge_dihedral_angles"] == np.isfinite(angles).sum()
        boxes = np.stack([item["file/bounding_box"] for item in dataset])
        np.testing.assert_allclose(statistics["file/bounding_box"][0], boxes.mean(axis=0))
        found.append(dataset.statistics("faces"))
        assert list(found[-1]) == ["faces/face_areas"]
        scaled = np.concatenate([Standardise(statistics)(item)["edges/edge_dihedral_angles"] for item in dataset])
        assert (scaled[np.isnan(angles)] == 0).all()
        assert scaled[np.isfinite(angles)].std() == pytest.approx(1, rel=1e-5)
        kept = Standardise(statistics, missing=None)(dataset[0])["edges/edge_dihedral_angles"]
        np.testing.assert_array_equal(np.isnan(kept), np.isnan(dataset[0]["edges/edge_dihedral_angles"]))
    np.testing.assert_allclose(found[0]["faces/face_areas"], found[1]["faces/face_areas"])


def test_statistics_leave_out_samples_that_lack_an_array(tmp_path: Path) -> None:
    parts = random_parts(20, seed=1)
    lacks = np.arange(20) % 4 == 0
    parts.rows["faces"]["face_types"][lacks[parts.file_of_row("faces")]] = -1
    parts.values["has_faces_face_types"] = ~lacks
    store = open_store(write_parts(parts, tmp_path).dataset)
    kinds = parts.rows["faces"]["face_types"]
    for transform in (None, dict):
        found = CADDataset(SampleReader(store, "faces/face_types"), np.arange(20), transform=transform).statistics()
        assert found["faces/face_types"][0] == pytest.approx(kinds[kinds >= 0].mean())
        assert found.missing["faces/face_types"] == (kinds < 0).sum()


def test_statistics_of_nothing_say_so(store: DatasetStore) -> None:
    dataset = CADDataset(SampleReader(store, "faces"), np.arange(5), name="train")
    with pytest.raises(UnknownKeyError, match="face_areas"):
        dataset.statistics("faces/face_area")
    with pytest.raises(DatasetError, match=r"no column has no finite value in the train subset|no finite value"):
        CADDataset(SampleReader(store, "faces"), np.arange(0), name="train").statistics()
    texts = CADDataset(SampleReader(store, "faces"), np.arange(5), transform=lambda item: {"faces/a": np.array(["x"])})
    with pytest.raises(DatasetError, match="faces/a is <U1, which has no mean"):
        texts.statistics()


def test_nan_gets_a_value() -> None:
    item = {
        "id": 0,
        "faces/a": np.array([1, np.nan], np.float32),
        "faces/n": np.array([1, 2]),
        "file/b": np.float64("nan"),
    }
    found = FillNan(-2)(item)
    assert found["faces/a"].tolist() == [1, -2]
    assert (found["faces/a"].dtype, found["faces/n"].dtype, float(found["file/b"])) == (np.float32, np.int64, -2)
    assert np.isnan(FillNan(columns=("file/b",))(item)["faces/a"][1])
    with pytest.raises(UnknownKeyError, match="FillNan has the column faces/c"):
        FillNan(columns=("faces/c",))(item)
