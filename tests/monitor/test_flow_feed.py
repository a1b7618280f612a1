"""A running flow on a cluster of somebody's own: the monitor's numbers while it runs, and afterwards."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, LocalCluster

import dflow
from dflow.flowmanager import flowtask

pytestmark = pytest.mark.slow


@flowtask.extract(name="gather", inputs=["sources"], outputs=["items"])
def gather(sources: list[str]) -> list[int]:
    return list(range(int(sources[0])))


@flowtask.transform(name="work", inputs=["item", "storage"], outputs=["done"])
def work(item: int, storage: Any) -> int | None:
    if item == 0:
        time.sleep(4.0)
    if item == 1:
        raise ValueError("one is not wanted")
    storage.save_metadata("item", item)
    return item


def snapshot(client: Client) -> Any:
    base = str(client.dashboard_link).rsplit("/", 1)[0]
    with urllib.request.urlopen(f"{base}/dflow.json", timeout=10) as answer:
        return json.load(answer)


def test_page_names_the_slow_file_and_ends_with_the_summary_s_numbers(tmp_path: Path) -> None:
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", host="127.0.0.1") as cluster,
        Client(cluster) as client,
    ):
        flow = dflow.create_flow(name="watched", tasks=[gather, work], flows_outputdir=tmp_path, cluster=client)
        results: list[Any] = []
        runner = threading.Thread(
            target=lambda: results.append(flow.process(inputs={"sources": "20"}, progress=False)), daemon=True
        )
        runner.start()
        flying = []
        deadline = time.monotonic() + 90
        while not flying and time.monotonic() < deadline:
            time.sleep(0.3)
            try:
                flying = [f for run in snapshot(client)["runs"] for f in run["in_flight"]]
            except OSError:
                continue
        runner.join(120)
        assert [(f["file"], f["task"]) for f in flying] == [("0", "work")]
        assert flying[0]["seconds"] >= 1.0
        assert flying[0]["child_bytes"] > 10_000_000
        _, summary, _ = results[0]
        run = snapshot(client)["runs"][-1]
        counts = run["tasks"]["work"]
        assert (counts["succeeded"], counts["failed"]) == (summary["file_count"], summary["failed"]) == (19, 1)
        assert run["failures"] == {"exception": 1}
        assert run["status"] == "finished"
        assert run["in_flight"] == []
