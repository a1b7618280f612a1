"""Watch a scheduler's ``/dflow.json`` while something runs."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from distributed import Client


def base(client: Client) -> str:
    """The scheduler's web address."""
    return str(client.dashboard_link).rsplit("/", 1)[0]


def fetch(client: Client) -> Any:
    """The numbers now."""
    with urllib.request.urlopen(base(client) + "/dflow.json", timeout=60) as answer:
        return json.load(answer)


@contextmanager
def watching(client: Client) -> Iterator[list[Any]]:
    """The snapshots of the time of the block, a few a second."""
    over, seen = threading.Event(), []

    def look() -> None:
        while not over.wait(0.3):
            try:
                seen.append(fetch(client))
            except OSError:  # before a flow has put the numbers there
                continue

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def check_numbers_in_mid_run(seen: list[Any], task: str, *, slow_file: str, host: str) -> None:
    """Every number of the page was real while the flow ran: `slow_file` took seconds, and some files failed."""
    running = [each for each in seen if each["runs"] and each["runs"][-1]["status"] == "running"]
    runs = [each["runs"][-1] for each in running]
    counts = [run["tasks"][task] for run in runs if task in run["tasks"]]
    assert any(0 < each["done"] < each["total"] for each in counts), "no progress was seen in mid-run"
    assert [each["done"] for each in counts] == sorted(each["done"] for each in counts)
    working = [run for run in runs if run["tasks"].get(task, {}).get("waiting")]
    assert any(run["bytes_encoded"] > 0 for run in working)
    assert any(run["files_per_second"] > 0 and run["seconds_left"] for run in working)
    assert any(run["failures"] for run in working)
    flying = [each for run in working for each in run["in_flight"] if each["file"].endswith(slow_file)]
    assert {(each["task"], each["host"]) for each in flying} == {(task, host)}
    assert max(each["seconds"] for each in flying) > min(each["seconds"] for each in flying) >= 1.0
    memory = [worker for each in running for worker in each["workers"]]
    assert max(worker["bytes"] for worker in memory) > 20_000_000
    assert max(worker["child_bytes"] for worker in memory) > 20_000_000


def check_numbers_at_the_end(last: Any, summary: dict[str, Any], task: str, kinds: dict[str, int]) -> None:
    """The finished run says what the flow's own summary says."""
    run = last["runs"][-1]
    counts = run["tasks"][task]
    assert run["status"] == "finished"
    assert (run["files_done"], run["files"]) == (summary["submitted"], summary["submitted"])
    assert (counts["succeeded"], counts["failed"]) == (summary["file_count"], summary["failed"])
    assert counts["waiting"] == 0
    assert run["failures"] == kinds
    assert run["in_flight"] == []
    assert run["shards_written"] > 0
    assert run["bytes_encoded"] > 0
    assert run["bytes_merged"] > 0
