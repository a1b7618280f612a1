"""Faces of closed surfaces are what their loops run around, not the rest of the surface, wherever its poles lie."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dflow.cadaccess import CadLoader, complements
from tests.cadaccess import balls, solids, ways
from tests.cadaccess.balls import Ball, Part

PARTS: dict[str, Callable[[Ball], Part]] = {
    "an eighth": lambda ball: ball.octant(),
    "seven eighths": lambda ball: ball.octant(rest=True),
    "a thin wedge": lambda ball: ball.wedge(0.3),
    "most of a wedge": lambda ball: ball.wedge(4.0),
    "a cap": lambda ball: ball.without_caps((-1.2, (0, 0, 1))),
    "without a cap": lambda ball: ball.without_caps((1.5, (1, 2, -0.5))),
    "without two caps": lambda ball: ball.without_caps((1.5, (0, 0, 1)), (1.6, (1, 0, 0))),
    "a zone": lambda ball: ball.without_caps((1.0, (0, 0, 1)), (1.2, (0, 0, -1))),
}
ON_THE_AXIS = [axes for axes in balls.AXES if axes not in ("aslant", "in an edge")]


def _check(ball: Ball, part: Part, folder: Path, *, light: bool = True) -> None:
    path = ball.write(part, folder / "part.step")
    for way in ("any", "text", "light") if light else ("any",):
        model = ways.open_by(way, path)
        if model is not None:
            brep = model.get_brep()
            assert model.find_defects() == {}
            assert brep.volume() == pytest.approx(part.volume, rel=3e-3)  # the kernel's curves near poles are so good
            assert np.abs(brep.face_areas() / part.area - 1).min() < 3e-3


@pytest.mark.parametrize("axes", balls.AXES)
@pytest.mark.parametrize("name", PARTS)
def test_a_part_of_a_ball_is_what_its_edges_run_around(name: str, axes: str, tmp_path: Path) -> None:
    ball = Ball(axes)
    _check(ball, PARTS[name](ball), tmp_path)


@pytest.mark.parametrize("axes", ["along x", "in a vertical plane", "in an edge"])
@pytest.mark.parametrize("name", ["seven eighths", "most of a wedge", "without two caps"])
def test_edges_may_be_cut_in_poles_and_elsewhere(name: str, axes: str, tmp_path: Path) -> None:
    for split in (2, 3):
        ball = Ball(axes, split)
        _check(ball, PARTS[name](ball), tmp_path)


@pytest.mark.parametrize("axes", ON_THE_AXIS)
@pytest.mark.parametrize("name", ["an eighth", "seven eighths", "most of a wedge", "without a cap", "without two caps"])
def test_a_sphere_may_be_a_turned_half_circle(name: str, axes: str, tmp_path: Path) -> None:
    ball = Ball(axes, revolved=True)
    _check(ball, PARTS[name](ball), tmp_path)


SIX = [(1.6, way) for way in (*np.eye(3), *-np.eye(3))]


def test_a_complement_that_cannot_be_mended_is_a_defect(tmp_path: Path) -> None:
    """No meridian runs between these holes, so that healing is left to the kernel."""
    ball = Ball("aslant", revolved=True)
    model = CadLoader().create_from_file(ball.write(ball.without_caps(*SIX), tmp_path / "part.step"))
    found = model.find_defects()
    assert found["face complemented"] == "face 0 is the rest of its surface, which its edges do not run around"
    assert model.for_body(0).find_defects().keys() == {"face complemented"}
    assert model.get_brep().volume() < 0.5 * balls.VOLUME


def test_shapes_whose_loops_all_run_one_way_have_no_complement(tmp_path: Path) -> None:
    whole = solids.open_brep(solids.filleted_cylinder(), tmp_path, ".step")
    for shape in (solids.filleted_cylinder(), solids.filleted_cylinder().Reversed(), solids.box()):
        other = solids.open_brep(shape, tmp_path)
        assert complements.find_complement(other, whole) == complements.find_complement(whole, other) == ""


@pytest.mark.parametrize("rest", [False, True])
def test_a_flag_against_the_edges_makes_no_complement(rest: bool, tmp_path: Path) -> None:
    """The file contradicts itself; the side on which its volume is positive is taken, as for any other face."""
    ball = Ball("along x")
    part = ball.octant(rest=rest, forward=False)
    model = CadLoader().create_from_file(ball.write(part, tmp_path / "part.step"))
    assert "face complemented" not in model.find_defects()
