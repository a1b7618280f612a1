"""Healing: how much the kernel repairs while it transfers a file, in three levels of its ``FixShape`` modes.

``planar``: every mode off; a file whose faces are all planes comes out as with default healing, at a fraction of the
cost.
``light``: only what curved faces need (curves on surfaces, seams, degenerate edges, natural bounds).
``full``: the kernel's defaults, which spend most of their time on self-intersection checks of every wire.

Two more stand for no healing: ``none``, a shape as it was stored, and ``text``, a STEP file that dflow read itself.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

from OCP.BRep import BRep_Tool
from OCP.BRepBuilderAPI import BRepBuilderAPI_Copy
from OCP.BRepGProp import BRepGProp
from OCP.collections import DataMap_TCollection_AsciiString_TCollection_AsciiString as StringMap
from OCP.GProp import GProp_GProps
from OCP.ShapeFix import ShapeFix_Shape
from OCP.TCollection import TCollection_AsciiString
from OCP.TopAbs import (
    TopAbs_SHELL,
    TopAbs_SOLID,
)
from OCP.TopoDS import TopoDS_Shape

from dflow.cadaccess.kernel import turns

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
    for solid in turns.each(shape, TopAbs_SOLID):
        shells = list(turns.children(solid))
        if any(shell.ShapeType() != TopAbs_SHELL or not BRep_Tool.IsClosed_s(shell) for shell in shells):
            continue
        volumes = [_volume(shell) for shell in shells]
        outer = max(volumes, key=abs, default=0.0)
        side = 1.0 if outward or outer > 0 else -1.0
        wrong = [(volume * side < 0) == (volume is outer) for volume in volumes]
        if outer and any(wrong):
            turns.replace_children(
                solid, shells, [s.Reversed() if w else s for s, w in zip(shells, wrong, strict=True)]
            )
            changed = True
    return changed


def _volume(shell: TopoDS_Shape) -> float:
    found = GProp_GProps()
    BRepGProp.VolumeProperties_s(shell, found)
    return found.Mass()
