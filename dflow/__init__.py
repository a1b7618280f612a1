"""dflow: folders of CAD files become datasets that machines learn from.

The names below load on first use, so that ``import dflow`` stays quick and pulls in no CAD kernel.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dflow._version import __version__

if TYPE_CHECKING:
    from dflow.flowmanager.flow import create_flow
    from dflow.hoops.licence import get_license_info, set_license, use_test_license

_HOMES = {
    "create_flow": "dflow.flowmanager.flow",
    "get_license_info": "dflow.hoops.licence",
    "set_license": "dflow.hoops.licence",
    "use_test_license": "dflow.hoops.licence",
}

__all__ = ["__version__", "create_flow", "get_license_info", "set_license", "use_test_license"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'dflow' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
