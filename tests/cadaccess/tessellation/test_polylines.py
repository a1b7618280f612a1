"""Curves and boundaries in straight pieces, and the points of triangles, against numpy's evaluation of the tables."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from dflow.cadaccess.geometry import curves, surfaces
from dflow.cadaccess.geometry.curves import CurveTable
from dflow.cadaccess.kernel import bintools
from dflow.cadaccess.kernel.bintools import Spline
from dflow.cadaccess.tessellation import facets, fineness, polylines, splines, triangulation
from tests.cadaccess import solids

rng = np.random.default_rng(7)


def _clamped(degree: int, n_poles: int, *, rational: bool = False, d: int = 3) -> Spline:
    knots = np.concatenate(
        [np.zeros(degree + 1), np.arange(1, n_poles - degree), np.full(degree + 1, n_poles - degree)]
    )
    weights = rng.uniform(0.5, 2.0, n_poles) if rational else None
    return Spline(degree, rng.normal(size=(n_poles, d)), weights, knots.astype(float))


def _ring(degree: int, n_poles: int) -> Spline:
    """Periodic, each knot once."""
    return Spline(degree, rng.normal(size=(n_poles, 3)), None, np.arange(n_poles + 1.0), periodic=True)


SPLINES = [
    _clamped(1, 4),
    _clamped(3, 9),
    _clamped(5, 6, rational=True),
    _clamped(2, 3, rational=True),
    _ring(3, 7),
    _ring(2, 5),
]


def _table(spline_curves: list[Spline]) -> CurveTable:
    """Each kind of line and conic, then the splines."""
    n = 5 + len(spline_curves)
    kind = np.array([1, 2, 3, 4, 5] + [bintools.BSPLINE] * len(spline_curves), np.int8)
    origin, x, y = rng.normal(size=(3, n, 3))
    last = np.array([1.0] * 5 + [s.knots[-1] + (0.7 if s.periodic else 0.0) for s in spline_curves])
    radii = rng.uniform(1, 2, (n, 2))
    radii[1, 1] = 0.0
    kept = dict(enumerate(spline_curves, start=5))
    return CurveTable(kind, origin, x, y, radii, np.zeros(n), last, kept)


def _lines(table: CurveTable, count: np.ndarray, degenerate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    tables = SimpleNamespace(edges=table, edge_degenerate=degenerate)
    return polylines.edge_lines(tables, splines.pack_splines(table), lambda: pytest.fail("the kernel was asked"), count)


def test_polylines_lie_on_their_curves():
    table = _table(SPLINES)
    n = len(table.kind)
    points, offsets = _lines(table, np.arange(1, n + 1), np.zeros(n, bool))
    assert np.diff(offsets).tolist() == list(range(2, n + 2))
    for row in range(n):
        t = np.linspace(table.first[row], table.last[row], row + 2)
        wanted = curves.evaluate(table, np.array([row]), t[None])[0][0]
        np.testing.assert_allclose(points[offsets[row] : offsets[row + 1]], wanted, rtol=1e-6, atol=1e-6)


def test_degenerate_edges_have_no_polyline():
    table = _table([])
    points, offsets = _lines(table, np.full(5, 2), np.array([True, False, True, False, False]))
    assert offsets.tolist() == [0, 3, 6, 9]
    assert len(points) == 9


@pytest.mark.parametrize(
    "broken",
    [
        Spline(3, np.zeros((3, 3)), None, np.zeros(7)),
        Spline(2, np.zeros((5, 3)), None, np.zeros(7)),
        Spline(2, np.zeros((5, 3)), np.ones(4), np.zeros(8)),
    ],
)
def test_a_spline_that_does_not_fit_its_knots_has_no_points(broken):
    table = _table([broken, SPLINES[1]])
    points, offsets = _lines(table, np.full(7, 4), np.zeros(7, bool))
    assert np.isnan(points[offsets[5] : offsets[6]]).all()
    assert np.isfinite(points[offsets[6] :]).all()


@pytest.mark.parametrize("turn", [0.5, 1.0, 1.5])
def test_a_spline_that_is_an_arc_has_as_many_pieces_as_the_arc(turn):
    """Its polygon turns by exactly the arc's angle but for rounding errors."""
    half = turn * np.pi / 2 / 2
    corners = np.exp(1j * half * np.arange(-1, 2)) / [1, np.cos(half), 1]
    pieces = set()
    for angle in np.linspace(0, 1, 20):
        turned = corners * np.exp(1j * angle)
        poles = np.column_stack([turned.real, turned.imag, np.zeros(3)])
        spline = Spline(2, poles, np.array([1, np.cos(half), 1]), np.array([0.0, 0, 0, 1, 1, 1]))
        arc, free = _table([]).take(np.array([1])), _table([spline]).take(np.array([5]))
        for table in (arc, free):
            table.radii[:] = [1.0, 0.0]
            table.origin[:] = 0.0
        arc.last[:] = turn * np.pi / 2
        corner = np.array([[-500.0, 0, 0], [500, 0, 0]])
        for table in (arc, free):
            tables = SimpleNamespace(edges=table, points=corner)
            pieces.add(int(fineness.edge_pieces(tables, splines.pack_splines(table))[1][0]))
    assert pieces == {max(2, int(2 * turn))}


@pytest.mark.parametrize("how", solids.PLACES)
@pytest.mark.parametrize("shape", [solids.drilled, solids.cone, solids.sphere, solids.torus, solids.filleted_cylinder])
def test_triangles_lie_on_their_surfaces(tmp_path: Path, shape, how):
    brep = solids.open_brep(solids.place(shape(), how), tmp_path)
    tables, chords = brep.tables, brep.chords
    size, n_pieces = fineness.edge_pieces(tables, splines.pack_splines(tables.edges))
    outline, rest = polylines.face_outlines(tables, chords, n_pieces)
    assert not len(rest)
    cut = triangulation.triangulate(outline, fineness.face_steps(tables, outline.low, outline.high, size))
    points, normals, _corners, owners = facets.evaluate_elementary(tables, cut)
    assert set(owners) == set(range(tables.n_faces))
    for row in range(tables.n_faces):
        own = slice(cut.first_point[row], cut.first_point[row + 1])
        rows = np.full(own.stop - own.start, row)  # a row each: at an apex every point's own side counts
        at, normal = surfaces.evaluate(tables.faces, rows, cut.points[own, :1], cut.points[own, 1:])
        outward = -normal if tables.face_reversed[row] else normal
        np.testing.assert_allclose(points[own], at[:, 0], rtol=1e-6, atol=1e-5)
        np.testing.assert_allclose(normals[own], outward[:, 0], atol=1e-6)
