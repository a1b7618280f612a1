"""Points and normals on B-splines, revolutions and extrusions, against numpy's evaluation of the tables."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from dflow.cadaccess.geometry import surfaces
from dflow.cadaccess.geometry.curves import CurveTable
from dflow.cadaccess.geometry.surfaces import SurfaceTable
from dflow.cadaccess.kernel import bintools
from dflow.cadaccess.kernel.bintools import Spline, SplineSurface
from dflow.cadaccess.tessellation import facets, triangulation

rng = np.random.default_rng(11)


def _clamped(degree: int, n: int) -> np.ndarray:
    return np.concatenate([np.zeros(degree), np.arange(n - degree + 1), np.full(degree, n - degree)]).astype(float)


def _height_field(n_u: int, n_v: int) -> np.ndarray:
    """Poles of a bumpy sheet, (n_u, n_v, 3)."""
    x, y = np.meshgrid(np.arange(n_u), np.arange(n_v), indexing="ij")
    return np.stack([x, y, rng.uniform(-0.4, 0.4, x.shape)], axis=2).astype(float)


def _tube(n_u: int, n_v: int) -> np.ndarray:
    turn = 2 * np.pi * np.arange(n_u) / n_u
    ring = np.stack([np.cos(turn), np.sin(turn), 0 * turn], axis=1)[:, None]
    return ring * rng.uniform(2, 3, (n_u, n_v, 1)) + np.arange(n_v)[:, None] * [0.0, 0, 1]


def _spline_surfaces() -> list[SplineSurface]:
    flat, tube = _height_field(6, 5), _tube(7, 4)
    return [
        SplineSurface((3, 2), flat, None, _clamped(3, 6), _clamped(2, 5)),
        SplineSurface((5, 4), flat, rng.uniform(0.5, 2, (6, 5)), _clamped(5, 6), _clamped(4, 5)),
        SplineSurface((1, 1), flat, None, _clamped(1, 6), _clamped(1, 5)),
        SplineSurface((3, 2), tube, None, np.arange(8.0), _clamped(2, 4), (True, False)),
        SplineSurface((2, 3), tube.swapaxes(0, 1), None, _clamped(2, 4), np.arange(8.0), (False, True)),
    ]


def _curves() -> list[CurveTable]:
    """A line, conics and splines beside the z axis, one a table."""
    poles = np.column_stack([rng.uniform(2, 3, 6), np.zeros(6), np.arange(6.0)])
    free = [
        Spline(3, poles, None, _clamped(3, 6)),
        Spline(2, poles, rng.uniform(0.5, 2, 6), _clamped(2, 6)),
        Spline(3, poles, None, np.arange(7.0), periodic=True),
    ]
    kinds = [bintools.LINE, bintools.CIRCLE, bintools.ELLIPSE, bintools.PARABOLA, bintools.HYPERBOLA]
    kinds += [bintools.BSPLINE] * len(free)
    frame = (np.array([[5.0, 0, 1]]), np.array([[0.6, 0, 0.8]]), np.array([[-0.8, 0, 0.6]]), np.array([[1.5, 0.7]]))
    range_ = np.zeros(1), np.ones(1)
    kept = [{}] * 5 + [{0: spline} for spline in free]
    return [CurveTable(np.array([k], np.int8), *frame, *range_, own) for k, own in zip(kinds, kept, strict=True)]


def _table(splines: list[SplineSurface], turned: list[CurveTable], drawn: list[CurveTable]) -> SurfaceTable:
    n = len(splines) + len(turned) + len(drawn)
    kind = np.repeat(
        [bintools.BSPLINE_SURFACE, bintools.REVOLUTION, bintools.EXTRUSION], [len(splines), len(turned), len(drawn)]
    ).astype(np.int8)
    frame = np.zeros((n, 4, 3))
    frame[:, 1] = [0.0, 0.0, 1.0]
    frame[len(splines) : len(splines) + len(turned), 0] = [0.1, -0.2, 0.3]
    frame[len(splines) + len(turned) :, 1] = [0.1, 0.9, -0.2]
    origin, z, x, y = (frame[:, i] for i in range(4))
    sweeps = dict(enumerate([*turned, *drawn], start=len(splines)))
    return SurfaceTable(kind, origin, x, y, z, np.zeros((n, 2)), np.ones(n), dict(enumerate(splines)), sweeps)


def _place(table: SurfaceTable, uv: list[np.ndarray], backwards: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    first = np.cumsum([0, *map(len, uv)])
    cut = triangulation.UVTriangles(
        first, np.zeros_like(first), np.concatenate(uv), np.zeros((0, 3), np.int32), np.zeros(0, int)
    )
    points, normals = np.zeros((2, first[-1], 3), np.float32)
    facets.evaluate_free_forms(SimpleNamespace(faces=table, face_reversed=backwards), cut, points, normals)
    return points, normals


def _check(table: SurfaceTable, uv: list[np.ndarray]) -> None:
    backwards = np.arange(len(uv)) % 2 > 0
    points, normals = _place(table, uv, backwards)
    begin = 0
    for row, own in enumerate(uv):
        at, normal = surfaces.evaluate(table, np.array([row]), own[None, :, 0], own[None, :, 1])
        here = slice(begin, begin + len(own))
        np.testing.assert_allclose(points[here], at[0], rtol=1e-5, atol=1e-5, err_msg=str(row))
        np.testing.assert_allclose(normals[here], -normal[0] if backwards[row] else normal[0], atol=1e-5)
        assert np.isfinite(normals[here]).all()
        begin += len(own)


def test_points_and_normals_on_splines():
    splines = _spline_surfaces()
    high = [(s.knots_u[-1], s.knots_v[-1]) for s in splines]
    uv = [rng.uniform(0, 1, (40, 2)) * top for top in high]
    for own, top in zip(uv, high, strict=True):
        own[:4] = [[0, 0], top, [0, top[1]], [top[0], 0]]
        own[5, 0] = own[4, 0]  # neighbours on one line share its basis
    uv[3][6, 0] += high[3][0]  # a period on
    uv[4][6, 1] -= high[4][1]
    _check(_table(splines, [], []), uv)


def test_points_and_normals_on_revolutions_and_extrusions():
    swept = _curves()
    _check(_table([], swept, swept), [rng.uniform(0, 1, (30, 2)) for _ in range(2 * len(swept))])


def test_normals_at_poles_are_limits():
    """A sheet whose first row of poles is one point, and an arc turned about an axis that it touches."""
    poles = _height_field(4, 4)
    poles[0] = poles[0, 0]
    sheet = SplineSurface((3, 3), poles, None, _clamped(3, 4), _clamped(3, 4))
    arc = CurveTable(
        np.array([bintools.CIRCLE], np.int8),
        np.array([[0.1, -0.2, 0.3]]),
        np.array([[0.0, 0, 1]]),
        np.array([[1.0, 0, 0]]),
        np.array([[2.0, 0]]),
        np.zeros(1),
        np.ones(1),
        {},
    )
    uv = rng.uniform(0, 1, (30, 2))
    uv[:3, 0] = 0.0
    _check(_table([sheet], [arc], []), [uv, uv[:, ::-1].copy()])


def test_a_surface_whose_knots_do_not_fit_has_no_points():
    broken = SplineSurface((3, 2), _height_field(6, 5), None, _clamped(3, 5), _clamped(2, 5))
    line = _curves()[5]
    line.splines[0] = Spline(3, np.zeros((3, 3)), None, np.zeros(7))
    points, _normals = _place(_table([broken], [line], []), [np.full((5, 2), 0.5)] * 2, np.zeros(2, bool))
    assert np.isnan(points).all()
