"""Colours for classes."""

from __future__ import annotations

import numpy as np
import pytest

from dflow.insights import ColorPalette, group_predictions_by_label
from dflow.insights.palette import NEUTRAL


def test_labels_get_distinct_colours_in_their_order():
    palette = ColorPalette.from_labels(["hole", "slot", "hole", "step"])
    assert palette.keys() == ["hole", "slot", "step"]
    assert len(set(palette.values())) == 3
    assert "slot" in palette
    assert palette.get_color("no such label") == NEUTRAL


def test_reserved_colours_and_descriptions_are_kept():
    palette = ColorPalette.from_labels({0: "hole", 15: "stock"}, reserved_colors={15: (1, 2, 3)})
    assert palette[15] == (1, 2, 3)
    assert palette.get_description(0) == "hole"
    assert palette.get_description(7) == "7"
    np.testing.assert_array_equal(palette.colors_of(np.array([15, 99])), [(1, 2, 3), NEUTRAL])


def test_a_qualitative_map_is_taken_colour_by_colour():
    palette = ColorPalette.from_labels(range(12), "tab10")
    assert palette[0] == (31, 119, 180)  # matplotlib's documented first "tab" colour
    assert palette[10] == palette[0]


@pytest.mark.parametrize("color", [(1, 2), (0, 0, 256), (-1, 0, 0), "red", None])
def test_what_is_no_colour_is_refused(color):
    with pytest.raises(ValueError, match="three numbers"):
        ColorPalette({"a": color})


def test_an_unknown_colour_map_is_named():
    with pytest.raises(ValueError, match="sunset"):
        ColorPalette.from_labels(["a"], "sunset")


def test_predictions_are_grouped_in_the_palettes_order():
    palette = ColorPalette.from_labels({2: "slot", 0: "hole", 15: "stock"})
    groups = group_predictions_by_label(np.array([0, 15, 2, 0, 7]), palette, exclude_labels=[15])
    assert [(faces, text) for faces, _, text in groups] == [([2], "slot"), ([0, 3], "hole"), ([4], "7")]
    assert groups[0][1] == palette[2]
    assert groups[2][1] == NEUTRAL


def test_the_import_path_of_hoops_ai_works():
    from dflow.insights.utils import ColorPalette as AtOldPath

    assert AtOldPath is ColorPalette
