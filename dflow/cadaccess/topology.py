"""Incidence of faces, loops, coedges and edges as frozen integer arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dflow.cadaccess.geometry.runs import run_lengths, run_starts
from dflow.cadaccess.geometry.tables import ShapeTables


@dataclass(frozen=True, slots=True)
class Topology:
    """The coedges of a shape: one row per use of an edge in a loop of a face (BRepNet's incidence arrays).

    Rows run face by face, loop by loop, in stored order. Degenerate edges have no coedge. A seam edge has two coedges
    with the same face. Free edges have none.

    Attributes
    ----------
    coedge_use : (C,) int32, the coedge's row among the uses of `ShapeTables`.
    n_faces, n_edges : rows of the face and edge arrays.
    coedge_face, coedge_edge, coedge_next, coedge_loop : (C,) int32; loops are numbered over the whole shape.
    coedge_reversed : (C,) int8, 1 where the loop runs against the edge's curve. Loops run so that, seen from outside
        the material, the face lies to the left.
    """

    n_faces: int
    n_edges: int
    coedge_face: np.ndarray
    coedge_edge: np.ndarray
    coedge_reversed: np.ndarray
    coedge_next: np.ndarray
    coedge_loop: np.ndarray
    coedge_use: np.ndarray


def chain_loops(loop: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The next coedge of each, by shared vertices.

    Parameters
    ----------
    loop : (C,) int, non-decreasing; start, end : (C,) int, the vertices a coedge runs between (-1 unknown).

    Returns
    -------
    (C,) int32: within each loop a permutation. Stored order is kept where it already connects, as it nearly always
    does.
    """
    n = len(loop)
    following = np.arange(1, n + 1, dtype=np.int32)
    first = run_starts(loop)
    last = np.append(first[1:], n) - 1
    if n:
        following[last] = first
    broken = np.unique(loop[(end != start[following]) & (end >= 0)]) if n else ()
    for which in broken:
        rows = np.flatnonzero(loop == which)
        _rechain(rows.tolist(), start, end, following)
    return following


def _rechain(rows: list[int], start: np.ndarray, end: np.ndarray, following: np.ndarray) -> None:
    """Order one loop by its vertices; what does not connect keeps stored order, so that the result stays a
    permutation.
    """
    free = dict.fromkeys(rows)
    stored = dict(zip(rows, rows[1:] + rows[:1], strict=True))
    waiting: list[int] = []
    for row in rows:
        successor = stored[row]
        if successor not in free or start[successor] != end[row]:
            successor = next((r for r in free if start[r] == end[row] and r != row), -1)
        if successor < 0:
            waiting.append(row)
            continue
        following[row] = successor
        del free[successor]
    for row, successor in zip(waiting, list(free), strict=True):
        following[row] = successor


def build_topology(tables: ShapeTables, edge_rows: np.ndarray) -> Topology:
    """The coedges of a shape; `edge_rows` are the kernel edges that have a row in the edge arrays."""
    row_of_edge = np.full(len(tables.edge_degenerate), -1, np.int32)
    row_of_edge[edge_rows] = np.arange(len(edge_rows), dtype=np.int32)
    kept = np.flatnonzero(tables.use_boundary & (row_of_edge[tables.use_edge] >= 0))
    face, edge = tables.use_face[kept], tables.use_edge[kept]
    reverse = tables.use_forward[kept] == tables.face_reversed[face]
    vertices = tables.edge_vertices[edge]
    start = np.where(reverse, vertices[:, 1], vertices[:, 0])
    end = np.where(reverse, vertices[:, 0], vertices[:, 1])
    _, loop = np.unique(tables.use_loop[kept], return_inverse=True)
    arrays = (
        face.astype(np.int32),
        row_of_edge[edge],
        reverse.astype(np.int8),
        _chain(loop, start, end, tables.face_reversed[face]),
        loop.astype(np.int32),
        kept.astype(np.int32),
    )
    for array in arrays:
        array.flags.writeable = False
    return Topology(tables.n_faces, len(edge_rows), *arrays)


def _chain(loop: np.ndarray, start: np.ndarray, end: np.ndarray, backwards: np.ndarray) -> np.ndarray:
    """Chain loops; stored order runs backwards in reversed faces, so their rows are mirrored meanwhile."""
    n = len(loop)
    if not n:
        return np.zeros(0, np.int32)
    first = run_starts(loop)
    size = run_lengths(first, n)
    mirror = np.repeat(2 * first + size - 1, size) - np.arange(n)
    order = np.where(backwards, mirror, np.arange(n))
    following = chain_loops(loop, start[order], end[order])
    out = np.empty(n, np.int32)
    out[order] = order[following]
    return out


def coedge_mates(coedge_edge: np.ndarray, *, n_edges: int) -> np.ndarray:
    """The coedge on the other side of each coedge's edge.

    Parameters
    ----------
    coedge_edge
        (n_coedges,) int32: the edge of each coedge.
    n_edges
        Number of edges of the shape.

    Returns
    -------
    (n_coedges,) int32, an involution: ``mate[mate[c]] == c``. Where an edge has exactly two coedges they are each
    other's mates, also on a seam, whose two coedges belong to one face. Otherwise (border of an open shell,
    non-manifold edge) a coedge is its own mate, as in BRepNet.
    """
    n_coedges = len(coedge_edge)
    mates = np.arange(n_coedges, dtype=np.int32)
    order = np.argsort(coedge_edge, kind="stable").astype(np.int32)
    uses = np.bincount(coedge_edge, minlength=n_edges)
    first = np.cumsum(uses) - uses
    paired = first[uses == 2]
    mates[order[paired]] = order[paired + 1]
    mates[order[paired + 1]] = order[paired]
    return mates
