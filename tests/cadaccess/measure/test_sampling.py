"""Grids of points on faces and edges, and their masks, against closed forms and the kernel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from OCP.BRepBuilderAPI import BRepBuilderAPI_MakeEdge, BRepBuilderAPI_MakeFace
from OCP.Geom import Geom_Circle, Geom_OffsetCurve, Geom_OffsetSurface
from OCP.gp import gp_Ax2, gp_Dir, gp_Pnt
from OCP.TopoDS import TopoDS_Shape

from dflow.cadaccess import Brep
from dflow.cadaccess.measure import sampling
from tests.cadaccess import solids
from tests.cadaccess.geometry.test_surfaces import _octant

NO_KERNEL: Any = SimpleNamespace()


def _grids(brep: Brep, kernel: Any, shape: tuple[int, int]) -> np.ndarray:
    return sampling.face_grids(brep.tables, kernel, brep.chords, brep.face_uv_bounds(), shape)


@pytest.mark.parametrize("how", ["at_origin", "placed", "mirrored"])
@pytest.mark.parametrize(
    "make", [solids.drilled, solids.filleted_cylinder, solids.cone, solids.sphere], ids=lambda f: f.__name__
)
def test_a_grid_of_a_face_is_the_kernels(make: Callable[[], TopoDS_Shape], how: str, tmp_path: Path) -> None:
    brep = solids.open_brep(solids.place(make(), how), tmp_path)
    grids = _grids(brep, NO_KERNEL, (5, 4))
    for row, (u0, u1, v0, v1) in enumerate(brep.face_uv_bounds().tolist()):
        uv = np.stack(np.meshgrid(np.linspace(u0, u1, 5), np.linspace(v0, v1, 4), indexing="ij"), -1).reshape(-1, 2)
        points, normals = brep.kernel.surface_points(row, uv)
        np.testing.assert_allclose(grids[row, ..., :3].reshape(-1, 3), points, atol=1e-9)
        np.testing.assert_allclose(grids[row, ..., 3:6].reshape(-1, 3), normals, atol=1e-6)
        np.testing.assert_array_equal(grids[row, ..., 6].ravel() == 1, brep.kernel.inside(row, uv))


def test_a_mask_is_one_where_the_face_is(tmp_path: Path) -> None:
    brep = solids.open_brep(solids.drilled(), tmp_path)
    grids = _grids(brep, NO_KERNEL, (41, 41))
    for row in np.flatnonzero(np.isclose(brep.face_areas(), 100 - 4 * np.pi)).tolist():
        from_axis = np.hypot(*(grids[row, ..., :2] - 5).reshape(-1, 2).T)
        np.testing.assert_array_equal(grids[row, ..., 6].ravel() == 1, from_axis >= 2 - 1e-9)


def test_the_two_sides_of_a_seam_have_one_mask(tmp_path: Path) -> None:
    """A half of a ball: its face in (u, v) spans a whole turn, and its mask is the same at both ends of it."""
    brep = solids.open_brep(solids.place(solids.sphere(), "placed"), tmp_path)
    grid = _grids(brep, NO_KERNEL, (9, 5))[0]
    np.testing.assert_allclose(grid[0, :, :3], grid[-1, :, :3], atol=1e-9)
    np.testing.assert_array_equal(grid[0, :, 6], grid[-1, :, 6])
    assert grid[..., 6].all()


@pytest.mark.parametrize(
    ("span", "turn", "joined"),
    [
        (2 * np.pi, 2 * np.pi, True),
        (2 * np.pi + 5e-4, 2 * np.pi, True),
        (6.0, 2 * np.pi, False),
        (7.0, 2 * np.pi, False),
    ],
)
def test_only_a_whole_turn_is_joined_at_its_ends(span: float, turn: float, joined: bool) -> None:
    assert (len(sampling._is_one_turn(np.array([span]), np.array([turn]))) == 1) is joined


@pytest.mark.parametrize("n", [1, 2, 3, 10])
def test_steps_include_both_ends_exactly(n: int) -> None:
    low, high = np.array([0.1, -3.0]), np.array([0.7, 1e9])
    steps = sampling._steps(low, high, n)
    np.testing.assert_allclose(steps, np.linspace(low, high, n, axis=1), rtol=1e-15)
    np.testing.assert_array_equal(steps[:, 0], low)
    if n > 1:
        np.testing.assert_array_equal(steps[:, -1], high)


def test_a_face_without_a_table_is_evaluated_by_the_kernel_beside_the_others(tmp_path: Path) -> None:
    """An offset of a spline patch of a sphere is a patch of a larger sphere."""
    from OCP.BRep import BRep_Tool
    from OCP.TopoDS import TopoDS

    patch = _octant(2, 2.0, flipped=False)
    offset = BRepBuilderAPI_MakeFace(Geom_OffsetSurface(BRep_Tool.Surface_s(TopoDS.Face(patch)), 0.5), 1e-6).Face()
    brep = solids.open_brep(solids.compound(solids.box(), offset), tmp_path)
    assert brep.tables.faces.evaluable.tolist() == [True] * 6 + [False]
    grid = _grids(brep, brep.kernel, (4, 5))[6]
    radii = np.linalg.norm(grid[..., :3] - [40, -25, 60], axis=-1)
    assert np.allclose(radii, radii[0, 0])
    assert radii[0, 0] in (pytest.approx(2.5), pytest.approx(1.5))
    rows = np.array([6, 0])
    u = np.repeat(brep.face_uv_bounds()[rows, :1], 3, axis=1)
    v = np.repeat(brep.face_uv_bounds()[rows, 2:3], 3, axis=1)
    points, normals = sampling.face_points(brep.tables, brep.kernel, rows, u, v)
    np.testing.assert_allclose(points[0], np.tile(grid[0, 0, :3], (3, 1)))
    np.testing.assert_allclose(normals[0], np.tile(grid[0, 0, 3:6], (3, 1)))
    np.testing.assert_allclose(np.linalg.norm(normals, axis=-1), 1.0)


def test_points_of_an_edge_are_even_in_the_parameter_with_unit_tangents(tmp_path: Path) -> None:
    brep = solids.open_brep(solids.cylinder(), tmp_path)
    grids = sampling.edge_grids(brep.tables, NO_KERNEL, brep.kernel_edge_rows, 9)
    circles = grids[brep.edge_types() == 1]
    angles = np.arctan2(circles[..., 1], circles[..., 0])
    np.testing.assert_allclose(np.abs(np.diff(np.unwrap(angles))), np.pi / 4)
    np.testing.assert_allclose(np.linalg.norm(grids[..., 3:], axis=-1), 1.0)
    np.testing.assert_allclose((circles[..., :2] * circles[..., 3:5]).sum(axis=-1), 0.0, atol=1e-12)


def test_an_edge_without_a_table_is_evaluated_by_the_kernel(tmp_path: Path) -> None:
    circle = Geom_Circle(gp_Ax2(gp_Pnt(0, 0, 0), gp_Dir(0, 0, 1)), 2.0)
    edge = BRepBuilderAPI_MakeEdge(Geom_OffsetCurve(circle, 0.5, gp_Dir(0, 0, 1))).Edge()
    brep = solids.open_brep(edge, tmp_path)
    assert not brep.tables.edges.evaluable.any()
    (grid,) = sampling.edge_grids(brep.tables, brep.kernel, brep.kernel_edge_rows, 5)
    radii = np.hypot(grid[:, 0], grid[:, 1])
    assert radii[0] in (pytest.approx(2.5), pytest.approx(1.5))
    np.testing.assert_allclose(radii, radii[0])
    np.testing.assert_allclose(np.linalg.norm(grid[:, 3:], axis=1), 1.0)
