"""What a flow with one slow file gains by merging while that file is encoded.

``python -m tests.benchmarks.straggler [--files 5000] [--seconds 30] [--place 0.9] [--workers 2]``

The same machined parts twice on one warm cluster, with nothing merged ahead and as flows do it. The slow file is the
largest; `place` is how many of the files lie in front of it in sorted order. Wall times hold on an idle machine only;
what is merged after the last file is the difference that counts.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

import dflow
from dflow.flowmanager.cluster.clusters import resolve
from dflow.flowmanager.stages import earlymerge
from tests.benchmarks.pipeline import make_sources, measured
from tests.benchmarks.tasks import encode_one_slowly, gather


def make_slow(sources: Path, n_files: int, seconds: float, place: float) -> None:
    """Let one file be slow, and the largest."""
    victim = sources / f"part{min(int(place * n_files), n_files - 1):06d}.step"
    text = victim.read_text(encoding="latin-1")
    victim.unlink()
    largest = max(path.stat().st_size for path in sources.iterdir())
    padded = text.replace("HEADER;", f"/*{'-' * max(largest - len(text), 0)}*/\nHEADER;", 1)
    victim.with_suffix(f".slow{seconds:g}.step").write_text(padded, encoding="latin-1")


def run(folder: Path, name: str, client: Any) -> tuple[float, float]:
    """Wall seconds of a flow and of its merge."""
    flow = dflow.create_flow(name, [gather, encode_one_slowly], folder, cluster=client, export_visualization=False)
    with measured() as cost:
        output, _, _ = flow.process(inputs={"sources": [str(folder / "sources")]}, progress=False)
    assert not output.counts.failed
    print(
        f"{name}: {cost.wall:.2f} s, of which after the last file {output.task_instances[-1].seconds:.2f} s; ", end=""
    )
    print(f"other programs took {cost.others:.0%} of the machine")
    return cost.wall, output.task_instances[-1].seconds


def main() -> None:
    """Print both runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--place", type=float, default=0.9)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="dflow-bench-"))
    connection = resolve("local", max_workers=arguments.workers)
    try:
        make_sources(folder / "few" / "sources", 16)
        run(folder / "few", "warm", connection.client)
        make_sources(folder / "sources", arguments.files)
        make_slow(folder / "sources", arguments.files, arguments.seconds, arguments.place)
        after, earlymerge.AFTER_SECONDS = earlymerge.AFTER_SECONDS, float("inf")
        apart = run(folder, "after", connection.client)
        earlymerge.AFTER_SECONDS = after
        ahead = run(folder, "ahead", connection.client)
        share, gained = 1 - ahead[1] / apart[1], apart[0] - ahead[0]
        print(f"merged ahead: {share:.0%} less after the last file, {gained:.2f} s of the wall")
    finally:
        connection.close()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
