"""A Dask cluster as an engine: a sliding window of jobs on a `distributed.Client`."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from typing import Any

from distributed import Client, KilledWorker

from dflow.errors import ClusterError, FlowCancelledError
from dflow.flowmanager.cluster.engine import Finished, Job
from dflow.flowmanager.cluster.guard import Refused, guarded
from dflow.plaintext import get_logger

_LOGGER = get_logger(__name__)

WINDOW = 4
"""Jobs outstanding per worker thread: enough that no worker waits, few enough that the scheduler stays small."""

POLL_SECONDS = 0.5
COUNT_SECONDS = 2.0
LOST_SECONDS = 20.0
"""How long the scheduler may be unreachable before the flow fails."""


class ClusterEngine:
    """Runs jobs on a client's cluster; one flow, one thread at a time (`cancel` from any).

    `retries` is how often a job's nodes that raised are run again: they never raise for a file's fault, only for faults
    of the infrastructure. A worker that may not run them (`Refused`) does not count as a try; where only such workers
    are left, the flow ends after `wait_seconds`. `on_wait` is called every `POLL_SECONDS` in which nothing ends, `warn`
    with a text about workers. `has_dropped_jobs`: workers may still compute jobs whose results are dropped.
    """

    def __init__(
        self,
        client: Client,
        *,
        retries: int = 1,
        wait_seconds: float = 60.0,
        on_wait: Callable[[], None] = lambda: None,
        warn: Callable[[str], None] = _LOGGER.warning,
    ) -> None:
        self.client = client
        self._retries = retries
        self._wait_seconds = wait_seconds
        self._on_wait = on_wait
        self._warn = warn
        self._refused = Refused(client, warn)
        self._workerless_since: float | None = None
        self._cancelled = False
        self.has_dropped_jobs = False
        self._n_workers = 0
        self._counted_at = -COUNT_SECONDS
        self._unreachable_since: float | None = None

    @property
    def n_workers(self) -> int:
        """Worker threads of the cluster, counted every few seconds; at least 1."""
        now = time.monotonic()
        if now - self._counted_at > COUNT_SECONDS:
            self._counted_at = now
            self._n_workers = sum(self._threads().values())
        return max(1, self._n_workers)

    def run(self, jobs: Iterable[Job | None]) -> Iterator[Finished]:
        """Keep `WINDOW` jobs per worker outstanding and yield each when all its nodes have ended.

        After a None, the next job is pulled when something has ended, and every `POLL_SECONDS` where nothing ends.
        """
        waiting: dict[int, _Running] = {}
        done: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
        source = iter(jobs)
        try:
            self._fill(source, waiting, done)
            while waiting:
                for tag in self._ended(waiting, done):
                    finished = self._collect(tag, waiting[tag], done)
                    if finished is not None:
                        del waiting[tag]
                        yield finished
                    # The caller settles this job before the next one (a retry, a smaller batch) is pulled.
                if self.client.status == "running":
                    self._fill(source, waiting, done)
        finally:
            if waiting:
                self._drop(waiting)

    def cancel(self) -> None:
        """Make `run` raise soon."""
        self._cancelled = True

    def close(self) -> None:
        """Release the refused workers for other clients."""
        self._refused.give_back()

    def _fill(self, source: Iterator[Job | None], waiting: dict[int, _Running], done: Any) -> None:
        while len(waiting) < WINDOW * self.n_workers:
            job = next(source, None)
            if job is None:
                break
            waiting[job.tag] = self._start(job, done)

    def _start(self, job: Job, done: Any) -> _Running:
        """Submit a job to the scheduler, behind all before it.

        Dask orders calls within `fifo_timeout` by the position of a node in its call first. With the usual 60 s, or
        with several jobs in one call, the second node of a call waits for the first nodes of all calls after it.
        """
        futures = self.client.compute(guarded(job.nodes), optimize_graph=False, fifo_timeout=0)
        _announce(futures, job.tag, done)
        return _Running(futures)

    def _ended(self, waiting: dict[int, _Running], done: Any) -> list[int]:
        """Wait for nodes; return the tags whose nodes have all ended, none where nothing ends within `POLL_SECONDS`."""
        while True:
            if self._cancelled:
                raise FlowCancelledError("The flow was cancelled; run it again to go on where it stopped.")
            try:
                tags = [done.get(timeout=POLL_SECONDS)]
            except queue.Empty:
                self._on_wait()
                self._check_scheduler()
                self._check_workers()
                return []
            while not done.empty():
                tags.append(done.get())
            for tag in tags:
                if tag in waiting:
                    waiting[tag].n_ended += 1
            ended = [tag for tag in dict.fromkeys(tags) if tag in waiting and waiting[tag].has_ended]
            if ended:
                return ended

    def _collect(self, tag: int, running: _Running, done: Any) -> Finished | None:
        """Return a job's result; None where the job was started again."""
        finished = self._gathered(tag, running)
        if finished.error is not None and self._is_tried_again(finished.error, running):
            failed = [future for future in running.futures if future.status == "error"]
            running.n_ended -= len(failed)
            self.client.retry(failed)
            _announce(failed, tag, done)
            return None
        running.futures.clear()
        return finished

    def _is_tried_again(self, error: BaseException, running: _Running) -> bool:
        """Whether the job has tries left; one that a refused worker returned does not count."""
        if isinstance(error, KilledWorker):
            return False
        if self._refused.caused([future.key for future in running.futures]):
            return True
        running.n_retries += 1
        return running.n_retries <= self._retries

    def _gathered(self, tag: int, running: _Running) -> Finished:
        try:
            return Finished(tag, tuple(self.client.gather(running.futures)))
        except CancelledError as error:
            raise ClusterError(
                "The scheduler dropped the flow's work (restarted, or closed); run the flow again."
            ) from error
        except Exception as error:
            return Finished(tag, error=error)

    def _threads(self) -> dict[str, int]:
        """Return the threads of each worker that is not refused."""
        return {a: n for a, n in self.client.nthreads().items() if a not in self._refused.reasons}

    def _check_workers(self) -> None:
        """Raise `ClusterError` where for too long only refused workers are left."""
        if not self._refused.reasons or self.client.status != "running" or self._threads():
            self._workerless_since = None
            return
        reasons = "; ".join(f"{address}: {reason}" for address, reason in self._refused.reasons.items())
        now = time.monotonic()
        if self._workerless_since is None:
            self._workerless_since = now
            self._warn(f"No fit worker is left; waiting {self._wait_seconds:.0f} s for one. {reasons}")
        elif now - self._workerless_since > self._wait_seconds:
            raise ClusterError(
                f"For {self._wait_seconds:.0f} s there was no fit worker: {reasons}. Start workers with this "
                "environment, and run the flow again to go on where it stopped."
            )

    def _check_scheduler(self) -> None:
        if self.client.status == "running":
            self._unreachable_since = None
            return
        now = time.monotonic()
        self._unreachable_since = since = now if self._unreachable_since is None else self._unreachable_since
        if now - since > LOST_SECONDS or self.client.status in ("closed", "closing"):
            raise ClusterError(f"Lost the scheduler of {self.client!r}; run the flow again to go on where it stopped.")

    def _drop(self, waiting: dict[int, _Running]) -> None:
        self.has_dropped_jobs = True
        futures = [future for running in waiting.values() for future in running.futures]
        try:
            self.client.cancel(futures, force=True)
        except Exception:
            _LOGGER.debug("could not cancel %d futures", len(futures), exc_info=True)


def _announce(futures: list[Any], tag: int, done: Any) -> None:
    for future in futures:
        future.add_done_callback(lambda _: done.put(tag))


class _Running:
    """The futures of one job, how many of them have ended, and how often it was tried again."""

    __slots__ = ("futures", "n_ended", "n_retries")

    def __init__(self, futures: list[Any]) -> None:
        self.futures = futures
        self.n_ended = 0
        self.n_retries = 0

    @property
    def has_ended(self) -> bool:
        return self.n_ended >= len(self.futures)
