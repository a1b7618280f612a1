"""A sample as the fields of a graph."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dflow.dataset.training.collate import INDEX_ARRAYS
from dflow.dataset.training.graphs import (
    ENDS,
    both_directions,
    exported_fields,
    exported_item,
    graph_fields,
    graph_form,
    with_masks,
)
from dflow.dataset.training.samples import IndexedItem
from dflow.errors import DatasetError


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


def part(**more: Any) -> IndexedItem:
    """Three faces in a row, two edges, and an arc of each edge."""
    values = {
        "id": 0,
        "faces/area": np.array([1.0, np.nan, 3.0], np.float32),
        "faces/kind": np.array([0, 2, -1], np.int32),
        "faces/label": np.array([4, -7, 5], np.int8),
        "edges/angle": np.array([0.5, np.nan]),
        "edges/kind": np.array([1, 0], np.int32),
        "graph/edges_source": np.array([0, 1], np.int32),
        "graph/edges_destination": np.array([1, 2], np.int32),
        "graph/arc_edge": np.array([1, 0], np.int32),
        "file/volume": np.float64(2.5),
        **more,
    }
    return IndexedItem(values, INDEX_ARRAYS)


def test_features_and_labels_are_joined_in_the_types_that_networks_take():
    form = graph_form(
        x=["faces/area", "faces/kind"],
        y="faces/label",
        edge_attr=["edges/angle", "edges/kind"],
        one_hot={"faces/kind": 3},
    )
    fields = form.fields(part(), [])
    assert fields["x"].tolist() == [[1, 1, 0, 0], [0, 0, 0, 1], [3, 0, 0, 0]]  # NaN is 0, a code of -1 no column
    assert fields["y"].tolist() == [4, -1, 5]
    assert fields["edge_attr"].tolist() == [[0, 0], [0.5, 1]]  # by arc_edge
    assert [fields[name].dtype for name in ("x", "y", "edge_attr", "edge_index")] == [
        np.float32, np.int64, np.float32, np.int64,
    ]  # fmt: skip
    assert fields.keys() == {"id", "x", "y", "edge_attr", "edge_index", "num_nodes"}
    assert np.isnan(replace(form, nan=None).fields(part(), [])["x"][1, 0])


def test_both_directions_carry_the_same_features():
    fields = graph_form(edge_attr=["edges/kind", "graph/arc_edge"], undirected=True).fields(part(), ["graph/arc_edge"])
    assert fields["edge_index"].tolist() == [[0, 1, 1, 2], [1, 2, 0, 1]]
    assert fields["edge_attr"].tolist() == [[0, 1], [1, 0], [0, 1], [1, 0]]
    assert fields["arc_edge"].tolist() == [1, 0, 1, 0]
    assert fields["increments"] == {"arc_edge": ["edges", 2]}


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ([[0, 1], [1, 0]], [[0, 1], [1, 0]]),  # both ways already
        ([[0, 0, 1], [1, 1, 1]], [[0, 0, 1, 1, 1], [1, 1, 1, 0, 0]]),  # two arcs of a pair, and a loop
        ([[0, 1, 2], [1, 0, 1]], [[0, 1, 2, 1], [1, 0, 1, 2]]),  # one pair both ways, one not
        ([[], []], [[], []]),
    ],
)
def test_only_missing_directions_are_added(ends, expected):
    item = part() | dict(zip(ENDS, np.array(ends, np.int32), strict=True))
    item["graph/arc_edge"] = np.zeros(len(ends[0]), np.int32)
    found = both_directions(IndexedItem(item, INDEX_ARRAYS))
    assert np.array([found[end] for end in ENDS]).tolist() == expected
    assert len(found["graph/arc_edge"]) == len(expected[0])


def test_what_differs_by_direction_is_not_copied():
    with pytest.raises(DatasetError, match=r"graph/arc_u_grids of an arc and its reverse differ.*both_directions=True"):
        both_directions(part(**{"graph/arc_u_grids": np.zeros((2, 3, 6))}))
    with pytest.raises(DatasetError, match="add 'graph' to columns="):
        both_directions(IndexedItem({"faces/a": np.ones(1)}, {}))


def test_a_part_without_edges_or_faces_has_the_same_fields():
    item = {
        key: np.zeros((0, *np.shape(value)[1:]), np.asarray(value).dtype) for key, value in part().items() if "/" in key
    }
    item |= {"file/volume": np.float64(0), "id": 1}
    form = graph_form(x=["faces/area"], y="faces/label", edge_attr=["edges/kind"], undirected=True)
    fields = form.fields(IndexedItem(item, INDEX_ARRAYS), [])
    assert {key: np.shape(value) for key, value in fields.items()} == {
        "id": (), "x": (0, 1), "y": (0,), "edge_attr": (0, 1), "edge_index": (2, 0), "num_nodes": (),
    }  # fmt: skip
    with_faces = part(**{key: value for key, value in item.items() if key.startswith(("edges/", "graph/"))})
    assert form.fields(with_faces, [])["edge_attr"].shape == (0, 1)


def test_masks_say_what_a_part_lacks():
    has = {"faces/area": False, "faces/label": False, "edges/kind": True, "file/volume": False}
    item = with_masks(part(), has)
    assert item["faces/area_mask"].tolist() == [False] * 3
    assert item["file/volume_mask"] == np.False_
    form = graph_form(x=["faces/area", "faces/kind"], y="faces/label", edge_attr=["edges/kind", "edges/angle"])
    fields = form.fields(item, [])
    assert fields["x"].tolist() == [[0, 0], [0, 2], [0, -1]]
    assert (fields["x_mask"].tolist(), fields["y_mask"].tolist()) == ([False] * 3, [False] * 3)
    assert fields["y"].tolist() == [-1] * 3  # whatever the dataset holds in their place
    assert fields["edge_attr_mask"].tolist() == [True, True]
    assert "volume_mask" in graph_form().fields(item)
    with pytest.raises(DatasetError, match="needs the name faces/area_mask for its mask"):
        with_masks(part(**{"faces/area_mask": np.zeros(3)}), has)


def test_a_value_of_the_file_may_be_the_label():
    fields = graph_form(y="file/volume").fields(part(), [])
    assert (fields["y"].tolist(), fields["y"].dtype, fields["y_mask"].tolist()) == ([2.5], np.float32, [True])
    missing = graph_form(y="file/volume").fields(part(**{"file/volume": np.float64(np.nan)}), [])
    assert (missing["y"].tolist(), missing["y_mask"].tolist()) == ([0.0], [False])
    box = graph_form(y="file/box").fields(part(**{"file/box": np.arange(6.0)}), [])
    assert box["y"].shape == (1, 6)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"x": "edges/kind"}, "x='edges/kind' has no row per face"),
        ({"edge_attr": "faces/kind"}, "edge_attr='faces/kind' has no row per arc.*graph/arc_edge"),
        ({"edge_attr": "coedges/a"}, "graph/arc_coedge, which the columns lack"),
        ({"x": "faces/kind", "one_hot": {"faces/area": 3}}, "one_hot='faces/area' is no array of x="),
        ({"x": "faces/colour"}, "'faces/colour' is no array of the item"),
        ({"x": "faces/kind", "one_hot": {"faces/kind": 2}}, "holds the code 2, one_hot has 2 columns.*3} or more"),
        ({"x": "faces/name"}, "features are numbers"),
        ({"y": "faces/name"}, "labels are numbers"),
        ({"y": ["faces/label"]}, "expected one array's name"),
    ],
)
def test_what_cannot_be_joined_says_why(form, message):
    item = part(**{"faces/name": np.array(["a", "b", "c"])})

    def join() -> None:
        made = graph_form(**form)
        made.check(item.index_arrays, list(item))
        made.fields(item, [])

    with pytest.raises(DatasetError, match=message):
        join()


def test_an_exported_item_is_the_item():
    item = with_masks(part(**{"file/box": np.arange(6.0), "edges/label": np.ones(2)}), {"faces/area": True})
    back = exported_item(exported_fields(item))
    assert back.keys() == item.keys()
    for key, value in item.items():
        np.testing.assert_array_equal(back[key], value, err_msg=key)
    assert back.index_arrays == {key: target for key, target in INDEX_ARRAYS.items() if key in item}
