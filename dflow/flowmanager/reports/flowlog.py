"""``flow_log.log``: what the flow did, one line per item and task."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from dflow.flowmanager.history.folder import writing
from dflow.plaintext import get_logger, plain
from dflow.records import ItemRecord

_LOGGER = get_logger("dflow.flow")
Level = Literal["INFO", "WARNING", "ERROR"]


class FlowLog:
    """Writes the log of one run; each call leaves complete lines on disk. One thread.

    A line that cannot be written (the disk is full) is lost without an error: the journal, which is written more often,
    raises it.
    """

    def __init__(self, path: Path) -> None:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._handle = path.open("w", encoding="utf-8", errors="backslashreplace")

    def write(self, text: str, level: Level = "INFO") -> None:
        """Write one line about the flow itself; it also goes to the logger ``dflow.flow``."""
        self._append((f"{_now()} {level} FLOW {one_line(text)}\n",))
        _LOGGER.log(logging.getLevelName(level), "%s", text)

    def items(self, task: str, records: Iterable[ItemRecord]) -> None:
        """Write one line per item of `task`."""
        now = _now()
        self._append(_item_line(now, task, record) for record in records)

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError):
            self._handle.close()

    def _append(self, lines: Iterable[str]) -> None:
        with suppress(OSError):
            self._handle.writelines(lines)
            self._handle.flush()


def one_line(text: str) -> str:
    """Return text on one line: line breaks as " | ", control characters escaped."""
    return plain(text.replace("\r", "").replace("\n", " | "))


def _item_line(now: str, task: str, record: ItemRecord) -> str:
    error = record.error
    if error is not None:
        what = f"{one_line(record.item)} [{error.kind}] {one_line(error.message)}"
        return f"{now} ERROR {task} failed {record.seconds:.3f}s {what}\n"
    status = "reused" if record.reused else record.status
    notes = f" ({one_line('; '.join(record.notes))})" if record.notes else ""
    return f"{now} INFO {task} {status} {record.seconds:.3f}s {one_line(record.item)}{notes}\n"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
