"""The data of one part's page."""

from __future__ import annotations

import numpy as np
import pytest

from dflow.errors import UnknownKeyError
from dflow.insights.explore.flow_data import FlowData
from dflow.insights.explore.part import SHADES, part_data
from tests.dataset.synthetic import Parts, write_parts
from tests.insights.explore.flows import HOSTILE, N_PARTS


def test_a_parts_page_says_everything_of_the_part(data):
    part = part_data(data, 0)
    assert (part["name"], part["hasMesh"], part["hasPicture"]) == (f"{HOSTILE}.step", True, True)
    assert {tuple(row[:4]) for row in part["arrays"]} >= {
        ("faces", "face_areas", "6", "float32"),
        ("faces", "face_uv_grids", "6 × 3 × 3 × 7", "float32"),
    }
    assert [c["name"] for c in part["colorings"]] == ["face_labels", "face_types", "face_areas"]
    for coloring in part["colorings"]:
        assert len(coloring["colors"]) == len(coloring["texts"]) == 6
    assert len(part["graph"]["places"]) == 6
    source = data.explorer.file_dataset(0, "graph")["edges_source"].values
    assert [arc[0] for arc in part["graph"]["arcs"]] == source.tolist()
    assert [failure["message"] for failure in part["failures"]] == ["its second body"]
    assert part_data(data, N_PARTS // 2)["colorings"] == []  # the part without faces


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Two parts: one of 500 faces with a constant and a missing number, one without arcs."""
    counts = np.array([500, 2])
    shade = np.full(502, 4.0)
    shade[:2] = np.nan
    rows = {"faces": {"shade": shade, "kind": np.arange(502, dtype=np.int32) % 3, "face_centroids": np.zeros((502, 3))}}
    parts = Parts({"faces": counts}, rows, {"mass": np.array([0.1234567, np.nan])})
    data = FlowData(write_parts(parts, tmp_path_factory.mktemp("part")).flow_file)
    yield data
    data.close()


def test_shades_of_equal_and_missing_numbers_have_colours(other):
    shades = next(c for c in part_data(other, 0)["colorings"] if c["name"] == "shade")
    assert shades["colors"][0] == [190, 190, 190]
    assert shades["colors"][2] == list(SHADES[0])
    assert shades["texts"][:3] == ["nan", "nan", "4"]
    assert [text for _, text in shades["legend"]] == ["4", "4"]


def test_codes_without_names_are_their_numbers(other):
    kinds = next(c for c in part_data(other, 1)["colorings"] if c["name"] == "kind")
    assert kinds["texts"] == ["2", "0"]
    assert [text for _, text in kinds["legend"]] == ["0", "2"]


def test_the_range_of_an_array_leaves_out_what_is_missing(other):
    rows = {row[1]: row[2:] for row in part_data(other, 0)["arrays"]}
    assert rows["shade"] == ["500", "float64", "4 to 4", "nan, nan, 4, 4, 4, 4, 4, 4 …"]
    assert rows["face_centroids"][0] == "500 × 3"
    assert ["mass", "0.123457"] in part_data(other, 0)["values"]


def test_a_part_without_a_graph_has_a_note(other):
    assert part_data(other, 0)["graph"] == {"note": "This dataset has no face graph.", "places": [], "arcs": []}


def test_a_graph_of_too_many_faces_is_not_drawn(data, monkeypatch):
    monkeypatch.setattr("dflow.insights.explore.part.MAX_GRAPH_FACES", 5)
    assert part_data(data, 0)["graph"]["note"] == "6 faces are too many to draw as a graph."
    assert part_data(data, N_PARTS // 2)["graph"]["note"] == "This part has no faces."


def test_an_unknown_part_is_an_error(data):
    with pytest.raises(UnknownKeyError, match=f"no part has the file id {N_PARTS}"):
        part_data(data, N_PARTS)
