"""Models of STEP files that dflow reads from their text; the kernel reads them only where its shape is used."""

from __future__ import annotations

import functools
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dflow.cadaccess import bodies
from dflow.cadaccess.files import validation_properties
from dflow.cadaccess.files.formats import CadFormat
from dflow.cadaccess.files.part21 import RefusedError, join_lines
from dflow.cadaccess.kernel import healing, reading
from dflow.cadaccess.kernel.reading import Transfer
from dflow.cadaccess.kernel.shape import KernelShape
from dflow.cadaccess.model import CadModel, ReadReport, Source
from dflow.cadaccess.step.colors import face_colors
from dflow.cadaccess.step.reader import TextShape, read_step
from dflow.errors import CadError, KernelError
from dflow.plaintext import get_logger

if TYPE_CHECKING:
    from OCP.TopoDS import TopoDS_Shape

logger = get_logger(__name__)

_NAME = re.compile(rb"(#\d+)\s*=\s*ADVANCED_FACE\s*\(\s*'((?:[^']|'')*)'")


def open_text(path: Path, content: bytes, started: float) -> tuple[CadModel | None, str]:
    """Return the model of a STEP file read from its text, and the first defect of its shape, "" where it has none: the
    kernel's light reading has it too. No model where the text holds anything that is not supported.
    """
    try:
        shape = read_step(content)
        model = _build(path, content, shape, started)
        defect = model.check()
    except (RefusedError, CadError, ArithmeticError, ValueError) as error:
        logger.debug("%s: left to the kernel: %s", path, error)
        return None, ""
    return model, defect


def _build(path: Path, content: bytes, shape: TextShape, started: float) -> CadModel:
    lazy = _LazyKernelShape(path, content, shape)
    source = Source(
        path=str(path),
        content=content,
        shape=KernelShape(lazy.shape),
        bodies=bodies.Solids(shape.tables),
        names=lazy.names,
        colors=lazy.colors,
        stated=functools.partial(validation_properties.read_stated, content),
    )
    report = ReadReport(
        format=CadFormat.STEP.value,
        healing="text",
        unit=shape.unit,
        schema=reading.step_schema(content),
        seconds=time.perf_counter() - started,
    )
    return CadModel(source, report)


@dataclass(slots=True)
class _LazyKernelShape:
    """The kernel's shape of a file and its faces' names, read on first use."""

    path: Path
    content: bytes
    text: TextShape
    moved: Transfer | None = None

    def shape(self) -> TopoDS_Shape:
        """The kernel's shape, whose faces and edges are those of the tables.

        Raises
        ------
        KernelError
            The kernel's have other counts.
        """
        if self.moved is None:
            levels: tuple[healing.Healing, ...] = (healing.first_level(self.content), "full")
            found = (reading.transfer(self.path, self.content, CadFormat.STEP, level) for level in levels)
            self.moved = next((moved for moved in found if self._fits(moved)), None)
        if self.moved is None:
            raise KernelError(
                f"{self.path}: the kernel's shape has other numbers of faces or edges than the file's text; export the "
                "part again"
            )
        return self.moved.shape

    def _fits(self, moved: Transfer) -> bool:
        kernel, tables = KernelShape(moved.shape), self.text.tables
        counts = kernel.face_map.Extent(), kernel.edge_map.Extent()
        return counts == (tables.n_faces, len(tables.edge_degenerate))

    def names(self, kernel: KernelShape, body: int | None) -> list[str]:
        """The faces' names. Names with escapes (ISO 10303-21, 6.4.3) or beyond ASCII are read by the kernel."""
        found = dict(_NAME.findall(self.content))
        names = [found.get(number) for number in self._face_ids(body)]
        if any(name is None or b"\\" in name or not name.isascii() for name in names):
            self.shape()  # reads the file, whose reader has the names
            assert self.moved is not None
            return reading.face_names(self.moved.reader, kernel)
        return [join_lines(name).decode("ascii").replace("''", "'") for name in names if name is not None]

    def colors(self, kernel: KernelShape, body: int | None) -> np.ndarray:
        """The faces' colours."""
        return face_colors(self.content, self._face_ids(body))

    def _face_ids(self, body: int | None) -> list[bytes]:
        """The instance numbers of the faces of the whole file or of a body."""
        if body is None:
            return self.text.face_ids
        return [self.text.face_ids[row] for row in bodies.solid_faces(self.text.tables, body).tolist()]
