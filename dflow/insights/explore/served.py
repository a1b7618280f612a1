"""The flow behind a server, opened anew when a run has replaced its dataset."""

from __future__ import annotations

import os
from pathlib import Path

from dflow.dataset.format.layout import MANIFEST
from dflow.errors import DflowError
from dflow.insights.explore.flow_data import FlowData


class ServedFlow:
    """Gives the flow as it is now. One thread.

    Pages that were opened before a run keep what they have read, and say so where they need more. Arguments and errors
    as `FlowData`.
    """

    def __init__(self, flow_file: str | os.PathLike[str]) -> None:
        self._flow_file = flow_file
        self._data = FlowData(flow_file)
        self._stamp = _stamp(self._data)

    def current(self) -> FlowData:
        """The flow, opened anew if its dataset or tables are no longer those that were opened."""
        stamp = _stamp(self._data)
        if stamp != self._stamp:
            try:
                data = FlowData(self._flow_file)
            except DflowError:
                return self._data  # between two builds, or gone: what was read can still be shown
            self._data.close()
            self._data, self._stamp = data, _stamp(data)
        return self._data

    def close(self) -> None:
        """Release the dataset."""
        self._data.close()


def _stamp(data: FlowData) -> tuple[tuple[int, int, int] | None, ...]:
    location = data.explorer.location
    files = (location.dataset / MANIFEST, location.infoset, data.flow_file.parent / "error_summary.json")
    return tuple(_identity(file) for file in files)


def _identity(file: Path | None) -> tuple[int, int, int] | None:
    try:
        found = os.stat(file or "")
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
