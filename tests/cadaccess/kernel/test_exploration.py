"""Traversal in the kernel's order: rows, orientations, places and bodies against the kernel's own maps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from OCP.BRep import BRep_Builder, BRep_Tool
from OCP.gp import gp_Trsf, gp_Vec
from OCP.TopAbs import TopAbs_FACE, TopAbs_SHELL, TopAbs_VERTEX
from OCP.TopExp import TopExp, TopExp_Explorer
from OCP.TopLoc import TopLoc_Location
from OCP.TopoDS import TopoDS_Compound, TopoDS_Iterator, TopoDS_Shape

from dflow.cadaccess.kernel import bintools, exploration, placement
from dflow.cadaccess.kernel.bintools import ShapeCode
from dflow.cadaccess.kernel.exploration import Exploration, Places
from dflow.cadaccess.kernel.shape import KernelShape, ShapeMap
from tests.cadaccess import solids


def _code(shape: TopoDS_Shape) -> tuple[ShapeCode, Places]:
    code = bintools.parse_shape(placement.encode_shape(shape))
    return code, Places(code)


def _explore(shape: TopoDS_Shape) -> tuple[Exploration, ShapeCode, Places]:
    code, places = _code(shape)
    return exploration.explore(code, places, exploration.root_node(code, places)), code, places


def _shift(x: float) -> TopLoc_Location:
    move = gp_Trsf()
    move.SetTranslation(gp_Vec(x, 0, 0))
    return TopLoc_Location(move)


def _nested() -> TopoDS_Shape:
    """A box, its copy in a placed compound twice over, and a face of it reversed."""
    part = solids.box()
    inner = solids.compound(part.Moved(_shift(5)), solids.cylinder()).Moved(_shift(7))
    face = TopExp_Explorer(part, TopAbs_FACE).Current().Reversed()
    return solids.compound(part, inner, inner.Moved(_shift(20)), face, part.Moved(_shift(-4)))


SHAPES: dict[str, Callable[[], TopoDS_Shape]] = {
    "box": solids.box,
    "sphere": solids.sphere,
    "drilled": solids.drilled,
    "placed": lambda: solids.place(solids.boss(), "placed"),
    "reversed": lambda: solids.place(solids.boss(), "reversed"),
    "mirrored": lambda: solids.place(solids.filleted_cylinder(), "mirrored"),
    "nested": _nested,
}


def _matrix(location: TopLoc_Location) -> np.ndarray:
    move = location.Transformation()
    return np.array([[move.Value(i, j) for j in range(1, 5)] for i in range(1, 4)])


@pytest.mark.parametrize("name", SHAPES)
def test_faces_edges_and_vertices_come_in_the_kernels_order(name: str) -> None:
    shape = SHAPES[name]()
    found, code, places = _explore(shape)
    kernel = KernelShape(shape)
    assert len(found.faces) == kernel.face_map.Extent()
    assert len(found.edges) == kernel.edge_map.Extent()
    for row, (orientation, _, place) in enumerate(found.faces):
        face = kernel.face(row)
        assert int(face.Orientation()) == orientation
        matrix = places.matrix(place)
        np.testing.assert_allclose(np.eye(4)[:3] if matrix is None else matrix, _matrix(face.Location()), atol=1e-12)
    for row, (_, index, place) in enumerate(found.edges):
        edge, record = kernel.edge(row), code.edges[index]
        assert BRep_Tool.Tolerance_s(edge) == record.tolerance
        assert record.degenerate or BRep_Tool.Range_s(edge) == (record.first, record.last)
        matrix = places.matrix(place)
        np.testing.assert_allclose(np.eye(4)[:3] if matrix is None else matrix, _matrix(edge.Location()), atol=1e-12)
    vertices = ShapeMap()
    TopExp.MapShapes_s(shape, TopAbs_VERTEX, vertices)
    assert found.n_vertices == vertices.Extent() == len(found.vertex_nodes)


@pytest.mark.parametrize("name", ["box", "drilled", "mirrored", "nested"])
def test_uses_are_the_edges_of_each_wire_in_stored_order(name: str) -> None:
    shape = SHAPES[name]()
    found, _, _ = _explore(shape)
    kernel = KernelShape(shape)
    wanted, loop = [], 0
    for row in range(kernel.face_map.Extent()):
        wires = TopoDS_Iterator(kernel.face(row).Oriented(solids.box().Orientation()))
        while wires.More():
            edges = TopoDS_Iterator(wires.Value())
            while edges.More():
                edge = edges.Value()
                wanted.append((row, kernel.edge_map.FindIndex(edge) - 1, loop, int(edge.Orientation())))
                edges.Next()
            loop += 1
            wires.Next()
    assert found.uses == wanted
    assert sum(found.loops_of_face) == loop


def test_first_and_last_vertex_follow_the_curve() -> None:
    shape = solids.cylinder()
    found, code, _ = _explore(shape)
    kernel = KernelShape(shape)
    for row, (first, last) in enumerate(found.vertices):
        ends = kernel.edge_points(row, np.array(kernel.edge_range(row)))[0]
        points = [code.points[found.vertex_nodes[vertex][1]] for vertex in (first, last)]
        np.testing.assert_allclose(points, ends, atol=1e-9)


def test_a_shells_faces_have_their_orientation_in_it_and_its_solid() -> None:
    found, _, _ = _explore(solids.compound(solids.box(), TopExp_Explorer(solids.cylinder(), TopAbs_SHELL).Current()))
    assert [solid for _, _, solid in found.shells] == [0, -1]
    assert [len(faces) for _, faces, _ in found.shells] == [6, 3]
    orientations = [o for _, o in found.shells[0][1]]
    assert sorted(orientations) == [bintools.FORWARD] * 3 + [bintools.REVERSED] * 3


@pytest.mark.parametrize("name", [*SHAPES, "sheet and wire"])
def test_bodies_are_the_kernels(name: str) -> None:
    if name == "sheet and wire":
        face = TopExp_Explorer(solids.box(), TopAbs_FACE).Current()
        edge = KernelShape(solids.torus()).edge(0)
        shell = TopExp_Explorer(solids.cone(), TopAbs_SHELL).Current()
        shape = solids.compound(face, edge, solids.box(), shell, face)
    else:
        shape = SHAPES[name]()
    code, places = _code(shape)
    bodies = exploration.find_bodies(code, places)
    wanted = KernelShape(shape).bodies
    assert [code.types[index] for _, index, _ in bodies] == [int(body.ShapeType()) for body in wanted]
    for (_, _, place), body in zip(bodies, wanted, strict=True):
        matrix = places.matrix(place)
        np.testing.assert_allclose(np.eye(4)[:3] if matrix is None else matrix, _matrix(body.Location()), atol=1e-12)


def test_equal_places_are_one_number_and_the_identity_is_zero() -> None:
    part = solids.box()
    code, places = _code(solids.compound(part.Moved(_shift(5)), solids.sphere().Moved(_shift(5)), part))
    placed = exploration.find_bodies(code, places)
    assert [place == 0 for _, _, place in placed] == [False, False, True]
    assert places.matrix(0) is None
    assert places.compose(placed[0][2], 0) == placed[0][2]


def test_a_location_and_its_inverse_compose_to_the_identity() -> None:
    there, up = _shift(5), _shift(3)
    part = solids.box().Moved(there)
    inner = solids.compound(part.Moved(up)).Moved(up.Inverted())
    code, places = _code(solids.compound(inner, part, inner.Moved(there.Inverted())))
    placed = [place for _, _, place in exploration.find_bodies(code, places)]
    assert len(placed) == 2  # the first two are one solid in one place
    assert placed[0] != 0
    assert placed[1] == 0


def test_a_shape_is_nothing_but_a_body_that_only_compounds_hold() -> None:
    for shape, alone in (
        (solids.box(), True),
        (solids.compound(solids.compound(solids.box())), True),
        (solids.compound(solids.box(), solids.sphere()), False),
    ):
        code, places = _code(shape)
        body = exploration.find_bodies(code, places)[0]
        assert exploration.is_nothing_but(code, body) is alone


def test_a_shape_of_edges_has_no_body() -> None:
    code, places = _code(solids.compound(KernelShape(solids.box()).edge(0)))
    assert exploration.find_bodies(code, places) == []
    builder, empty = BRep_Builder(), TopoDS_Compound()
    builder.MakeCompound(empty)
    code, places = _code(empty)
    assert exploration.find_bodies(code, places) == []
