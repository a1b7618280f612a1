"""One face as the kernel meshes it."""

from __future__ import annotations

import numpy as np
from OCP.BRep import BRep_Tool
from OCP.BRepMesh import BRepMesh_IncrementalMesh
from OCP.BRepTools import BRepTools
from OCP.TopAbs import TopAbs_REVERSED
from OCP.TopLoc import TopLoc_Location
from OCP.TopoDS import TopoDS_Face

_ANGLE = 0.35
"""Radians between neighbouring chords, at most."""


def mesh_face(face: TopoDS_Face, deflection: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mesh one face and leave no triangles in it.

    Parameters
    ----------
    deflection : mm, how far chords may stray from the surface.

    Returns
    -------
    points (V, 3) float64 in mm, outward unit normals (V, 3) float64, and corners (T, 3) int64, counter-clockwise seen
    from outside; all empty where the kernel cannot mesh the face.
    """
    place = TopLoc_Location()
    BRepMesh_IncrementalMesh(face, deflection, False, _ANGLE, False)
    try:
        mesh = BRep_Tool.Triangulation_s(face, place)
        if mesh is None or not mesh.NbTriangles():
            return np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 3), int)
        move = place.Transformation()
        nodes = [mesh.Node(i).Transformed(move) for i in range(1, mesh.NbNodes() + 1)]
        corners = np.array([mesh.Triangle(i).Get() for i in range(1, mesh.NbTriangles() + 1)]) - 1
    finally:
        BRepTools.Clean_s(face)
    if face.Orientation() == TopAbs_REVERSED:
        corners = corners[:, ::-1]
    points = np.array([(node.X(), node.Y(), node.Z()) for node in nodes])
    return points, _vertex_normals(points, corners), corners


def _vertex_normals(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Return unit normals, each the area-weighted mean of the triangles around a vertex within its face."""
    a, b, c = (points[triangles[:, i]] for i in range(3))
    facet = np.cross(b - a, c - a)
    total = np.zeros_like(points)
    for i in range(3):
        np.add.at(total, triangles[:, i], facet)
    size = np.sqrt(np.einsum("ij,ij->i", total, total))
    return total / np.where(size > 0, size, 1.0)[:, None]
