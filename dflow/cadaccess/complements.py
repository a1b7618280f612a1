"""Faces in whose place healing took the rest of their surface.

A loop on a sphere, or on any other surface that is closed, bounds two regions; which is the face, the directions of its
edges say. The kernel's full healing may turn them round, and all faces of the shell with them, so that the shape is
whole and its own tables show nothing. It shows beside a reading whose loops run as the file states them: the face's
edges run the other way round on its surface than they did, those of its neighbours do not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dflow.cadaccess.brep import Brep
from dflow.cadaccess.geometry import curves
from dflow.cadaccess.geometry.tables import ShapeTables
from dflow.cadaccess.kernel import bintools

_SAME_PLACE = 1e-5
"""Of the part's size: how far the middles of one edge in two readings may lie apart."""

_OPEN = (bintools.PLANE, bintools.CYLINDER, bintools.CONE, bintools.EXTRUSION)
"""Surfaces on which one side of a loop alone is finite."""


def find_complement(healed: Brep, stated: Brep) -> str:
    """Return a message about the first face of `healed` that is the rest of its surface; "" where there is none.

    Parameters
    ----------
    healed : the shape after full healing.
    stated : the shape of the same file as read before, whose loops run as the file states them.
    """
    tables = healed.tables
    if np.isin(tables.faces.kind, _OPEN).all():
        return ""
    turned = _compare(tables, stated.tables)
    closed = ~np.isin(tables.faces.kind, _OPEN)
    face, shell = tables.shell_face, tables.shell_row
    among_open = np.bincount(shell, np.where(closed[face], 0, turned[face]), tables.n_shells)
    among_all = np.bincount(shell, turned[face], tables.n_shells)
    usual = np.sign(np.where(among_open != 0, among_open, among_all))
    usual[usual == 0] = 1
    wrong = face[closed[face] & (turned[face] * usual[shell] < 0)]
    return f"face {wrong.min()} is the rest of its surface, which its edges do not run around" if len(wrong) else ""


@dataclass(frozen=True, slots=True)
class _Middles:
    """The middles of n edges that their face has once: its row, where they lie, which way the face's loop runs."""

    face: np.ndarray
    points: np.ndarray
    along: np.ndarray


def _compare(healed: ShapeTables, stated: ShapeTables) -> np.ndarray:
    """(F,) float64: 1 for faces around which the edges run in both readings the same way, -1 the other way, 0 where the
    faces of the other reading, or its directions, leave it open.
    """
    mine, other = _middles(healed), _middles(stated)
    out = np.zeros(healed.n_faces)
    if not (len(mine.face) and len(other.face)):
        return out
    size = float(np.ptp(np.concatenate([mine.points, other.points]), axis=0).max()) or 1.0
    cells = np.round(np.concatenate([mine.points, other.points]) / (_SAME_PLACE * size)).astype(np.int64)
    place = np.unique(cells, axis=0, return_inverse=True)[1].ravel()
    by_place: dict[int, list[int]] = {}
    for j, key in enumerate(place[len(mine.face) :].tolist()):
        by_place.setdefault(key, []).append(j)
    agree = _agrees_with_neighbours(stated)
    votes: list[dict[int, list[float]]] = [{} for _ in range(healed.n_faces)]
    for i, key in enumerate(place[: len(mine.face)].tolist()):
        for j in by_place.get(key, ()):
            face, its = int(mine.face[i]), int(other.face[j])
            if healed.faces.kind[face] == stated.faces.kind[its] and agree[its]:
                votes[face].setdefault(its, []).append(float(np.sign(mine.along[i] @ other.along[j])))
    for face, found in enumerate(votes):
        most = max(map(len, found.values()), default=0)
        ways = {way for each in found.values() if len(each) == most for way in each}
        out[face] = ways.pop() if len(ways) == 1 else 0.0
    return out


def _middles(tables: ShapeTables) -> _Middles:
    rows = np.flatnonzero(
        tables.use_boundary & ~tables.edge_degenerate[tables.use_edge] & tables.edges.evaluable[tables.use_edge]
    )
    pair = tables.use_face[rows].astype(np.int64) * len(tables.edge_degenerate) + tables.use_edge[rows]
    _, inverse, count = np.unique(pair, return_inverse=True, return_counts=True)
    rows = rows[count[inverse] == 1]  # a seam runs both ways
    edge = tables.use_edge[rows]
    middle = 0.5 * (tables.edges.first[edge] + tables.edges.last[edge])
    points, slopes = curves.evaluate(tables.edges, edge, middle[:, None])
    sign = np.where(tables.use_forward[rows], 1.0, -1.0) * tables.faces.handed[tables.use_face[rows]]
    return _Middles(tables.use_face[rows], points[:, 0], slopes[:, 0] * sign[:, None])


def _agrees_with_neighbours(tables: ShapeTables) -> np.ndarray:
    """(F,) bool: faces whose edges run against those of their neighbours, as the faces look: the file does not
    contradict itself there.
    """
    rows = np.flatnonzero(tables.use_boundary & ~tables.edge_degenerate[tables.use_edge])
    face, edge = tables.use_face[rows], tables.use_edge[rows]
    sign = np.where(tables.use_forward[rows] != tables.face_reversed[face], 1.0, -1.0)
    n = len(tables.edge_degenerate)
    balance, count = np.bincount(edge, sign, n), np.bincount(edge, minlength=n)
    amiss = (count == 2) & (balance != 0)
    return np.bincount(face, amiss[edge], tables.n_faces) == 0
