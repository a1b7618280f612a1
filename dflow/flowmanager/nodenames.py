"""Node keys that read like the flow: ``encode-000012``, one live flow a name and scheduler.

Two flows with equal keys on one scheduler would be given each other's results. A flow therefore registers its tasks'
names on the scheduler, in one step of its event loop; where a name is taken by another live flow, or by nodes that an
interrupted one left behind, keys take a suffix that the dashboard's grouping ignores (``encode-1f9a-000012``).
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from distributed import Client

_REGISTRY = "dflow-node-names"


def node_key(task: str, number: int, suffix: str = "") -> str:
    """The key of a task's node: grouped by the task's name on the dashboard."""
    clean = "".join(c if c.isalnum() or c in "_." else "_" for c in task)
    return f"{clean}-{suffix}-{number:06d}" if suffix else f"{clean}-{number:06d}"


class NodeNames:
    """Holds names on a scheduler until `release`; `suffix` is "" where nobody else uses them."""

    def __init__(self, client: Client, tasks: Sequence[str]) -> None:
        self._client = client
        self._token = secrets.token_hex(8)
        # Dask's grouping drops words of 8 or more hexadecimal digits.
        prefixes = tuple(node_key(task, 0).rpartition("-")[0] for task in tasks)
        free = client.run_on_scheduler(_claim, names=prefixes, token=self._token, owner=client.id)
        self.suffix = "" if free else self._token

    def release(self) -> None:
        """Free the names."""
        if self._client.status == "running":
            self._client.run_on_scheduler(_free, token=self._token)


def _claim(names: Sequence[str], token: str, owner: str, dask_scheduler: Any = None) -> bool:
    """Runs on the scheduler: whether nobody else holds any of the names; they are held from now on either way."""
    held: dict[str, tuple[str, tuple[str, ...]]] = dask_scheduler.extensions.setdefault(_REGISTRY, {})
    for other in [key for key, (client, _) in held.items() if client not in dask_scheduler.clients]:
        del held[other]
    taken = {name for _, theirs in held.values() for name in theirs}
    held[token] = (owner, tuple(names))
    if taken & set(names):
        return False
    begins = tuple(f"{name}-" for name in names)
    return not any(isinstance(key, str) and key.startswith(begins) for key in dask_scheduler.tasks)


def _free(token: str, dask_scheduler: Any = None) -> None:
    dask_scheduler.extensions.get(_REGISTRY, {}).pop(token, None)
