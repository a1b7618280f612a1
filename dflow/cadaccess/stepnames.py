"""The names that a STEP file gives its faces."""

from __future__ import annotations

from typing import Any

from OCP.StepRepr import StepRepr_RepresentationItem
from OCP.TopLoc import TopLoc_Location

from dflow.cadaccess.kernel import KernelShape


def face_names(reader: Any, kernel: KernelShape) -> list[str]:
    """The ``ADVANCED_FACE`` name of each face in row order, "" where the file gives none.

    Parameters
    ----------
    reader : the STEP reader that made the shape; None for other formats, whose faces have no names.
    """
    faces = [kernel.face(row) for row in range(kernel.face_map.Extent())]
    if reader is None:
        return [""] * len(faces)
    results = reader.WS().TransferReader()
    at_origin = TopLoc_Location()
    names = []
    for face in faces:
        entity = results.EntityFromShapeResult(face, 1) or results.EntityFromShapeResult(face.Located(at_origin), 1)
        named = isinstance(entity, StepRepr_RepresentationItem) and entity.Name() is not None
        names.append(entity.Name().ToCString() if named else "")
    return names
