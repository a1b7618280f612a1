"""B-splines against their definition and against the kernel."""

from __future__ import annotations

import numpy as np
import pytest
from OCP.collections import Array1_double, Array1_gp_Pnt, Array1_int
from OCP.Geom import Geom_BSplineCurve
from OCP.gp import gp_Pnt, gp_Vec

from dflow.cadaccess.geometry import bsplines
from dflow.cadaccess.kernel.bintools import Spline, SplineSurface
from dflow.cadaccess.measure import bounding_box


def test_a_quarter_circle_as_a_rational_quadratic() -> None:
    poles = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    spline = Spline(2, poles, np.array([1.0, np.sqrt(0.5), 1.0]), np.repeat([0.0, 1.0], 3))
    points, slopes = bsplines.evaluate_curves([spline], np.array([17]), np.linspace(0, 1, 17))
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1.0, atol=1e-14)
    np.testing.assert_allclose(np.einsum("ij,ij->i", points, slopes), 0.0, atol=1e-14)


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_points_and_slopes_are_the_kernels(seed: int, periodic: bool) -> None:
    spline, curve = _random_spline(np.random.default_rng(seed), periodic=periodic)
    t = np.linspace(spline.knots[0], spline.knots[-1], 31)[:-1] + 1e-3
    points, slopes = bsplines.evaluate_curves([spline], np.array([len(t)]), t)
    at, slope = gp_Pnt(), gp_Vec()
    for i, value in enumerate(t.tolist()):
        curve.D1(value, at, slope)
        np.testing.assert_allclose(points[i], [at.X(), at.Y(), at.Z()], atol=1e-11)
        np.testing.assert_allclose(slopes[i], [slope.X(), slope.Y(), slope.Z()], atol=1e-10)


def _kernel_curve(
    poles: np.ndarray, weights: np.ndarray, knots: np.ndarray, times: np.ndarray, degree: int, periodic: bool
) -> Geom_BSplineCurve:
    p, w = Array1_gp_Pnt(1, len(poles)), Array1_double(1, len(poles))
    k, m = Array1_double(1, len(knots)), Array1_int(1, len(knots))
    for i, row in enumerate(poles.tolist(), 1):
        p.SetValue(i, gp_Pnt(*row))
        w.SetValue(i, float(weights[i - 1]))
    for i in range(len(knots)):
        k.SetValue(i + 1, float(knots[i]))
        m.SetValue(i + 1, int(times[i]))
    return Geom_BSplineCurve(p, w, k, m, degree, periodic)


@pytest.mark.parametrize("seed", range(6))
def test_poles_of_a_part_are_the_kernels(seed: int) -> None:
    generator = np.random.default_rng(seed)
    spline, curve = _random_spline(generator, periodic=False)
    low, high = np.sort(generator.uniform(spline.knots[0], spline.knots[-1], 2))
    curve.Segment(low, high)
    want = [(p.X(), p.Y(), p.Z()) for p in (curve.Pole(i + 1) for i in range(curve.NbPoles()))]
    np.testing.assert_allclose(bsplines.trim(spline, high, low), want, atol=1e-12)
    assert bsplines.trim(spline, spline.knots[0], spline.knots[-1]) is spline.poles


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_box_of_a_part_is_that_of_its_points(seed: int, periodic: bool) -> None:
    generator = np.random.default_rng(seed)
    spline, _ = _random_spline(generator, periodic=periodic)
    low, high = np.sort(generator.uniform(spline.knots[0], spline.knots[-1], 2))
    if periodic:
        low, high = high, low + (spline.knots[-1] - spline.knots[0])  # across the end of the period
    points, _ = bsplines.evaluate_curves([spline], np.array([20001]), np.linspace(low, high, 20001))
    nothing = np.array([[np.inf] * 3, [-np.inf] * 3])
    box = bounding_box.extend_box(nothing, spline, low, high)
    assert (box[0] <= points.min(axis=0) + 1e-13).all()
    assert (box[1] >= points.max(axis=0) - 1e-13).all()
    np.testing.assert_allclose(box, [points.min(axis=0), points.max(axis=0)], atol=1e-6)


@pytest.mark.parametrize(("first", "last"), [(0.0, 1.5), (-0.25, 1.25)])
def test_a_range_that_passes_the_knots_by_a_rounding_error_changes_no_box(first: float, last: float) -> None:
    poles = np.random.default_rng(5).normal(size=(6, 3))
    knots = np.array([first] * 4 + [0.5, 0.75] + [last] * 4)
    nothing = np.stack([np.full(3, np.inf), np.full(3, -np.inf)])
    curve = Spline(3, poles, None, knots)
    exact = bounding_box.extend_box(nothing, curve, first, last)
    for low, high in ((first, np.nextafter(last, 9)), (np.nextafter(first, -9), last), (last, np.nextafter(last, 9))):
        box = bounding_box.extend_box(nothing, curve, low, high)
        np.testing.assert_allclose(box, np.stack([poles[-1]] * 2) if low == last else exact, atol=1e-12)


def test_box_that_holds_a_spline_stays() -> None:
    spline, _ = _random_spline(np.random.default_rng(0), periodic=False)
    ends = bsplines.evaluate_curves([spline], np.array([2]), spline.knots[[0, -1]])[0]
    box = np.array([ends.min(axis=0) - 9.0, ends.max(axis=0) + 9.0])
    np.testing.assert_array_equal(bounding_box.extend_box(box, spline, spline.knots[0], spline.knots[-1]), box)


@pytest.mark.parametrize("periodic", [False, True])
def test_surface_lies_within_its_own_box_only(periodic: bool) -> None:
    generator = np.random.default_rng(5)
    knots_u = np.arange(7.0) if periodic else np.array([0, 0, 0, 0, 0.3, 0.6, 1, 1, 1, 1.0])
    surface = SplineSurface(
        (3, 2),
        generator.normal(size=(6, 5, 3)),
        generator.uniform(0.5, 2, (6, 5)),
        knots_u,
        np.array([0, 0, 0, 0.5, 0.5, 1, 1, 1.0]),
        (periodic, False),
    )
    u, v = np.linspace(knots_u[0], knots_u[-1], 801), np.linspace(0, 1, 801)
    points = bsplines.evaluate_grid(surface, u, v)[0].reshape(-1, 3)
    low, high = points.min(axis=0), points.max(axis=0)
    assert bounding_box.lies_within(surface, low - 1e-4, high + 1e-4)
    for axis in range(3):
        inward = 1e-3 * np.eye(3)[axis]
        assert not bounding_box.lies_within(surface, low - 1e-4 + inward, high + 1e-4)
        assert not bounding_box.lies_within(surface, low - 1e-4, high + 1e-4 - inward)


def _random_spline(generator: np.random.Generator, *, periodic: bool) -> tuple[Spline, Geom_BSplineCurve]:
    degree = int(generator.integers(1, 6))
    knots = np.cumsum(generator.uniform(0.2, 1.0, 6))
    times = np.ones(6, int)
    times[2] = min(2, degree)
    times[[0, -1]] = 1 if periodic else degree + 1
    n_poles = int(times[:-1].sum()) if periodic else int(times.sum()) - degree - 1
    poles, weights = generator.normal(size=(n_poles, 3)), generator.uniform(0.5, 2, n_poles)
    spline = Spline(degree, poles, weights, np.repeat(knots, times), periodic)
    return spline, _kernel_curve(poles, weights, knots, times, degree, periodic)


def test_grid_and_pairs_of_a_surface_agree() -> None:
    generator = np.random.default_rng(0)
    surface = SplineSurface(
        (3, 2),
        generator.normal(size=(6, 5, 3)),
        generator.uniform(0.5, 2, (6, 5)),
        np.array([0, 0, 0, 0, 0.3, 0.6, 1, 1, 1, 1.0]),
        np.array([0, 0, 0, 0.5, 0.5, 1, 1, 1.0]),
    )
    u, v = np.linspace(0, 1, 7), np.linspace(0, 1, 5)
    grid = bsplines.evaluate_grid(surface, u, v)
    pairs = bsplines.evaluate_points(surface, np.repeat(u, 5), np.tile(v, 7))
    for a, b in zip(grid, pairs, strict=True):
        np.testing.assert_allclose(a.reshape(-1, 3), b, atol=1e-12)
    step = 1e-6
    ahead = bsplines.evaluate_points(surface, np.array([0.4 + step]), np.array([0.2]))[0]
    behind = bsplines.evaluate_points(surface, np.array([0.4 - step]), np.array([0.2]))[0]
    du = bsplines.evaluate_points(surface, np.array([0.4]), np.array([0.2]))[1]
    np.testing.assert_allclose((ahead - behind) / (2 * step), du, rtol=1e-5)


@pytest.mark.parametrize("rational", [False, True])
@pytest.mark.parametrize("periodic", [False, True])
def test_twists_are_the_slopes_of_the_slopes(rational: bool, periodic: bool) -> None:
    generator = np.random.default_rng(3)
    surface = SplineSurface(
        (3, 2),
        generator.normal(size=(6, 5, 3)),
        generator.uniform(0.5, 2, (6, 5)) if rational else None,
        np.arange(7.0) if periodic else np.array([0, 0, 0, 0, 0.3, 0.6, 1, 1, 1, 1.0]),
        np.array([0, 0, 0, 0.5, 0.5, 1, 1, 1.0]),
        (periodic, False),
    )
    u, v = generator.uniform(0.05, 0.25, (2, 9))
    step = 1e-5
    ahead, behind = (bsplines.evaluate_points(surface, u, v + side)[1] for side in (step, -step))
    np.testing.assert_allclose(bsplines.evaluate_twists(surface, u, v), (ahead - behind) / (2 * step), atol=1e-6)


def test_splines_together_are_each_by_itself() -> None:
    generator = np.random.default_rng(3)
    splines = [
        Spline(3, generator.normal(size=(6, 3)), None, np.array([0.0, 0, 0, 0, 1, 2, 3, 3, 3, 3])),
        Spline(2, generator.normal(size=(3, 3)), np.array([1.0, 0.7, 1.0]), np.array([0.0, 0, 0, 1, 1, 1])),
        Spline(3, generator.normal(size=(4, 3)), None, np.array([0.0, 1, 2, 3, 4]), periodic=True),
        Spline(3, generator.normal(size=(5, 3)), np.arange(1.0, 6.0), np.array([-1.0, -1, -1, -1, 0, 2, 2, 2, 2])),
    ]
    sizes = np.array([4, 1, 7, 3])
    t = generator.uniform(0.0, 1.0, sizes.sum())
    points, slopes = bsplines.evaluate_curves(splines, sizes, t)
    for spline, own, at, slope in zip(
        splines, *(np.split(a, np.cumsum(sizes)[:-1]) for a in (t, points, slopes)), strict=True
    ):
        alone, alone_slopes = bsplines.evaluate_curves([spline], np.array([len(own)]), own)
        np.testing.assert_allclose(at, alone, rtol=1e-14)
        np.testing.assert_allclose(slope, alone_slopes, rtol=1e-13, atol=1e-13)
