"""Reading of a file's bytes by the kernel."""

from __future__ import annotations

import functools
import io
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from OCP.BinTools import BinTools
from OCP.BRep import BRep_Builder
from OCP.BRepTools import BRepTools
from OCP.collections import Sequence_TCollection_AsciiString as Strings
from OCP.IFSelect import IFSelect_RetDone
from OCP.IGESControl import IGESControl_Reader
from OCP.Interface import Interface_Static
from OCP.Message import Message
from OCP.STEPControl import STEPControl_Reader
from OCP.StepRepr import StepRepr_RepresentationItem
from OCP.StepShape import StepShape_FaceSurface
from OCP.TopLoc import TopLoc_Location
from OCP.TopoDS import TopoDS_Shape

from dflow.cadaccess.files.formats import CadFormat
from dflow.cadaccess.kernel import healing, missing_faces, step_repair, turns
from dflow.cadaccess.kernel.healing import Healing
from dflow.cadaccess.kernel.shape import KernelShape
from dflow.errors import CadError, GeometryError, KernelError, NoGeometryError, UnreadableFileError
from dflow.plaintext import plain


@dataclass(slots=True)
class Transfer:
    """A shape, how far it was healed, and the reader that made it, which has the names and the unit."""

    shape: TopoDS_Shape
    healing: Healing
    reader: Any = None

    def file_unit(self) -> str:
        """Return the name of the file's length unit as the reader gives it, "" where it has none."""
        if not isinstance(self.reader, STEPControl_Reader):
            return ""
        lengths, angles, solid_angles = Strings(), Strings(), Strings()
        self.reader.FileUnits(lengths, angles, solid_angles)
        return "" if lengths.IsEmpty() else str(lengths.First().ToCString())


@functools.cache
def _silence() -> None:
    """Remove the kernel's printers, which write every syntax error of a file to stdout: the raised errors name the
    cause.
    """
    Message.DefaultMessenger_s().ChangePrinters().Clear()


def transfer(path: Path, content: bytes, cad_format: CadFormat, level: Healing | None = None) -> Transfer:
    """Return the shape that `content` holds, in mm.

    Parameters
    ----------
    path : names the file in errors; it is not opened.
    level : how far to heal a STEP file; by default as little as its surfaces allow. IGES is healed fully (its reader
        builds the topology), BREP files come as they are by default.

    Raises
    ------
    UnreadableFileError, NoGeometryError, GeometryError, KernelError
    """
    _silence()
    try:
        if cad_format is CadFormat.STEP:
            return _transfer_step(path, content, level or healing.first_level(content))
        if cad_format is CadFormat.IGES:
            return _transfer_iges(path, content)
        return _read_brep(path, content, level, binary=cad_format is CadFormat.BINARY_BREP)
    except CadError:
        raise
    except Exception as error:  # every OCCT exception derives from it, with no common base of its own
        raise KernelError(f"{path}: the kernel raised {type(error).__name__}: {error}") from error


def _transfer_step(path: Path, content: bytes, level: Healing) -> Transfer:
    text = step_repair.prepare(path, content.removeprefix(b"\xef\xbb\xbf"))
    if level == "full":
        text = step_repair.widen_slits(text)
    moved = _transfer_text(path, content, text, level)
    if level == "full" and turns.exceeds_turn(moved.shape):
        again = _transfer_text(path, content, text, level, bridged=False)
        if turns.align_turns(again.shape) and not turns.exceeds_turn(again.shape):
            return again
    return moved


def _transfer_text(path: Path, content: bytes, text: bytes, level: Healing, *, bridged: bool = True) -> Transfer:
    """Return the shape of `text`, which `content` was repaired to; `bridged` : see `healing.parameters`."""
    reader = STEPControl_Reader()
    Interface_Static.SetCVal_s("read.step.tessellated", "Off")  # triangles only approximate the exact faces
    if reader.ReadStream(plain(path.name), io.BytesIO(text)) != IFSelect_RetDone:
        raise UnreadableFileError(f"{path}: {_why_unreadable_step(content)}")
    broken = missing_faces.find_broken_face(text, reader)
    if broken:
        raise GeometryError(f"{path}: {broken}; mend the file, or export the part again")
    parameters = healing.parameters(level, bridged)
    if parameters is not None:
        reader.SetShapeFixParameters(parameters)
    return Transfer(_transfer_roots(path, reader), level, reader)


def _transfer_iges(path: Path, content: bytes) -> Transfer:
    reader = IGESControl_Reader()
    with tempfile.NamedTemporaryFile(suffix=".igs") as unpacked:  # the IGES reader of OCCT 8.0.1 takes no stream
        unpacked.write(content)
        unpacked.flush()
        status = reader.ReadFile(unpacked.name)
    if status != IFSelect_RetDone:
        raise UnreadableFileError(f"{path}: the IGES reader cannot parse it (damaged or truncated)")
    return Transfer(_transfer_roots(path, reader), "full", reader)


def _transfer_roots(path: Path, reader: STEPControl_Reader | IGESControl_Reader) -> TopoDS_Shape:
    reader.TransferRoots()
    shape = reader.OneShape() if reader.NbShapes() else TopoDS_Shape()
    if shape.IsNull():
        raise NoGeometryError(f"{path}: the file is readable but nothing in it became a shape")
    return shape


def _read_brep(path: Path, content: bytes, level: Healing | None, *, binary: bool) -> Transfer:
    shape = TopoDS_Shape()
    if binary:
        BinTools.Read_s(shape, io.BytesIO(content))
    else:
        BRepTools.Read_s(shape, io.BytesIO(content), BRep_Builder())
    if shape.IsNull():
        raise UnreadableFileError(f"{path}: the BREP reader cannot parse it (damaged or truncated)")
    BRepTools.Clean_s(shape, True)
    return Transfer(healing.heal(shape), "full") if level == "full" else Transfer(shape, "none")


def _why_unreadable_step(content: bytes) -> str:
    sections = [found.end() for found in re.finditer(rb"\bDATA\s*[;(]", content)]
    if not sections:
        return "the STEP file ends before its DATA section (truncated)"
    if not re.search(rb"\bENDSEC\s*;", content[sections[0] :]):
        return "the STEP file's DATA section has no end (truncated)"
    if b"END-ISO-10303-21" not in content[-4096:]:
        return "the STEP file has no END-ISO-10303-21 (truncated)"
    if len(sections) > 1:
        return f"the STEP file has {len(sections)} DATA sections, the reader takes one; export it with one"
    return "the STEP reader cannot parse it (damaged)"


def step_schema(content: bytes) -> str:
    """Return the FILE_SCHEMA name of a STEP file's header, "" where it has none."""
    match = re.search(rb"FILE_SCHEMA\s*\(\s*\(\s*'([^']*)'", content[:65536])
    return match.group(1).decode("latin-1").strip() if match else ""


def face_places(reader: Any, kernel: KernelShape) -> tuple[list[int], int]:
    """Return each face's place among the faces of the file's text, in row order, -1 where it is not known; and how many
    faces the text has.

    Parameters
    ----------
    reader : the STEP reader that made the shape.

    Notes
    -----
    The model holds its entities in the order of the text. Their instance numbers cannot be asked for: in OCP 8.0.1,
    ``Number`` and ``StringLabel`` of a model answer 0 for every entity.
    """
    model, entities = reader.WS().Model(), _face_entities(reader, kernel)
    of_model = (model.Value(number) for number in range(1, model.NbEntities() + 1))
    listed = [entity for entity in of_model if isinstance(entity, StepShape_FaceSurface)]
    place = {id(entity): number for number, entity in enumerate(listed)}
    return [place.get(id(entity), -1) for entity in entities], len(listed)


def face_names(reader: Any, kernel: KernelShape) -> list[str]:
    """Return the ``ADVANCED_FACE`` name of each face in row order, "" where the file has none.

    Parameters
    ----------
    reader : the STEP reader that made the shape; None for other formats, whose faces have no names.
    """
    if reader is None:
        return [""] * kernel.face_map.Extent()
    names = []
    for entity in _face_entities(reader, kernel):
        named = isinstance(entity, StepRepr_RepresentationItem) and entity.Name() is not None
        names.append(entity.Name().ToCString() if named else "")
    return names


def _face_entities(reader: Any, kernel: KernelShape) -> list[Any]:
    """Return the file's entity of each face in row order, None where the reader knows none."""
    results = reader.WS().TransferReader()
    at_origin = TopLoc_Location()
    faces = [kernel.face(row) for row in range(kernel.face_map.Extent())]
    return [
        results.EntityFromShapeResult(face, 1) or results.EntityFromShapeResult(face.Located(at_origin), 1)
        for face in faces
    ]
