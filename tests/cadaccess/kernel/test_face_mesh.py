"""Faces meshed by the kernel, one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from OCP.BRep import BRep_Tool
from OCP.TopLoc import TopLoc_Location
from OCP.TopoDS import TopoDS_Face

from dflow.cadaccess.kernel.face_mesh import mesh_face
from tests.cadaccess import solids


@pytest.mark.parametrize("how", solids.PLACES)
def test_a_sphere_is_meshed_within_its_deflection_and_seen_from_outside(how: str, tmp_path: Path) -> None:
    kernel = solids.open_brep(solids.place(solids.sphere(2.5), how), tmp_path).kernel
    face = kernel.face(0)
    points, normals, corners = mesh_face(face, 0.01)
    box = kernel.bounding_box()
    centre = 0.5 * (box[:3] + box[3:])
    np.testing.assert_allclose(np.linalg.norm(points - centre, axis=1), 2.5, atol=1e-9)
    side = -1.0 if how == "reversed" else 1.0
    assert (side * np.einsum("ij,ij->i", normals, points - centre) > 2.4).all()
    a, b, c = (points[corners[:, i]] - centre for i in range(3))
    volume = np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6
    assert side * volume == pytest.approx(4 / 3 * np.pi * 2.5**3, rel=0.02)


def test_the_face_keeps_no_mesh(tmp_path: Path) -> None:
    face = solids.open_brep(solids.cylinder(), tmp_path).kernel.face(0)
    assert len(mesh_face(face, 0.1)[2])
    assert BRep_Tool.Triangulation_s(face, TopLoc_Location()) is None


def test_a_face_without_a_surface_has_no_triangles() -> None:
    from OCP.BRep import BRep_Builder

    face = TopoDS_Face()
    BRep_Builder().MakeFace(face)
    points, normals, corners = mesh_face(face, 0.1)
    assert points.shape == normals.shape == corners.shape == (0, 3)
