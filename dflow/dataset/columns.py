"""Finding a column by the names a user gives: the virtual `labels` group, and the fallback to `file` and the other
groups.
"""

from __future__ import annotations

import logging

from dflow.dataset.store import Column, DatasetStore
from dflow.errors import UnknownKeyError
from dflow.schema import FILE_GROUP

logger = logging.getLogger(__name__)

LABELS = "labels"


def real_group(store: DatasetStore, group: str) -> str:
    """The stored group behind a name: `labels` means the file values where no group has that name.

    Raises
    ------
    UnknownKeyError
        If there is no such group.
    """
    if group == LABELS and LABELS not in store.columns:
        return FILE_GROUP
    store.group(group)
    return group


def find_column(store: DatasetStore, key: str, group: str | None) -> Column:
    """The column `key`: in `group` where it is there, else in `file`, else in the other groups, with a log line.

    Raises
    ------
    UnknownKeyError
        If no group has it.
    """
    wanted = None if group is None else real_group(store, group)
    for candidate in dict.fromkeys([*([wanted] if wanted else []), FILE_GROUP, *store.row_groups]):
        if key in store.group(candidate):
            if wanted not in (None, candidate):
                logger.info("%r is not in group %r; found in fallback group %r", key, group, candidate)
            return store.column(candidate, key)
    known = "; ".join(f"{g}: {', '.join(sorted(store.group(g))) or 'none'}" for g in [*store.row_groups, FILE_GROUP])
    raise UnknownKeyError(f"no array or file value {key!r} in any group ({known})")
