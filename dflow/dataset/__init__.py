"""Merged datasets: made from samples, described, queried, split and served to training.

Where to look:

* What users hold: `explorer`, `loader`, `caddataset` (one subset), `torch`, `merger` (a merge by hand, with
  `sources`), `validate`.
* What a dataset is on disk: `layout`, `manifest`, `location` (its four parts), `splitfile`.
* The merge, planned from records alone by pure functions: `resolve`, `values`, `plan`; then done, a shard a task:
  `blocks` (read samples) in `runs` (how many at once), `words` (codes of text), `shards` (write), `nodes` (the Dask
  nodes), `merge` (all of it), `tables`, `reuse`, `publish`; before it is written: `unmerged`.
* An opened dataset: `folder`, `store`, `columns` (a column by the user's name for it), `direct` (rows from shard
  files), `lazy` (xarray), `infotable`, `zarr2folder` (HOOPS AI's own).
* Questions: `query`, `textguard`, `reduce`, `distribution`, `sql`, `report`.
* Training: `labels`, `split`, `shuffle` (which samples when), `items` (read), `collate`, `channel` (from worker to
  trainer), `transforms`, `moments`.
* Other formats: `export`, `exportforms`, `hdf5`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dflow.dataset.explorer import DatasetExplorer
    from dflow.dataset.loader import DatasetLoader
    from dflow.dataset.validate import validate_dataset
    from dflow.hoops.merger import DatasetInfo, DatasetMerger

_HOMES = {
    "DatasetExplorer": "dflow.dataset.explorer",
    "DatasetInfo": "dflow.hoops.merger",
    "DatasetLoader": "dflow.dataset.loader",
    "DatasetMerger": "dflow.hoops.merger",
    "validate_dataset": "dflow.dataset.validate",
}

__all__ = ["DatasetExplorer", "DatasetInfo", "DatasetLoader", "DatasetMerger", "validate_dataset"]


def __getattr__(name: str) -> Any:
    """The classes on demand: xarray and dask are not loaded by ``import dflow``."""
    if name not in _HOMES:
        raise AttributeError(f"module 'dflow.dataset' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
