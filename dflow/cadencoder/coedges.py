"""Coedges: one use of an edge by a face's boundary, and BRepNet's incidence arrays between them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Int32 = NDArray[np.int32]


def coedge_mates(coedge_edge: Int32, *, n_edges: int) -> Int32:
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
