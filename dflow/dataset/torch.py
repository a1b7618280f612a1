"""The earlier import path of `dflow.dataset.training.torch`."""

from __future__ import annotations

from dflow.dataset.training.torch import (
    BlockStream,
    Collate,
    TorchCADDataset,
    cross_entropy,
    geometric_fields,
    to_geometric,
    to_tensors,
)

__all__ = [
    "TorchCADDataset",
    "BlockStream",
    "Collate",
    "cross_entropy",
    "to_tensors",
    "to_geometric",
    "geometric_fields",
]
