"""Workers that died during a run, from the scheduler's log of events: their hosts, numbers and known causes.

A worker that dies costs only time: its batch is done again elsewhere, and its nanny starts another. Workers that keep
dying can take up a whole run unnoticed.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from distributed import Client

from dflow.flowmanager.cluster.nodekeys import is_node_of
from dflow.plaintext import get_logger, plain
from dflow.records import ErrorRecord

_LOGGER = get_logger(__name__)

MANY = 2
"""Deaths on one host from which on they are reported as an error."""

KIND = "worker_lost"
_TOPICS = ("all", "worker-restart-memory")
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True)
class WorkerDeath:
    """One worker that was lost unexpectedly: its address, host, the cause, and the keys of the nodes that it held."""

    worker: str
    host: str
    cause: str
    nodes: tuple[str, ...] = ()

    def __str__(self) -> str:
        at = f"; it had {', '.join(self.nodes[:4])}" if self.nodes else ""
        return plain(f"Worker {self.worker} on {self.host} was lost: {self.cause}{at}")


class DeathWatch:
    """Reads the scheduler's events, from its own creation on. One thread.

    `tasks` are the run's: nodes of others are left out.
    """

    def __init__(self, client: Client, tasks: Sequence[str]) -> None:
        self._client = client
        self._tasks = tuple(tasks)
        self.deaths: list[WorkerDeath] = []
        self._last: Any = None
        self._fresh(self._events().get("all", []))

    def new_deaths(self) -> list[WorkerDeath]:
        """Return the deaths since the last call and add them to `deaths`; none while the scheduler does not answer."""
        events = self._events()
        causes = {e["worker"]: _memory(e) for _, e in events.get("worker-restart-memory", []) if "worker" in e}
        found = [_death(e, causes, self._tasks) for _, e in self._fresh(events.get("all", [])) if _is_death(e)]
        self.deaths += found
        return found

    def _fresh(self, events: list[Any]) -> list[Any]:
        """Return the events after the last known one, found by equality, for the scheduler's clock may jump."""
        known = next((n for n in range(len(events), 0, -1) if events[n - 1] == self._last), 0)
        if events:
            self._last = events[-1]
        return events[known:]

    def _events(self) -> dict[str, list[Any]]:
        if self._client.status != "running":
            return {}
        try:
            return {topic: list(self._client.get_events(topic)) for topic in _TOPICS}
        except Exception:  # the scheduler is lost: the engine raises that
            _LOGGER.debug("the scheduler's events cannot be read", exc_info=True)
            return {}


def as_errors(deaths: Iterable[WorkerDeath]) -> list[ErrorRecord]:
    """Return an error per host that lost at least `MANY` workers; it belongs to no file."""
    return [
        ErrorRecord(KIND, f"{count} workers on {host} were lost during the run: {causes}", "", "", -1, host=host)
        for host, count, causes in by_host(deaths)
        if count >= MANY
    ]


def by_host(deaths: Iterable[WorkerDeath]) -> list[tuple[str, int, str]]:
    """Return host, number of deaths and counted causes, the host with most deaths first."""
    causes: dict[str, Counter[str]] = {}
    for death in deaths:
        causes.setdefault(death.host, Counter())[death.cause] += 1
    rows = [
        (host, found.total(), "; ".join(f"{cause} ({n}x)" for cause, n in found.most_common()))
        for host, found in causes.items()
    ]
    return sorted(rows, key=lambda row: (-row[1], row[0]))


def _is_death(event: Any) -> bool:
    return isinstance(event, Mapping) and event.get("action") == "remove-worker" and not event.get("expected")


def _death(event: Mapping[str, Any], causes: Mapping[str, str], tasks: Sequence[str]) -> WorkerDeath:
    worker = str(event.get("worker", ""))
    nodes = sorted(key for key in map(str, event.get("processing-tasks") or ()) if is_node_of(key, tasks))
    return WorkerDeath(worker, _host(worker), causes.get(worker) or _described(event), tuple(nodes))


def _memory(event: Mapping[str, Any]) -> str:
    return f"its memory passed the worker's limit ({int(event.get('rss', 0)) // 1024**2} MiB)"


def _described(event: Mapping[str, Any]) -> str:
    """Return distributed's name of the event in plain words."""
    stimulus = str(event.get("stimulus_id", ""))
    if "ttl" in stimulus:
        return "it sent no heartbeat for too long"
    return "its process ended, or its host is unreachable"


def _host(address: str) -> str:
    host = urlsplit(address).hostname or address
    return socket.gethostname() if host in _LOOPBACK else host
