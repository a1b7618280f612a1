"""The earlier import path of `dflow.dataset.training.transforms`."""

from __future__ import annotations

from dflow.dataset.training.transforms import (
    Compose,
    FillNan,
    RandomRotation,
    Standardise,
    UnitBox,
    random_rotation,
    similarity,
)

__all__ = ["Compose", "FillNan", "RandomRotation", "Standardise", "UnitBox", "random_rotation", "similarity"]
