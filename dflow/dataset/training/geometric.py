"""Samples as graphs of PyTorch Geometric; the only module that imports torch_geometric."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch_geometric.data import Data

from dflow.errors import DatasetError


class PartGraph(Data):
    """A sample as `torch_geometric.data.Data`, whose row numbers PyTorch Geometric shifts in its batches.

    `increments` lists the attributes that hold row numbers, with the group that these refer to and the sample's rows of
    it (see `dflow.dataset.training.graphs.graph_fields`). Other attributes, set by the user, are batched as in `Data`.
    """

    def __cat_dim__(self, key: str, value: Any, *args: Any, **kwargs: Any) -> Any:
        if key == "edge_index" or not self._listed(key):
            return super().__cat_dim__(key, value, *args, **kwargs)
        return 0

    def __inc__(self, key: str, value: Any, *args: Any, **kwargs: Any) -> Any:
        listed = self._listed(key)
        if not listed:
            return super().__inc__(key, value, *args, **kwargs)
        # A batch may be batched again; it has one entry per sample.
        target, counts = (
            (listed[0], listed[1:]) if isinstance(listed[0], str) else (listed[0][0], [n for _, n in listed])
        )
        if not target:
            return 0
        if min(counts) < 0:
            raise DatasetError(
                f"{key} holds row numbers of {target!r}, of which this sample has no array, so that a batch cannot "
                f"shift them; choose a column of {target!r} too, or leave {key} out (exclude_keys=[{key!r}])"
            )
        return _Shift(sum(counts))

    def _listed(self, key: str) -> Any:
        return self._store.get("increments", {}).get(key)


class _Shift(torch.Tensor):
    """An increment of row numbers that leaves negative entries, which mean "none", as they are."""

    @staticmethod
    def __new__(cls, n_rows: int) -> _Shift:
        return torch.tensor(n_rows).as_subclass(cls)

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if function in _SUMS and type(args[0]) is torch.Tensor:
            value, shift = args[0], args[1].as_subclass(torch.Tensor)
            return torch.where(value < 0, value, function(value, shift))
        return super().__torch_function__(function, types, args, dict(kwargs or {}))


_SUMS = (torch.Tensor.add, torch.Tensor.__add__, torch.Tensor.sub, torch.Tensor.__sub__)
