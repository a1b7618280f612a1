"""The classes of a column of labels: counts, names, and weights for a loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dflow.dataset.query.store import Column, DatasetStore
from dflow.dataset.query.vocabulary import Vocabularies
from dflow.errors import DatasetError
from dflow.notebook import object_html
from dflow.schema import FILE_GROUP

IGNORE_INDEX = -1
"""The code of rows and files without a label, for losses that have an ``ignore_index``."""

MAX_CODE = 1_000_000
"""The largest code that counts as a class."""

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, eq=False)
class Classes:
    """How often each class occurs. ``len`` is the number of classes: of the columns of a one-hot code, of the scores of
    a network.

    Parameters
    ----------
    key : ``group/array``
    counts : (n_classes,) int64, rows (of a file value, files) of each code in the chosen samples
    names : of each code; the code as text where it has no name
    n_unlabelled : rows without a label, which are `ignore_index`
    """

    key: str
    counts: Array
    names: tuple[str, ...]
    n_unlabelled: int
    ignore_index: int = IGNORE_INDEX

    def __len__(self) -> int:
        return len(self.counts)

    def __repr__(self) -> str:
        known = int(self.counts.sum())
        return f"<Classes {self.key}: {len(self)} classes, {known} labelled, {self.n_unlabelled} not>"

    def _repr_html_(self) -> str:
        rows = [(code, self.names[code], n) for code, n in enumerate(self.counts.tolist())]
        return object_html(repr(self).strip("<>"), rows, head=("code", "name", "count"))

    def weights(self, smoothing: float = 0.0) -> Array:
        """Weights for a loss, (n_classes,) float32: inversely proportional to the counts, and 1 on average over rows.

        Parameters
        ----------
        smoothing : added to each count, which bounds the weights of rare classes; a class without rows has weight 0
        """
        counts = self.counts + np.where(self.counts > 0, smoothing, 0.0)
        raw = np.divide(1.0, counts, out=np.zeros(len(counts)), where=counts > 0)
        mean = float((raw * self.counts).sum() / max(self.counts.sum(), 1))
        return (raw / (mean or 1.0)).astype(np.float32)


def count_classes(store: DatasetStore, vocabularies: Vocabularies, column: Column, ids: Array) -> Classes:
    """Count the codes of a column in some samples. The number of classes is that of the whole dataset: one more than
    the largest code that a row has or that has a name.

    Raises
    ------
    DatasetError
        If the column holds no codes.
    """
    if column.dtype.kind not in "biu":
        other = "" if column.dtype.kind != "f" else "; for numbers use statistics()"
        raise DatasetError(
            f"{column.key} is {column.dtype}, and classes are whole numbers from 0; declare it with an integer dtype "
            f"and labels=[…], which saves names as codes{other}"
        )
    words = vocabularies.words(column.name, column.group)
    names = {code: word for word, codes in words.items() for code in codes if 0 <= code < MAX_CODE}
    everything = _codes(store, column, np.arange(store.n_files))
    largest = max([int(everything.max()) if everything.size else -1, *names], default=-1)
    if largest >= MAX_CODE:
        raise DatasetError(f"{column.key} holds {largest}, which is no code of a class; choose another column")
    codes = _codes(store, column, ids)
    labelled = codes[codes >= 0]
    return Classes(
        key=column.key,
        counts=np.bincount(labelled, minlength=largest + 1),
        names=tuple(names.get(code, str(code)) for code in range(largest + 1)),
        n_unlabelled=len(codes) - len(labelled),
    )


def _codes(store: DatasetStore, column: Column, ids: Array) -> Array:
    """(n,) int64 codes of some samples; those that lack the column have `IGNORE_INDEX`."""
    values = store.read(column.group, column.name).astype(np.int64)
    values = values.reshape(len(values), int(np.prod(values.shape[1:], dtype=np.int64)))
    present = store.present(column.group, column.name)
    if present is not None:
        owner = present if column.group == FILE_GROUP else np.repeat(present, store.span(column.group).count)
        values[~owner] = IGNORE_INDEX
    chosen = np.zeros(store.n_files, bool)
    chosen[ids] = True
    owned = chosen if column.group == FILE_GROUP else np.repeat(chosen, store.span(column.group).count)
    return values[owned].reshape(-1)
