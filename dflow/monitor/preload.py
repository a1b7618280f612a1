"""For schedulers that are started by hand: ``dask scheduler --preload dflow.monitor.preload``.

Adds the flow page to the dashboard before it is built, so that it stands beside the built-in pages, and as
``/individual-dflow`` among the plots that the JupyterLab extension offers.
"""

from __future__ import annotations

from typing import Any

from dflow.monitor.plugin import DflowMonitor

try:
    from distributed.dashboard.scheduler import applications

    from dflow.monitor.page import flow_document

    applications["/dflow"] = flow_document
    applications["/individual-dflow"] = flow_document
except ImportError:  # no Bokeh, no dashboard: counting still works
    applications = {}


async def dask_setup(scheduler: Any) -> None:
    """Dask calls this in the new scheduler's process."""
    await scheduler.register_scheduler_plugin(DflowMonitor(), idempotent=True)
