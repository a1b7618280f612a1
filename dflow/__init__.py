"""dflow turns folders of CAD files into datasets for machine learning.

The names below load on first use, so that ``import dflow`` is quick and imports no CAD kernel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dflow.lazy import attach

if TYPE_CHECKING:
    from dflow import labels
    from dflow._version import __version__
    from dflow.cadaccess.loader import CadLoader
    from dflow.cadencoder.encoder import BrepEncoder
    from dflow.dataset.explorer import DatasetExplorer
    from dflow.dataset.loader import DatasetLoader
    from dflow.flowmanager import flowtask
    from dflow.flowmanager.flow import create_flow
    from dflow.flowmanager.gathering import gather_cad_files
    from dflow.hoops.licence import get_license_info, set_license, use_test_license
    from dflow.insights.viewer import DatasetViewer
    from dflow.schema.builder import SchemaBuilder
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "__version__": "dflow._version",
            "BrepEncoder": "dflow.cadencoder.encoder",
            "CadLoader": "dflow.cadaccess.loader",
            "DatasetExplorer": "dflow.dataset.explorer",
            "DatasetLoader": "dflow.dataset.loader",
            "DatasetViewer": "dflow.insights.viewer",
            "SchemaBuilder": "dflow.schema.builder",
            "create_flow": "dflow.flowmanager.flow",
            "flowtask": "dflow.flowmanager.flowtask:",
            "gather_cad_files": "dflow.flowmanager.gathering",
            "labels": "dflow.labels:",
            "get_license_info": "dflow.hoops.licence",
            "set_license": "dflow.hoops.licence",
            "use_test_license": "dflow.hoops.licence",
        },
    )

__all__ = [
    "__version__",
    "BrepEncoder",
    "CadLoader",
    "DatasetExplorer",
    "DatasetLoader",
    "DatasetViewer",
    "SchemaBuilder",
    "create_flow",
    "flowtask",
    "gather_cad_files",
    "get_license_info",
    "labels",
    "set_license",
    "use_test_license",
]
