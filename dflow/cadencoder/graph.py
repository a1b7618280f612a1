"""The face adjacency graph: which faces share which edges.

Everything here is a pure function of a shape's coedges (one use of an edge by a face), as `dflow.cadaccess` lists them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Int32 = NDArray[np.int32]

KeptEdge = Literal["lowest", "highest"]
"""Which edge of a pair of faces that share several is the arc's."""


@dataclass(frozen=True, slots=True, eq=False)
class FaceGraph:
    """Arcs between faces, one for each physical edge that two different faces share, in ascending edge order.

    `source` and `destination` : (n_arcs,) int32 face indices, source < destination. `edge` : (n_arcs,) int32, the arc's
    row in the edges. `n_faces` nodes, those without an arc included. `nonmanifold_edges` counts the edges without an
    arc because their number of faces is not two: borders of open shells, wires, edges of three faces and more. Seams,
    which one face uses twice, have no arc either and are not counted.
    """

    n_faces: int
    source: Int32
    destination: Int32
    edge: Int32
    nonmanifold_edges: int = 0

    @property
    def n_arcs(self) -> int:
        """Number of arcs."""
        return len(self.edge)


def face_graph(coedge_face: Int32, coedge_edge: Int32, *, n_faces: int, n_edges: int) -> FaceGraph:
    """Build the face adjacency graph from the coedges.

    Parameters
    ----------
    coedge_face, coedge_edge
        (n_coedges,) int32: the face and the edge of each coedge. Degenerate edges have no coedges.
    n_faces, n_edges
        Size of the shape; edges without a coedge (wires) count as `nonmanifold_edges`.

    Notes
    -----
    Every physical edge is kept, as in brepgraph and BRepNet; UV-Net keeps one arc each way per pair of faces (see
    `directed_arcs`).
    """
    lowest = np.full(n_edges, np.iinfo(np.int32).max, np.int32)
    highest = np.full(n_edges, -1, np.int32)
    np.minimum.at(lowest, coedge_edge, coedge_face)
    np.maximum.at(highest, coedge_edge, coedge_face)
    uses = np.bincount(coedge_edge, minlength=n_edges)
    third = (coedge_face != lowest[coedge_edge]) & (coedge_face != highest[coedge_edge])
    more_than_two = np.bincount(coedge_edge[third], minlength=n_edges) > 0
    shared = (lowest < highest) & ~more_than_two
    seam = (lowest == highest) & (uses == 2)
    return FaceGraph(
        n_faces=n_faces,
        source=lowest[shared],
        destination=highest[shared],
        edge=np.flatnonzero(shared).astype(np.int32),
        nonmanifold_edges=int(n_edges - shared.sum() - seam.sum()),
    )


def collapse_arcs(graph: FaceGraph, kept: KeptEdge = "lowest") -> FaceGraph:
    """Keep one arc per pair of faces, of the pair's lowest or highest edge, sorted by (source, destination)."""
    key = _pair_keys(graph)
    _, first = np.unique(key if kept == "lowest" else key[::-1], return_index=True)
    return _take(graph, first if kept == "lowest" else len(key) - 1 - first)


def directed_arcs(graph: FaceGraph, *, collapse: bool, kept: KeptEdge = "lowest") -> FaceGraph:
    """Arcs in both directions, sorted by source, the lowest edge of the pair of faces, edge.

    With `collapse` one arc each way per pair. UV-Net and AAGNet have that with the highest edge: the published code
    (``face_adjacency`` of the repository AutodeskAILab/occwl) adds one edge after another to a `networkx.DiGraph`,
    where a later one takes an earlier one's place.
    """
    _, first, pair = np.unique(_pair_keys(graph), return_index=True, return_inverse=True)
    chosen = collapse_arcs(graph, kept) if collapse else graph
    lowest = graph.edge[first] if collapse else graph.edge[first][pair]
    both = FaceGraph(
        graph.n_faces,
        np.concatenate([chosen.source, chosen.destination]),
        np.concatenate([chosen.destination, chosen.source]),
        np.tile(chosen.edge, 2),
        graph.nonmanifold_edges,
    )
    return _take(both, np.lexsort((both.edge, np.tile(lowest, 2), both.source)))


def _pair_keys(graph: FaceGraph) -> NDArray[np.int64]:
    return graph.source.astype(np.int64) * graph.n_faces + graph.destination


def _take(graph: FaceGraph, arcs: NDArray[np.intp]) -> FaceGraph:
    return FaceGraph(
        graph.n_faces, graph.source[arcs], graph.destination[arcs], graph.edge[arcs], graph.nonmanifold_edges
    )


def neighbour_counts(graph: FaceGraph) -> Int32:
    """Different faces that share an edge with each face: (n_faces,) int32, brepgraph's `num_adjacent_faces`."""
    once = collapse_arcs(graph)
    ends = np.concatenate([once.source, once.destination])
    return np.bincount(ends, minlength=graph.n_faces).astype(np.int32)


def to_networkx(graph: FaceGraph, *, collapse: bool = False) -> Any:
    """Return the graph as a networkx graph: nodes 0..n_faces−1, arcs source → destination with attribute ``edge``.

    A `networkx.MultiDiGraph` (which is a `DiGraph`), because two faces may share several edges and each is an arc of
    its own; with `collapse` a plain `DiGraph` with one arc per pair of faces.
    """
    kept = collapse_arcs(graph) if collapse else graph
    import networkx  # here, because it would add 0.4 s to the start of every worker's child

    result: Any = networkx.DiGraph() if collapse else networkx.MultiDiGraph()
    result.add_nodes_from(range(kept.n_faces))
    arcs = zip(kept.source.tolist(), kept.destination.tolist(), kept.edge.tolist(), strict=True)
    result.add_edges_from((source, destination, {"edge": edge}) for source, destination, edge in arcs)
    return result
