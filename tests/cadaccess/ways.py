"""The ways in which a STEP file can be read, one at a time."""

from __future__ import annotations

from pathlib import Path

from dflow.cadaccess import CadModel, loader
from dflow.cadaccess.files.formats import CadFormat
from dflow.cadaccess.kernel import reading
from dflow.cadaccess.step import text_model

WAYS = ("any", "text", "light", "full")
"""As it comes; by its text; by the kernel with as little healing as its surfaces allow (none where all are planes, else
light); by the kernel with full healing."""


def open_by(way: str, path: Path) -> CadModel | None:
    """The model as one way of reading gives it; None where that way leaves the file to another."""
    if way == "any":
        return loader.open_model(path, 0.0)
    content = path.read_bytes()
    if way == "text":
        model, defect = text_model.open_text(path, content, 0.0)
        return None if defect else model
    if way == "light":
        model, defect = loader._open_lightly(path, content, CadFormat.STEP, 0.0)
        return None if defect else model
    moved = reading.transfer(path, content, CadFormat.STEP, "full")
    return loader._build_mended(path, content, CadFormat.STEP, moved, "", 0.0)
