"""HOOPS AI's import path of `LabelStorage`."""

from dflow.hoops.label_storage import LabelStorage

__all__ = ["LabelStorage"]
