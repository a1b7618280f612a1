"""A group before it is merged: equal to the rows of its samples, read only where it is sliced."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from dflow.dataset.merge.block_reader import Listed
from dflow.dataset.merge.plan import MergePlan, plan_merge
from dflow.errors import DamagedStoreError
from dflow.hoops.lazy_dataset import LazyArray, lazy_dataset
from dflow.storage.paths import FlowPaths
from tests.dataset.samples import SMALL, make_samples

SIZES = [(3, 2), (0, 1), (5, 4), (2, 0), (7, 3)]


@pytest.fixture
def paths(tmp_path: Path) -> FlowPaths:
    return FlowPaths.of(tmp_path, "parts")


@pytest.fixture
def planned(paths: FlowPaths) -> tuple[MergePlan, Listed]:
    records = make_samples(paths, SIZES)
    where = Listed({record.name: str(paths.encoded / f"{record.name}.data") for record in records})
    return plan_merge(records, SMALL), where


def areas() -> np.ndarray:
    return np.concatenate([np.arange(n, dtype=np.float32) + 100 * i for i, (n, _) in enumerate(SIZES)])


def test_it_equals_the_rows_of_the_samples_in_id_order(planned: tuple[MergePlan, Listed]) -> None:
    lazy = lazy_dataset(planned[0], "faces", planned[1])
    assert lazy["face_areas"].chunks is not None
    np.testing.assert_array_equal(lazy["face_areas"].values, areas())
    owners = np.repeat(np.arange(len(SIZES)), [n for n, _ in SIZES])
    np.testing.assert_array_equal(lazy["file_id_code_faces"].values, owners)
    assert np.isnan(lazy["grid"].values[owners % 3 == 0]).all()  # samples without the array
    assert not np.isnan(lazy["grid"].values[owners % 3 != 0]).any()


def test_words_become_codes_of_the_vocabulary(planned: tuple[MergePlan, Listed]) -> None:
    lazy = lazy_dataset(planned[0], "faces", planned[1], {"faces/colour": ["blue", "grün", "red"]})
    assert lazy["colour"].values[:3].tolist() == [2, 0, 1]
    assert lazy["colour"].values[3:8].tolist() == [-1] * 5


def test_a_slice_reads_only_its_own_samples(planned: tuple[MergePlan, Listed], paths: FlowPaths) -> None:
    plan, where = planned
    target = next(a.target for a in plan.groups["faces"].arrays if a.target.name == "face_areas")
    array = pickle.loads(pickle.dumps(LazyArray(plan, "faces", target, where, None)))
    last = paths.encoded / f"{plan.samples.names[-1]}.data"
    last.write_bytes(b"broken")
    np.testing.assert_array_equal(array[2:10], areas()[2:10])
    assert array[4:4].shape == (0,)
    with pytest.raises(DamagedStoreError):
        array[8:12]
