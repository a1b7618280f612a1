"""Shapes to arrays: `BrepEncoder` and the feature functions behind it."""

from __future__ import annotations

from dflow.cadaccess.codes import EDGE_TYPES, FACE_TYPES
from dflow.cadencoder.encoder import BrepEncoder
from dflow.cadencoder.options import EncodeOptions
from dflow.cadencoder.recipes import RECIPES, Recipe

__all__ = ["BrepEncoder", "EDGE_TYPES", "EncodeOptions", "FACE_TYPES", "RECIPES", "Recipe"]
