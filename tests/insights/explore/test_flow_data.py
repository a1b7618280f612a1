"""The variables, columns and names of a finished flow, and its next opening after a run."""

from __future__ import annotations

import os

import numpy as np
import pytest

from dflow.errors import DflowError, UnknownKeyError
from dflow.insights.explore.flow_data import FlowData, ReloadedFlow
from dflow.insights.explore.variables import FileVariable, RowVariable
from tests.dataset.synthetic import random_parts, write_parts
from tests.insights.explore.flows import HOSTILE, N_PARTS


def test_keys_are_numbers_per_file_and_per_row_and_reductions_of_these(data):
    assert data.file_values()[:3] == ["face_count", "edge_count", "volume"]
    assert "bounding_box" not in data.file_values()
    arrays = data.row_arrays()
    assert "faces/face_areas" in arrays
    assert not any("uv_grids" in key or "file_id_code" in key for key in arrays)
    assert len(data.reductions()) == 6 * len(arrays)


def test_a_reduction_is_one_number_per_file(data):
    areas = data.numbers("max of faces/face_areas")
    first = data.explorer.file_dataset(0, "faces")["face_areas"].values
    assert areas.shape == (N_PARTS,)
    assert areas[0] == pytest.approx(first.max())
    assert data.numbers("max of faces/face_areas") is areas  # computed once
    assert data.numbers("count of faces/face_areas")[0] == len(first)


def test_variables_know_their_categories_by_name(data):
    category = data.variable("category")
    assert isinstance(category, FileVariable)
    assert category.categories == ((-1, "missing"), (0, "bolt"), (1, HOSTILE), (2, "plate"), (3, "$$x$$"))
    types = data.variable("faces/face_types")
    assert isinstance(types, RowVariable)
    assert types.codes == (0, 1, 2, 5, 14)
    assert types.labels == ["Plane", "Cylinder", "Cone", "5", "14"]
    assert types.matrix[0].sum() == 6
    assert data.variable("category") is category


def test_numbers_of_rows_are_binned_with_all_rows_in_some_bin(data):
    areas = data.variable("faces/face_areas")
    assert areas.labels is None
    assert areas.counts().sum() == data.explorer.get_array_data("faces", "face_areas").size


def test_columns_are_numbers_or_texts(data):
    assert data.column("id").tolist() == list(range(N_PARTS))
    assert data.column("description").dtype == object
    assert data.column("volume").dtype == np.float64
    assert data.table_columns()[0] == "face_count"
    assert data.names_of_codes("face_types") == {0: "Plane", 1: "Cylinder", 2: "Cone"}
    assert data.names_of_codes("face_areas") == {}


@pytest.mark.parametrize("key", ["weight", "faces/weight", "max of faces/weight", "max of holes/area"])
def test_an_unknown_key_is_an_error(data, key):
    with pytest.raises(UnknownKeyError):
        data.variable(key)


def test_a_replaced_dataset_is_opened_again_and_a_missing_one_is_kept(tmp_path):
    paths = write_parts(random_parts(4), tmp_path / "now", "flow")
    flow = ReloadedFlow(paths.flow_file)
    first = flow.current()
    assert flow.current() is first
    later = write_parts(random_parts(6), tmp_path / "later", "flow")
    os.replace(paths.root, tmp_path / "old")
    assert flow.current() is first
    os.replace(later.root, paths.root)
    assert (flow.current().n_files, flow.current() is flow.current()) == (6, True)
    flow.close()
    with pytest.raises(DflowError):
        FlowData(tmp_path / "none.flow")
