"""Meshes with known answers, made in numpy."""

from __future__ import annotations

import numpy as np


class PolylineMesh:
    """What the CAD side hands over: polylines by offsets."""

    def __init__(self, vertices, normals, triangles, triangle_faces, edge_points, edge_offsets) -> None:
        self.vertices = np.asarray(vertices, np.float32)
        self.normals = np.asarray(normals, np.float32)
        self.triangles = np.asarray(triangles, np.int32)
        self.triangle_faces = np.asarray(triangle_faces, np.int32)
        self.edge_points = np.asarray(edge_points, np.float32)
        self.edge_offsets = np.asarray(edge_offsets, np.int32)


def box(size=(1.0, 1.0, 1.0), corner=(0.0, 0.0, 0.0)) -> PolylineMesh:
    """Faces in the order -x, +x, -y, +y, -z, +z; four vertices and one closed outline each."""
    vertices, normals, triangles, faces, outline = [], [], [], [], []
    for axis in range(3):
        for side in (0, 1):
            other = [(axis + 1) % 3, (axis + 2) % 3]
            quad = np.zeros((4, 3))
            quad[:, axis] = side
            quad[:, other[0]] = [0, 1, 1, 0]
            quad[:, other[1]] = [0, 0, 1, 1]
            if not side:
                quad = quad[::-1]
            normal = np.zeros(3)
            normal[axis] = 2 * side - 1
            base = 4 * len(faces) // 2
            triangles += [[base, base + 1, base + 2], [base, base + 2, base + 3]]
            faces += [len(faces) // 2] * 2
            vertices.append(quad)
            normals.append(np.tile(normal, (4, 1)))
            outline.append(np.vstack([quad, quad[:1]]))
    scale, shift = np.asarray(size), np.asarray(corner)
    return PolylineMesh(
        np.concatenate(vertices) * scale + shift,
        np.concatenate(normals),
        triangles,
        faces,
        np.concatenate(outline) * scale + shift,
        np.arange(0, 31, 5),
    )


def sphere(radius=1.0, n=24) -> PolylineMesh:
    """One face, no edges."""
    polar, around = np.meshgrid(np.linspace(0, np.pi, n), np.linspace(0, 2 * np.pi, 2 * n), indexing="ij")
    unit = np.stack([np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar)], -1).reshape(-1, 3)
    index = np.arange(len(unit)).reshape(n, 2 * n)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    triangles = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])
    return PolylineMesh(unit * radius, unit, triangles, np.zeros(len(triangles)), np.zeros((0, 3)), [0])


def nothing() -> PolylineMesh:
    return PolylineMesh(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 3)), [], np.zeros((0, 3)), [0])


def wire() -> PolylineMesh:
    """Two separate polylines and no face."""
    points = [[0, 0, 0], [5, 0, 0], [5, 5, 0], [0, 0, 3], [5, 5, 3]]
    return PolylineMesh(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 3)), [], points, [0, 3, 5])
