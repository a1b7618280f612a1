"""A merged dataset as dask-backed arrays before it is written, to inspect the data and to check the merge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dflow.dataset.format.layout import ArrayTarget
from dflow.dataset.merge.block_reader import Locator, encode_words, read_block
from dflow.dataset.merge.plan import MergePlan
from dflow.errors import DamagedStoreError
from dflow.schema.names import id_array


def lazy_dataset(
    plan: MergePlan, group: str, locate: Locator, words: Mapping[str, Sequence[str]] | None = None
) -> xr.Dataset:
    """Return one group of the merged dataset as dask-backed arrays, whose blocks equal the shards to be written.

    Each block reads the samples that it covers when it is computed. The merge's nodes have the same blocks and read
    all arrays of the group at once.
    """
    codes = {key: {word: code for code, word in enumerate(found)} for key, found in (words or {}).items()}
    variables = {}
    for array in plan.groups[group].arrays:
        target = array.target
        source = LazyArray(plan, group, target, locate, codes.get(target.path))
        chunks = (target.shard_rows, *(max(size, 1) for size in target.trailing))
        empty = np.empty((0,) * source.ndim, source.dtype)
        blocks = da.from_array(source, chunks=chunks, asarray=False, name=False, meta=empty)  # type: ignore[no-untyped-call]  # dask
        variables[target.name] = (target.dims, blocks)
    return xr.Dataset(variables)


class LazyArray:
    """One array of the merged dataset that is read from the samples when a dask block slices it.

    ``[start:stop]`` reads only the samples of these rows. Pickles; may be read from several threads.
    """

    def __init__(
        self, plan: MergePlan, group: str, target: ArrayTarget, locate: Locator, codes: Mapping[str, int] | None
    ) -> None:
        self.shape, self.dtype, self.ndim = target.shape, np.dtype(target.dtype), len(target.shape)
        self._plan, self._group, self._target, self._locate, self._codes = plan, group, target, locate, codes

    def __getitem__(self, index: Any) -> NDArray[Any]:
        rows, *trailing = index if isinstance(index, tuple) else (index,)
        start, stop, _ = rows.indices(self.shape[0])
        return self._read(start, stop)[(slice(None), *trailing)]

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        out = np.full((max(stop - start, 0), *self.shape[1:]), self._target.fill_scalar(), self.dtype)
        if not out.size:
            return out
        block = self._plan.block_of_rows(self._group, start, stop)
        name = self._target.name
        is_ids = name == id_array(self._group)
        damaged: list[tuple[str, str]] = []
        at = 0
        for run in read_block(block, () if is_ids else (name,), self._locate, damaged):
            for rows, n_rows in [(run.sample_ids(), run.n_rows)] if is_ids else run.pieces[name]:
                if rows is not None:
                    out[at : at + n_rows] = rows if self._codes is None else encode_words(rows, self._codes)
                at += n_rows
        if damaged:
            raise DamagedStoreError("; ".join(reason for _, reason in damaged))
        return out
