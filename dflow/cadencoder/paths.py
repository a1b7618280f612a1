"""Distances and shortest paths between all pairs of faces, in hops over the face adjacency graph."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dflow.cadencoder.graph import FaceGraph

Int32 = NDArray[np.int32]

_BLOCK_CELLS = 1 << 20
"""Cells of a temporary array: large enough to amortise numpy's call overhead, small enough for the cache."""


def hop_counts(graph: FaceGraph) -> Int32:
    """Number of arcs on a shortest path between every two faces.

    Returns
    -------
    (n_faces, n_faces) int32, symmetric, 0 on the diagonal, −1 where there is no path.

    Notes
    -----
    Breadth first from all faces at once: a face's reached set is a row of bits, and one step is an OR over its
    neighbours' rows. The cost is O(diameter × (n_arcs + n_faces) × n_faces / 64) word operations.
    """
    n_faces = graph.n_faces
    if n_faces == 0:
        return np.zeros((0, 0), np.int32)
    itself = np.arange(n_faces, dtype=np.int32)
    tails = np.concatenate([graph.source, graph.destination, itself])
    heads = np.concatenate([graph.destination, graph.source, itself])[np.argsort(tails, kind="stable")]
    starts = np.searchsorted(np.sort(tails), itself)
    reached = _pack_rows(np.eye(n_faces, dtype=bool))
    hops = np.zeros((n_faces, n_faces), np.int32)
    while True:
        unreached = np.unpackbits(~reached.view(np.uint8), axis=1, count=n_faces)
        wider = np.bitwise_or.reduceat(reached[heads], starts, axis=0)
        if np.array_equal(wider, reached):
            hops[unreached.view(bool)] = -1
            return hops
        hops += unreached
        reached = wider


def _pack_rows(bits: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Rows of booleans as rows of 64-bit words, zeros behind."""
    n_rows, n_bits = bits.shape
    packed = np.zeros((n_rows, -(-n_bits // 64) * 8), np.uint8)
    packed[:, : -(-n_bits // 8)] = np.packbits(bits, axis=1)
    return packed.view(np.uint64)


def extended_adjacency(hops: Int32) -> NDArray[np.float64]:
    """`hop_counts` as HOOPS AI's `extended_adjacency`: (n_faces, n_faces) float64, inf where there is no path."""
    distances = hops.astype(np.float64)
    distances[hops < 0] = np.inf
    return distances


def shortest_edge_paths(graph: FaceGraph, hops: Int32, *, max_length: int = 16) -> Int32:
    """The edges crossed on a shortest path from each face to each other face.

    Parameters
    ----------
    hops
        `hop_counts` of the same graph.
    max_length
        Length M of a row; longer paths keep their first M edges.

    Returns
    -------
    (n_faces, n_faces, M) int32: ``[i, j]`` are edge rows from i to j, −1 behind the end, all −1 where i is j or there
    is no path. Of several shortest paths the one whose faces are lexicographically smallest is taken (at every step the
    lowest face index that is one hop nearer), and of several edges between two faces the lowest. The path from j to i
    need not be the reverse.
    """
    n_faces = graph.n_faces
    paths = np.full((n_faces, n_faces, max_length), -1, np.int32)
    tails = np.concatenate([graph.source, graph.destination])
    heads = np.concatenate([graph.destination, graph.source])
    edges = np.concatenate([graph.edge, graph.edge])
    order = np.lexsort((edges, heads, tails))
    tails, heads, edges = tails[order], heads[order], edges[order]
    first_arc = _first_arcs(tails, heads, hops).ravel()
    origin, goal = np.nonzero(hops > 0)
    rows = paths.reshape(n_faces * n_faces, max_length)
    pair, here = origin * n_faces + goal, origin
    for step in range(max_length):
        if not len(pair):
            break
        arc = first_arc[here * n_faces + goal]
        rows[pair, step] = edges[arc]
        here = heads[arc].astype(np.intp)
        going = here != goal
        pair, here, goal = pair[going], here[going], goal[going]
    return paths


def _first_arcs(tails: Int32, heads: Int32, hops: Int32) -> Int32:
    """For each (face, goal) the first of the face's arcs, sorted by tail, that leads one hop nearer; else n_arcs."""
    n_faces, n_arcs = len(hops), len(tails)
    first = np.full((n_faces, n_faces), n_arcs, np.int32)
    bounds = np.searchsorted(tails, np.arange(n_faces + 1))
    faces_per_block = max(1, _BLOCK_CELLS * n_faces // max(1, n_faces * n_arcs))
    for low in range(0, n_faces, faces_per_block):
        high = min(low + faces_per_block, n_faces)
        block = slice(bounds[low], bounds[high])
        owners, starts = np.unique(tails[block], return_index=True)
        if len(owners):
            nearer = hops[heads[block]] == hops[tails[block]] - 1
            ranks = np.arange(block.start, block.stop, dtype=np.int32)[:, None]
            first[owners] = np.minimum.reduceat(np.where(nearer, ranks, np.int32(n_arcs)), starts, axis=0)
    return first
