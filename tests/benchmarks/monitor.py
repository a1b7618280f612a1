"""What watching costs the scheduler: its CPU for messages, heartbeats and an open page, beside its CPU for the flow.

``python -m tests.benchmarks.monitor [--items 60000] [--files 1500] [--workers 2]``

The scheduler is a process of its own, so that its CPU can be told from the client's. First each thing that watching
asks of it is done often enough to be measured; then flows run, what they asked for is counted, and the sum is set
against the scheduler's CPU during the flow. The same flow without the monitor runs in alternation, to see that nothing
was left out; that difference is a figure with noise. All figures are CPU, so they hold on a busy machine.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import psutil
from distributed import Client, Scheduler
from distributed.protocol import dumps, loads
from tornado.websocket import websocket_connect

import dflow
from dflow.flowmanager.reports import monitorfeed
from dflow.flowmanager.run import engines
from dflow.monitor import events
from tests.benchmarks.pipeline import make_sources
from tests.benchmarks.tasks import encode, gather, noop

N_MESSAGES = 1000
N_REQUESTS = 1000
N_ROUNDS = 3


async def serve() -> None:
    """The scheduler's process: says where it is, and ends with its input."""
    async with Scheduler(port=0, host="127.0.0.1", dashboard=True, dashboard_address="127.0.0.1:0") as scheduler:
        print(scheduler.address, scheduler.http_server.port, flush=True)
        await asyncio.to_thread(sys.stdin.read)


class Watched:
    """A scheduler in a process of its own with `n_workers` workers, and a client."""

    def __init__(self, stack: ExitStack, n_workers: int) -> None:
        command = [sys.executable, "-m", "tests.benchmarks.monitor", "--serve"]
        scheduler = stack.enter_context(
            subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
        )
        stack.callback(scheduler.terminate)
        address, port = scheduler.stdout.readline().split()
        self.port = int(port)
        self._process = psutil.Process(scheduler.pid)
        for _ in range(n_workers):
            worker = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard"]
            stack.callback(subprocess.Popen(worker, stderr=subprocess.DEVNULL).terminate)
        self.client = stack.enter_context(Client(address))
        self.client.wait_for_workers(n_workers, timeout=60)

    def cpu(self) -> float:
        """CPU seconds of the scheduler's process so far, to 10 ms."""
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def requests(self) -> Generator[str]:
        """Each step fetches the page's numbers once, over one connection, as a browser does."""

        async def open_() -> Any:
            return await websocket_connect(f"ws://127.0.0.1:{self.port}/dflow/live")

        async def ask() -> str:
            await page.write_message("")
            return str(await page.read_message())

        with asyncio.Runner() as runner:
            page = runner.run(open_())
            try:
                while True:
                    yield runner.run(ask())
            finally:
                page.close()


@contextmanager
def open_page(watched: Watched) -> Iterator[list[str]]:
    """A page that is open for the time of the block; the list grows with each of its requests."""
    done = threading.Event()
    made: list[str] = []

    def ask() -> None:
        with closing(watched.requests()) as requests:
            while not done.wait(1.0):
                made.append(next(requests))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield made
    finally:
        done.set()
        thread.join()


class _Nobody:
    """In place of `MonitorFeed`: nothing is told."""

    def __init__(self, *_: Any) -> None:
        pass

    def __call__(self, event: Any) -> None:
        pass

    def flush(self, *, now: bool = False) -> None:
        pass

    def close(self, status: str) -> None:
        pass


def costs(watched: Watched) -> dict[str, float]:
    """CPU seconds of the scheduler for one message, one request of an open page, and what rides on one heartbeat."""
    client = watched.client
    feed = monitorfeed.MonitorFeed(client, "probe", "probe")
    state: Any = {"task": "encode", "unit": "files", "total": 10**6, "skipped": 0, "failed": 9, "reused": 0}
    state |= {"succeeded": 0, "bytes": 10**9, "seconds": 1.5, "finished": False}
    before = watched.cpu()
    for number in range(N_MESSAGES):
        client.log_event(events.TOPIC, events.progress_made("probe", [{**state, "succeeded": number}], {"crash": 9}))
    message = (watched.cpu() - before) / N_MESSAGES
    with closing(watched.requests()) as requests:
        before = watched.cpu()
        answers = [next(requests) for _ in range(N_REQUESTS)]
        request = (watched.cpu() - before) / N_REQUESTS
    assert all("run" in answer for answer in answers), "an answer without news: its cost is not a real one's"
    feed.close("finished")
    flying: Any = {"run": "probe", "task": "encode", "file": "some/folder/of/parts/part000123.step", "seconds": 3.5}
    metric: events.WorkerMetric = {"host": "node-0001", "child_bytes": 10**9, "in_flight": [flying]}
    frames = dumps({"metrics": {events.METRIC: metric}})
    before = time.process_time()
    for _ in range(10_000):
        loads(frames)
    return {"message": message, "request": request, "heartbeat": (time.process_time() - before) / 10_000}


def run_flow(watched: Watched, flow: Any, inputs: dict[str, Any]) -> tuple[float, float]:
    """Scheduler's CPU and wall seconds of one run."""
    before, started = watched.cpu(), time.perf_counter()
    flow.process(inputs=inputs, clean_output_dir=True, progress=False)
    return watched.cpu() - before, time.perf_counter() - started


def compare(watched: Watched, cost: dict[str, float], flow: Any, inputs: dict[str, Any], n_workers: int) -> None:
    """Run the flow watched and not, in alternation, and print what watching cost."""
    label, send = flow.name, monitorfeed.MonitorFeed._send
    run_flow(watched, flow, inputs)  # warm
    shares, open_shares, plain, with_page = [], [], [], []
    for _ in range(N_ROUNDS):
        with mock.patch.object(engines, "MonitorFeed", _Nobody):
            plain.append(run_flow(watched, flow, inputs)[0])
        counting = mock.patch.object(monitorfeed.MonitorFeed, "_send", autospec=True, side_effect=send)
        with open_page(watched) as requests, counting as messages:
            cpu, wall = run_flow(watched, flow, inputs)
        with_page.append(cpu)
        told = messages.call_count * cost["message"] + 2 * wall * n_workers * cost["heartbeat"]
        shown = len(requests) * cost["request"]
        shares.append(told / (cpu - shown))
        open_shares.append((told + shown) / cpu)
        print(
            f"  {label}: {wall:.1f} s, scheduler {cpu:.2f} s CPU; {messages.call_count} messages, {len(requests)} "
            f"requests, {2 * wall * n_workers:.0f} heartbeats"
        )
    print(f"{label}: watching ÷ scheduler's CPU, page closed: {100 * statistics.median(shares):.2f} %")
    print(f"{label}: watching ÷ scheduler's CPU, page open:   {100 * statistics.median(open_shares):.2f} %")
    ratio = statistics.median(with_page) / statistics.median(plain)
    spread = 100 * (max(plain) - min(plain)) / statistics.median(plain)
    print(f"{label}: scheduler's CPU watched ÷ unwatched {ratio:.3f} (the unwatched runs spread {spread:.0f} %)")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=60_000)
    parser.add_argument("--files", type=int, default=1500)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve())
        return
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        watched, folder = Watched(stack, options.workers), Path(name)
        cost = costs(watched)
        print("scheduler's CPU each: " + ", ".join(f"{what} {1e3 * seconds:.3f} ms" for what, seconds in cost.items()))
        arguments: dict[str, Any] = {"cluster": watched.client, "export_visualization": False}
        many = dflow.create_flow("no-ops", [noop], folder, **arguments)
        compare(watched, cost, many, {"parts": list(range(options.items))}, options.workers)
        make_sources(folder / "sources", options.files)
        real = dflow.create_flow("files", [gather, encode], folder, **arguments)
        compare(watched, cost, real, {"sources": [str(folder / "sources")]}, options.workers)


if __name__ == "__main__":
    main()
