"""Engines, which compute graphs: their interface, and the synchronous one (`clusterengine`: a Dask cluster's)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from dask.base import compute
from dask.delayed import Delayed

from dflow.errors import FlowCancelledError
from dflow.flowmanager.cluster.hosts import HostFaults
from dflow.plaintext import get_logger

_LOGGER = get_logger(__name__)

FEW = 64
"""Up to this many independent nodes are submitted in two jobs per worker: a job takes client and scheduler 5 ms, a
tenth of the time of a small merge's block. A large merge has larger blocks, which are submitted one by one."""


@dataclass(frozen=True, slots=True)
class Job:
    """Delayed nodes that are submitted together (a batch's chain); `tag` is the caller's number for them.

    Workers on the hosts to `avoid` get it only where there are no others.
    """

    tag: int
    nodes: tuple[Delayed, ...]
    avoid: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Finished:
    """A job that ended: `results` of its nodes in their order, or the `error` of the infrastructure."""

    tag: int
    results: tuple[Any, ...] = ()
    error: BaseException | None = None


class Engine(Protocol):
    """Computes jobs. Pulls them from the iterable only as fast as it can use them; yields them as they finish.

    A None among the jobs means that the next one depends on what is being computed: it is pulled later.
    """

    @property
    def n_workers(self) -> int:
        """The number of batches that run at the same time."""

    def run(self, jobs: Iterable[Job | None]) -> Iterator[Finished]:
        """Compute jobs; closing the iterator drops those that are waiting."""

    def hosts(self) -> frozenset[str]:
        """Return the hosts that do work, as `dflow.flowmanager.cluster.hosts.host_of` names them."""

    def blame(self, worker: str, name: str, reason: str, begun: float) -> None:
        """Count a fault of the host of `worker`, called `name`, in work handed out at `begun` (monotonic clock).

        Raises
        ------
        ClusterError
            Where no host is left that can do the work.
        """

    def keep_to_sound_hosts(self) -> None:
        """Give no more work to hosts that have failed once, if there are others: what follows reads all samples."""

    def cancel(self) -> None:
        """Make `run` raise `FlowCancelledError` soon. Thread-safe."""


class SynchronousEngine:
    """Computes on Dask's synchronous scheduler, in this process and thread, where ``pdb`` works."""

    def __init__(self) -> None:
        self._cancelled = False
        self._faults = HostFaults(_LOGGER.warning)

    @property
    def n_workers(self) -> int:
        """One."""
        return 1

    def hosts(self) -> frozenset[str]:
        """Return this process's."""
        return frozenset(("",))

    def keep_to_sound_hosts(self) -> None:
        """Do nothing: there is one host."""

    def blame(self, worker: str, name: str, reason: str, begun: float) -> None:
        """Count a fault; the third ends the flow."""
        self._faults.note(worker, name, reason, begun)
        if self._faults.shunned:
            raise self._faults.none_left()

    def run(self, jobs: Iterable[Job | None]) -> Iterator[Finished]:
        """Compute one job after the other; a node's error is raised, not yielded."""
        for job in jobs:
            if self._cancelled:
                raise FlowCancelledError("The flow was cancelled; run it again to go on where it stopped.")
            if job is None:  # nothing is being computed that a job could depend on
                return
            yield Finished(job.tag, compute_here(job.nodes))

    def cancel(self) -> None:
        """Stop before the next job."""
        self._cancelled = True


def compute_here(nodes: Sequence[Delayed]) -> tuple[Any, ...]:
    """Compute nodes by the synchronous scheduler and return their results; their errors are raised unchanged."""
    return tuple(compute(*nodes, scheduler="synchronous"))  # type: ignore[no-untyped-call]  # dask


def compute_each(engine: Engine, nodes: Sequence[Delayed]) -> Iterator[Any]:
    """Yield the results of independent nodes as they finish; where they are few, those of neighbours together.

    Raises
    ------
    Exception
        What a node raised.
    """
    size = max(1, len(nodes) // (2 * engine.n_workers)) if len(nodes) <= FEW else 1
    starts = range(0, len(nodes), size)
    for finished in engine.run(Job(tag, tuple(nodes[start : start + size])) for tag, start in enumerate(starts)):
        if finished.error is not None:
            raise finished.error
        yield from finished.results
