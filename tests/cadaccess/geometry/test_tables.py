"""Tables of a shape: counts, places and incidences of solids whose structure is known."""

from __future__ import annotations

import numpy as np
import pytest
from OCP.BRepBuilderAPI import BRepBuilderAPI_NurbsConvert
from OCP.TopoDS import TopoDS_Shape

from dflow.cadaccess.geometry import curves, surfaces, tables
from dflow.cadaccess.geometry.tables import ShapeTables
from dflow.cadaccess.kernel import bintools, exploration, placement
from dflow.cadaccess.kernel.exploration import Places
from tests.cadaccess import solids


def _tables(shape: TopoDS_Shape) -> ShapeTables:
    code = bintools.parse_shape(placement.encode_shape(shape))
    places = Places(code)
    return tables.build_tables(code, places, exploration.root_node(code, places))


def test_every_edge_of_a_box_is_used_twice_once_each_way() -> None:
    found = _tables(solids.box())
    assert (found.n_faces, len(found.edge_vertices), len(found.points), len(found.use_face)) == (6, 12, 8, 24)
    assert (np.bincount(found.use_edge) == 2).all()
    outward = found.use_forward ^ found.face_reversed[found.use_face]
    assert (np.bincount(found.use_edge[outward]) == 1).all()
    assert (np.bincount(found.use_face, minlength=6) == 4).all()
    assert found.face_loops.tolist() == [1] * 6
    assert (found.n_shells, found.n_solids) == (1, 1)
    assert sorted(found.shell_face.tolist()) == list(range(6))


def test_a_cylinder_has_a_seam_and_a_sphere_degenerate_poles() -> None:
    found = _tables(solids.cylinder())
    wall = int(np.flatnonzero(found.faces.kind == bintools.CYLINDER)[0])
    uses = found.use_edge[found.use_face == wall]
    assert sorted(np.bincount(uses)[np.unique(uses)].tolist()) == [1, 1, 2]
    ball = _tables(solids.sphere())
    assert ball.edge_degenerate.sum() == 2
    assert (ball.edges.kind[ball.edge_degenerate] == 0).all()


@pytest.mark.parametrize("how", solids.PLACES)
@pytest.mark.parametrize(
    "make", [solids.drilled, solids.filleted_cylinder, solids.cone, solids.torus, solids.boss], ids=lambda f: f.__name__
)
def test_curves_on_surfaces_and_curves_in_space_are_the_same_points(make, how: str) -> None:
    """The incidence of everything in place: S(c(t)) = C(t) for each use, vertices at its ends."""
    found = _tables(solids.place(make(), how))
    rows = np.flatnonzero(found.use_curves.kind != 0)
    assert len(rows) == len(found.use_curves.kind)
    edge, face = found.use_edge[rows], found.use_face[rows]
    t = np.linspace(found.use_curves.first[rows], found.use_curves.last[rows], 5, axis=1)
    uv = curves.evaluate(found.use_curves, rows, t)[0]
    on_surface = surfaces.evaluate(found.faces, face, uv[..., 0], uv[..., 1])[0]
    solid = ~found.edge_degenerate[edge]
    in_space = curves.evaluate(found.edges, edge, t)[0]
    np.testing.assert_allclose(on_surface[solid], in_space[solid], atol=1e-6)
    for end, place in ((0, 0), (1, -1)):
        vertex = found.edge_vertices[edge, end]
        np.testing.assert_allclose(found.points[vertex], on_surface[:, place], atol=1e-6)


def test_a_spline_edge_is_projected_onto_a_plane_that_has_no_curve_of_it() -> None:
    found = _tables(BRepBuilderAPI_NurbsConvert(solids.drilled(), True).Shape())
    flat = _tables(solids.drilled())
    plane = int(np.flatnonzero(flat.faces.kind == bintools.PLANE)[0])
    edge = int(np.flatnonzero(found.edges.kind == bintools.BSPLINE)[0])
    table = curves.build_table([bintools.Curve(0)], np.zeros(1), np.zeros(1), 2)
    tables.project_on_planes(table, np.array([0]), flat.faces, np.array([plane]), found.edges, np.array([edge]))
    t = np.linspace(found.edges.first[edge], found.edges.last[edge], 4)[None]
    uv = curves.evaluate(table, np.zeros(1, int), t)[0][0]
    at = curves.evaluate(found.edges, np.array([edge]), t)[0][0]
    frame = np.stack([flat.faces.x[plane], flat.faces.y[plane]], axis=1)
    np.testing.assert_allclose(uv, (at - flat.faces.origin[plane]) @ frame, atol=1e-12)


def test_two_placed_copies_are_two_solids_with_points_of_their_own() -> None:
    part = solids.box()
    found = _tables(solids.compound(part, solids.place(part, "placed")))
    assert (found.n_faces, len(found.points), found.n_solids) == (12, 16, 2)
    np.testing.assert_array_equal(found.shell_solid, np.repeat([0, 1], 6))
    sides = np.linalg.norm(found.points[found.edge_vertices[:, 0]] - found.points[found.edge_vertices[:, 1]], axis=1)
    np.testing.assert_allclose(np.sort(sides), np.repeat([2.0, 3.0, 5.0], 8))


def test_a_wire_has_edges_and_no_faces() -> None:
    from OCP.BRepBuilderAPI import BRepBuilderAPI_MakeEdge
    from OCP.gp import gp_Pnt

    found = _tables(BRepBuilderAPI_MakeEdge(gp_Pnt(0, 0, 0), gp_Pnt(1, 0, 0)).Edge())
    assert (found.n_faces, len(found.edge_vertices), len(found.use_face), found.n_shells) == (0, 1, 0, 0)
    assert found.use_curves.origin.shape == (0, 2)
