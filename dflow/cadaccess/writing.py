"""Parts written out again: STEP through the kernel, triangles as Wavefront OBJ and binary STL.

Equal models give equal bytes: no dates, no counters of the process.
"""

from __future__ import annotations

import io
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from OCP.APIHeaderSection import APIHeaderSection_MakeHeader
from OCP.BRepBuilderAPI import BRepBuilderAPI_Copy
from OCP.IFSelect import IFSelect_RetDone
from OCP.ShapeFix import ShapeFix_Shape
from OCP.StepBasic import StepBasic_Product
from OCP.STEPControl import STEPControl_StepModelType, STEPControl_Writer
from OCP.StepData import StepData_StepModel
from OCP.TCollection import TCollection_HAsciiString
from OCP.TopoDS import TopoDS_Shape

from dflow.cadaccess.geometry.runs import run_starts
from dflow.errors import CadError, KernelError
from dflow.localpath import local_path

if TYPE_CHECKING:
    from dflow.cadaccess.tessellation.mesh import Mesh

_NO_DATE = "1970-01-01T00:00:00"
_STL_RECORD = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


def write_step(shape: TopoDS_Shape, path: str | os.PathLike[str], *, name: str = "") -> int:
    """Write a shape as STEP (AP214, mm) and return the file's size in bytes.

    Parameters
    ----------
    name : of the product, ASCII; the file's stem by default.

    Raises
    ------
    KernelError
        The kernel could not write it.

    Notes
    -----
    A copy of the shape is healed first, because the light reading of a STEP file leaves out what the encoder does not
    need (curves in the faces' parameter planes). Names of faces, colours and assemblies are not kept.
    """
    target = Path(local_path(path))
    try:
        content = _step_bytes(_healed(shape), name or target.stem)
    except CadError:
        raise
    except Exception as error:  # OCCT's exceptions have no common base of their own
        raise KernelError(f"{target}: the kernel raised {type(error).__name__} while writing STEP: {error}") from error
    return _write_whole(target, [content])


def write_obj(mesh: Mesh, path: str | os.PathLike[str]) -> int:
    """Write a mesh as Wavefront OBJ, a group ``face_<row>`` a face, and return the file's size in bytes.

    Numbers have nine digits, which give each float32 back exactly.
    """
    return _write_whole(Path(local_path(path)), _obj_parts(mesh))


def write_stl(mesh: Mesh, path: str | os.PathLike[str]) -> int:
    """Write a mesh as binary STL and return the file's size in bytes; facet normals follow from the corners."""
    corners = mesh.vertices[mesh.triangles].astype(np.float64)
    facet = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    size = np.linalg.norm(facet, axis=1, keepdims=True)
    records = np.zeros(len(corners), _STL_RECORD)
    records["normal"] = facet / np.where(size > 0, size, 1.0)
    records["corners"] = corners
    head = b"dflow, mm".ljust(80) + np.uint32(len(records)).astype("<u4").tobytes()
    return _write_whole(Path(local_path(path)), [head, records.tobytes()])


def _healed(shape: TopoDS_Shape) -> TopoDS_Shape:
    fix = ShapeFix_Shape(BRepBuilderAPI_Copy(shape).Shape())
    fix.Perform()
    return fix.Shape()


def _step_bytes(shape: TopoDS_Shape, name: str) -> bytes:
    writer = STEPControl_Writer()
    if writer.Transfer(shape, STEPControl_StepModelType.STEPControl_AsIs) != IFSelect_RetDone:
        raise KernelError(f"the kernel could not turn the shape of {name!r} into STEP")
    _name_model(writer.Model(), name.encode("ascii", "replace").decode())
    stream = io.BytesIO()
    if writer.WriteStream(stream) != IFSelect_RetDone:
        raise KernelError(f"the kernel could not write {name!r} as STEP")
    return stream.getvalue()


def _name_model(model: StepData_StepModel, name: str) -> None:
    """Name the file and its products: the kernel counts the products of a process and writes the hour."""
    header = APIHeaderSection_MakeHeader(model)
    header.SetName(TCollection_HAsciiString(name))
    header.SetTimeStamp(TCollection_HAsciiString(_NO_DATE))
    products = [model.Value(number) for number in range(1, model.NbEntities() + 1)]
    products = [entity for entity in products if isinstance(entity, StepBasic_Product)]
    for number, product in enumerate(products, start=1):
        text = TCollection_HAsciiString(name if len(products) == 1 else f"{name} {number}")
        product.SetId(text)
        product.SetName(text)


def _obj_parts(mesh: Mesh) -> Iterator[bytes]:
    yield b"# dflow, mm\n"
    for word, rows in (("v", mesh.vertices), ("vn", mesh.normals)):
        line = f"{word} %.9g %.9g %.9g\n"
        yield "".join([line % tuple(row) for row in rows.tolist()]).encode()
    numbers = mesh.triangles + 1
    starts = run_starts(mesh.triangle_faces)
    for start, stop in zip(starts, [*starts[1:], len(numbers)], strict=True):
        lines = ["f {0}//{0} {1}//{1} {2}//{2}\n".format(*row) for row in numbers[start:stop].tolist()]
        yield f"g face_{mesh.triangle_faces[start]}\n{''.join(lines)}".encode()


def _write_whole(path: Path, parts: Iterable[bytes]) -> int:
    """Write beside, then rename: `dflow.storage.atomic` does the same, and lies beside this package, not below it."""
    temporary = path.with_name(f".tmp-{path.name}-{secrets.token_hex(4)}")
    try:
        with open(temporary, "xb") as file:
            file.writelines(parts)
            n_bytes = file.tell()
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return n_bytes
