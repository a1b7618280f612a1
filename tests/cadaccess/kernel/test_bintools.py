"""The kernel's binary form, parsed, against the kernel's own queries of the same shape."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from OCP.BinTools import BinTools, BinTools_FormatVersion
from OCP.BRep import BRep_Builder, BRep_Tool
from OCP.BRepBuilderAPI import BRepBuilderAPI_MakeEdge, BRepBuilderAPI_MakeFace, BRepBuilderAPI_NurbsConvert
from OCP.BRepMesh import BRepMesh_IncrementalMesh
from OCP.collections import Array1_gp_Pnt, Array2_gp_Pnt
from OCP.Geom import (
    Geom_BezierCurve,
    Geom_BezierSurface,
    Geom_Circle,
    Geom_Ellipse,
    Geom_Hyperbola,
    Geom_Line,
    Geom_OffsetCurve,
    Geom_OffsetSurface,
    Geom_Parabola,
    Geom_Plane,
    Geom_RectangularTrimmedSurface,
    Geom_SurfaceOfLinearExtrusion,
    Geom_SurfaceOfRevolution,
    Geom_TrimmedCurve,
)
from OCP.gp import gp_Ax1, gp_Ax2, gp_Ax3, gp_Dir, gp_Pnt
from OCP.TopLoc import TopLoc_Location
from OCP.TopoDS import TopoDS_Edge, TopoDS_Shape

from dflow.cadaccess.kernel import bintools, placement
from dflow.cadaccess.kernel.bintools import ShapeCode, multiply, parse_shape
from dflow.cadaccess.kernel.shape import KernelShape
from dflow.errors import KernelError
from tests.cadaccess import solids

FRAME = gp_Ax2(gp_Pnt(1, 2, 3), gp_Dir(1, 2, 2), gp_Dir(2, 1, -2))


def _parse(shape: TopoDS_Shape) -> ShapeCode:
    return parse_shape(placement.encode_shape(shape))


@pytest.mark.parametrize("how", ["at_origin", "placed"])
@pytest.mark.parametrize(
    "make",
    [solids.box, solids.drilled, solids.filleted_cylinder, solids.sphere, solids.cone, solids.torus],
    ids=lambda f: f.__name__,
)
def test_counts_ranges_and_tolerances_are_the_kernels(make: Callable[[], TopoDS_Shape], how: str) -> None:
    shape = solids.place(make(), how)
    code, kernel = _parse(shape), KernelShape(shape)
    assert len(code.faces) == kernel.face_map.Extent()
    assert len(code.edges) == kernel.edge_map.Extent()
    rows = range(len(code.edges))
    wanted = sorted((BRep_Tool.Tolerance_s(kernel.edge(r)), *BRep_Tool.Range_s(kernel.edge(r))) for r in rows
                    if not BRep_Tool.Degenerated_s(kernel.edge(r)))  # fmt: skip
    found = sorted((e.tolerance, e.first, e.last) for e in code.edges.values() if not e.degenerate)
    assert found == wanted
    assert code.types[code.root[1]] == int(shape.ShapeType())
    assert sum(code.closed[i] for i, kind in enumerate(code.types) if kind == bintools.SHELL) == 1


def _bezier() -> Geom_BezierCurve:
    poles = Array1_gp_Pnt(1, 3)
    for i in (1, 2, 3):
        poles.SetValue(i, gp_Pnt(i, i * i, -i))
    curve = Geom_BezierCurve(poles)
    curve.SetWeight(2, 0.5)
    return curve


CURVES: dict[str, tuple[Callable[[], object], int, tuple[float, ...]]] = {
    "line": (lambda: Geom_Line(gp_Pnt(1, 2, 3), gp_Dir(0, 0, 1)), bintools.LINE, (1, 2, 3, 0, 0, 1)),
    "circle": (lambda: Geom_Circle(FRAME, 2.0), bintools.CIRCLE, (2.0,)),
    "ellipse": (lambda: Geom_Ellipse(FRAME, 3.0, 2.0), bintools.ELLIPSE, (3.0, 2.0)),
    "parabola": (lambda: Geom_Parabola(FRAME, 0.7), bintools.PARABOLA, (0.7,)),
    "hyperbola": (lambda: Geom_Hyperbola(FRAME, 3.0, 2.0), bintools.HYPERBOLA, (3.0, 2.0)),
    "offset": (lambda: Geom_OffsetCurve(Geom_Circle(FRAME, 2.0), 0.5, gp_Dir(1, 2, 2)), bintools.OFFSET_CURVE, ()),
}


def _edge(curve: object) -> TopoDS_Edge:
    return BRepBuilderAPI_MakeEdge(curve, 0.25, 0.75).Edge()


@pytest.mark.parametrize("trimmed", [False, True])
@pytest.mark.parametrize("name", CURVES)
def test_a_curve_has_its_kind_and_numbers_also_where_it_is_trimmed(name: str, trimmed: bool) -> None:
    make, kind, values = CURVES[name]
    curve = Geom_TrimmedCurve(make(), 0.2, 0.8) if trimmed else make()
    builder, edge = BRep_Builder(), TopoDS_Edge()
    builder.MakeEdge(edge, curve, 1e-5)
    builder.Range(edge, 0.25, 0.75)
    code = _parse(edge)
    (record,) = code.edges.values()
    assert (record.tolerance, record.first, record.last) == (1e-5, 0.25, 0.75)
    found = code.curves[record.curve]
    assert found.kind == kind
    assert found.values[-len(values) or len(found.values) :] == pytest.approx(values)
    if kind not in (bintools.LINE, bintools.OFFSET_CURVE):
        third = 1 / 3
        frame = (1, 2, 3, third, 2 * third, 2 * third, 2 * third, third, -2 * third)
        assert found.values[:9] == pytest.approx(frame)


def test_a_bezier_curve_has_its_poles_weights_and_a_knot_at_each_end() -> None:
    code = _parse(_edge(_bezier()))
    (record,) = code.edges.values()
    spline = code.curves[record.curve].spline
    assert spline is not None
    assert spline.degree == 2
    assert spline.poles.tolist() == [[1, 1, -1], [2, 4, -2], [3, 9, -3]]
    assert spline.weights is not None
    assert spline.weights.tolist() == [1, 0.5, 1]
    assert spline.knots.tolist() == [0, 0, 0, 1, 1, 1]


def test_a_bspline_surface_has_its_poles_by_row_and_flat_knots() -> None:
    shape = BRepBuilderAPI_NurbsConvert(solids.cylinder(), True).Shape()
    code = _parse(shape)
    splines = [surface.spline for surface in code.surfaces if surface.kind == bintools.BSPLINE_SURFACE]
    (wall,) = (s for s in splines if s is not None and s.weights is not None and np.ptp(s.weights) != 0)
    assert wall.degrees == (2, 1)
    assert wall.periodic == (True, False)
    np.testing.assert_allclose(np.unique(wall.poles[..., 2]), [0, 7])
    assert (wall.poles[:, 0, 2] == wall.poles[0, 0, 2]).all()  # along u the height stays
    assert wall.knots_u[[0, -1]].tolist() == pytest.approx([0, 2 * np.pi])
    assert len(wall.knots_v) == 2 + wall.degrees[1] + 1


def _patch() -> Geom_BezierSurface:
    poles = Array2_gp_Pnt(1, 2, 1, 3)
    for i in (1, 2):
        for j in (1, 2, 3):
            poles.SetValue(i, j, gp_Pnt(i, j, i * j))
    return Geom_BezierSurface(poles)


def test_surfaces_that_rest_on_a_curve_or_another_surface_keep_it() -> None:
    circle = Geom_Circle(FRAME, 2.0)
    axis = gp_Ax1(gp_Pnt(9, 0, 0), gp_Dir(0, 1, 0))
    plane = Geom_Plane(gp_Ax3(gp_Pnt(0, 0, 4), gp_Dir(0, 0, 1)))
    made = (
        (Geom_SurfaceOfLinearExtrusion(circle, gp_Dir(0, 0, 1)), bintools.EXTRUSION, (0, 0, 1)),
        (Geom_SurfaceOfRevolution(circle, axis), bintools.REVOLUTION, (9, 0, 0, 0, 1, 0)),
        (Geom_RectangularTrimmedSurface(plane, 0.0, 1.0, 0.0, 1.0), bintools.PLANE, None),
        (Geom_OffsetSurface(_patch(), 0.5), bintools.OFFSET, (0.5,)),
        (_patch(), bintools.BEZIER_SURFACE, ()),
    )
    for geometry, kind, values in made:
        code = _parse(BRepBuilderAPI_MakeFace(geometry, 0.0, 1.0, 0.0, 1.0, 1e-6).Face())
        (face,) = code.faces.values()
        found = code.surfaces[face.surface]
        assert found.kind == kind
        assert values is None or found.values == pytest.approx(values)
        assert (found.curve is not None) == (kind in (bintools.EXTRUSION, bintools.REVOLUTION))
        assert (found.basis is not None) == (kind == bintools.OFFSET)
    spline = found.spline
    assert spline is not None
    assert spline.degrees == (1, 2)
    assert spline.poles[1, 2].tolist() == [2, 3, 6]


@pytest.mark.parametrize("normals", [False, True])
def test_a_mesh_of_a_face_is_the_kernels(normals: bool) -> None:
    shape = solids.drilled()
    BRepMesh_IncrementalMesh(shape, 0.1)
    stream = io.BytesIO()
    BinTools.Write_s(shape, stream, True, normals, BinTools_FormatVersion.BinTools_FormatVersion_VERSION_4)
    code, kernel = parse_shape(stream.getvalue()), KernelShape(shape)
    assert len(code.triangulations) == 7
    total = sum(BRep_Tool.Triangulation_s(kernel.face(row), TopLoc_Location()).NbTriangles() for row in range(7))
    assert sum(len(mesh.triangles) for mesh in code.triangulations) == total
    area = 0.0
    for face in code.faces.values():
        mesh = code.triangulations[face.triangulation - 1]
        a, b, c = (mesh.nodes[mesh.triangles[:, i]] for i in range(3))
        area += np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2
    assert area == pytest.approx(2 * (100 - 4 * np.pi) + 4 * 40 + 16 * np.pi, rel=0.02)


def test_neighbours_of_one_datum_merge_and_inverse_chains_cancel() -> None:
    assert multiply(((1, 1),), ((2, 1),)) == ((1, 1), (2, 1))
    assert multiply(((1, 1),), ((1, 2),)) == ((1, 3),)
    assert multiply(((1, 1), (2, 1)), ((2, -1), (1, -1))) == ()
    assert multiply((), ((3, 1),)) == ((3, 1),)


@pytest.mark.parametrize("kept", [0, 40, 300, 0.5, 0.9, -1])
def test_bytes_that_end_early_are_an_error_of_the_kernel(kept: float) -> None:
    data = placement.encode_shape(solids.drilled())
    n = int(kept if kept == -1 or kept > 1 or kept == 0 else kept * len(data))
    with pytest.raises(KernelError, match="the kernel's binary"):
        parse_shape(data[:n])


def test_an_unknown_kind_is_named() -> None:
    data = bytearray(placement.encode_shape(solids.box()))
    section = data.index(b"Surfaces ")
    data[data.index(b"\n", section) + 1] = 77
    with pytest.raises(KernelError, match="a surface of unknown kind 77"):
        parse_shape(bytes(data))


def test_another_section_than_the_expected_one_is_shown() -> None:
    with pytest.raises(KernelError, match=r"b'Open CASCADE Topology V9.*where section b'Locations ' was expected"):
        parse_shape(b"Open CASCADE Topology V9" + b" " * 100)


def test_a_code_has_no_entry_at_index_zero() -> None:
    code = _parse(solids.box())
    assert (code.types[0], code.children[0], code.curves[0].kind, code.surfaces[0].kind) == (-1, [], 0, 0)
