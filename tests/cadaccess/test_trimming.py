"""Points in trimmed faces, against an independent answer."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from OCP.BRepBuilderAPI import (
    BRepBuilderAPI_MakeEdge,
    BRepBuilderAPI_MakeFace,
    BRepBuilderAPI_MakePolygon,
    BRepBuilderAPI_MakeWire,
)
from OCP.collections import Array1_gp_Pnt
from OCP.Geom import Geom_BezierCurve
from OCP.gp import gp_Pnt

from dflow.cadaccess import trimming
from tests.cadaccess import solids


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), corners=st.integers(3, 12))
def test_star_shaped_polygons_match_their_polar_answer(
    seed: int, corners: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    generator = np.random.default_rng(seed)
    angle = np.sort(generator.uniform(0, 2 * np.pi, corners))
    if np.diff(angle, append=angle[0] + 2 * np.pi).max() > 3.0 or np.diff(angle).min() < 1e-2:
        return
    radius = generator.uniform(1, 3, corners)
    ring = np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])
    maker = BRepBuilderAPI_MakePolygon()
    for x, y in ring.tolist():
        maker.Add(gp_Pnt(x, y, 0))
    maker.Close()
    face = BRepBuilderAPI_MakeFace(maker.Wire(), True).Face()
    grid = solids.open_brep(face, tmp_path_factory.mktemp("star")).face_samples(23, 21)[0]
    points = grid[..., :2].reshape(-1, 2)
    expected, clear = _in_star(points, ring, angle)
    assert ((grid[..., 6].ravel() == 1) == expected)[clear].all()


def _in_star(points: np.ndarray, ring: np.ndarray, angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inside the triangle of the origin and the two corners around the point's direction; clear of the boundary."""
    turn = np.mod(np.arctan2(points[:, 1], points[:, 0]) - angle[0], 2 * np.pi) + angle[0]
    sector = np.searchsorted(angle, turn, side="right") - 1
    a, b = ring[sector], ring[(sector + 1) % len(ring)]
    along = b - a
    side = along[:, 0] * (points - a)[:, 1] - along[:, 1] * (points - a)[:, 0]
    return side > 0, np.abs(side) > 1e-6


@pytest.mark.parametrize("seed", range(6))
def test_a_bezier_outline_is_followed_exactly(seed: int, tmp_path: Path) -> None:
    generator = np.random.default_rng(seed)
    poles = np.array([[0, 0], [1, 3], [3, -3], [4, 0]]) + generator.uniform(-0.5, 0.5, (4, 2))
    array = Array1_gp_Pnt(1, 4)
    for i, (x, y) in enumerate(poles.tolist(), 1):
        array.SetValue(i, gp_Pnt(x, y, 0))
    low = [gp_Pnt(*poles[3], 0), gp_Pnt(5, -6, 0), gp_Pnt(-1, -6, 0), gp_Pnt(*poles[0], 0)]
    wire = BRepBuilderAPI_MakeWire(BRepBuilderAPI_MakeEdge(Geom_BezierCurve(array)).Edge())
    for a, b in itertools.pairwise(low):
        wire.Add(BRepBuilderAPI_MakeEdge(a, b).Edge())
    brep = solids.open_brep(BRepBuilderAPI_MakeFace(wire.Wire(), True).Face(), tmp_path)
    t = np.linspace(0, 1, 3001)
    curve = np.column_stack([_bernstein(poles[:, i], t) for i in range(2)])
    outline = np.vstack([curve, [[5, -6], [-1, -6]]])
    grid = brep.face_samples(37, 31)[0]
    expected, clear = _even_odd(grid[..., :2].reshape(-1, 2), outline)
    assert ((grid[..., 6].ravel() == 1) == expected)[clear].all()
    x, y = outline[:, 0], outline[:, 1]
    area = abs(0.5 * np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))
    assert brep.area() == pytest.approx(area, rel=1e-6)


def _bernstein(p: np.ndarray, t: np.ndarray) -> np.ndarray:
    return (1 - t) ** 3 * p[0] + 3 * t * (1 - t) ** 2 * p[1] + 3 * t**2 * (1 - t) * p[2] + t**3 * p[3]


def _even_odd(points: np.ndarray, outline: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, b = outline, np.roll(outline, -1, axis=0)
    inside, clear = np.zeros(len(points), bool), np.ones(len(points), bool)
    for i, (x, y) in enumerate(points.tolist()):
        over = (a[:, 1] > y) != (b[:, 1] > y)
        at = a[over, 0] + (y - a[over, 1]) * (b[over, 0] - a[over, 0]) / (b[over, 1] - a[over, 1])
        inside[i] = np.count_nonzero(at > x) % 2 == 1
        along = b - a
        share = np.clip(((x - a[:, 0]) * along[:, 0] + (y - a[:, 1]) * along[:, 1]) / (along**2).sum(axis=1), 0, 1)
        clear[i] = np.hypot(a[:, 0] + share * along[:, 0] - x, a[:, 1] + share * along[:, 1] - y).min() > 1e-4
    return inside, clear


def test_points_on_the_boundary_count_as_inside(tmp_path: Path) -> None:
    brep = solids.open_brep(solids.pocket(), tmp_path)
    grid = brep.face_samples(11, 11)
    whole = brep.face_loops() == 1
    assert (grid[whole, ..., 6] == 1).all()
    holed = grid[~whole][0]
    on_hole = (np.abs(np.abs(holed[..., 0] - 5) - 2) < 1e-9) & (np.abs(holed[..., 1] - 5) <= 2 + 1e-9)
    assert on_hole.any()
    assert (holed[on_hole, 6] == 1).all()


def test_chords_of_a_circle_meet_and_close(tmp_path: Path) -> None:
    chords = solids.open_brep(solids.cylinder(), tmp_path).chords
    assert chords.closed.all()
    for row in range(3):
        span = slice(chords.first[row], chords.first[row + 1])
        assert len(chords.use[span]) >= 4
    assert trimming.ON_TOLERANCE < 1e-5
