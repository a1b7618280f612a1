"""Options of the arrays: defaults, allowed values, and changes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from dflow.cadencoder.options import EncodeOptions
from dflow.errors import RecipeError


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sample": 100}, "there is no option 'sample'; the options are face_grid"),
        ({"samples": 0}, "samples must be at least 1"),
        ({"samples": 1.5}, "samples must be an integer"),
        ({"bins": True}, "bins must be an integer"),
        ({"face_grid": (5,)}, "face_grid must be one number or two"),
        ({"face_grid": (5, 0)}, "face_grid must be at least 1"),
        ({"face_grid": "5"}, "face_grid must be an integer"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"max_pair_bytes": -1}, "max_pair_bytes must be at least 0"),
        ({"method": "uniform"}, "method must be one of area, grid"),
        ({"kind": "normal"}, "kind must be one of points, normals"),
        ({"collapse": 1}, "collapse must be True or False"),
        ({"smooth_degrees": "five"}, "smooth_degrees must be a number"),
        ({"smooth_degrees": True}, "smooth_degrees must be a number"),
        ({"smooth_degrees": float("nan")}, "smooth_degrees must lie between"),
        ({"smooth_degrees": 180.5}, "smooth_degrees must lie between"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused_by_name(changes, message):
    with pytest.raises(RecipeError, match=message.replace("(", r"\(")):
        EncodeOptions().override(changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"face_grid": 1, "curve_grid": 1, "samples": 1, "seed": 0, "max_pair_bytes": 0},
        {"smooth_degrees": 0},
        {"smooth_degrees": 180.0},
        {"samples": np.int32(7)},
    ],
)
def test_the_ends_of_the_ranges_and_numpy_integers_are_allowed(changes):
    options = EncodeOptions().override(changes)
    assert {name: getattr(options, name) for name in changes} == changes


def test_one_number_of_a_face_grid_stands_for_both_ways():
    assert EncodeOptions(face_grid=4).face_grid_shape == (4, 4)
    assert EncodeOptions(face_grid=(2, 7)).face_grid_shape == (2, 7)


def test_a_change_leaves_the_original_and_the_other_options_as_they_were():
    options = EncodeOptions(seed=3)
    changed = options.override({"bins": 8})
    assert (options.bins, changed.bins, changed.seed) == (64, 8, 3)
    assert dataclasses.replace(changed, bins=64) == options
