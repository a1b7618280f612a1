"""Ragged batches: rows concatenated, with the sample of each row and where each sample begins.

The layout is PyTorch Geometric's (`Batch.batch`, `Batch.ptr`): no padding, and arrays that point at rows of another
group are shifted so that they point at the batch's rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from dflow.dataset.training.samples import ID, IndexedItem, Item, Samples
from dflow.errors import DatasetError
from dflow.schema import FILE_GROUP, Schema, references

INDEX_ARRAYS: Mapping[str, str] = references(Schema())
"""Standard arrays that hold row numbers within the sample, and the group that the numbers refer to. Negative entries
mean "none" and are kept.
"""

Array = np.ndarray[Any, np.dtype[Any]]
Batch = dict[str, Array]


def collate(items: Sequence[Item], index_arrays: Mapping[str, str] | None = None) -> Batch:
    """Join several items into one batch.

    Parameters
    ----------
    index_arrays
        The arrays that hold row numbers, and the groups that these refer to. By default the `index_arrays` of the
        items of a `CADDataset`, else the standard arrays.

    Returns
    -------
    dict
        For every row array ``group/array`` the rows of all items; ``group/batch`` (n_rows,) int64, the item of each
        row; ``group/ptr`` (n_items + 1,) int64, where each item's rows begin; ``file/name`` (n_items, …); ``id``
        (n_items,) int64.

    Raises
    ------
    DatasetError
        If there are no items, their columns differ, or row numbers refer to a group that the items lack.
    """
    if not items:
        raise DatasetError("an empty list cannot be collated; expected at least one item")
    return collate_samples(stack(items), index_arrays_of(items[0]) if index_arrays is None else index_arrays)


def index_arrays_of(item: Mapping[str, Any]) -> Mapping[str, str]:
    """The arrays of an item that hold row numbers: its `index_arrays` if it has them, else the standard ones."""
    return item.index_arrays if isinstance(item, IndexedItem) else INDEX_ARRAYS


def stack(items: Sequence[Item]) -> Samples:
    """Concatenate items to one `Samples`.

    Raises
    ------
    DatasetError
        If the items do not have the same columns, or the arrays of a group differ in their number of rows.
    """
    keys = list(items[0])
    for item in items:
        if list(item) != keys:
            raise DatasetError(
                f"items with different columns cannot be collated, only some have {sorted(set(keys) ^ set(item))}; "
                "a transform has to give every item the same keys in the same order"
            )
    counts: dict[str, Array] = {}
    rows: dict[str, Array] = {}
    for key in keys:
        group = key.partition("/")[0]
        if key == ID or group == FILE_GROUP:
            continue
        lengths = np.array([len(item[key]) for item in items], np.int64)
        if not np.array_equal(counts.setdefault(group, lengths), lengths):
            raise DatasetError(
                f"{key} has another number of rows than the other arrays of {group!r}; a transform has to change all "
                "arrays of a group, or none"
            )
        rows[key] = np.concatenate([item[key] for item in items])
    values = {k: np.stack([np.asarray(i[k]) for i in items]) for k in keys if k.startswith(f"{FILE_GROUP}/")}
    return Samples(np.array([i.get(ID, -1) for i in items], np.int64), rows, values, counts)


def collate_samples(samples: Samples, index_arrays: Mapping[str, str] = INDEX_ARRAYS) -> Batch:
    """Make the batch of concatenated samples, equal to that of `collate` for the same items."""
    batch: Batch = {}
    pointers = {g: np.concatenate([[0], np.cumsum(c)]) for g, c in samples.counts.items()}
    for key, array in samples.rows.items():
        group = key.partition("/")[0]
        target = index_arrays.get(key)
        if target is not None:
            array = _shift(key, array, samples.counts[group], target, pointers)
        batch[key] = array
    for group, counts in samples.counts.items():
        batch[f"{group}/batch"] = np.repeat(np.arange(len(samples)), counts)
        batch[f"{group}/ptr"] = pointers[group]
    for key, array in samples.values.items():
        target = index_arrays.get(key)
        batch[key] = array if target is None else _shift(key, array, np.ones(len(array), int), target, pointers)
    batch[ID] = samples.ids
    return batch


def _shift(key: str, array: Array, counts: Array, target: str, pointers: Mapping[str, Array]) -> Array:
    """Turn row numbers of each sample into row numbers of the batch."""
    if target not in pointers:
        raise DatasetError(
            f"{key} holds row numbers of {target!r}, of which the items have no array; add a column of {target!r} to "
            f"columns= of get_dataset(), or leave {key} out"
        )
    pointer = pointers[target]
    shape = (-1, *(1 for _ in array.shape[1:]))
    shifted = array + np.repeat(pointer[:-1], counts).reshape(shape)
    if np.any(shifted >= np.repeat(pointer[1:], counts).reshape(shape)):  # would be a row of the next sample
        sample = int(np.argmax([np.any(part >= n) for part, n in _by_sample(array, counts, np.diff(pointer))]))
        raise DatasetError(
            f"{key} of the batch's sample {sample} holds numbers beyond its rows of {target!r}; correct what saves it, "
            "or the transform that removes rows"
        )
    return np.where(array < 0, array, shifted)


def _by_sample(array: Array, counts: Array, sizes: Array) -> Iterator[tuple[Array, int]]:
    return zip(np.split(array, np.cumsum(counts)[:-1]), sizes.tolist(), strict=True)
