"""A Dask cluster as an engine: a sliding window of jobs on a `distributed.Client`."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import Any

from distributed import Client, KilledWorker

from dflow.errors import ClusterError, DflowError, FlowCancelledError
from dflow.flowmanager.cluster.engine import Finished, Job
from dflow.flowmanager.cluster.guard import Refused, guarded
from dflow.flowmanager.cluster.hosts import HostFaults, WorkerWait, host_of
from dflow.flowmanager.worker.faults import error_kind
from dflow.plaintext import get_logger

_LOGGER = get_logger(__name__)

WINDOW = 4
"""Jobs outstanding per worker thread: enough that no worker waits, few enough that the scheduler stays small."""

POLL_SECONDS = 0.5
COUNT_SECONDS = 2.0
NO_WORKER_SECONDS = 3600.0
"""How long a flow waits for a worker in the middle of its work, where `no_worker_timeout` is not given."""

LOST_SECONDS = 20.0
"""How long the scheduler may be unreachable before the flow fails."""


class ClusterEngine:
    """Runs jobs on a client's cluster; one flow, one thread at a time (`cancel` from any).

    `retries` is how often a job's nodes that raised are run again: they never raise for a file's fault, only for faults
    of the infrastructure. A worker that may not run them (`Refused`) does not count as a try. A host that fails thrice
    gets no more work. `wait` says that there are no workers, and ends the flow in time. `on_wait` is called every
    `POLL_SECONDS` in which nothing ends, `warn` with a text about workers. `examine` returns those of workers that
    joined late that are unfit, with reasons; the `known` ones have been examined. `has_dropped_jobs`: workers may still
    compute jobs whose results are dropped.
    """

    def __init__(
        self,
        client: Client,
        *,
        retries: int = 1,
        wait: WorkerWait | None = None,
        on_wait: Callable[[], None] = lambda: None,
        warn: Callable[[str], None] = _LOGGER.warning,
        examine: Callable[[Sequence[str]], dict[str, str]] | None = None,
        known: Iterable[str] = (),
    ) -> None:
        self.client = client
        self._retries = retries
        self._wait = wait or WorkerWait(str(client), NO_WORKER_SECONDS, warn)
        self._on_wait = on_wait
        self._refused = Refused(client, warn, examine)
        self._faults = HostFaults(warn)
        self._examines = examine is not None
        self._known = set(known)
        self._threads: dict[str, int] = {}
        self._cancelled = False
        self.has_dropped_jobs = False
        self._counted_at = -COUNT_SECONDS
        self._unreachable_since: float | None = None

    @property
    def n_workers(self) -> int:
        """Worker threads of the cluster, counted every few seconds; at least 1."""
        return max(1, self.n_present)

    @property
    def n_present(self) -> int:
        """Worker threads of the cluster, counted every few seconds; 0 where there are none."""
        if time.monotonic() - self._counted_at > COUNT_SECONDS:
            self._count()
        return sum(self._threads.values())

    def hosts(self) -> frozenset[str]:
        """Return the hosts of the workers that get work, counted every few seconds."""
        if time.monotonic() - self._counted_at > COUNT_SECONDS:
            self._count()
        return frozenset(map(host_of, self._threads))

    def blame(self, worker: str, name: str, reason: str, begun: float) -> None:
        """Count a fault; a host's third ends its work, and the flow where it was the last host."""
        if self._faults.note(host_of(worker), name, reason, begun):
            self._count()
            if not self._threads:
                raise self._faults.none_left()

    def keep_to_sound_hosts(self) -> None:
        """Give no more work to hosts that have failed once, if there are others."""
        suspects = self._faults.suspects
        if suspects and self.hosts() - set(suspects):
            with self._asking():
                for host, reason in suspects.items():
                    self._refused.refuse([each for each in self._threads if host_of(each) == host], reason)
            self._count()

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
        others = [each for each in self._threads if host_of(each) not in job.avoid] if job.avoid else []
        places = {"workers": others, "allow_other_workers": True} if others else {}
        with self._asking():
            futures = self.client.compute(guarded(job.nodes), optimize_graph=False, fifo_timeout=0, **places)
        _announce(futures, job.tag, done)
        return _Running(futures, time.monotonic())

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
                if self.client.status == "running":
                    self._wait.note(self.n_present, self._refused.reasons)
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
            with self._asking():
                self.client.retry(failed)
            _announce(failed, tag, done)
            return None
        running.futures.clear()
        return finished

    def _is_tried_again(self, error: BaseException, running: _Running) -> bool:
        """Whether the job has tries left; one that a refused worker or a host at fault returned does not count."""
        if isinstance(error, KilledWorker):
            return False
        keys = [future.key for future in running.futures]
        with self._asking():
            if self._refused.caused(keys):
                return True
            if error_kind(error) == "infrastructure":
                return self._is_tried_elsewhere(error, self._refused.failed_on(keys), running)
        running.n_retries += 1
        return running.n_retries <= self._retries

    def _is_tried_elsewhere(self, error: BaseException, failed_on: Sequence[str], running: _Running) -> bool:
        """Blame the hosts on which a node failed; whether any is left."""
        begun, running.begun = running.begun, time.monotonic()
        try:
            for worker in failed_on:
                self.blame(worker, host_of(worker), f"{type(error).__name__}: {error}", begun)
        except ClusterError:  # the error itself says more
            return False
        running.n_retries += not failed_on
        return running.n_retries <= self._retries

    def _gathered(self, tag: int, running: _Running) -> Finished:
        try:
            return Finished(tag, tuple(self.client.gather(running.futures)))
        except CancelledError as error:
            raise ClusterError(
                "The scheduler dropped the flow's work (restarted, or closed); run the flow again."
            ) from error
        except Exception as error:
            if self.client.status != "running":
                raise self._lost() from error
            return Finished(tag, error=error)

    def _count(self) -> None:
        """Count the threads of each worker that is not refused; examine those that joined since."""
        self._counted_at = time.monotonic()
        if self.client.status != "running":
            return
        with self._asking():
            found = self.client.nthreads()
            for host, reason in self._faults.shunned.items():
                own = [a for a in found if host_of(a) == host and a not in self._refused.reasons]
                self._refused.refuse(own, reason)
            joined = [address for address in found if address not in self._known]
            if joined and self._examines:
                self._refused.examine(joined)
        self._known.update(joined)
        self._threads = {a: n for a, n in found.items() if a not in self._refused.reasons}

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Make the error of a scheduler that does not answer the flow's own."""
        try:
            yield
        except DflowError:
            raise
        except OSError as error:  # also CommClosedError and TimeoutError
            raise self._lost() from error
        except Exception as error:
            if self.client.status == "running":
                raise
            raise self._lost() from error

    def _lost(self) -> ClusterError:
        return ClusterError(
            f"Lost the scheduler of {self.client!r}: it ended, or the network was cut. What is finished is kept: run "
            "the flow again to go on where it stopped."
        )

    def _check_scheduler(self) -> None:
        if self.client.status == "running":
            self._unreachable_since = None
            return
        now = time.monotonic()
        self._unreachable_since = since = now if self._unreachable_since is None else self._unreachable_since
        if now - since > LOST_SECONDS or self.client.status in ("closed", "closing"):
            raise self._lost()

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
    """The futures of one job, when it was handed out, how many have ended, and how often it was tried again."""

    __slots__ = ("begun", "futures", "n_ended", "n_retries")

    def __init__(self, futures: list[Any], begun: float) -> None:
        self.futures = futures
        self.begun = begun
        self.n_ended = 0
        self.n_retries = 0

    @property
    def has_ended(self) -> bool:
        return self.n_ended >= len(self.futures)
