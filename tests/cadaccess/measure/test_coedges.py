"""Points, tangents and normals along coedges, against closed forms and the kernel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from OCP.BRepBuilderAPI import BRepBuilderAPI_MakeEdge, BRepBuilderAPI_MakeFace, BRepBuilderAPI_MakeWire
from OCP.BRepPrimAPI import BRepPrimAPI_MakePrism
from OCP.gp import gp_Ax2, gp_Dir, gp_Elips, gp_Pnt, gp_Vec

from tests.cadaccess import solids


@pytest.mark.parametrize("how", solids.PLACES)
def test_the_rims_of_a_cylinder(how: str, tmp_path: Path) -> None:
    brep = solids.open_brep(solids.place(solids.cylinder(2.0, 7.0), how), tmp_path)
    topology, samples = brep.topology(), brep.coedge_samples(9)
    types = brep.face_types()[topology.coedge_face]
    rims = brep.edge_types()[topology.coedge_edge] == 1
    tangent, left, right = samples[..., 3:6], samples[..., 6:9], samples[..., 9:12]
    np.testing.assert_allclose(np.linalg.norm(samples[..., 3:].reshape(-1, 3), axis=1), 1)
    np.testing.assert_allclose(np.einsum("cnk,cnk->cn", left[rims], right[rims]), 0, atol=1e-9)
    convex = -1 if how == "reversed" else 1  # inside out, the cylinder is a hole
    np.testing.assert_allclose(np.cross(left[rims], right[rims]), convex * tangent[rims], atol=1e-9)
    np.testing.assert_array_equal(left[~rims], right[~rims])  # the seam, though its ends are a turn apart
    side = samples[rims & (types == 1)][..., 6:9]
    assert np.ptp(side, axis=1).max() == pytest.approx(2, abs=0.2)


def test_points_are_even_along_an_ellipse(tmp_path: Path) -> None:
    ellipse = gp_Elips(gp_Ax2(gp_Pnt(1, 2, 3), gp_Dir(0, 0, 1)), 3.0, 1.0)
    wire = BRepBuilderAPI_MakeWire(BRepBuilderAPI_MakeEdge(ellipse).Edge()).Wire()
    disc = BRepBuilderAPI_MakeFace(wire).Face()
    brep = solids.open_brep(BRepPrimAPI_MakePrism(disc, gp_Vec(0, 0, 2)).Shape(), tmp_path)
    topology = brep.topology()
    rows = np.flatnonzero((brep.edge_types()[topology.coedge_edge] == 2) & (topology.coedge_reversed == 0))
    t = np.linspace(0, 2 * np.pi, 100_001)
    steps = np.hypot(np.diff(3 * np.cos(t)), np.diff(np.sin(t)))
    length = np.append(0, np.cumsum(steps)) / steps.sum()
    at = np.interp(np.linspace(0, 1, 17), length, t)
    for row in rows:
        points = brep.coedge_samples(17)[row, :, :2]
        expected = np.stack([1 + 3 * np.cos(at), 2 + np.sin(at)], axis=-1)
        np.testing.assert_allclose(points, expected, atol=2e-3)  # the length is that of a polyline of 100 points
    uneven = brep.coedge_samples(17, by_length=False)[rows[0], :5, 0]
    np.testing.assert_allclose(uneven, 1 + 3 * np.cos(np.linspace(0, np.pi / 2, 5)), atol=1e-9)


def test_degenerate_edges_have_no_points(tmp_path: Path) -> None:
    brep = solids.open_brep(solids.sphere(), tmp_path).with_degenerate_edges()
    none = np.isnan(brep.coedge_samples(3)).all(axis=(1, 2))
    assert none.tolist() == (brep.edge_lengths()[brep.topology().coedge_edge] == 0).tolist()
    assert none.sum() == 2
    assert np.isfinite(brep.coedge_samples(3)[~none]).all()
