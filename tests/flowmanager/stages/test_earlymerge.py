"""Merging while a last slow file is encoded: seen on the disk, never published, byte-equal in the end."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dflow.dataset.validate import validate_dataset
from dflow.errors import FlowCancelledError
from dflow.flowmanager.cluster.clusterclient import ClusterEngine
from dflow.flowmanager.cluster.engine import Finished, Job
from dflow.flowmanager.stages import earlymerge
from dflow.flowmanager.stages.earlymerge import EarlyMerge
from dflow.records import ShardRecord
from dflow.storage import OptStorage, describe
from dflow.storage.paths import FlowPaths, sample_name
from tests.clock import Clock
from tests.faults.programs import finish, kill, start
from tests.flowmanager.flowparts import hidden
from tests.flowmanager.slowparts import (
    N_PARTS,
    make_flow,
    process,
    published,
    shards_ahead,
    wait_for,
    write_parts,
)

REPOSITORY = Path(__file__).resolve().parents[3]


class Running(threading.Thread):
    """A flow in a thread of its own; `outcome` is what it returned or raised."""

    def __init__(self, flow: Any, sources: Path) -> None:
        super().__init__()
        self._flow, self._sources = flow, sources
        self.outcome: Any = None
        self.start()

    def run(self) -> None:
        try:
            self.outcome = process(self._flow, self._sources)[0]
        except BaseException as error:
            self.outcome = error


@pytest.mark.parametrize("fate", ["succeeds", "fails"])
def test_blocks_are_written_before_the_last_file_is_encoded(tmp_path, shared_client, fate):
    gate = tmp_path / "gate"
    sources = write_parts(tmp_path / "in", gate, fate)
    flow = make_flow(tmp_path / "ahead", cluster=shared_client)
    running = Running(flow, sources)
    seen = wait_for(lambda: len(found := shards_ahead(flow)) == 2 and found)
    assert not flow.settings.paths.dataset.exists()
    assert len(list(flow.settings.paths.encoded.glob("*.data"))) == N_PARTS - 1
    linked = [path.stat().st_ino for path in seen]
    gate.touch()
    running.join(150)
    assert running.outcome.counts.samples == N_PARTS - (fate == "fails")
    paths = flow.settings.paths
    assert [(paths.dataset / "faces" / "grid" / f"c.{i}.0").stat().st_ino for i in range(2)] == linked
    assert hidden(paths.root) == []
    assert validate_dataset(paths.dataset) == []
    plain = make_flow(tmp_path / "plain", debug=True)
    process(plain, sources)
    assert published(flow) == published(plain)


def test_a_cancelled_flow_publishes_nothing_of_it_and_the_next_run_is_as_any(tmp_path, shared_client):
    gate = tmp_path / "gate"
    sources = write_parts(tmp_path / "in", gate)
    flow = make_flow(tmp_path / "out", cluster=shared_client)
    running = Running(flow, sources)
    wait_for(lambda: shards_ahead(flow))
    flow.cancel()
    running.join(150)
    assert isinstance(running.outcome, FlowCancelledError)
    assert not flow.settings.paths.dataset.exists()
    assert hidden(flow.settings.paths.root) == []
    gate.touch()
    output, _, _ = process(flow, sources)
    assert output.counts.samples == N_PARTS
    plain = make_flow(tmp_path / "plain", debug=True)
    process(plain, sources)
    assert published(flow) == published(plain)


PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, {repository!r})
from tests.flowmanager.slowparts import make_flow, process
if __name__ == "__main__":
    output, _, _ = process(make_flow(Path({out!r}), max_workers=2), Path({sources!r}))
    print(output.counts.samples, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_flow_killed_while_it_merges_ahead_goes_on_as_any(tmp_path):
    gate = tmp_path / "gate"
    sources = write_parts(tmp_path / "in", gate)
    script = tmp_path / "program.py"
    names = {"repository": str(REPOSITORY), "out": str(tmp_path / "out"), "sources": str(sources)}
    script.write_text(PROGRAM.format(**names))
    flow = make_flow(tmp_path / "out", debug=True)
    for name in ("*", "c.1.0"):  # in the middle of a block, and when blocks are there
        program = start(script)
        pattern = f".tmp-parts.dataset-*/dataset/faces/grid/{name}"
        try:
            wait_for(lambda: list(flow.settings.paths.root.glob(pattern)))  # noqa: B023
        finally:
            kill(program)
        assert not flow.settings.paths.dataset.exists()
    gate.touch()
    assert finish(start(script)) == [N_PARTS]
    assert hidden(flow.settings.paths.root) == []
    plain = make_flow(tmp_path / "plain", debug=True)
    process(plain, sources)
    assert published(flow) == published(plain)


class Ahead:
    """An `EarlyMerge` over samples on the disk, a run that only it sees, and the clock."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock, self.said = Clock(), list[str]()
        monkeypatch.setattr(earlymerge, "time", self.clock)
        self.paths = FlowPaths.of(folder, "parts")
        self.paths.encoded.mkdir(parents=True)
        self.samples = [self.write(f"{i:02d}") for i in range(12)]
        run: Any = SimpleNamespace(
            early=None,
            n_submitted=20,
            settings=SimpleNamespace(paths=self.paths),
            engines=SimpleNamespace(suffix=lambda task: ""),
            log=SimpleNamespace(say=self.said.append),
        )
        self.merge = EarlyMerge(run, lambda: list(self.samples))

    def write(self, source: str) -> Any:
        """One sample of as many rows as a shard has: 4,096 of 4 KiB."""
        storage = OptStorage(str(self.paths.encoded / sample_name(source)))
        storage.save_data("faces/grid", np.zeros((4096, 1024), np.float32))
        storage.compress_store()
        record = describe(storage, sample_name(source), source)
        storage.close()
        return record

    def job(self, *batches: list[str], n_workers: int = 2) -> Job | None:
        return self.merge.job(batches, n_workers)

    def settle(self, job: Job, **changes: Any) -> None:
        result = ShardRecord("faces", 0, 1, digest="x", **changes)
        self.merge.settle(Finished(job.tag, (result,)))


@pytest.fixture
def ahead(tmp_path, monkeypatch):
    return Ahead(tmp_path, monkeypatch)


def test_nothing_is_planned_before_a_worker_has_been_free_for_a_while(ahead):
    assert ahead.job(["05"]) is None
    ahead.clock.now += 0.9
    assert ahead.job(["05"]) is None
    assert ahead.job(["05"], ["06"]) is None  # busy again: it counts from the start
    ahead.clock.now += 0.9
    assert ahead.job(["05"]) is None
    ahead.clock.now += 1.1
    job = ahead.job(["05"])
    assert job is not None
    assert job.nodes[0].key.startswith("merge-faces-000000")


def test_no_more_nodes_run_than_workers_are_free_and_none_without_an_open_batch(ahead):
    ahead.job(["05"])
    ahead.clock.now += 1.1
    job = ahead.job(["05"])
    assert ahead.merge.n_running == 1
    assert ahead.job(["05"]) is None
    ahead.settle(job)
    assert not ahead.merge.owns(job.tag)
    assert ahead.job() is None
    assert ahead.job(["05"]) is not None


@pytest.mark.parametrize(("unsealed", "n_blocks"), [(None, 11), (5, 5)])
def test_files_of_the_open_batch_that_are_sealed_count_as_known(ahead, unsealed, n_blocks):
    """A batch tells what became of its items when all have ended; the last of it is never taken for done."""
    still_open = [f"{i:02d}" for i in range(2, 12)]
    ahead.samples = ahead.samples[:2]
    if unsealed is not None:
        ahead.paths.data_file(sample_name(f"{unsealed:02d}")).unlink()
    ahead.job(still_open)
    ahead.clock.now += 1.1
    found = []
    while (job := ahead.job(still_open)) is not None:
        found.append(job.nodes[0].key)
        ahead.settle(job)
    assert len(set(found)) == n_blocks


def test_a_node_that_fails_ends_it_and_is_told(ahead):
    ahead.job(["05"])
    ahead.clock.now += 1.1
    job = ahead.job(["05"])
    ahead.merge.settle(Finished(job.tag, error=OSError(28, "No space left on device")))
    ahead.clock.now += 10
    assert ahead.job(["05"]) is None
    assert "No space left" in ahead.said[0]


def test_an_engine_asks_again_for_jobs_where_nothing_ends(tmp_path, shared_client):
    from dask.delayed import delayed

    asked, gate = [], tmp_path / "gate"

    class Jobs:
        def __iter__(self):
            return self

        def __next__(self):
            asked.append(1)
            if len(asked) in (1, 4):
                wait = len(asked) == 1
                node = delayed(_stood, pure=False)(str(gate), wait, dask_key_name=f"asked-again-{len(asked):06d}")
                return Job(len(asked), (node,))
            raise StopIteration

    ended = ClusterEngine(shared_client).run(Jobs())
    assert next(ended).tag == 4
    gate.touch()
    assert [each.tag for each in ended] == [1]


def _stood(gate, wait):
    import time
    from pathlib import Path

    while wait and not Path(gate).exists():
        time.sleep(0.02)
