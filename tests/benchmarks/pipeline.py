"""What a flow costs beside its work: orchestration, merge, and running it again.

``python -m tests.benchmarks.pipeline [--items 100000] [--files 400] [--workers 2]``

Cluster and children are warm before anything is measured; start-up is printed apart. CPU is that of the client, the
scheduler (which lives in the client), the workers and their children together, so that the ratios hold on a busy
machine; wall times hold on an idle one only.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

import dflow
from dflow.flowmanager.cluster.clusters import resolve
from tests.benchmarks.tasks import encode, gather, noop
from tests.conftest import SHARED_DATA


@dataclass
class Measured:
    """Wall and CPU seconds of a block, how much the client's memory grew, in bytes, and what share of all processors
    other programs took meanwhile.
    """

    wall: float = 0.0
    cpu: float = 0.0
    grown: int = 0
    others: float = 0.0


def family_cpu() -> float:
    """CPU seconds of this process and all below it, the ended ones included."""
    total = 0.0
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def machine_cpu() -> float:
    """CPU seconds that all programs of this machine have used."""
    times = psutil.cpu_times()
    return sum(times) - times.idle - getattr(times, "iowait", 0.0)


@contextmanager
def measured() -> Iterator[Measured]:
    """Measure a block."""
    result = Measured()
    memory, cpu, machine = psutil.Process().memory_info().rss, family_cpu(), machine_cpu()
    wall = time.perf_counter()
    yield result
    result.wall = time.perf_counter() - wall
    result.cpu = family_cpu() - cpu
    others = machine_cpu() - machine - result.cpu
    result.others = max(others, 0.0) / (result.wall * (os.cpu_count() or 1))
    result.grown = psutil.Process().memory_info().rss - memory


def orchestration(folder: Path, client: Any, n_items: int) -> tuple[Measured, int]:
    """A flow of no-op items on warm workers; what it cost, and its number of nodes."""
    flow = dflow.create_flow(f"noop{n_items}", [noop], folder, cluster=client, export_visualization=False)
    with measured() as cost:
        output, _, _ = flow.process(inputs={"parts": list(range(n_items))}, progress=False)
    assert output.counts.succeeded == n_items
    return cost, output.task_instances[0].n_nodes


def make_sources(folder: Path, n_files: int) -> None:
    """`n_files` real machined parts: the 400 of MFCAD, repeated with another header comment each."""
    originals = sorted((SHARED_DATA / "mfcad" / "step").glob("*.st*p"))
    folder.mkdir(parents=True)
    for number in range(n_files):
        text = originals[number % len(originals)].read_text(encoding="latin-1")
        copy = folder / f"part{number:06d}.step"
        copy.write_text(text.replace("HEADER;", f"/* copy {number} */\nHEADER;", 1), encoding="latin-1")
        os.utime(copy, (1_600_000_000, 1_600_000_000))


def pipeline(folder: Path, client: Any, n_files: int, n_workers: int) -> None:
    """A flow of real files: first run, the same again, one file touched."""
    started = time.perf_counter()
    make_sources(folder / "few", 8 * n_workers)
    warm = dflow.create_flow("few", [gather, encode], folder, cluster=client, export_visualization=False)
    warm.process(inputs={"sources": [str(folder / "few")]}, progress=False)
    print(f"first CAD files and first merge (kernel and zarr are imported): {time.perf_counter() - started:.1f} s")
    sources = folder / "sources"
    make_sources(sources, n_files)
    flow = dflow.create_flow("parts", [gather, encode], folder, cluster=client, export_visualization=False)
    inputs = {"sources": [str(sources)]}
    with measured() as first:
        output, _, _ = flow.process(inputs=inputs, progress=False)
    encode_cpu = sum(record.cpu_seconds for record in output.task_instances[1].records)
    merge = output.task_instances[-1].seconds
    print(f"{n_files} files, recipe uvnet: {output.counts.succeeded} succeeded, {n_files / first.wall:.1f} files/s")
    per_file = f"{1000 * encode_cpu / n_files:.2f} ms encode CPU, {1000 * merge / n_files:.2f} ms merge"
    print(f"  a file: {1000 * first.wall / n_files:.2f} ms wall, {per_file}")
    print(f"  taken by other programs meanwhile    {100 * first.others:8.1f} % of the machine")
    ideal = encode_cpu / n_workers
    print(f"  wall / (encode CPU / workers)        {first.wall / ideal:8.3f}   wanted <= 1.15 on an idle machine")
    print(f"  CPU of all processes / encode CPU    {first.cpu / encode_cpu:8.3f}")
    print(f"  merge share of the wall time         {100 * merge / output.time_to_process:8.2f} % wanted < 5 %")
    with measured() as second:
        again, _, _ = flow.process(inputs=inputs, progress=False)
    assert again.counts.reused == n_files
    print(f"  again, unchanged: wall               {100 * second.wall / first.wall:8.2f} % wanted < 2 %")
    print(f"  again, unchanged: CPU                {100 * second.cpu / first.cpu:8.2f} %")
    print(f"  again, unchanged: a file             {1000 * second.wall / n_files:8.3f} ms")
    part = sources / "part000000.step"
    part.write_text(part.read_text(encoding="latin-1") + "\n", encoding="latin-1")
    third, _, _ = flow.process(inputs=inputs, progress=False)
    print(f"  one file changed: encoded            {third.counts.submitted - third.counts.reused:8d}   wanted 1")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--files", type=int, default=400)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="dflow-bench-"))
    started = time.perf_counter()
    connection = resolve("local", max_workers=arguments.workers)
    try:
        print(f"local cluster of {arguments.workers}: {time.perf_counter() - started:.1f} s to start")
        started = time.perf_counter()
        orchestration(folder / "warm", connection.client, 16 * arguments.workers)
        print(f"first batches (children start): {time.perf_counter() - started:.1f} s")
        costs = {n: orchestration(folder, connection.client, n) for n in (1_000, arguments.items)}
        for n, (cost, n_nodes) in costs.items():
            per_item = f"{1000 * cost.wall / n:.3f} ms wall, {1000 * cost.cpu / n:.3f} ms CPU an item"
            print(
                f"{n:7d} no-op items: {per_item}, {n_nodes} nodes; client grew {cost.grown / n:.0f} bytes an item; "
                f"others {cost.others:.0%}"
            )
        if arguments.files and SHARED_DATA.is_dir():
            pipeline(folder, connection.client, arguments.files, arguments.workers)
    finally:
        connection.close()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
