"""The explorer page: a merged dataset in the browser, served from this machine.

* `serve`: serve until interrupted, as ``dflow explore`` does
* `start_server`: serve in the background of this thread's event loop
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dflow.lazy import attach

if TYPE_CHECKING:
    from dflow.insights.explore.server import serve, start_server
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "serve": "dflow.insights.explore.server",
            "start_server": "dflow.insights.explore.server",
        },
    )

__all__ = [
    "serve",
    "start_server",
]
