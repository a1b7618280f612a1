"""The preload adds the page before a dashboard is built, and the monitor to the scheduler."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

from dflow.monitor import preload
from dflow.monitor.page import PATHS, flow_document
from dflow.monitor.plugin import DflowMonitor


def test_the_pages_are_among_the_dashboards(monkeypatch: pytest.MonkeyPatch) -> None:
    from distributed.dashboard.scheduler import applications

    for path in PATHS:
        monkeypatch.delitem(applications, path, raising=False)
    preload.offer_pages()
    assert [applications[path] for path in PATHS] == [flow_document] * len(PATHS)


def test_without_bokeh_there_is_no_page_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed.dashboard.scheduler", None)
    preload.offer_pages()


def test_the_scheduler_gets_one_monitor() -> None:
    calls: list[tuple[Any, bool]] = []

    class Scheduler:
        async def register_scheduler_plugin(self, plugin: Any, idempotent: bool) -> None:
            calls.append((plugin, idempotent))

    asyncio.run(preload.dask_setup(Scheduler()))
    assert [(type(plugin), idempotent) for plugin, idempotent in calls] == [(DflowMonitor, True)]
