"""Parts as files: STEP through the kernel, triangles as Wavefront OBJ and binary STL.

Equal models give equal bytes: no dates, no counters of the process.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dflow.cadaccess.geometry.runs import run_starts
from dflow.cadaccess.kernel import step_writing
from dflow.localpath import local_path

if TYPE_CHECKING:
    from OCP.TopoDS import TopoDS_Shape

    from dflow.cadaccess.tessellation.mesh import Mesh

_STL_RECORD = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


def write_step(shape: TopoDS_Shape, path: str | os.PathLike[str], *, name: str = "") -> int:
    """Write a shape as STEP (AP214, mm) and return the file's size in bytes.

    Parameters
    ----------
    name : of the product, ASCII; the file's stem by default.

    Raises
    ------
    KernelError
        The kernel cannot write it.

    Notes
    -----
    A copy of the shape is healed first, because the light reading of a STEP file leaves out what the encoder does not
    need (curves in the faces' parameter planes). Names of faces, colours and assemblies are not kept.
    """
    target = Path(local_path(path))
    return _write_whole(target, [step_writing.encode_step(target, shape, name or target.stem)])


def write_obj(mesh: Mesh, path: str | os.PathLike[str]) -> int:
    """Write a mesh as Wavefront OBJ, one group ``face_<row>`` per face, and return the file's size in bytes.

    Numbers have nine digits, which restore each float32 exactly.
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
    """Write to a temporary name, then rename; `dflow.storage.atomic` does the same, but is not below this package."""
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
