"""The cluster that a flow runs on: the caller's, the active one, a named profile's, or its own."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import multiprocessing.spawn
import os
import signal
import socket
import threading
import uuid
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from typing import Any, ClassVar

import dask
import distributed
from distributed import Client, LocalCluster, SpecCluster
from distributed.comm import CommClosedError, connect
from distributed.security import Security

from dflow.errors import ClusterError
from dflow.flowmanager.cluster import queues
from dflow.flowmanager.cluster.ownpages import GuardedCluster
from dflow.monitor.preload import offer_pages

CONNECT_SECONDS = 15.0
WORKER_SECONDS = 60.0
DASHBOARD_PORT = 8787


@dataclass(slots=True)
class Connection:
    """A client, what to close after it (nothing that the user opened), and how long it may lack workers."""

    client: Client
    owned: tuple[Any, ...] = ()
    wait_seconds: float = field(default_factory=lambda: WORKER_SECONDS)

    def close(self) -> None:
        """Close what this flow opened."""
        with ExitStack() as stack:  # closes each, also where another fails
            for each in reversed(self.owned):
                stack.callback(each.close)


def active_client() -> Client | None:
    """Return the client that the user has open in this process, if any."""
    try:
        client = distributed.get_client()
    except ValueError:
        return None
    return client if client.status == "running" else None


def is_foreign(cluster: Any) -> bool:
    """Whether a flow would use a cluster that it does not start itself: `cluster`, or the active one."""
    return cluster is not None or active_client() is not None


def resolve(cluster: Any = None, *, max_workers: int | None = None) -> Connection:
    """Connect to a cluster.

    Parameters
    ----------
    cluster
        A `distributed.Client`, a cluster object, a scheduler's address, a profile's name, or None: the active client,
        else a new local cluster.
    max_workers
        Worker processes of a local cluster, jobs of a queue; None for the machine's or the profile's number.

    Raises
    ------
    ClusterError
        If no scheduler answers, or it gets no worker.
    """
    if cluster is None:
        client = active_client()
        return _checked(Connection(client)) if client is not None else _local(max_workers)
    if isinstance(cluster, Client):
        if cluster.status != "running":
            raise ClusterError(f"{cluster!r} is closed; open it, or leave `cluster` out.")
        return _checked(Connection(cluster))
    if isinstance(cluster, str):
        return _by_text(cluster, max_workers)
    if hasattr(cluster, "scheduler_address"):
        client = _connect(cluster)
        return _checked(Connection(client, (client,)))
    raise ClusterError(
        f"cluster={cluster!r} is {type(cluster).__name__}; expected a distributed Client, a cluster object, a "
        f"scheduler's address or one of {list(queues.profile_names())}."
    )


def _by_text(text: str, max_workers: int | None) -> Connection:
    if text == "local":
        return _local(max_workers)
    if text in queues.profile_names():
        queue = queues.queue_cluster(text, max_workers=max_workers)
        client = _connect(queue)
        wait = queues.wait_seconds(text)
        return _checked(Connection(client, (client, queue), wait), lambda: queues.queue_status(text))
    if "://" not in text and ":" not in text:
        raise ClusterError(
            f"cluster={text!r} is neither a scheduler's address (tcp://host:8786) nor a profile; "
            f"profiles: {list(queues.profile_names())}."
        )
    _check_address(text)
    client = _connect(text)
    return _checked(Connection(client, (client,)))


def _check_address(address: str) -> None:
    """Check that a Dask scheduler answers: `Client` would wait for ever for the handshake of anything else.

    Raises
    ------
    ClusterError
        Naming what is wrong with the address.
    """

    async def connected() -> None:
        arguments = Security().get_connection_args("client")
        comm = await asyncio.wait_for(connect(address, timeout=CONNECT_SECONDS, **arguments), CONNECT_SECONDS + 1)
        comm.abort()

    try:
        with ThreadPoolExecutor(1) as own:  # in a notebook an event loop runs in this thread
            own.submit(asyncio.run, connected()).result()
    except (ValueError, TypeError) as error:
        raise ClusterError(f"cluster={address!r} is not a scheduler's address (tcp://host:8786): {error}") from error
    except Exception as error:  # unpacking bytes that are not a handshake may raise anything
        if isinstance(error, OSError) and not isinstance(error, (TimeoutError, CommClosedError)):
            raise _no_answer(address, error) from error
        raise ClusterError(
            f"What listens at {address} is not a Dask scheduler, or it hangs (it may be the dashboard's port). The "
            "scheduler's address is in its log, usually tcp://host:8786."
        ) from error


def _no_answer(name: str, error: Exception) -> ClusterError:
    return ClusterError(
        f"No Dask scheduler answers at {name} within {CONNECT_SECONDS:.0f} s: {error}. Check the address, and that the "
        "scheduler runs."
    )


def _connect(target: Any) -> Client:
    try:
        return Client(target, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, TimeoutError) as error:
        name = target if isinstance(target, str) else type(target).__name__
        raise _no_answer(name, error) from error


def _checked(connection: Connection, explain: Callable[[], str] = str) -> Connection:
    """Return the connection once it has a worker; `explain` returns known reasons why it gets none.

    An adaptive cluster starts workers only for work, so this waits for the result of a small task.
    """
    client, wait_seconds = connection.client, connection.wait_seconds
    if client.nthreads():
        return connection
    wake = client.submit(os.getpid, key=f"dflow-wake-{uuid.uuid4().hex}", pure=False)
    try:
        wake.result(timeout=wait_seconds)
    except TimeoutError as error:
        scheduler, known = client.scheduler.address, explain()
        wake.cancel()
        connection.close()
        raise ClusterError(
            f"The scheduler at {scheduler} got no worker within {wait_seconds:.0f} s.{known and chr(10)}{known}"
        ) from error
    except BaseException:  # Ctrl-C while waiting for a queue
        connection.close()
        raise
    return connection


_SETTINGS = {
    # Users' code runs in the workers' children; Dask's profiler would only measure workers that wait.
    "distributed.worker.profile.enabled": False,
    # Each event loop, of which a cluster of n workers has 2 n + 1 on one machine, by default
    # measures its own delay fifty times per second and its memory ten times (dflow watches the children's).
    "distributed.admin.tick.interval": "500ms",
    "distributed.worker.memory.monitor-interval": "500ms",
    "distributed.admin.system-monitor.interval": "1s",
    # Dask makes glibc return freed memory above 64 KiB at once, and any such setting switches off glibc's adaptive
    # threshold: zstd's buffers and the grids are then new pages at every call.
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 128 * 1024**2,
    "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": 32 * 1024**2,
    # Workers' web servers, which nothing of a local cluster reads, serve nothing.
    "distributed.worker.http.routes": [],
}
"""Settings of a local cluster. By default its idle loops take 3 % of two cores; a merge takes 1.4 times the CPU, an
encoder 1.1 times, for page faults. Children inherit the environment."""


def _local(max_workers: int | None) -> Connection:
    """Start a local cluster: one thread per process, the dashboard on the loopback interface, closed with the flow.

    Its keys exist in memory only, so that no other account of this machine can use its scheduler and workers, which run
    what they are sent.
    """
    offer_pages()
    with ExitStack() as opened:
        start = opened.enter_context(closing(WorkerStart()))
        cluster = opened.enter_context(closing(_started_quietly(max_workers or default_workers())))
        client = Client(cluster, set_as_default=False)
        opened.pop_all()  # closed with the connection
    return Connection(client, (client, cluster, start))


def _started_quietly(n_workers: int) -> LocalCluster:
    with warnings.catch_warnings(), dask.config.set(_SETTINGS):
        # Another process may take the port after the check; distributed then takes another one, and leaves the socket
        # that got none to the garbage collector.
        warnings.filterwarnings("ignore", message=r"\s*Port \d+ is already in use", category=UserWarning)
        warnings.filterwarnings("ignore", message=r"unclosed .*laddr=\('0\.0\.0\.0', 0\)>", category=ResourceWarning)
        return _started_or_closed(
            n_workers=n_workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            security=Security.temporary(),
            dashboard_address=f"127.0.0.1:{free_port(DASHBOARD_PORT)}",
            silence_logs=logging.CRITICAL,
        )


class _LastingCluster(GuardedCluster, LocalCluster):
    """A local cluster that never gives up a worker: each one's nanny starts it again.

    Dask checks 15 s after a worker's end whether it is back, and closes its nanny for good where it is not: also where
    it came back meanwhile and has just ended again. Files that end their workers could then leave a flow without any,
    waiting for ever.
    """

    def _update_worker_status(self, op: str, msg: Any) -> None:
        super(SpecCluster, self)._update_worker_status(op, msg)


def _started_or_closed(**arguments: Any) -> LocalCluster:
    """Start a local cluster that Ctrl-C does not reach, and that is closed when Ctrl-C comes while it starts.

    It starts in another thread: an interrupted constructor returns nothing that could be closed, and the workers
    inherit the thread's signal mask. A terminal interrupts all processes of its session, but the flow has to end its
    workers in order.
    """
    with ThreadPoolExecutor(1) as pool:
        starting = pool.submit(_start_uninterrupted, arguments)
        try:
            return starting.result()
        except KeyboardInterrupt:
            with suppress(Exception):  # what failed to start needs no closing
                starting.result().close()
            raise


def _start_uninterrupted(arguments: dict[str, Any]) -> LocalCluster:
    if hasattr(signal, "pthread_sigmask"):  # not on Windows
        resource_tracker.ensure_running()  # its start, which the first spawned process causes, unblocks the signal
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    return _LastingCluster(**arguments)


def default_workers() -> int:
    """Return the number of processors that this process may use."""
    try:
        return max(1, len(os.sched_getaffinity(0)))
    except AttributeError:  # not Linux
        return max(1, os.cpu_count() or 1)


def free_port(port: int) -> int:
    """Return `port` where it is free, else 0: the system's choice."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return 0
    return port


class WorkerStart:
    """The changes to this process that starting Dask's workers takes, undone by `close`.

    ``spawn`` imports the parent's main module in each child, so that a script without the ``__main__`` guard would
    start itself in every worker. Workers do not need it: tasks travel by value to the workers' own children. A function
    of `multiprocessing.spawn` is therefore replaced; processes other than workers keep ``__main__``. Dask sets
    environment variables for its workers in this process, and ``spawn`` fixes the start method.

    Nannies also start workers while a flow runs, so this lasts as long as their cluster; all is restored when the last
    of several clusters is closed.
    """

    _lock = threading.Lock()
    _open: ClassVar[list[WorkerStart]] = []
    _original: ClassVar[Any] = None
    _environment: ClassVar[dict[str, str | None]] = {}
    _start_method: ClassVar[str | None] = None

    def __init__(self) -> None:
        spawn: Any = multiprocessing.spawn
        with self._lock:
            if not self._open:
                cls = type(self)
                cls._original = staticmethod(spawn.get_preparation_data)
                cls._environment = {name: os.environ.get(name) for name in _variables()}
                cls._start_method = multiprocessing.get_start_method(allow_none=True)
                spawn.get_preparation_data = self._without_main
            self._open.append(self)

    def close(self) -> None:
        """Restore the process unless another cluster needs the changes; a second call does nothing."""
        with self._lock:
            if self in self._open:
                self._open.remove(self)
                if not self._open:
                    self._restore()

    def _restore(self) -> None:
        spawn: Any = multiprocessing.spawn
        spawn.get_preparation_data = self._original
        for name, value in self._environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        if self._start_method is None:
            multiprocessing.set_start_method(None, force=True)

    @classmethod
    def _without_main(cls, name: str) -> dict[str, Any]:
        data: dict[str, Any] = cls._original(name)
        if name.startswith("Dask Worker process"):
            data.pop("init_main_from_name", None)
            data.pop("init_main_from_path", None)
        return data


def _variables() -> tuple[str, ...]:
    """Return the environment variables that Dask sets in the process that starts workers."""
    settings = (key.rpartition(".")[2] for key in _SETTINGS if "environ" in key)
    return (*dask.config.get("distributed.nanny.pre-spawn-environ"), *settings, "PYTHONHASHSEED", "__DASK_PARENT_PID")
