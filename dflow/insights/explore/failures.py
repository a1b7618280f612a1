"""The failed items of a flow, read from ``error_summary.json``."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dflow.records import reason
from dflow.storage.paths import read_regular


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed item."""

    file: str
    kind: str
    message: str
    task: str
    seconds: float
    traceback: str
    advice: str = ""
    exception: str = ""

    @property
    def reason(self) -> str:
        """The message's first line, without the file's own path, with the type of an exception of the user's own."""
        return reason(self.kind, self.exception, self.message, self.file)


@dataclass(frozen=True, slots=True)
class Failures:
    """All failed items of a flow, in the order of the summary; without any, `note` is the reason."""

    items: tuple[Failure, ...] = ()
    note: str = ""

    def by_kind(self) -> list[tuple[str, int]]:
        """Return kinds and their counts, the most frequent first."""
        return Counter(item.kind for item in self.items).most_common()

    def of(self, file: str) -> list[Failure]:
        """Return the failures of one file."""
        return [item for item in self.items if item.file == file]


def read_failures(path: Path) -> Failures:
    """Read the failures of a flow; for a missing or damaged summary the result has none and a `note`."""
    try:
        entries: Any = json.loads(read_regular(path))
    except FileNotFoundError:
        return Failures(note="This flow has no error summary.")
    except (OSError, ValueError) as error:
        return Failures(note=f"The error summary cannot be read: {error}")
    if not isinstance(entries, list):
        return Failures(note="The error summary is damaged: it is not a list.")
    items = tuple(_read_entry(entry) for entry in entries if isinstance(entry, dict))
    return Failures(items, "" if items else "Nothing failed.")


def _read_entry(entry: dict[str, Any]) -> Failure:
    seconds = entry.get("seconds")
    return Failure(
        file=str(entry.get("file", entry.get("item", ""))),
        kind=str(entry.get("kind", "error")),
        message=str(entry.get("message", entry.get("error", ""))),
        task=str(entry.get("task", "")),
        seconds=float(seconds) if isinstance(seconds, (int, float)) else 0.0,
        traceback=str(entry.get("traceback", "")),
        advice=str(entry.get("advice", "")),
        exception=str(entry.get("exception", "")),
    )
