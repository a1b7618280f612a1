"""Points in trimmed faces, against an independent answer."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from OCP.BRep import BRep_Builder
from OCP.BRepBuilderAPI import (
    BRepBuilderAPI_MakeEdge,
    BRepBuilderAPI_MakeFace,
    BRepBuilderAPI_MakePolygon,
    BRepBuilderAPI_MakeWire,
)
from OCP.BRepLib import BRepLib
from OCP.collections import Array1_gp_Pnt
from OCP.Geom import Geom_BezierCurve, Geom_CylindricalSurface, Geom_SphericalSurface, Geom_ToroidalSurface
from OCP.Geom2d import Geom2d_Line
from OCP.gp import gp_Ax3, gp_Dir, gp_Dir2d, gp_Pln, gp_Pnt, gp_Pnt2d
from OCP.TopoDS import TopoDS_Face, TopoDS_Shape

from dflow.cadaccess.measure import trimming
from tests.cadaccess import solids


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), corners=st.integers(3, 12))
@example(seed=974, corners=9)  # one point lies 6e-7 off a side: on it
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
    return side > 0, np.abs(side) > 2 * trimming.ON_TOLERANCE * np.linalg.norm(along, axis=1)


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


def _ribbon(turns: float, pitch: float, width: float, surface: object, *, along_v: bool = False) -> TopoDS_Shape:
    """A band that winds around a surface, between two parallel lines in its (u, v)."""
    far = 2 * np.pi * turns
    corners = [(0.0, 0.0), (far, pitch * turns), (far, pitch * turns + width), (0.0, width)]
    maker = BRepBuilderAPI_MakeWire()
    for start, end in itertools.pairwise([*corners, corners[0]]):
        a, b = (np.array(corner[::-1] if along_v else corner) for corner in (start, end))
        line = Geom2d_Line(gp_Pnt2d(*a), gp_Dir2d(*(b - a)))
        maker.Add(BRepBuilderAPI_MakeEdge(line, surface, 0.0, float(np.linalg.norm(b - a))).Edge())
    face = BRepBuilderAPI_MakeFace(surface, maker.Wire(), True).Face()
    BRepLib.BuildCurves3d_s(face)
    return face


@pytest.mark.parametrize("turns", [0.6, 1.4, 2.0, 3.7])
@pytest.mark.parametrize("name", ["cylinder", "torus_u", "torus_v"])
def test_points_of_a_ribbon_are_inside_if_this_turn_or_one_to_come_holds_them(
    turns: float, name: str, tmp_path: Path
) -> None:
    """As the kernel's classifier has it, which looks at a point of a periodic surface turn after turn."""
    pitch, width, along_v = 0.9, 0.31, name == "torus_v"
    axes = gp_Ax3(gp_Pnt(0, 0, 0), gp_Dir(0, 0, 1))
    surface = Geom_CylindricalSurface(axes, 2.0) if name == "cylinder" else Geom_ToroidalSurface(axes, 9.0, 2.0)
    brep = solids.open_brep(_ribbon(turns, pitch, width, surface, along_v=along_v), tmp_path)
    assert brep.chords.closed.all()
    n_u, n_v = 29, 23
    box = brep.face_uv_bounds()[0]
    u, v = np.linspace(*box[:2], n_u), np.linspace(*box[2:], n_v)
    around, across = np.meshgrid(u, v, indexing="ij")[:: -1 if along_v else 1]
    expected, edge = np.zeros((n_u, n_v), bool), np.full((n_u, n_v), np.inf)
    for turn in range(4):
        moved = around + 2 * np.pi * turn
        height = across - pitch * moved / (2 * np.pi)
        within = (moved > -1e-9) & (moved < 2 * np.pi * turns + 1e-9)
        expected |= within & (height >= 0) & (height <= width)
        edge = np.minimum(
            edge, np.abs(np.stack([height, height - width, moved, moved - 2 * np.pi * turns])).min(axis=0)
        )
    mask = brep.face_samples(n_u, n_v)[0, ..., 6] == 1
    clear = edge > 1e-5
    assert (mask == expected)[clear].all()
    assert mask[clear].any()
    assert not mask[clear].all()
    uv = np.stack(np.meshgrid(u, v, indexing="ij"), axis=-1).reshape(-1, 2)
    assert (brep.kernel.inside(0, uv).reshape(n_u, n_v) == mask)[clear].all()


def test_only_the_boundary_of_a_face_without_area_is_inside(tmp_path: Path) -> None:
    """There and back along one curve, where the kernel's classifier takes points far off it for inside ones."""
    maker = BRepBuilderAPI_MakeWire()
    for backwards in (False, True):
        corners = [(0.0, 0.0), (3.0, 0.5), (4.0, 4.0)]
        poles = Array1_gp_Pnt(1, 3)
        for i, (x, y) in enumerate(corners[:: -1 if backwards else 1], 1):
            poles.SetValue(i, gp_Pnt(x, y, 0))
        maker.Add(BRepBuilderAPI_MakeEdge(Geom_BezierCurve(poles)).Edge())
    plane = gp_Pln(gp_Pnt(0, 0, 0), gp_Dir(0, 0, 1))
    brep = solids.open_brep(BRepBuilderAPI_MakeFace(plane, maker.Wire(), True).Face(), tmp_path)
    mask = brep.face_samples(9, 9)[0, ..., 6]
    ends = np.zeros((9, 9))
    ends[0, 0] = ends[-1, -1] = 1
    np.testing.assert_array_equal(mask, ends)
    u, v = np.meshgrid(np.linspace(0, 4, 9), np.linspace(0, 4, 9), indexing="ij")
    assert brep.kernel.inside(0, np.column_stack([u.ravel(), v.ravel()])).sum() > 20


def test_a_face_without_edges_has_no_chords(tmp_path: Path) -> None:
    face = TopoDS_Face()
    BRep_Builder().MakeFace(face, Geom_SphericalSurface(gp_Ax3(gp_Pnt(0, 0, 0), gp_Dir(0, 0, 1)), 2.0), 1e-7)
    brep = solids.open_brep(face, tmp_path)
    assert len(brep.chords.face) == 0
    assert brep.face_samples(4, 4)[0, ..., 6].all()
    np.testing.assert_allclose(brep.face_areas(), 16 * np.pi, rtol=1e-6)
