"""The selected files, their order and their pages; without bokeh or IO."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from dflow.insights.explore.variables import FileVariable, Mask, RowVariable

PAGE_ROWS = 100

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class RangeFilter:
    """A brushed range of one variable."""

    variable: FileVariable | RowVariable
    low: float
    high: float

    def files(self) -> Mask:
        """Return which files lie in the range: (n_files,) bool."""
        return self.variable.files_within(self.low, self.high)


class Selection:
    """Filters over the files of a dataset, combined with "and".

    `mask` (n_files,) bool always follows the filters; changing one filter recomputes that one only.

    Parameters
    ----------
    names : the texts that are searched, one per file
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = pd.Series(list(names), dtype="string").str.lower()
        self._filters: dict[str, RangeFilter] = {}
        self._masks: dict[str, Mask] = {}
        self._text = ""
        self._all: Mask = np.ones(len(self._names), bool)
        self.mask: Mask = self._all

    @property
    def n_files(self) -> int:
        """The number of all files."""
        return len(self._names)

    @property
    def n_selected(self) -> int:
        """The number of files that pass every filter."""
        return int(self.mask.sum())

    @property
    def filters(self) -> dict[str, RangeFilter]:
        """Range filters by the panel that set them."""
        return dict(self._filters)

    @property
    def text(self) -> str:
        """The text that file names are searched for."""
        return self._text

    def set_range(self, panel: str, chosen: RangeFilter | None) -> None:
        """Set or remove (None) the range filter of a panel."""
        self._filters.pop(panel, None)
        self._masks.pop(panel, None)
        if chosen is not None:
            self._filters[panel], self._masks[panel] = chosen, chosen.files()
        self._combine()

    def set_text(self, text: str) -> None:
        """Keep files whose name contains the text, in upper or lower case; "" keeps all."""
        self._text = text.strip()
        self._masks.pop(" text", None)
        if self._text:
            found = self._names.str.contains(self._text.lower(), regex=False)
            self._masks[" text"] = found.to_numpy(dtype=bool, na_value=False)
        self._combine()

    def clear(self) -> None:
        """Remove all filters."""
        self._filters, self._masks, self._text = {}, {}, ""
        self._combine()

    def ids(self) -> Ids:
        """Return the selected files' ids, ascending."""
        return np.flatnonzero(self.mask).astype(np.int64)

    def _combine(self) -> None:
        masks = list(self._masks.values())
        self.mask = np.logical_and.reduce(masks) if masks else self._all


def sorted_ids(ids: Ids, column: npt.NDArray[Any], *, descending: bool) -> Ids:
    """Return the ids in the order of a column's values, ties by id, missing values last."""
    values = column[ids]
    if values.dtype == object:
        values = np.array([str(v).lower() for v in values])
    missing = np.isnan(values) if values.dtype.kind == "f" else np.zeros(len(values), bool)
    present, absent = ids[~missing], ids[missing]
    order = np.argsort(values[~missing], kind="stable")
    if descending:  # stable from the other end, so that ties stay in ascending order of ids
        order = (len(order) - 1 - np.argsort(values[~missing][::-1], kind="stable"))[::-1]
    return np.concatenate([present[order], absent])


def page_of(ids: Ids, page: int, size: int = PAGE_ROWS) -> tuple[Ids, int, int]:
    """Return a page's ids, its number from 0 (moved within bounds) and the number of pages (at least 1)."""
    n_pages = max(1, -(-len(ids) // size))
    page = min(max(page, 0), n_pages - 1)
    return ids[page * size : (page + 1) * size], page, n_pages
