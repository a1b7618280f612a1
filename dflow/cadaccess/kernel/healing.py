"""Healing: how much the kernel repairs while it transfers a file, in three levels of its ``FixShape`` modes.

``planar``: every mode off; a file whose faces are all planes comes out as with default healing, at a fraction of the
cost.
``light``: only what curved faces need (curves on surfaces, seams, degenerate edges, natural bounds).
``full``: the kernel's defaults, which spend most of their time on self-intersection checks of every wire.

Two more stand for no healing: ``none``, a shape as it was stored, and ``text``, a STEP file that dflow read itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from OCP.BRep import BRep_Builder, BRep_Tool
from OCP.BRepAdaptor import BRepAdaptor_Surface
from OCP.BRepBuilderAPI import BRepBuilderAPI_Copy
from OCP.BRepGProp import BRepGProp
from OCP.BRepTools import BRepTools
from OCP.collections import DataMap_TCollection_AsciiString_TCollection_AsciiString as StringMap
from OCP.collections import IndexedMap_TopoDS_Shape_TopTools_ShapeMapHasher as ShapeMap
from OCP.Geom2d import Geom2d_Curve
from OCP.gp import gp_Vec2d
from OCP.GProp import GProp_GProps
from OCP.ShapeFix import ShapeFix_Shape
from OCP.TCollection import TCollection_AsciiString
from OCP.TopAbs import (
    TopAbs_FACE,
    TopAbs_FORWARD,
    TopAbs_REVERSED,
    TopAbs_ShapeEnum,
    TopAbs_SHELL,
    TopAbs_SOLID,
    TopAbs_WIRE,
)
from OCP.TopExp import TopExp
from OCP.TopLoc import TopLoc_Location
from OCP.TopoDS import TopoDS, TopoDS_Edge, TopoDS_Face, TopoDS_Iterator, TopoDS_Shape

Healing = Literal["none", "text", "planar", "light", "full"]

_MODES = [
    "FixFreeShellMode",
    "FixFreeFaceMode",
    "FixFreeWireMode",
    "FixSameParameterMode",
    "FixSolidMode",
    "FixShellOrientationMode",
    "CreateOpenSolidMode",
    "FixShellMode",
    "FixFaceOrientationMode",
    "FixFaceMode",
    "FixWireMode",
    "FixOrientationMode",
    "FixAddNaturalBoundMode",
    "FixMissingSeamMode",
    "FixSmallAreaWireMode",
    "RemoveSmallAreaFaceMode",
    "FixIntersectingWiresMode",
    "FixLoopWiresMode",
    "FixSplitFaceMode",
    "AutoCorrectPrecisionMode",
    "ModifyTopologyMode",
    "ModifyGeometryMode",
    "ClosedWireMode",
    "PreferencePCurveMode",
    "FixReorderMode",
    "FixSmallMode",
    "FixConnectedMode",
    "FixEdgeCurvesMode",
    "FixDegeneratedMode",
    "FixLackingMode",
    "FixSelfIntersectionMode",
    "RemoveLoopMode",
    "FixReversed2dMode",
    "FixRemovePCurveMode",
    "FixAddPCurveMode",
    "FixRemoveCurve3dMode",
    "FixAddCurve3dMode",
    "FixSeamMode",
    "FixShiftedMode",
    "FixEdgeSameParameterMode",
    "FixNotchedEdgesMode",
    "FixTailMode",
    "FixSelfIntersectingEdgeMode",
    "FixIntersectingEdgesMode",
    "FixNonAdjacentIntersectingEdgesMode",
    "FixVertexPositionMode",
    "FixVertexToleranceMode",
]

_LIGHT = frozenset(
    [
        "FixSolidMode",
        "FixShellMode",
        "FixFreeFaceMode",
        "FixFreeShellMode",
        "FixFaceMode",
        "FixWireMode",
        "FixMissingSeamMode",
        "FixEdgeCurvesMode",
        "FixAddPCurveMode",
        "FixDegeneratedMode",
        "FixSeamMode",
        "FixShiftedMode",
        "ClosedWireMode",
        "FixAddNaturalBoundMode",
    ]
)

_CURVED = (
    b"CYLINDRICAL_SURFACE",
    b"CONICAL_SURFACE",
    b"SPHERICAL_SURFACE",
    b"TOROIDAL_SURFACE",
    b"B_SPLINE_SURFACE",
    b"BEZIER_SURFACE",
    b"SURFACE_OF_",
    b"OFFSET_SURFACE",
    b"RECTANGULAR_",
    b"CURVE_BOUNDED_SURFACE",
    b"UNIFORM_SURFACE",
    b"QUASI_UNIFORM",
)

_JOINT = 1e-3
"""Of a loop's size in (u, v): how far two curves that meet may end apart."""
_ROUNDING = 1e-6
"""In (u, v): as far may they be apart in a loop without size, that of one closed edge."""


def first_level(content: bytes) -> Healing:
    """Return the level to begin with: ``planar`` where the STEP text names no curved surface."""
    if b"SURFACE" not in content:  # one pass over most planar files instead of a dozen
        return "planar"
    return "light" if any(word in content for word in _CURVED) else "planar"


@cache
def parameters(level: Healing, bridged: bool = True) -> StringMap | None:
    """Return the reader's shape-fix parameters of a level; None keeps the reader's own defaults.

    Parameters
    ----------
    bridged : whether full healing puts an edge into a gap between the curves of two edges (``FixLackingMode``)
    """
    values = StringMap()
    if level in ("full", "none", "text"):
        if bridged:
            return None
        values.Bind(TCollection_AsciiString("FixShape.FixLackingMode"), TCollection_AsciiString("0"))
        return values
    chosen = _LIGHT if level == "light" else frozenset()
    for mode in _MODES:
        values.Bind(
            TCollection_AsciiString(f"FixShape.{mode}"), TCollection_AsciiString("1" if mode in chosen else "0")
        )
    return values


def heal(shape: TopoDS_Shape) -> TopoDS_Shape:
    """Return a copy of a shape, healed with the kernel's defaults."""
    fix = ShapeFix_Shape(BRepBuilderAPI_Copy(shape).Shape())
    fix.Perform()
    return fix.Shape()


def turn_shells(shape: TopoDS_Shape, *, outward: bool) -> bool:
    """Turn the closed shells of solids whose volume has the wrong sign: those of cavities face the other way than the
    largest.

    The shape is changed in place, so that its reader's names still apply. Return whether it was changed.

    Parameters
    ----------
    outward : whether the largest is to face outwards; else it stays as it is.
    """
    changed = False
    for solid in _each(shape, TopAbs_SOLID):
        shells = list(_children(solid))
        if any(shell.ShapeType() != TopAbs_SHELL or not BRep_Tool.IsClosed_s(shell) for shell in shells):
            continue
        volumes = [_volume(shell) for shell in shells]
        outer = max(volumes, key=abs, default=0.0)
        side = 1.0 if outward or outer > 0 else -1.0
        wrong = [(volume * side < 0) == (volume is outer) for volume in volumes]
        if outer and any(wrong):
            _replace(solid, shells, [s.Reversed() if w else s for s, w in zip(shells, wrong, strict=True)])
            changed = True
    return changed


def align_turns(shape: TopoDS_Shape) -> bool:
    """Move the edges' curves on periodic surfaces by whole turns, so that each loop is closed in (u, v) and the holes
    of a face are within its outer loop.

    The kernel's own mode for that (``FixShiftedMode``) moves some curves too far, or none. The shape is changed in
    place. Return whether it was changed.
    """
    return sum(_align_face(face, turn) for face, turn in _periodic_faces(shape)) > 0


def exceeds_turn(shape: TopoDS_Shape) -> bool:
    """Return whether a face spans more than a whole turn of its surface."""
    for face, turn in _periodic_faces(shape):
        u_min, u_max, v_min, v_max = BRepTools.UVBounds_s(face)
        if (np.array([u_max - u_min, v_max - v_min]) > turn * (1 + _JOINT)).any():
            return True
    return False


def _periodic_faces(shape: TopoDS_Shape) -> Iterator[tuple[TopoDS_Face, np.ndarray]]:
    """Yield every face on a periodic surface, and (2,) its turn in u and v: inf where the surface is not periodic."""
    for found in _each(shape, TopAbs_FACE):
        face = TopoDS.Face(found)
        surface = BRepAdaptor_Surface(face, False)
        u, v = surface.IsUPeriodic(), surface.IsVPeriodic()
        if u or v:
            yield face, np.array([surface.UPeriod() if u else np.inf, surface.VPeriod() if v else np.inf])


def _align_face(face: TopoDS_Face, turn: np.ndarray) -> bool:
    loops = []
    for wire in _children(face):
        loop = _align_loop(face, wire, turn)
        if loop is None:
            return False
        loops.append(loop)
    if not loops:
        return False
    outer = max(loops, key=lambda loop: float(np.prod(loop.high - loop.low)))
    middle = 0.5 * (outer.low + outer.high)
    middle -= np.floor(middle / turn) * _times(turn) if outer.moves.any() else 0.0
    builder, changed = BRep_Builder(), False
    for loop in loops:
        turns = np.round((middle - 0.5 * (loop.low + loop.high)) / turn)
        for edge, move in zip(loop.edges, (loop.moves + turns * _times(turn)).tolist(), strict=True):
            curve = _curve(edge, face)
            if curve is not None and any(move):
                curve.Translate(gp_Vec2d(*move))
                builder.Range(edge, face, *BRep_Tool.Range_s(edge, face))  # computes the ends that it keeps
                changed = True
    return changed


@dataclass(frozen=True, slots=True)
class _Loop:
    """A loop's edges, the `moves` : (n, 2) that close it, and its bounds `low`, `high` : (2,) in (u, v) after them."""

    edges: list[TopoDS_Edge]
    moves: np.ndarray
    low: np.ndarray
    high: np.ndarray


def _align_loop(face: TopoDS_Face, wire: TopoDS_Shape, turn: np.ndarray) -> _Loop | None:
    """A loop, closed by moves; None where whole turns do not close it within one turn.

    Around a whole torus both orders of the edges do: taken is the one that runs counter-clockwise, unless one needs no
    moves.
    """
    edges = [TopoDS.Edge(edge) for edge in _children(wire)] if wire.ShapeType() == TopAbs_WIRE else []
    ends = [_ends(edge, face) for edge in edges]
    if not edges or not all(ends):
        return None
    found = []
    for step in (1, -1):  # a loop may be stored backwards
        start, end = np.array(ends[::step]).reshape(-1, 2, 2).swapaxes(0, 1)
        gap = np.roll(end, 1, axis=0) - start
        turns = np.round(gap / turn)
        size = np.ptp(np.concatenate([start, end]), axis=0)
        if turns.sum(axis=0).any() or (np.abs(gap - turns * _times(turn)) > _JOINT * size + _ROUNDING).any():
            continue
        moves = np.cumsum(turns, axis=0) * _times(turn)
        corners = np.concatenate([start + moves, end + moves])
        low, high = corners.min(axis=0), corners.max(axis=0)
        if (high - low <= turn * (1 + _JOINT)).all():
            (u, v), (to_u, to_v) = (start + moves).T, (end + moves).T
            clockwise = (u * to_v - v * to_u).sum() <= 0
            found.append((bool(moves.any()), bool(clockwise), _Loop(edges[::step], moves, low, high)))
    return min(found, key=lambda candidate: candidate[:2])[2] if found else None


def _times(turn: np.ndarray) -> np.ndarray:
    """What a number of turns is multiplied by: 0 where the surface is not periodic."""
    return np.where(np.isinf(turn), 0.0, turn)


def _ends(edge: TopoDS_Edge, face: TopoDS_Face) -> tuple[float, ...]:
    """(u, v) where an edge begins and where it ends, as its loop runs; empty where it has no curve on the face."""
    curve = _curve(edge, face)
    if curve is None:
        return ()
    first, last = (curve.Value(t) for t in BRep_Tool.Range_s(edge, face))
    if edge.Orientation() == TopAbs_REVERSED:
        first, last = last, first
    return first.X(), first.Y(), last.X(), last.Y()


def _curve(edge: TopoDS_Edge, face: TopoDS_Face) -> Geom2d_Curve | None:
    """The edge's own curve on the face, not a copy."""
    return BRep_Tool.CurveOnSurface_s(edge, face, 0.0, 0.0)


def _each(shape: TopoDS_Shape, kind: TopAbs_ShapeEnum) -> Iterator[TopoDS_Shape]:
    """Yield every solid or face once, however often it is placed: at the origin, forward."""
    found, seen = ShapeMap(), ShapeMap()
    TopExp.MapShapes_s(shape, kind, found)
    for key in range(1, found.Extent() + 1):
        alone = found.FindKey(key).Located(TopLoc_Location()).Oriented(TopAbs_FORWARD)
        if not seen.Contains(alone):
            seen.Add(alone)
            yield alone


def _children(shape: TopoDS_Shape) -> Iterator[TopoDS_Shape]:
    walk = TopoDS_Iterator(shape)
    while walk.More():
        yield walk.Value()
        walk.Next()


def _replace(parent: TopoDS_Shape, old: list[TopoDS_Shape], new: list[TopoDS_Shape]) -> None:
    builder = BRep_Builder()
    parent.Free(True)
    for child in old:
        builder.Remove(parent, child)
    for child in new:
        builder.Add(parent, child)


def _volume(shell: TopoDS_Shape) -> float:
    found = GProp_GProps()
    BRepGProp.VolumeProperties_s(shell, found)
    return found.Mass()
