"""A running flow on a cluster of somebody's own: the monitor's numbers while it runs, and afterwards."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import Client, LocalCluster

import dflow
from dflow.flowmanager import flowtask
from tests import browser
from tests.monitor import snapshots

N_ITEMS = 60


@flowtask.extract(name="gather", inputs=["sources"], outputs=["items"])
def gather(sources: list[str]) -> list[int]:
    return list(range(int(sources[0])))


@flowtask.transform(name="work", inputs=["item", "storage"], outputs=["done"])
def work(item: int, storage: Any) -> int | None:
    import time

    time.sleep(5.0 if item == 3 else 0.1)
    if item % 10 == 1:
        raise ValueError("ones are not wanted")
    storage.save_data("rows/values", np.arange(float(item)))
    storage.save_metadata("item", item)
    return item


@pytest.fixture
def local() -> Iterator[Client]:
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", host="127.0.0.1") as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.fixture
def by_hand(tmp_path: Path) -> Iterator[Client]:
    """``dask scheduler`` and two ``dask worker``, started before and without anything of dflow's."""
    place = tmp_path / "scheduler.json"
    with ExitStack() as stack:

        def start(*command: str) -> None:
            process = subprocess.Popen([sys.executable, "-m", *command], stderr=subprocess.DEVNULL, cwd=tmp_path)
            stack.callback(process.wait)
            stack.callback(process.terminate)

        where = ("--host", "127.0.0.1")
        arguments = ("--port", "0", "--dashboard-address", "127.0.0.1:0", "--scheduler-file", str(place), *where)
        start("distributed.cli.dask_scheduler", *arguments)
        for _ in range(2):
            start("distributed.cli.dask_worker", "--scheduler-file", str(place), "--nthreads", "1", *where)
        with Client(scheduler_file=str(place), timeout=60) as client:
            client.wait_for_workers(2, timeout=60)
            yield client


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["local", "by_hand"])
def test_numbers_are_real_in_mid_run_and_the_summary_s_at_the_end(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    client: Client = request.getfixturevalue(kind)
    flow = dflow.create_flow(name="watched", tasks=[gather, work], flows_outputdir=tmp_path, cluster=client)
    with snapshots.watching(client) as seen:
        _, summary, _ = flow.process(inputs={"sources": str(N_ITEMS)}, progress=False)
    snapshots.check_numbers_in_mid_run(seen, "work", slow_file="3", host=platform.node())
    last = snapshots.fetch(client)
    snapshots.check_numbers_at_the_end(last, summary, "work", {"exception": N_ITEMS // 10})
    if kind == "by_hand" and browser.why_not_here() is None:
        check_page(client, summary)


def check_page(client: Client, summary: dict[str, Any]) -> None:
    """The page in a browser shows the final summary's numbers."""
    with browser.chromium() as driver:
        driver.get(snapshots.base(client) + "/dflow")
        n, n_failed = summary["submitted"], summary["failed"]
        text = browser.wait_for_text(driver, f"watched finished · {n} of {n} files · {n_failed} failed")
        assert "exception" in text
        assert browser.console_errors(driver) == []
        assert browser.requested_hosts(driver) == {"127.0.0.1"}
