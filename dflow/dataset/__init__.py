"""Merged datasets: made from samples, described, queried, split and served to training."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dflow.dataset.explorer import DatasetExplorer
    from dflow.dataset.loader import DatasetLoader
    from dflow.dataset.merger import DatasetInfo, DatasetMerger
    from dflow.dataset.validate import validate_dataset

_HOMES = {
    "DatasetExplorer": "dflow.dataset.explorer",
    "DatasetInfo": "dflow.dataset.merger",
    "DatasetLoader": "dflow.dataset.loader",
    "DatasetMerger": "dflow.dataset.merger",
    "validate_dataset": "dflow.dataset.validate",
}

__all__ = ["DatasetExplorer", "DatasetInfo", "DatasetLoader", "DatasetMerger", "validate_dataset"]


def __getattr__(name: str) -> Any:
    """The classes on demand: xarray and dask are not loaded by ``import dflow``."""
    if name not in _HOMES:
        raise AttributeError(f"module 'dflow.dataset' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
