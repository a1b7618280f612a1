"""Hosts that fail: counted, shunned at the third fault, and named; and the wait for workers where there are none."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from distributed.comm import get_address_host

from dflow.errors import ClusterError

MOST_FAULTS = 3
"""Faults of one host within `FAULT_SECONDS` after which it gets no more work of the flow."""

FAULT_SECONDS = 3600.0
"""How long a fault counts: a file server that stumbles once a day costs no host."""

FIRST_SECONDS = 15.0
"""Time without a worker after which the flow says so."""

MOST_SECONDS = 3600.0
"""Longest time between two such lines; each interval is twice the one before."""


def host_of(worker: str) -> str:
    """Return the host in a worker's address, "" for ""."""
    return str(get_address_host(worker)) if worker else ""


class HostFaults:
    """Counts the faults of hosts. One thread. `warn` gets one line per fault that counts."""

    def __init__(self, warn: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._warn = warn
        self._clock = clock
        self._faults: dict[str, list[float]] = {}
        self.shunned: dict[str, str] = {}

    def note(self, host: str, name: str, reason: str, begun: float) -> bool:
        """Count a fault; return whether the host is to be shunned from now on.

        Work that was handed out before the last fault was known (`begun`, by the clock) is part of that fault.
        """
        faults = self._faults.setdefault(host, [])
        if host in self.shunned or (faults and begun <= faults[-1]):
            return False
        now = self._clock()
        faults[:] = [each for each in faults if now - each < FAULT_SECONDS] + [now]
        shown = name if name == host or not host else f"{name} ({host})"
        if len(faults) < MOST_FAULTS:
            self._warn(f"Host {shown}: {reason}. Its files are tried elsewhere (fault {len(faults)} of {MOST_FAULTS})")
            return False
        self.shunned[host] = f"{shown}: {reason}"
        self._warn(f"Host {shown} does no more work for this flow, it failed {len(faults)} times: {reason}")
        return True

    @property
    def suspects(self) -> dict[str, str]:
        """Return the hosts that have failed, but are not shunned, each with the reason to name."""
        return {
            host: "it failed before" for host, faults in self._faults.items() if faults and host not in self.shunned
        }

    def none_left(self) -> ClusterError:
        """Return the error of a flow whose hosts are all shunned."""
        return ClusterError(
            f"No host is left that can do the work. {'; '.join(self.shunned.values())}. What is finished is kept: mend "
            "the hosts, or start workers on others, and run the flow again to go on where it stopped."
        )


class WorkerWait:
    """Says that there are no workers, at growing intervals, up to a limit. One thread.

    Parameters
    ----------
    scheduler
        The scheduler's address, for the lines.
    limit_seconds, unfit_seconds
        Time without a worker after which `note` raises: where there is none, and where there are only unfit ones.
    warn
        Gets one line each time.
    explain
        Returns known reasons, such as what the queue lists, or "".
    """

    def __init__(
        self,
        scheduler: str,
        limit_seconds: float,
        warn: Callable[[str], None],
        explain: Callable[[], str] = str,
        *,
        unfit_seconds: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._unfit_seconds = limit_seconds if unfit_seconds is None else unfit_seconds
        self._scheduler = scheduler
        self._limit_seconds = limit_seconds
        self._warn = warn
        self._explain = explain
        self._clock = clock
        self._since: float | None = None
        self._interval = self._next = FIRST_SECONDS
        self._has_said = False

    def note(self, n_workers: int, unfit: Mapping[str, str]) -> None:
        """Take the number of workers that can work, and the reasons of those that cannot, as of now.

        Raises
        ------
        ClusterError
            When there was none for longer than the limit.
        """
        now = self._clock()
        if n_workers:
            if self._has_said:
                self._warn(f"Workers are back: {n_workers}")
            self._since, self._has_said = None, False
            self._interval = self._next = FIRST_SECONDS
            return
        if self._since is None:
            self._since = now
        waited = now - self._since
        limit = self._unfit_seconds if unfit else self._limit_seconds
        if waited >= limit:
            raise ClusterError(
                f"The scheduler at {self._scheduler} had no{self._kind(unfit)} worker for {waited:.0f} s"
                f"{self._reasons(unfit)}. What is finished is kept: start workers with this environment, and run the "
                "flow again to go on where it stopped; no_worker_timeout= sets how long a flow waits."
            )
        if waited >= self._next:
            self._interval = min(2 * self._interval, MOST_SECONDS)
            self._next = waited + self._interval
            self._has_said = True
            self._warn(
                f"0{self._kind(unfit)} workers at {self._scheduler} for {waited:.0f} s, waiting up to "
                f"{limit:.0f} s for one{self._reasons(unfit)}"
            )

    @staticmethod
    def _kind(unfit: Mapping[str, str]) -> str:
        return " fit" if unfit else ""

    def _reasons(self, unfit: Mapping[str, str]) -> str:
        known = [f"{address}: {reason}" for address, reason in unfit.items()]
        said = " | ".join(line.strip() for line in self._explain().splitlines() if line.strip())
        text = "; ".join([*known, *([said] if said else [])])
        return f". {text[:600]}" if text else ""
