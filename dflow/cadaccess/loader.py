"""`CadLoader`: from a path to a `CadModel`."""

from __future__ import annotations

import functools
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from dflow.cadaccess.kernel.check import explain
from dflow.errors import CadError, GeometryError, KernelError, KernelMissingError, NoGeometryError, UnreadableFileError
from dflow.plaintext import get_logger

try:
    from dflow.cadaccess.kernel import bintools, healing, missing_faces, placement, reading, turns
except ImportError as error:
    raise KernelMissingError(explain(str(error))) from error

from dflow.cadaccess import defects
from dflow.cadaccess.bodies import CodedBodies
from dflow.cadaccess.brep import Brep
from dflow.cadaccess.files import formats, validation_properties
from dflow.cadaccess.files.formats import CadFormat
from dflow.cadaccess.kernel.exploration import Places
from dflow.cadaccess.kernel.reading import Transfer
from dflow.cadaccess.kernel.shape import KernelShape
from dflow.cadaccess.model import CadModel, ReadReport, Source
from dflow.cadaccess.step import text_model
from dflow.cadaccess.step.colors import face_colors, has_styles, list_faces

logger = get_logger(__name__)


class CadLoader:
    """Opens STEP, IGES and BREP files, gzipped or not; the content decides the format.

    Attributes
    ----------
    opened : the models opened since the list was last cleared, newest last. The framework reads it for its counts.

    Notes
    -----
    One loader per process and thread: OCCT's readers are not thread-safe. A damaged file can crash the process inside
    the kernel; a flow therefore opens files in a child process.

    Examples
    --------
    With `part` the path of a STEP file, here a bracket:

    >>> from dflow.cadaccess import CadLoader
    >>> brep = CadLoader().create_from_file(part).get_brep()
    >>> brep.n_faces, brep.n_edges
    (9, 21)
    """

    def __init__(self) -> None:
        self.opened: list[CadModel] = []
        self._general_options: dict[str, Any] = {}

    def create_from_file(self, path: str | os.PathLike[str]) -> CadModel:
        """Read one file.

        Parameters
        ----------
        path : of a STEP, IGES or BREP file, text or binary, gzipped or not; the name's ending does not matter.

        Raises
        ------
        UnreadableFileError
            Missing, empty, truncated, or not CAD.
        NoGeometryError
            Readable, but holds no shape.
        KernelError
            The kernel raised.
        """
        started = time.perf_counter()
        if not isinstance(path, (str, os.PathLike)):
            raise UnreadableFileError(
                f"found {path!r}, expected the path of a CAD file: pass one as text or pathlib.Path"
            )
        model = open_model(Path(path), started)
        self.opened.append(model)
        return model

    def get_model(self) -> CadModel | None:
        """Return the model opened last; None before the first."""
        return self.opened[-1] if self.opened else None

    def get_general_options(self) -> dict[str, Any]:
        """Return a copy of this loader's options, kept for scripts written for HOOPS AI; no code reads them."""
        return dict(self._general_options)

    def set_general_options(self, options: dict[str, Any]) -> None:
        """Keep `options` with this loader; see `get_general_options`.

        Parameters
        ----------
        options : by name, e.g. ``read_feature``, ``read_solid``.
        """
        self._general_options = dict(options)


def open_model(path: Path, started: float) -> CadModel:
    """Return the model of one file, its whole-file brep already built.

    A STEP file is read from its text where every statement is supported, else by the kernel with light healing. Where
    that shape fails a check, and where a BREP file's has a face without a whole boundary, it is healed fully, and the
    better of the two is taken.
    """
    content = formats.read_bytes(path)
    cad_format = formats.sniff(path, content)
    model, defect = None, ""
    if cad_format is CadFormat.STEP:
        model, defect = text_model.open_text(path, content, started)
    if model is None:
        model, defect = _open_lightly(path, content, cad_format, started)
    if model is None or defect:
        model = _open_healed(path, content, cad_format, model, defect, started)
    endless = defects.find_endless_face(model.get_brep())
    if endless:
        raise GeometryError(f"{path}: {endless}, and its surface no end; mend the part, and export it again")
    return model


def _open_lightly(path: Path, content: bytes, cad_format: CadFormat, started: float) -> tuple[CadModel | None, str]:
    """Return the model with as little healing as its format and surfaces allow, and the first defect of its shape, ""
    where full healing has nothing to mend; no model where the shape is too broken for the checks.
    """
    moved = reading.transfer(path, content, cad_format)
    try:
        if moved.healing in ("planar", "light"):
            model = _build_model(path, content, cad_format, moved, "", started)
            defect = model.check()
            if defect and turns.align_turns(moved.shape):
                model = _build_model(path, content, cad_format, moved, "", started)
                defect = model.check()
            return model, defect
        model = _build_mended(path, content, cad_format, moved, "", started)
        found = model.find_defects() if moved.healing == "none" else {}
        return model, next((found[name] for name in defects.BOUNDARY if name in found), "")
    except (NoGeometryError, ArithmeticError, ValueError, KernelError) as error:
        if moved.healing not in ("planar", "light"):
            raise
        return None, str(error)


def _open_healed(
    path: Path, content: bytes, cad_format: CadFormat, first: CadModel | None, defect: str, started: float
) -> CadModel:
    """Return the model with full healing; `first`, which has less of it, where that is better."""
    logger.debug("%s: read with full healing: %s", path, defect)
    try:
        moved = reading.transfer(path, content, cad_format, "full")
        full = _build_mended(path, content, cad_format, moved, defect, started)
        if first is not None and cad_format is CadFormat.STEP:
            full.compare_with(first)
        if first is None or _is_better(full, first, defect):
            return full
        logger.debug("%s: full healing makes it no better", path)
    except CadError as error:
        if first is None:
            raise
        logger.debug("%s: full healing failed: %s", path, error)
    return first


def _is_better(full: CadModel, first: CadModel, defect: str) -> bool:
    """Whether full healing left a better shape, or one that is as good but for what it changed besides.

    A BREP file's is better where it has whole boundaries and other areas; its faces, which have no names, are to keep
    their rows. `first` is not checked again where `defect`, for which it was rejected, is all that is left.
    """
    left, is_stored = full.find_defects(), first.read_report.healing == "none"
    if not is_stored and "edges apart" not in left and set(left.values()) <= {defect}:
        return True
    before = first.find_defects()
    if not is_stored:
        return defects.rank(left) <= defects.rank(before)
    whole = defects.rank(left) < defects.rank(before) and not any(name in left for name in defects.BOUNDARY)
    return whole and _differs_in_few_rows(full.get_brep(), first.get_brep())


def _differs_in_few_rows(healed: Brep, stored: Brep) -> bool:
    """Whether the faces have the same types, and but for a few the same areas: for one at least, a tenth at most."""
    if not np.array_equal(healed.face_types(), stored.face_types()):
        return False
    same = np.isclose(healed.face_areas(), stored.face_areas(), rtol=1e-6, atol=0.0)
    return 1 <= int((~same).sum()) <= max(1, stored.n_faces // 10)


def _build_mended(
    path: Path, content: bytes, cad_format: CadFormat, moved: Transfer, fallback: str, started: float
) -> CadModel:
    """Return the model of a shape with all shells of its solids facing out of the material.

    A BREP file's solid that is inside out as a whole stays so.
    """
    model = _build_model(path, content, cad_format, moved, fallback, started)
    as_stored = moved.healing == "none"
    turned = defects.has_turned_shells(model.get_brep(), cavities_only=as_stored)
    if turned and healing.turn_shells(moved.shape, outward=not as_stored):
        return _build_model(path, content, cad_format, moved, fallback, started, is_whole=True)
    return model


def _build_model(
    path: Path,
    content: bytes,
    cad_format: CadFormat,
    moved: Transfer,
    fallback: str,
    started: float,
    *,
    is_whole: bool = False,
) -> CadModel:
    """Return the model of a shape; `is_whole` : no face of a STEP file is missing, which is checked otherwise."""
    shape, code = placement.encode_in_place(path, moved.shape)
    bare = sum(face.surface == 0 for face in code.faces.values())
    if bare or (not code.faces and cad_format is CadFormat.STEP and b"TESSELLATED_" in content):
        raise GeometryError(
            f"{path}: {bare or 'all'} of its faces have no surface, only triangles (a tessellated shape); export the "
            "part with exact geometry (in STEP: ADVANCED_FACE), which dflow reads"
        )
    if not (code.faces or code.edges or code.points):
        raise NoGeometryError(f"{path}: the file is readable but holds no faces, edges or points")
    is_step = cad_format is CadFormat.STEP
    if is_step and not is_whole:
        _check_all_came(path, content, moved, len(code.faces))
    reader = moved.reader if is_step else None
    read = None if shape is moved.shape else KernelShape(moved.shape)
    source = Source(
        path=str(path),
        content=content,
        shape=KernelShape(shape),
        bodies=CodedBodies(code, Places(code)),
        names=functools.partial(_face_names, reader, read),
        colors=functools.partial(_face_colors, content, reader, read),
        stated=functools.partial(validation_properties.read_stated, content if is_step else b""),
    )
    report = ReadReport(
        format=cad_format.value,
        healing=moved.healing,
        fallback=fallback,
        unit=moved.file_unit(),
        schema=reading.step_schema(content) if is_step else "",
        seconds=time.perf_counter() - started,
    )
    model = CadModel(source, report)
    model.get_brep()
    return model


def _check_all_came(path: Path, content: bytes, moved: Transfer, n_faces: int) -> None:
    def count_unhealed() -> int:
        plain = reading.transfer(path, content, CadFormat.STEP, "planar")
        return len(bintools.parse_shape(placement.encode_shape(plain.shape)).faces)

    missing = missing_faces.find_missing_face(content, moved.reader, n_faces, count_unhealed)
    if missing:
        raise GeometryError(f"{path}: {missing}; mend the file, or export the part again")


def _face_names(reader: Any, read: KernelShape | None, kernel: KernelShape, body: int | None) -> list[str]:
    """Return the names of the faces of a body or of the whole file.

    `read` : the shape as the reader made it, by whose faces the names are found; None where `kernel` is of that shape.
    """
    return reading.face_names(reader, _as_read(read, kernel, body))


def _face_colors(
    content: bytes, reader: Any, read: KernelShape | None, kernel: KernelShape, body: int | None
) -> np.ndarray:
    """Return the colours of the faces of a body or of the whole file; `read` as in `_face_names`."""
    if reader is None or not has_styles(content):
        return np.full((kernel.face_map.Extent(), 3), np.nan)
    ids = list_faces(content)
    places, n_faces = reading.face_places(reader, _as_read(read, kernel, body))
    if n_faces != len(ids):
        raise KernelError(
            f"the kernel reads {n_faces} faces where the text has {len(ids)}, so that colours cannot be told apart; "
            "export the part again"
        )
    return face_colors(content, [b"" if place < 0 else ids[place] for place in places])


def _as_read(read: KernelShape | None, kernel: KernelShape, body: int | None) -> KernelShape:
    if read is None:
        return kernel
    return read if body is None else KernelShape(read.bodies[body])
