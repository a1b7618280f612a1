"""Points, tangents and the normals of both faces along coedges: what tells the two sides of an edge apart.

The conventions are BRepNet's (Lambourne et al. 2021; ``EdgeDataExtractor`` of the repository AutodeskAILab/occwl).
"""

from __future__ import annotations

import numpy as np

from dflow.cadaccess.geometry import curves
from dflow.cadaccess.geometry.tables import ShapeTables
from dflow.cadaccess.kernel import bintools
from dflow.cadaccess.kernel.shape import KernelShape
from dflow.cadaccess.measure import sampling

_POLYLINE = 100
"""Points of the polyline that stands for an edge's arc length."""


def sample(
    tables: ShapeTables,
    kernel: KernelShape,
    edge_rows: np.ndarray,
    n: int,
    *,
    edge: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    backwards: np.ndarray,
    by_length: bool,
) -> np.ndarray:
    """Point, unit tangent, left and right normal along each coedge; see `Brep.coedge_samples`.

    Parameters
    ----------
    edge_rows : (E,) int, the kernel edges; edge : (C,) int, each coedge's place among them.
    left, right : (C,) int, the uses of the edge in the coedge's face and in its mate's.
    backwards : (C,) bool, against the edge's curve.
    n, by_length : points along each coedge, and whether they are uniform in arc length.

    Returns
    -------
    (C, n, 12) float64.
    """
    along = _shares(tables, kernel, edge_rows, n) if by_length else np.tile(np.linspace(0, 1, n), (len(edge_rows), 1))
    out = np.empty((len(edge), n, 12))
    out[..., :6] = _edge_points(tables, kernel, edge_rows, along)[edge]
    right = np.where(tables.use_face[right] == tables.use_face[left], left, right)
    for side, use in enumerate((left, right)):
        out[..., 6 + 3 * side : 9 + 3 * side] = _normals(tables, kernel, use, along[edge])
    out[backwards] = out[backwards, ::-1]
    out[backwards, :, 3:6] *= -1
    out[tables.edge_degenerate[edge_rows[edge]]] = np.nan
    return out


def _edge_points(tables: ShapeTables, kernel: KernelShape, edge_rows: np.ndarray, along: np.ndarray) -> np.ndarray:
    """(E, n, 6) points and unit tangents at shares along : (E, n) or (n,) of the edges' ranges."""
    first, last = (end[:, None] for end in sampling.edge_ranges(tables, kernel, edge_rows))
    return sampling.edge_points(tables, kernel, edge_rows, first + along * (last - first))


def _normals(tables: ShapeTables, kernel: KernelShape, use: np.ndarray, along: np.ndarray) -> np.ndarray:
    """(k, n, 3) outward unit normals of the uses' faces, at shares along : (k, n) of their curves in (u, v).

    NaN without such a curve.
    """
    table = tables.use_curves
    first, last = table.first[use, None], table.last[use, None]
    uv, _ = curves.evaluate(table, use, first + along * (last - first))
    normals = sampling.face_points(tables, kernel, tables.use_face[use], uv[..., 0], uv[..., 1])[1]
    return np.where(table.evaluable[use, None, None], normals, np.nan)


def _shares(tables: ShapeTables, kernel: KernelShape, edge_rows: np.ndarray, n: int) -> np.ndarray:
    """(E, n) shares of each edge's parameter range, 0 to 1, at equal arc lengths of a polyline."""
    out = np.tile(np.linspace(0, 1, n), (len(edge_rows), 1))
    even = np.isin(tables.edges.kind[edge_rows], (bintools.LINE, bintools.CIRCLE)) | tables.edge_degenerate[edge_rows]
    uneven = np.flatnonzero(~even)
    share = np.linspace(0, 1, _POLYLINE)
    points = _edge_points(tables, kernel, edge_rows[uneven], share)[..., :3]
    step = np.linalg.norm(np.diff(points, axis=1), axis=-1)
    length = np.concatenate([np.zeros((len(uneven), 1)), np.cumsum(step, axis=1)], axis=1)
    for row, reached in zip(uneven.tolist(), length, strict=True):
        out[row] = np.interp(np.linspace(0, reached[-1], n), reached, share)
    return out
