"""Geometry in: CAD files to numpy. The only package that imports the CAD kernel, and only when it is used.

* `CadLoader` opens a file and gives a `CadModel`; its `get_brep()` is a `Brep`, everything as arrays.
* `HOOPSLoader` and `HOOPSTools` are the names of scripts written for HOOPS AI.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dflow.cadaccess.brep import Brep
    from dflow.cadaccess.codes import CONVEXITIES, EDGE_TYPES, FACE_TYPES
    from dflow.cadaccess.loader import CadLoader
    from dflow.cadaccess.loader import CadLoader as HOOPSLoader
    from dflow.cadaccess.model import CadModel, ReadReport
    from dflow.cadaccess.tessellation.mesh import Mesh
    from dflow.cadaccess.topology import Topology
    from dflow.hoops.tools import HOOPSTools

_HOMES = {
    "Brep": ("brep", "Brep"),
    "CONVEXITIES": ("codes", "CONVEXITIES"),
    "CadLoader": ("loader", "CadLoader"),
    "CadModel": ("model", "CadModel"),
    "EDGE_TYPES": ("codes", "EDGE_TYPES"),
    "FACE_TYPES": ("codes", "FACE_TYPES"),
    "HOOPSLoader": ("loader", "CadLoader"),
    "HOOPSTools": ("tools", "HOOPSTools"),
    "Mesh": ("meshing", "Mesh"),
    "ReadReport": ("model", "ReadReport"),
    "Topology": ("topology", "Topology"),
}

__all__ = [
    "CONVEXITIES",
    "EDGE_TYPES",
    "FACE_TYPES",
    "Brep",
    "CadLoader",
    "CadModel",
    "HOOPSLoader",
    "HOOPSTools",
    "Mesh",
    "ReadReport",
    "Topology",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(import_module(f"dflow.cadaccess.{module}"), attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
