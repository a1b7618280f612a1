"""Counts, names and weights of classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dflow.dataset import DatasetLoader
from dflow.dataset.training.classes import IGNORE_INDEX, Classes
from dflow.errors import DatasetError, SplitError, UnknownKeyError
from tests.dataset.synthetic import Parts, random_parts, write_parts


@pytest.fixture(scope="module")
def parts() -> Parts:
    return random_parts(40, seed=3)


@pytest.fixture(scope="module")
def loader(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> DatasetLoader:
    loader = DatasetLoader(write_parts(parts, tmp_path_factory.mktemp("classes")).dataset)
    loader.split("category")
    return loader


def test_classes_of_rows_and_of_files_are_counted_in_the_subset(loader: DatasetLoader, parts: Parts) -> None:
    train = loader.get_dataset("train", columns=["faces"])
    labels = np.concatenate([parts.of_file("faces", "face_labels", int(i)) for i in train.file_codes])
    for found in (
        loader.classes("faces/face_labels"),
        train.classes("faces/face_labels"),
        loader.classes("face_labels"),
    ):
        assert found.counts.tolist() == np.bincount(labels, minlength=6).tolist()
    everything = loader.classes("faces/face_labels", None)
    assert everything.counts.tolist() == np.bincount(parts.rows["faces"]["face_labels"], minlength=6).tolist()
    assert everything.names == ("0", "1", "2", "3", "4", "5")
    categories = loader.classes("file/category", None)
    assert categories.names == ("bolt", "nut", "plate", "shaft")
    assert (int(categories.counts.sum()), categories.n_unlabelled) == (39, 1)  # one file has -1
    assert "4 classes, 39 labelled, 1 not" in repr(categories)
    assert "<td>shaft" in categories._repr_html_()


def test_the_number_of_classes_is_the_datasets_whatever_a_subset_has(loader: DatasetLoader, parts: Parts) -> None:
    for subset in ("train", "validation", "test", None):
        assert len(loader.classes("faces/face_types", subset)) == 15  # code 14 occurs
    assert loader.classes("faces/face_types").names[:6] == ("Plane", "Cylinder", "Cone", "3", "4", "5")


def test_weights_balance_the_classes() -> None:
    classes = Classes("faces/label", np.array([8, 2, 0, 90]), ("a", "b", "c", "d"), 5)
    weights = classes.weights()
    assert weights.dtype == np.float32
    assert weights[2] == 0
    np.testing.assert_allclose(weights[[0, 1, 3]] * [8, 2, 90], 100 / 3, rtol=1e-6)  # each class weighs as much
    assert (weights * classes.counts).sum() == pytest.approx(100)
    smooth = classes.weights(smoothing=10)
    assert 1 < smooth[1] / smooth[3] < weights[1] / weights[3]
    assert classes.ignore_index == IGNORE_INDEX == -1
    assert not Classes("faces/label", np.zeros(3, int), ("a", "b", "c"), 5).weights().any()


def test_what_is_no_class_is_refused(loader: DatasetLoader, parts: Parts, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"face_areas is float32, and classes are whole numbers.*use statistics\(\)"):
        loader.classes("faces/face_areas")
    with pytest.raises(UnknownKeyError, match=r"'face_label'.*'face_labels'"):
        loader.classes("faces/face_label")
    with pytest.raises(SplitError, match="no subset 'dev'"):
        loader.classes("faces/face_labels", "dev")  # type: ignore[arg-type]
    fresh = DatasetLoader(write_parts(parts, tmp_path).dataset)
    with pytest.raises(SplitError, match=r"call split\(\)"):
        fresh.classes("faces/face_labels")
    assert fresh.classes("faces/face_labels", None).counts.sum() == len(parts.rows["faces"]["face_labels"])
