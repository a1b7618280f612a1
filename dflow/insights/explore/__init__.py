"""The explorer page: a merged dataset in the browser, served from this machine.

* `serve`: serve until interrupted (what ``dflow explore`` does)
* `start_server`: serve in the background of this thread's event loop
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dflow.insights.explore.server import serve, start_server

__all__ = ["serve", "start_server"]


def __getattr__(name: str) -> Any:
    # Lazy: bokeh takes half a second to load.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("dflow.insights.explore.server"), name)
