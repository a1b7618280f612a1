"""``run.json``: a run's time, hosts, settings, versions, durations and slowest items."""

from __future__ import annotations

import heapq
import platform
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from dflow._version import __version__
from dflow.flowmanager.history.fingerprint import Fingerprint, version_of
from dflow.flowmanager.reports.flowoutput import Counts, NearLimit, TaskOutcome
from dflow.flowmanager.reports.timeline import Timeline, WorkerBusy
from dflow.records import ItemRecord

PACKAGES = ("dask", "distributed", "zarr", "xarray", "numpy", "cadquery-ocp", "pandas", "pyarrow")
SHARES = (50, 90, 99, 100)
SLOWEST = 20
MOST_NEAR = 1000
HISTOGRAM_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
"""Upper limits of the bins in which a task's items are counted, in seconds; one more bin holds longer times."""


def run_facts(
    flow_name: str,
    tasks: Sequence[TaskOutcome],
    counts: Counts,
    *,
    status: str,
    error: str,
    seconds: float,
    configuration: Mapping[str, Any],
    cluster: Mapping[str, Any],
    fingerprint: Fingerprint,
    timeline: Timeline,
    near_limit: Sequence[NearLimit] = (),
) -> dict[str, Any]:
    """Return the content of ``run.json``; `seconds`: wall time until now; `error`: what stopped the run, or "".

    Of `near_limit` those nearest to their limit are kept.
    """
    now = datetime.now(UTC)
    return {
        "flow": flow_name,
        "status": status,
        "error": error,
        "started": (now - timedelta(seconds=seconds)).isoformat(timespec="seconds"),
        "finished": now.isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
        "counts": asdict(counts),
        "tasks": [_task_facts(task) for task in tasks],
        "slowest": _slowest(tasks),
        "near_limit": [
            {"task": near.task, "file": near.file, "seconds": round(near.seconds, 3), "limit": round(near.limit, 3)}
            for near in heapq.nlargest(MOST_NEAR, near_limit, key=lambda near: near.seconds / near.limit)
        ],
        "failures": dict(Counter(error.kind for task in tasks for error in task.errors).most_common()),
        "configuration": dict(configuration),
        "host": platform.node(),
        "platform": platform.platform(),
        "python": sys.version.split()[0],
        "versions": {name: version_of(name) for name in PACKAGES},
        "dflow": __version__,
        "cluster": dict(cluster),
        "hosts": _hosts(timeline.workers),
        "timeline": {
            "bin_seconds": timeline.bin_seconds,
            "done": {task: list(points) for task, points in timeline.done.items()},
            "workers": [_worker_facts(worker) for worker in timeline.workers],
        },
        "fingerprint": {
            "digest": fingerprint.digest,
            "parts": dict(fingerprint.parts),
            "unknown": list(fingerprint.unknown),
        },
    }


def _task_facts(task: TaskOutcome) -> dict[str, Any]:
    worked = [record for record in task.records if not record.reused]
    statuses = Counter(record.status for record in task.records)
    facts: dict[str, Any] = {
        "task": task.name,
        "kind": task.kind,
        "seconds": round(task.seconds, 3),
        "items": len(task.records),
        **{status: statuses[status] for status in ("succeeded", "skipped", "failed")},
        "reused": len(task.records) - len(worked),
        "nodes": task.n_nodes,
        "cpu_seconds": round(sum(record.cpu_seconds for record in worked), 3),
        "preview_seconds": round(sum(record.preview_seconds for record in worked), 3),
        "bytes": sum(sample.n_bytes for record in worked for sample in record.samples),
    }
    if worked:
        done = sorted(record.seconds for record in worked)
        facts["seconds_per_item"] = {
            f"p{share}": round(done[min(len(done) - 1, len(done) * share // 100)], 4) for share in SHARES
        }
        facts["histogram"] = _histogram(done)
    return facts


def _histogram(seconds: Sequence[float]) -> list[int]:
    counts = [0] * (len(HISTOGRAM_SECONDS) + 1)
    for each in seconds:
        counts[next((n for n, limit in enumerate(HISTOGRAM_SECONDS) if each <= limit), len(HISTOGRAM_SECONDS))] += 1
    return counts


def _slowest(tasks: Sequence[TaskOutcome]) -> list[dict[str, Any]]:
    """Return the items that took longest, of all tasks."""
    worked = ((task.name, record) for task in tasks for record in task.records if not record.reused)
    longest = heapq.nlargest(SLOWEST, worked, key=lambda each: each[1].seconds)
    return [
        {"task": task, "file": record.item, "seconds": round(record.seconds, 3), "result": _result(record)}
        for task, record in longest
    ]


def _result(record: ItemRecord) -> str:
    return record.error.kind if record.error is not None else record.status


def _worker_facts(worker: WorkerBusy) -> dict[str, Any]:
    return {
        "host": worker.host,
        "pid": worker.pid,
        "batches": worker.n_batches,
        "items": worker.n_items,
        "seconds": round(worker.seconds, 3),
        "child_restarts": worker.child_restarts,
        "peak_child_bytes": worker.peak_child_bytes,
        "busy_seconds": [round(each, 3) for each in worker.bins],
    }


def _hosts(workers: Sequence[WorkerBusy]) -> list[dict[str, Any]]:
    """Return the sums of each host's workers."""
    hosts: dict[str, dict[str, Any]] = {}
    for worker in workers:
        facts = hosts.setdefault(worker.host, {"host": worker.host, "workers": 0, "items": 0, "seconds": 0.0})
        facts["workers"] += 1
        facts["items"] += worker.n_items
        facts["seconds"] = round(facts["seconds"] + worker.seconds, 3)
    return list(hosts.values())
