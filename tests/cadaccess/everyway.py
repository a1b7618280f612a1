"""STEP files read in every way that takes them, and a box that all must give."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dflow.cadaccess import CadLoader, CadModel, defects, loader
from dflow.cadaccess.files.formats import CadFormat
from dflow.cadaccess.files.part21 import RefusedError
from dflow.cadaccess.kernel import reading
from dflow.cadaccess.step import text_model
from dflow.cadaccess.step.reader import read_step
from tests.cadaccess.stepboxes import StepText

INCH = "LENGTH_MEASURE_WITH_UNIT(LENGTH_MEASURE(25.4),{})"


def read_every_way(path: Path) -> Iterator[tuple[str, CadModel]]:
    """The model of a STEP file by every way of reading that takes it, and as it is read by default."""
    content, started = path.read_bytes(), time.perf_counter()
    try:
        text = text_model._build(path, content, read_step(content), started)
        yield "text", text
    except RefusedError:
        pass
    for level in ("planar", "light", "full"):
        moved = reading.transfer(path, content, CadFormat.STEP, level)
        model = loader._build_model(path, content, CadFormat.STEP, moved, "", started)
        if level == "full" or not defects.find_defect(model.get_brep()):
            yield level, model
    yield "default", CadLoader().create_from_file(path)


def assert_box(path: Path, volume: float, low: tuple, high: tuple, n_solids: int = 1) -> list[str]:
    """Check the volume, the box and the number of solids in every way; returns the ways."""
    ways = []
    for way, model in read_every_way(path):
        brep = model.get_brep()
        ways.append(way)
        assert brep.volume() == pytest.approx(volume, rel=1e-9), way
        np.testing.assert_allclose(brep.bounding_box(), [*low, *high], atol=1e-6 * max(1.0, *map(abs, high)))
        assert (brep.tables.n_solids, model.get_body_count()) == (n_solids, n_solids), way
        assert not (brep.edge_convexities() == 2).any(), way
    return ways


def one_part(text: StepText, context: str, *items: str) -> StepText:
    text.product("p", text.shape(context, *items))
    return text
