"""HOOPS AI's import path of the palette functions."""

from __future__ import annotations

from dflow.insights.palette import ColorPalette, group_predictions_by_label

__all__ = ["ColorPalette", "group_predictions_by_label"]
