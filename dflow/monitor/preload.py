"""Monitor flows on schedulers that are started by hand: ``dask scheduler --preload dflow.monitor.preload``.

Adds the flow page to the dashboard before it is built: beside the built-in pages, and as ``/individual-dflow`` among
the plots that the JupyterLab extension lists. Schedulers that dflow starts have it, too.
"""

from __future__ import annotations

from typing import Any

from dflow.monitor.plugin import DflowMonitor


def offer_pages() -> None:
    """Add the flow page to the dashboards that this process builds from now on."""
    try:
        from distributed.dashboard.scheduler import applications

        from dflow.monitor.page import PATHS, flow_document
    except ImportError:  # without Bokeh there is no dashboard; events are counted
        return
    applications.update(dict.fromkeys(PATHS, flow_document))


offer_pages()


async def dask_setup(scheduler: Any) -> None:
    """Register the monitor; Dask calls this in the new scheduler's process."""
    await scheduler.register_scheduler_plugin(DflowMonitor(), idempotent=True)
