"""The cluster that a flow runs on: the caller's, the active one, a named profile's, or its own."""

from __future__ import annotations

import asyncio
import json
import logging
import multiprocessing
import multiprocessing.spawn
import os
import signal
import socket
import threading
import time
import uuid
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import resource_tracker
from typing import Any, ClassVar

import dask
import distributed
from distributed import Client, LocalCluster, SpecCluster
from distributed.comm import CommClosedError, connect
from distributed.security import Security

from dflow.errors import ClusterError, DflowError
from dflow.flowmanager.cluster import queues
from dflow.flowmanager.cluster.hosts import WorkerWait
from dflow.flowmanager.cluster.ownpages import GuardedCluster
from dflow.monitor.preload import offer_pages
from dflow.plaintext import get_logger

_LOGGER = get_logger(__name__)

CONNECT_SECONDS = 15.0
POLL_SECONDS = 0.5
WORKER_SECONDS = 60.0
DASHBOARD_PORT = 8787


@dataclass(slots=True)
class Connection:
    """A client, what to close after it (nothing that the user opened), and how long it may lack workers at first.

    `explain` returns what its queue says about workers that do not come, `refusal` the queue's words on jobs that it
    did not take; both "" where there is nothing to say.
    """

    client: Client
    owned: tuple[Any, ...] = ()
    wait_seconds: float = field(default_factory=lambda: WORKER_SECONDS)
    explain: Callable[[], str] = str
    refusal: Callable[[], str] = str

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


def resolve(
    cluster: Any = None,
    *,
    max_workers: int | None = None,
    wait_seconds: float | None = None,
    warn: Callable[[str], None] = _LOGGER.warning,
) -> Connection:
    """Connect to a cluster.

    Parameters
    ----------
    cluster
        A `distributed.Client`; an object with `scheduler_address` and, if it has it, `security`, as all cluster classes
        of Dask are; a scheduler's address; the path of a scheduler file; a profile's name; or None: the active client,
        else a new local cluster.
    max_workers
        Worker processes of a local cluster, jobs of a queue; None for the machine's or the profile's number.
    wait_seconds
        Time to wait for the first worker; None for the profile's, or `WORKER_SECONDS`.
    warn
        Gets a line now and then while there is no worker.

    Raises
    ------
    ClusterError
        If no scheduler answers, or it gets no worker.
    """
    connection = _connected(cluster, max_workers)
    if wait_seconds is not None:
        connection.wait_seconds = wait_seconds
    return _checked(connection, warn)


def _connected(cluster: Any, max_workers: int | None) -> Connection:
    if cluster is None:
        client = active_client()
        return _of_user(client) if client is not None else _local(max_workers)
    if isinstance(cluster, Client):
        if cluster.status != "running":
            raise ClusterError(f"{cluster!r} is closed; open it, or leave `cluster` out.")
        return _of_user(cluster)
    if isinstance(cluster, (str, os.PathLike)):
        return _by_text(os.fspath(cluster), max_workers)
    address = getattr(cluster, "scheduler_address", None)
    if isinstance(address, str) and "://" in address:
        client = _connect(address, getattr(cluster, "security", None), type(cluster).__name__)
        return Connection(client, (client,), explain=queues.explanation_of(cluster))
    if address is not None:
        raise ClusterError(
            f"cluster={cluster!r} has no scheduler's address yet (its scheduler_address is {address!r:.100}); "
            "start it first."
        )
    raise ClusterError(
        f"cluster={cluster!r} is {type(cluster).__name__}; expected a distributed Client, a cluster object (with "
        f"scheduler_address), a scheduler's address, the path of a scheduler file or one of "
        f"{list(queues.profile_names())}."
    )


def _of_user(client: Client) -> Connection:
    return Connection(client, explain=queues.explanation_of(client.cluster))


def _by_text(text: str, max_workers: int | None) -> Connection:
    if text == "local":
        return _local(max_workers)
    if text in queues.profile_names():
        queue = queues.queue_cluster(text, max_workers=max_workers)
        client = _connect(queue.scheduler_address, queue.security, text)
        explain, refusal = partial(queues.queue_status, text), partial(getattr, queue, "refusal", "")
        return Connection(client, (client, queue), queues.wait_seconds(text), explain, refusal)
    address = _scheduler_of_file(text) if _is_scheduler_file(text) else text
    if "://" not in address and ":" not in address:
        raise ClusterError(
            f"cluster={text!r} is neither a scheduler's address (tcp://host:8786), nor the path of a scheduler file "
            f"(….json), nor a profile; profiles: {list(queues.profile_names())}."
        )
    client = _connect(address)
    return Connection(client, (client,))


def _is_scheduler_file(text: str) -> bool:
    return "://" not in text and (text.endswith(".json") or os.path.isfile(text))


def _scheduler_of_file(path: str) -> str:
    """Return the address in a scheduler file, which may be about to be written.

    Raises
    ------
    ClusterError
        If there is none in time.
    """
    deadline = time.monotonic() + CONNECT_SECONDS
    while True:
        try:
            with open(path, encoding="utf-8") as file:
                return str(json.load(file)["address"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"cluster={path!r} is no scheduler file: {type(error).__name__}: {error}. Start the scheduler with "
                    "`dask scheduler --scheduler-file` and this path, on a file system that both see."
                ) from error
        time.sleep(0.2)


def _check_address(address: str, security: Any = None) -> None:
    """Check that a Dask scheduler answers: `Client` would wait for ever for the handshake of anything else.

    Raises
    ------
    ClusterError
        Naming what is wrong with the address.
    """

    async def connected() -> None:
        arguments = (security or Security()).get_connection_args("client")
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


def _connect(address: str, security: Any = None, name: str = "") -> Client:
    if not address.startswith("inproc://"):
        _check_address(address, security)
    try:
        return Client(address, timeout=CONNECT_SECONDS, set_as_default=False, security=security)
    except (OSError, TimeoutError) as error:
        raise _no_answer(f"{address} ({name})" if name else address, error) from error


def _checked(connection: Connection, warn: Callable[[str], None]) -> Connection:
    """Return the connection once it has a worker.

    An adaptive cluster starts workers only for work, so this waits for the result of a small task.

    Raises
    ------
    ClusterError
        Where no worker comes in time, or the queue takes no job.
    """
    client = connection.client
    try:
        if client.nthreads():
            return connection
        wake = client.submit(os.getpid, key=f"dflow-wake-{uuid.uuid4().hex}", pure=False)
        wait = WorkerWait(client.scheduler.address, connection.wait_seconds, warn, connection.explain)
        while not _has_ended(wake):
            if refused := connection.refusal():
                raise ClusterError(f"The queue took no job: {refused}")
            wait.note(0, {})
    except DflowError:  # no worker
        connection.close()
        raise
    except OSError as error:  # also CommClosedError and TimeoutError
        connection.close()
        raise ClusterError(f"Lost the scheduler while waiting for a worker: {error}; run the flow again.") from error
    except BaseException:  # Ctrl-C while waiting for a queue
        connection.close()
        raise
    return connection


def _has_ended(future: Any) -> bool:
    with suppress(TimeoutError):
        future.result(timeout=POLL_SECONDS)
        return True
    return False


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
