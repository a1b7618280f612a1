"""A sample as the fields of a graph."""

from __future__ import annotations

import numpy as np
import pytest

from dflow.dataset.training.graphs import graph_fields
from dflow.dataset.training.samples import IndexedItem


def test_equal_names_of_two_groups_keep_their_group():
    fields = graph_fields({"id": 3, "faces/types": np.arange(2), "edges/types": np.arange(3), "faces/area": np.ones(2)})
    assert sorted(fields) == ["area", "edges_types", "faces_types", "id", "increments", "num_nodes"]
    assert fields["num_nodes"] == 2


def test_arcs_become_edge_index_and_row_numbers_get_increments():
    item = {
        "id": 0,
        "faces/face_areas": np.ones(3, np.float32),
        "edges/edge_lengths": np.ones(2),
        "graph/edges_source": np.array([0, 1], np.int32),
        "graph/edges_destination": np.array([1, 2], np.int32),
        "graph/arc_edge": np.array([1, 0], np.int32),
    }
    fields = graph_fields(item)
    assert fields["edge_index"].tolist() == [[0, 1], [1, 2]]
    assert fields["edge_index"].dtype == fields["arc_edge"].dtype == np.int64
    assert fields["increments"] == {"edge_index": ["faces", 3], "arc_edge": ["edges", 2]}
    assert "edges_source" not in fields


def test_one_end_alone_is_an_array_like_any_other():
    fields = graph_fields({"graph/edges_source": np.array([0]), "faces/a": np.ones(1)})
    assert "edge_index" not in fields
    assert fields["increments"] == {"edges_source": ["faces", 1]}


def test_row_numbers_of_a_group_without_arrays_have_no_count():
    assert graph_fields({"graph/arc_edge": np.array([0])})["increments"] == {"arc_edge": ["edges", -1]}


def test_the_items_own_row_numbers_come_before_the_standard_ones():
    values = {"faces/a": np.ones(2), "labels/of_face": np.array([1])}
    item = IndexedItem(values, {"labels/of_face": "faces"})
    assert graph_fields(item)["increments"] == {"of_face": ["faces", 2]}
    assert graph_fields(item, {})["increments"] == {}


@pytest.mark.parametrize("name", ["tool_index", "batch_size", "face"])
def test_names_that_geometric_would_take_for_row_numbers_are_listed_as_none(name):
    assert graph_fields({f"labels/{name}": np.arange(2)})["increments"] == {name: ["", 0]}


def test_a_field_never_takes_a_name_that_the_graph_uses():
    fields = graph_fields({"faces/batch": np.zeros(2), "file/ptr": np.float32(1), "edges/num_nodes": np.zeros(1)})
    assert {"faces_batch", "file_ptr", "edges_num_nodes"} <= fields.keys()
    assert fields["num_nodes"] == 2


def test_absent_arrays_become_no_field_but_count():
    item = {"faces/a": np.ones(4), "graph/edges_source": np.array([0]), "graph/edges_destination": np.array([3])}
    fields = graph_fields(item, absent={"faces/a"})
    assert "a" not in fields
    assert (fields["num_nodes"], fields["increments"]) == (4, {"edge_index": ["faces", 4]})
