"""CAD files to numpy: `CadLoader` opens a file, `CadModel` is what it holds, `Brep` its shape as arrays.

Names that begin with `HOOPS`, and `CADLoader`, are for scripts written for HOOPS AI.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dflow.lazy import attach

if TYPE_CHECKING:
    from dflow.cadaccess.brep import Brep
    from dflow.cadaccess.brep import Brep as HOOPSBrep
    from dflow.cadaccess.codes import CONVEXITIES, EDGE_TYPES, FACE_TYPES
    from dflow.cadaccess.loader import CadLoader
    from dflow.cadaccess.loader import CadLoader as CADLoader
    from dflow.cadaccess.model import CadModel, ReadReport
    from dflow.cadaccess.model import CadModel as HOOPSModel
    from dflow.cadaccess.tessellation.mesh import Mesh
    from dflow.cadaccess.tessellation.mesh import Mesh as HOOPSMesh
    from dflow.cadaccess.topology import Topology
    from dflow.hoops.cad import HOOPSLoader
    from dflow.hoops.tools import HOOPSTools
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "Brep": "dflow.cadaccess.brep",
            "CADLoader": "dflow.cadaccess.loader:CadLoader",
            "CONVEXITIES": "dflow.cadaccess.codes",
            "CadLoader": "dflow.cadaccess.loader",
            "CadModel": "dflow.cadaccess.model",
            "EDGE_TYPES": "dflow.cadaccess.codes",
            "FACE_TYPES": "dflow.cadaccess.codes",
            "HOOPSBrep": "dflow.cadaccess.brep:Brep",
            "HOOPSLoader": "dflow.hoops.cad",
            "HOOPSMesh": "dflow.cadaccess.tessellation.mesh:Mesh",
            "HOOPSModel": "dflow.cadaccess.model:CadModel",
            "HOOPSTools": "dflow.hoops.tools",
            "Mesh": "dflow.cadaccess.tessellation.mesh",
            "ReadReport": "dflow.cadaccess.model",
            "Topology": "dflow.cadaccess.topology",
        },
    )

__all__ = [
    "Brep",
    "CADLoader",
    "CONVEXITIES",
    "CadLoader",
    "CadModel",
    "EDGE_TYPES",
    "FACE_TYPES",
    "HOOPSBrep",
    "HOOPSLoader",
    "HOOPSMesh",
    "HOOPSModel",
    "HOOPSTools",
    "Mesh",
    "ReadReport",
    "Topology",
]
