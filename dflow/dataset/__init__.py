"""Merged datasets: explored, queried, split, and loaded for training.

* `DatasetExplorer`: tables, conditions, distributions, SQL
* `DatasetLoader`: splits, and subsets for PyTorch
* `DatasetMerger`, `DatasetInfo`: a merge by hand
* `validate_dataset`: checks every byte of a dataset
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dflow.lazy import attach

if TYPE_CHECKING:
    from dflow.dataset.explorer import DatasetExplorer
    from dflow.dataset.loader import DatasetLoader
    from dflow.dataset.validate import validate_dataset
    from dflow.hoops.merger import DatasetInfo, DatasetMerger
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "DatasetExplorer": "dflow.dataset.explorer",
            "DatasetInfo": "dflow.hoops.merger",
            "DatasetLoader": "dflow.dataset.loader",
            "DatasetMerger": "dflow.hoops.merger",
            "validate_dataset": "dflow.dataset.validate",
        },
    )

__all__ = [
    "DatasetExplorer",
    "DatasetInfo",
    "DatasetLoader",
    "DatasetMerger",
    "validate_dataset",
]
