"""Areas, volumes and centroids of free forms: solids turned into splines, and sweeps by Pappus."""

from __future__ import annotations

import itertools
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from OCP.BRepBuilderAPI import BRepBuilderAPI_MakeEdge, BRepBuilderAPI_MakeFace, BRepBuilderAPI_MakeWire
from OCP.BRepBuilderAPI import BRepBuilderAPI_NurbsConvert as NurbsConvert
from OCP.BRepPrimAPI import BRepPrimAPI_MakePrism, BRepPrimAPI_MakeRevol
from OCP.collections import Array1_gp_Pnt, Array2_gp_Pnt
from OCP.GeomAPI import GeomAPI_PointsToBSpline, GeomAPI_PointsToBSplineSurface
from OCP.gp import gp_Ax1, gp_Dir, gp_Pnt, gp_Vec
from OCP.TopoDS import TopoDS_Shape

from dflow.cadaccess import Brep
from dflow.cadaccess.geometry import bsplines
from dflow.cadaccess.kernel import bintools
from dflow.cadaccess.measure import moments, trimming
from tests.cadaccess import solids

SOLIDS = ("box", "cylinder", "cone", "sphere", "torus", "pocket", "drilled", "boss", "filleted_cylinder")


class _NoKernel:
    """Fails the test that asks the kernel for a face's integral."""

    def face_moments(self, row: int) -> None:
        raise AssertionError(f"face {row} was left to the kernel")

    face_cone = face_moments


def _measured(brep: Brep) -> tuple[np.ndarray, np.ndarray, float, np.ndarray]:
    """Areas, centroids, volume and centroid, all by numpy."""
    brep._kernel = _NoKernel()  # type: ignore[assignment]
    return brep.face_areas(), brep.face_centroids(), brep.volume(), brep.centroid()


@pytest.mark.parametrize("how", solids.PLACES)
@pytest.mark.parametrize("name", SOLIDS)
def test_a_solid_of_splines_measures_what_the_solid_did(name: str, how: str, tmp_path: Path) -> None:
    shape = solids.place(getattr(solids, name)(), how)
    plain = solids.open_brep(shape, tmp_path)
    splines = solids.open_brep(NurbsConvert(shape, True).Shape(), tmp_path)
    assert (splines.tables.faces.kind > bintools.TORUS).all()
    areas, centroids, volume, centre = _measured(splines)
    box = plain.bounding_box()
    size = float(np.linalg.norm(box[3:] - box[:3]))
    np.testing.assert_allclose(areas, plain.face_areas(), rtol=5e-9)
    np.testing.assert_allclose(centroids, plain.face_centroids(), atol=1e-9 * size)
    assert volume == pytest.approx(plain.volume(), rel=5e-9)
    np.testing.assert_allclose(centre, plain.centroid(), rtol=0, atol=1e-7 * size)


def _wavy(n: int = 9) -> tuple[BRepBuilderAPI_MakeEdge, np.ndarray]:
    """An edge through points that go up and down at 3 to 5 mm from the z axis, and points along it, (k, 2): x, z."""
    height = np.linspace(0.0, 8.0, n)
    points = Array1_gp_Pnt(1, n)
    for i, z in enumerate(height.tolist(), 1):
        points.SetValue(i, gp_Pnt(4.0 + np.sin(1.7 * z), 0.0, z))
    curve = GeomAPI_PointsToBSpline(points, 3, 3).Curve()
    line = [curve.Value(t) for t in np.linspace(curve.FirstParameter(), curve.LastParameter(), 40001).tolist()]
    return BRepBuilderAPI_MakeEdge(curve), np.array([(p.X(), p.Z()) for p in line])


def _closed_wire(edge: BRepBuilderAPI_MakeEdge) -> TopoDS_Shape:
    """The edge, and straight ones back over x = 0."""
    corners = [gp_Pnt(4.0 + np.sin(1.7 * 8.0), 0, 8), gp_Pnt(1, 0, 8), gp_Pnt(1, 0, 0), gp_Pnt(4, 0, 0)]
    wire = BRepBuilderAPI_MakeWire(edge.Edge())
    for start, end in itertools.pairwise(corners):
        wire.Add(BRepBuilderAPI_MakeEdge(start, end).Edge())
    return BRepBuilderAPI_MakeFace(wire.Wire()).Shape()


@pytest.mark.parametrize("angle", [1.3, 2 * np.pi])
def test_a_revolved_spline_by_pappus(angle: float, tmp_path: Path) -> None:
    edge, line = _wavy()
    axis = gp_Ax1(gp_Pnt(0, 0, 0), gp_Dir(0, 0, 1))
    brep = solids.open_brep(BRepPrimAPI_MakeRevol(_closed_wire(edge), axis, angle).Shape(), tmp_path)
    step, middle = np.diff(line, axis=0), 0.5 * (line[1:] + line[:-1])
    row = int(np.flatnonzero(brep.tables.faces.kind == bintools.REVOLUTION)[0])
    areas, _, volume, centre = _measured(brep)
    assert areas[row] == pytest.approx(angle * (middle[:, 0] * np.hypot(*step.T)).sum(), rel=1e-7)
    ring = 0.5 * (middle[:, 0] ** 2 - 1.0) * step[:, 1]
    assert volume == pytest.approx(angle * ring.sum(), rel=1e-7)
    assert centre[2] == pytest.approx((ring * middle[:, 1]).sum() / ring.sum(), rel=1e-7)


def test_an_extruded_spline_is_its_length_times_the_depth(tmp_path: Path) -> None:
    edge, line = _wavy()
    brep = solids.open_brep(BRepPrimAPI_MakePrism(_closed_wire(edge), gp_Vec(0, 2.5, 0)).Shape(), tmp_path)
    row = int(np.flatnonzero(brep.tables.faces.kind == bintools.EXTRUSION)[0])
    step, middle = np.diff(line, axis=0), 0.5 * (line[1:] + line[:-1])
    areas, centroids, volume, centre = _measured(brep)
    length = np.hypot(*step.T)
    assert areas[row] == pytest.approx(2.5 * length.sum(), rel=1e-7)
    np.testing.assert_allclose(centroids[row, [0, 2]], (length @ middle) / length.sum(), rtol=1e-6)
    across = ((middle[:, 0] - 1.0) * step[:, 1]).sum()
    assert abs(volume) == pytest.approx(2.5 * across, rel=1e-7)
    assert centre[1] == pytest.approx(1.25, abs=1e-9)


def test_a_patch_of_many_spans_whose_lines_nearly_stand_still_by_pappus(tmp_path: Path) -> None:
    edge, line = _wavy(25)
    axis = gp_Ax1(gp_Pnt(0, 0, 0), gp_Dir(0, 0, 1))
    swept = BRepPrimAPI_MakeRevol(edge.Edge(), axis, 2.0).Shape()
    brep = solids.open_brep(NurbsConvert(swept, True).Shape(), tmp_path)
    step, middle = np.diff(line, axis=0), 0.5 * (line[1:] + line[:-1])
    assert brep.moments.known[0]
    assert brep.moments.area[0] == pytest.approx(2.0 * (middle[:, 0] * np.hypot(*step.T)).sum(), rel=2e-7)


def test_a_terrain_of_many_cells_is_integrated_in_little_memory(tmp_path: Path) -> None:
    """A net of 60 × 60 cells: sums over a fine grid at the rules' own orders would hold hundreds of megabytes."""
    n = 61
    generator = np.random.default_rng(1)
    points = Array2_gp_Pnt(1, n, 1, n)
    for i in range(n):
        for j in range(n):
            points.SetValue(i + 1, j + 1, gp_Pnt(10.0 * i, 10.0 * j, float(generator.normal(0, 0.5))))
    surface = GeomAPI_PointsToBSplineSurface()
    surface.Interpolate(points)
    brep = solids.open_brep(BRepBuilderAPI_MakeFace(surface.Surface(), 1e-7).Face(), tmp_path)
    spline = brep.tables.faces.splines[0]
    tracemalloc.start()
    assert brep.moments.known[0]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 150e6
    u, v = (np.unique(knots) for knots in (spline.knots_u, spline.knots_v))
    nodes, weights = np.polynomial.legendre.leggauss(16)
    (at_u, share_u), (at_v, share_v) = (
        (
            (k[:-1, None] + np.diff(k)[:, None] * (0.5 + 0.5 * nodes)).ravel(),
            (np.diff(k)[:, None] * weights / 2).ravel(),
        )
        for k in (u, v)
    )
    _, du, dv = bsplines.evaluate_grid(spline, at_u, at_v)
    area = share_u @ np.linalg.norm(np.cross(du, dv), axis=-1) @ share_v
    assert brep.moments.area[0] == pytest.approx(area, rel=2e-7)


def test_a_face_whose_loop_runs_the_wrong_way_is_left_to_the_kernel(tmp_path: Path) -> None:
    brep = solids.open_brep(NurbsConvert(solids.sphere(), True).Shape(), tmp_path)
    brep.tables.use_forward[:] = ~brep.tables.use_forward
    assert not moments.integrate(brep.tables, trimming.build_chords(brep.tables)).known.any()


def test_a_shape_without_faces_has_no_chords(tmp_path: Path) -> None:
    edge, _ = _wavy()
    brep = solids.open_brep(BRepBuilderAPI_MakeWire(edge.Edge()).Wire(), tmp_path)
    assert (brep.n_faces, len(brep.chords.face), len(brep.face_areas())) == (0, 0, 0)
