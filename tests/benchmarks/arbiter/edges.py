"""Edges as chords in space, and those that bound a face."""

from __future__ import annotations

import math

import numpy as np
from OCP.BRep import BRep_Tool
from OCP.BRepAdaptor import BRepAdaptor_Curve
from OCP.GeomAbs import GeomAbs_CurveType as CurveType
from OCP.gp import gp_Pnt
from OCP.TopAbs import TopAbs_EDGE, TopAbs_FORWARD, TopAbs_REVERSED
from OCP.TopExp import TopExp, TopExp_Explorer
from OCP.TopoDS import TopoDS, TopoDS_Edge, TopoDS_Face

from tests.benchmarks.arbiter.estimates import LEVELS, Estimate, extrapolate
from tests.benchmarks.arbiter.surfaces import ARC, xyz

_PIECES = 16
"""Chords of a free-form curve at the coarsest level, at least."""


def edge_line(edge: TopoDS_Edge, level: int, *, straight: bool = False, joined: bool = False) -> np.ndarray:
    """(n, 3) points along an edge's curve from its first to its last parameter.

    `straight` : a line may be one chord; `joined` : the vertices take the place of the ends.
    """
    curve = BRepAdaptor_Curve(edge)
    low, high = curve.FirstParameter(), curve.LastParameter()
    kind = curve.GetType()
    if kind == CurveType.GeomAbs_Line and straight:
        pieces = 1
    elif kind in (CurveType.GeomAbs_Circle, CurveType.GeomAbs_Ellipse):
        pieces = max(math.ceil(abs(high - low) / ARC - 1e-9), 2) << level
    elif kind == CurveType.GeomAbs_BSplineCurve:
        pieces = max(_PIECES, 2 * (curve.NbKnots() - 1)) << level
    else:
        pieces = _PIECES << level
    at = gp_Pnt()
    out = np.empty((pieces + 1, 3))
    for i, t in enumerate(np.linspace(low, high, pieces + 1).tolist()):
        curve.D0(t, at)
        out[i] = at.X(), at.Y(), at.Z()
    for end, vertex in ((0, TopExp.FirstVertex_s(edge)), (-1, TopExp.LastVertex_s(edge))):
        if joined and not vertex.IsNull():
            out[end] = xyz(BRep_Tool.Pnt_s(vertex))
    return out


def edge_length(edge: TopoDS_Edge, levels: int = LEVELS) -> Estimate:
    """mm, by chords."""
    lines = [edge_line(edge, level) for level in range(levels)]
    return extrapolate([float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum()) for line in lines])


def boundary(face: TopoDS_Face) -> list[tuple[TopoDS_Edge, bool]]:
    """The edges that bound a face's material, and whether each is taken backwards; not those taken both ways."""
    uses: list[tuple[TopoDS_Edge, bool]] = []
    walk = TopExp_Explorer(face.Oriented(TopAbs_FORWARD), TopAbs_EDGE)
    while walk.More():
        edge = TopoDS.Edge(walk.Current())
        walk.Next()
        if BRep_Tool.Degenerated_s(edge) or not BRep_Tool.IsGeometric_s(edge):
            continue
        backwards = edge.Orientation() == TopAbs_REVERSED
        other = next((i for i, (e, b) in enumerate(uses) if b != backwards and e.IsSame(edge)), None)
        if other is None:
            uses.append((edge, backwards))
        else:
            del uses[other]
    return uses
