"""How much the kernel repairs while it transfers a file: three levels of its ``FixShape`` modes.

``planar``: every mode off; a file whose faces are all planes comes out as with default healing, at a fraction of the
cost.
``light``: what curved faces need and no more (curves on surfaces, seams, degenerate edges, natural bounds).
``full``: the kernel's defaults, most of whose time goes into self-intersection checks of every wire.

Two more say that nothing was healed: ``none``, a shape as it was stored, and ``text``, a STEP file that dflow read
itself.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

from OCP.collections import DataMap_TCollection_AsciiString_TCollection_AsciiString as StringMap
from OCP.TCollection import TCollection_AsciiString

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
    """The level to begin with: ``planar`` where the STEP text names no curved surface."""
    if b"SURFACE" not in content:  # one pass over most planar files instead of a dozen
        return "planar"
    return "light" if any(word in content for word in _CURVED) else "planar"


@cache
def parameters(level: Healing) -> StringMap | None:
    """The reader's shape-fix parameters of a level; None leaves the reader's own defaults."""
    if level in ("full", "none", "text"):
        return None
    chosen = _LIGHT if level == "light" else frozenset()
    values = StringMap()
    for mode in _MODES:
        values.Bind(
            TCollection_AsciiString(f"FixShape.{mode}"), TCollection_AsciiString("1" if mode in chosen else "0")
        )
    return values
