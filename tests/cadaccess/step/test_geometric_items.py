"""Curves and surfaces of a STEP text against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from dflow.cadaccess.files.part21 import Instances, RefusedError, scan
from dflow.cadaccess.files.units import Units
from dflow.cadaccess.geometry.bsplines import evaluate_curves
from dflow.cadaccess.geometry.curves import CurveTable
from dflow.cadaccess.kernel.bintools import Spline
from dflow.cadaccess.step import geometric_items
from dflow.cadaccess.step.traversal import Traversal
from tests.cadaccess.statements import Statements
from tests.cadaccess.stepboxes import StepText


def _instances(part: Statements) -> Instances:
    head = "ISO-10303-21;\nHEADER;\nENDSEC;\nDATA;\n"
    return scan((head + "\n".join(part.lines) + "\nENDSEC;\nEND-ISO-10303-21;\n").encode())


def _units(length: float, angle: float = 1.0) -> Units:
    return Units(length, angle, "unit", (b"#1", b"#2"))


@pytest.mark.parametrize("mm", [1.0, 25.4])
def test_a_box_in_its_units(mm: float) -> None:
    box = StepText()
    solid = box.box(1.0, 2.0, 3.0)
    traversal = Traversal(scan(box.text().encode()))
    traversal.solid(solid.encode())
    found = geometric_items.build_geometry(traversal, _units(mm))
    np.testing.assert_allclose(found.points.max(axis=0), np.array([1, 2, 3]) * mm)
    lengths = found.edges.last - found.edges.first
    np.testing.assert_allclose(np.sort(lengths), np.repeat([1, 2, 3], 4) * mm)
    frames = np.stack([found.faces.x, found.faces.y, found.faces.z], axis=1)
    np.testing.assert_allclose(frames @ frames.transpose(0, 2, 1), np.tile(np.eye(3), (6, 1, 1)), atol=1e-15)
    np.testing.assert_allclose(np.linalg.det(frames), 1.0)


def test_frames_make_the_reference_direction_normal_to_the_axis() -> None:
    places = np.array([[1.0, 2.0, 3.0]])
    directions = np.array([[0.0, 0.0, 1.0], [0.6, 0.0, 0.8], [0.0, 0.0, -1.0]])
    (frame,) = geometric_items._frames(np.array([[0, 0, 1]]), places, directions)
    np.testing.assert_allclose(frame, [[1, 2, 3], [0, 0, 1], [1, 0, 0], [0, 1, 0]], atol=1e-15)
    with pytest.raises(RefusedError, match="directions are parallel"):
        geometric_items._frames(np.array([[0, 0, 2]]), places, directions)


def _quarter(part: Statements, weights: str) -> bytes:
    """A quarter of the unit circle, a rational B-spline of degree 2; its body."""
    poles = ",".join(part.point(pole) for pole in ((1, 0, 0), (1, 1, 0), (0, 1, 0)))
    reference = part.add(
        f"(BOUNDED_CURVE()B_SPLINE_CURVE(2,({poles}),.UNSPECIFIED.,.F.,.F.)"
        "B_SPLINE_CURVE_WITH_KNOTS((3,3),(0.,1.),.UNSPECIFIED.)"
        f"CURVE()GEOMETRIC_REPRESENTATION_ITEM()RATIONAL_B_SPLINE_CURVE(({weights}))REPRESENTATION_ITEM(''))"
    )
    return reference.encode()


def test_a_rational_curve_is_a_quarter_of_a_circle() -> None:
    part = Statements()
    reference = _quarter(part, f"1.,{np.sqrt(0.5)!r},1.".replace("np.float64(", "").replace(")", ""))
    instances = _instances(part)
    spline = geometric_items.parse_curve(instances, instances.bodies[reference])
    assert spline.degree == 2
    points = evaluate_curves([spline], np.array([33]), np.linspace(0.0, 1.0, 33))[0]
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1.0, atol=1e-14)


def test_equal_weights_are_none_and_negative_ones_are_refused() -> None:
    part = Statements()
    equal, negative = _quarter(part, "2.,2.,2."), _quarter(part, "1.,-1.,1.")
    instances = _instances(part)
    assert geometric_items.parse_curve(instances, instances.bodies[equal]).weights is None
    with pytest.raises(RefusedError, match="weights"):
        geometric_items.parse_curve(instances, instances.bodies[negative])


@pytest.mark.parametrize(("times", "knots"), [("3,2", "0.,1."), ("3,3", "1.,0."), ("2,1,2", "0.,0.5,1.")])
def test_knots_that_do_not_fit_are_refused(times: str, knots: str) -> None:
    part = Statements()
    poles = ",".join(part.point(pole) for pole in ((1, 0, 0), (1, 1, 0), (0, 1, 0)))
    reference = part.add(
        f"B_SPLINE_CURVE_WITH_KNOTS('',2,({poles}),.UNSPECIFIED.,.F.,.F.,({times}),({knots}),.UNSPECIFIED.)"
    )
    instances = _instances(part)
    with pytest.raises(RefusedError, match="knots do not fit"):
        geometric_items.parse_curve(instances, instances.bodies[reference.encode()])


def test_a_circle_about_an_axis_in_its_plane_is_a_torus() -> None:
    """Through (5, 0, 1), turned about z: major radius 5; the circle's own 0 points along -x, half a turn away."""
    circle = np.array([[[5.0, 0, 1], [0, -1.0, 0], [-1.0, 0, 0], [0, 0, 1.0]]])
    circle[0, 3] = np.cross(circle[0, 1], circle[0, 2])
    frames, radii, start, hand = geometric_items._as_tori(
        circle, np.array([1.5]), np.zeros((1, 3)), np.array([[0.0, 0.0, 1.0]])
    )
    np.testing.assert_allclose(radii, [[5.0, 1.5]])
    np.testing.assert_allclose(frames[0, 0], [0, 0, 1])
    np.testing.assert_allclose(frames[0, 2], [1, 0, 0])
    assert abs(start[0]) == pytest.approx(np.pi)
    np.testing.assert_allclose(frames[0, 1], [0, 0, hand[0]])
    with pytest.raises(RefusedError, match="beside its plane"):
        geometric_items._as_tori(circle, np.array([1.5]), np.array([[0.0, 1.0, 0.0]]), np.array([[0.0, 0.0, 1.0]]))


@pytest.mark.parametrize(("beyond", "wanted"), [(0.0, 0.0), (5e-8, 0.0), (2e-6, 2e-7), (0.5, 1e-3)])
def test_a_spline_is_cut_off_a_little_beyond_its_vertex(beyond: float, wanted: float) -> None:
    """A straight one, ten millimetres long: what its vertex leaves out, in shares of it, as far as 1e-3."""
    spline = Spline(1, np.array([[0.0, 0, 0], [10.0, 0, 0]]), None, np.array([0.0, 0, 1, 1]))
    none = np.zeros((1, 3))
    table = CurveTable(np.array([7], np.int8), none, none, none, np.zeros((1, 2)), np.zeros(1), np.ones(1), {0: spline})
    ends = np.array([[[beyond, 0.0, 0.0], [10.0, 0.0, 0.0]]])
    found = geometric_items._spline_ranges(table, np.array([0]), ends)
    np.testing.assert_allclose(found, [[wanted, 1.0]], rtol=1e-9, atol=1e-15)
