"""What the codes of faces and edges stand for: the tables that go beside the arrays. Loads no kernel."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

FACE_TYPES: Mapping[int, str] = MappingProxyType(
    {
        0: "Plane",
        1: "Cylinder",
        2: "Cone",
        3: "Sphere",
        4: "Torus",
        5: "Nurbs",
        13: "Revolution",
        14: "Extrusion",
        15: "Offset",
        16: "Other",
    }
)
"""Codes of `Brep.face_types`: HOOPS AI's as observed; 15 and 16 are dflow's own."""

EDGE_TYPES: Mapping[int, str] = MappingProxyType(
    {
        0: "Line",
        1: "Circle",
        2: "Ellipse",
        3: "Hyperbola",
        4: "Parabola",
        5: "Bezier",
        6: "Bspline",
        7: "Offset",
        8: "Other",
    }
)
"""Codes of `Brep.edge_types`: the kernel's ``GeomAbs_CurveType``, as in brepgraph."""

CONVEXITIES: Mapping[int, str] = MappingProxyType({0: "Undefined", 1: "Convex", 2: "Concave", 3: "Smooth"})
"""Codes of `Brep.edge_convexities`."""
