"""HOOPS AI's names of subsets for training."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dflow.dataset.training.subset import CADDataset


class SubsetNames:
    """HOOPS AI's names of `CADDataset`."""

    @property
    def indices(self: CADDataset) -> NDArray[np.int64]:  # type: ignore[misc]
        """(n,) int64: the samples' file ids."""
        return self.get_file_codes()

    @property
    def parent_dataset(self: CADDataset) -> Any:  # type: ignore[misc]
        """What the samples are read from."""
        return self.source
