"""Coedges as rows: their order and mates, their frames and scale factors, and the coedge of each arc.

A coedge is one use of an edge in a loop of a face. The conventions are BRepNet's (Lambourne et al. 2021; repository
AutodeskAILab/BRepNet).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dflow.cadaccess.topology import coedge_mates
from dflow.cadencoder.access import CoedgeTopology, Float64, Int32
from dflow.cadencoder.graph import FaceGraph


@dataclass(frozen=True, slots=True, eq=False)
class Coedges:
    """The coedges of a shape in some order.

    `order` : (C,) their rows in the brep's own order. `face`, `edge`, `following`, `mate` : (C,) int32; `backwards` :
    (C,) int8, 1 where the coedge runs against its edge.
    """

    order: Int32
    face: Int32
    edge: Int32
    following: Int32
    mate: Int32
    backwards: NDArray[np.int8]


def arrange(topology: CoedgeTopology, *, n_edges: int, walked: bool) -> Coedges:
    """The coedges as the brep lists them or, `walked`, every loop from its first coedge on along `next`."""
    stored = topology.coedge_next
    order = _walk(stored) if walked else np.arange(len(stored), dtype=np.int32)
    edge = topology.coedge_edge[order]
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order), dtype=np.int32)
    return Coedges(
        order=order,
        face=topology.coedge_face[order],
        edge=edge,
        following=rank[stored[order]],
        mate=coedge_mates(edge, n_edges=n_edges),
        backwards=topology.coedge_reversed[order],
    )


def _walk(following: Int32) -> Int32:
    """The cycles of a permutation one after another, each from its lowest number on."""
    order: list[int] = []
    seen = np.zeros(len(following), bool).tolist()
    steps = following.tolist()
    for at in range(len(steps)):
        while not seen[at]:
            seen[at] = True
            order.append(at)
            at = steps[at]
    return np.array(order, np.int32)


def arc_coedges(arcs: FaceGraph, coedges: Coedges) -> Int32:
    """(n_arcs,) int32: the coedge of each arc's edge in the arc's source face."""
    key = coedges.edge.astype(np.int64) * arcs.n_faces + coedges.face
    order = np.argsort(key, kind="stable")
    wanted = arcs.edge.astype(np.int64) * arcs.n_faces + arcs.source
    return order[np.searchsorted(key[order], wanted)].astype(np.int32)


def along_coedges(edge_grids: Float64, coedges: Coedges, rows: Int32) -> Float64:
    """(k, n, 6) edge grids of the coedges `rows`: where one runs against its edge, points backwards, tangents negated.

    `edge_grids` : (E, n, 6) float64.
    """
    grids: Float64 = edge_grids[coedges.edge[rows]]
    backwards = coedges.backwards[rows] != 0
    grids[backwards] = grids[backwards, ::-1]
    grids[backwards, :, 3:] *= -1
    return grids


def frames(samples: Float64) -> Float64:
    """A frame per coedge at half its arc length, as a homogeneous matrix from local to global coordinates.

    Parameters
    ----------
    samples
        (C, 3, 12) float64, see `Brep.coedge_samples`.

    Returns
    -------
    (C, 4, 4) float64: columns u, v, w and the origin. w is the normal of the coedge's face, v the tangent made normal
    to it, u = v × w. NaN where there is no normal or the tangent runs along it.
    """
    middle = samples[:, 1]
    w = _unit(middle[:, 6:9])
    tangent = middle[:, 3:6]
    v = _unit(tangent - np.einsum("ij,ij->i", tangent, w)[:, None] * w)
    out = np.zeros((len(samples), 4, 4))
    out[:, :3] = np.stack([np.cross(v, w), v, w, middle[:, :3]], axis=-1)
    out[:, 3, 3] = 1.0
    out[~np.isfinite(out).all(axis=(1, 2))] = np.nan
    return out


def _unit(vectors: Float64) -> Float64:
    size = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(size > 1e-7, size, np.nan)


def scale_factors(face_grids: Float64, coedges: Coedges) -> Float64:
    """(C,) float64: 2 over the longest side of a "box" of the grid points of a coedge's two faces, as BRepNet has it.

    `face_grids` : (F, n_u, n_v, 7) float64. The published code reads the coordinates of both faces, (2, 3, n), as
    (3, 2 n), and so takes x and y of the left face for one side, its z and the right face's x for the next, y and z of
    the right face for the last. Published weights were trained on that.
    """
    flat = np.moveaxis(face_grids[..., :3], -1, 1).reshape(len(face_grids), 3, -1)
    low, high = flat.min(axis=-1), flat.max(axis=-1)
    pairs = np.stack([coedges.face, coedges.face[coedges.mate]], axis=1)
    lows, highs = (ends[pairs].reshape(-1, 3, 2) for ends in (low, high))
    sides: Float64 = (highs.max(axis=-1) - lows.min(axis=-1)).max(axis=-1)
    return 2.0 / sides
