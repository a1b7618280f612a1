"""Binary glTF 2.0 of a part: triangles with a face index per vertex, and its edges as lines.

Compact: positions as 16-bit integers (extension KHR_mesh_quantization; the node's scale and translation bring them back
to millimetres, so that the error is at most 1/131,070 of the longest side), normals as bytes, 16 bytes per vertex. The
face index is the application attribute ``_FACE``. Byte-equal for equal meshes. `dflow.checksums` in ``asset.extras``.
"""

from __future__ import annotations

import json
import math
import os
import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from dflow.checksums import BLANK, MEMBER, is_sealed, seal
from dflow.localpath import local_path
from dflow.render import passes
from dflow.render.mesh import MeshArrays, RenderMesh, clean_arrays

Floats = npt.NDArray[np.float64]

MAGIC = 0x46546C67
JSON_CHUNK, BINARY_CHUNK = 0x4E4F534A, 0x004E4942
BYTE, UNSIGNED_SHORT, UNSIGNED_INT, FLOAT = 5120, 5123, 5125, 5126
TRIANGLES, LINES = 4, 1
STEPS = 65535

_DTYPES: dict[int, str] = {BYTE: "i1", UNSIGNED_SHORT: "<u2", UNSIGNED_INT: "<u4", FLOAT: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC3": 3}
_WORLD = np.eye(3)


def write_glb(mesh: RenderMesh, path: str | os.PathLike[str]) -> int:
    """Write `mesh` as binary glTF (not atomically; `render_sample` does that); returns the size in bytes.

    Parameters
    ----------
    path : of the new file
    """
    content = pack_glb(clean_arrays(mesh))
    with open(local_path(path), "wb") as file:
        return file.write(content)


def pack_glb(mesh: MeshArrays) -> bytes:
    """Return the bytes of a binary glTF file. Cost: a fraction of a millisecond, 16 bytes per vertex and 6 per
    triangle.

    Parameters
    ----------
    mesh : checked arrays, see `clean_arrays`
    """
    box = np.array([[np.inf] * 3, [-np.inf] * 3])
    passes.widen(_WORLD, mesh.vertices, box)
    passes.widen(_WORLD, mesh.edge_points, box)
    low = box[0] + 0.0  # no negative zero, which would be written as -0.0
    scale = max(float((box[1] - low).max()), 1e-12) / STEPS
    if not math.isfinite(scale):
        raise ValueError("coordinates that are not finite")
    parts = _Parts()
    primitives = []
    if len(mesh.triangles):
        primitives.append(_triangle_primitive(parts, mesh, low, scale))
    if len(mesh.edge_segments):
        primitives.append(_line_primitive(parts, mesh, low, scale))
    x, y, z = low.tolist()
    # Formatted by hand, since json.dumps takes longer than all the arrays.
    document = (
        f'{{"asset":{{"version":"2.0","generator":"dflow","extras":{{"{MEMBER}":"{BLANK}"}}}},'
        '"extensionsUsed":["KHR_mesh_quantization"],"extensionsRequired":["KHR_mesh_quantization"],'
        '"scene":0,"scenes":[{"nodes":[0]}],'
        f'"nodes":[{{"mesh":0,"translation":[{x!r},{y!r},{z!r}],"scale":[{scale!r},{scale!r},{scale!r}]}}],'
        f'"meshes":[{{"primitives":[{",".join(primitives)}]}}],'
        f'"accessors":[{",".join(parts.accessors)}],'
        f'"bufferViews":[{",".join(parts.views)}],'
        f'"buffers":[{{"byteLength":{parts.size}}}]}}'
    )
    return _assemble(document, parts.blobs)


class _Parts:
    """The binary chunk under construction, with the views and accessors into it."""

    def __init__(self) -> None:
        self.blobs: list[bytes] = []
        self.size = 0
        self.views: list[str] = []
        self.accessors: list[str] = []

    def add_view(self, content: bytes, *, target: int, stride: int = 0) -> int:
        every = f',"byteStride":{stride}' if stride else ""
        self.views.append(
            f'{{"buffer":0,"byteOffset":{self.size},"byteLength":{len(content)},"target":{target}{every}}}'
        )
        padding = -len(content) % 4
        self.blobs += (content, b"\0" * padding)
        self.size += len(content) + padding
        return len(self.views) - 1

    def add_accessor(self, view: int, component: int, count: int, kind: str, more: str = "") -> int:
        self.accessors.append(
            f'{{"bufferView":{view},"componentType":{component},"count":{count},"type":"{kind}"{more}}}'
        )
        return len(self.accessors) - 1

    def add_positions(self, view: int, count: int, box: npt.NDArray[np.uint16]) -> int:
        (x, y, z), (x2, y2, z2) = box.tolist()
        reach = f',"byteOffset":0,"min":[{x},{y},{z}],"max":[{x2},{y2},{z2}]'
        return self.add_accessor(view, UNSIGNED_SHORT, count, "VEC3", reach)

    def add_indices(self, indices: npt.NDArray[np.integer]) -> int:
        small = int(indices.max(initial=0)) < STEPS  # 65535 itself restarts primitives
        flat = indices.ravel().astype("<u2" if small else "<u4")
        view = self.add_view(flat.tobytes(), target=34963)
        return self.add_accessor(view, UNSIGNED_SHORT if small else UNSIGNED_INT, len(flat), "SCALAR")


def _triangle_primitive(parts: _Parts, mesh: MeshArrays, low: Floats, scale: float) -> str:
    # Every attribute begins on a multiple of four bytes, and unsigned integers are not allowed for attributes.
    count, few = len(mesh.vertices), int(mesh.vertex_faces.max(initial=0)) <= STEPS
    record, box = np.zeros((count, 8), np.uint16), np.empty((2, 3), np.uint16)
    passes.quantise(mesh.vertices, low, scale, record, box)
    passes.quantise_normals(mesh.normals, record.view(np.int8))
    if few:
        record[:, 6] = mesh.vertex_faces
    else:
        record.view(np.float32)[:, 3] = mesh.vertex_faces
    view = parts.add_view(record.tobytes(), target=34962, stride=16)
    position = parts.add_positions(view, count, box)
    normal = parts.add_accessor(view, BYTE, count, "VEC3", ',"byteOffset":8,"normalized":true')
    face = parts.add_accessor(view, UNSIGNED_SHORT if few else FLOAT, count, "SCALAR", ',"byteOffset":12')
    indices = parts.add_indices(mesh.triangles)
    attributes = f'{{"POSITION":{position},"NORMAL":{normal},"_FACE":{face}}}'
    return f'{{"attributes":{attributes},"indices":{indices},"mode":{TRIANGLES}}}'


def _line_primitive(parts: _Parts, mesh: MeshArrays, low: Floats, scale: float) -> str:
    record, box = np.zeros((len(mesh.edge_points), 4), np.uint16), np.empty((2, 3), np.uint16)
    passes.quantise(mesh.edge_points, low, scale, record, box)
    view = parts.add_view(record.tobytes(), target=34962, stride=8)
    position = parts.add_positions(view, len(record), box)
    indices = parts.add_indices(mesh.edge_segments)
    return f'{{"attributes":{{"POSITION":{position}}},"indices":{indices},"mode":{LINES}}}'


def _assemble(document: str, binary: list[bytes]) -> bytes:
    text = document.encode("ascii")
    text += b" " * (-len(text) % 4)
    size = sum(map(len, binary))
    head = struct.pack("<IIIII", MAGIC, 2, 12 + 8 + len(text) + 8 + size, len(text), JSON_CHUNK)
    return seal(b"".join([head, text, struct.pack("<II", size, BINARY_CHUNK), *binary]))


def read_glb(path: str | os.PathLike[str]) -> MeshArrays:
    """Read a mesh that `write_glb` wrote; vertices come back split at faces and rounded to the 16-bit grid.

    Parameters
    ----------
    path : of a ``.glb`` file

    Raises
    ------
    ValueError
        If the file is damaged, or `write_glb` did not write it.
    """
    with open(path, "rb") as file:
        content = file.read()
    try:
        is_sealed(content)
        document, binary = _take_apart(content)
        return _mesh_of(document, binary)
    except Exception as error:  # meshes without a checksum: what numpy raises of numbers that contradict each other
        raise ValueError(f"{os.fspath(path)} is damaged, or not a mesh that dflow wrote ({error})") from error


def _take_apart(content: bytes) -> tuple[dict[str, Any], bytes]:
    magic, version, total = struct.unpack_from("<III", content)
    if magic != MAGIC or version != 2 or total != len(content):
        raise ValueError(f"magic {magic:#x}, version {version}, {total} of {len(content)} bytes")
    n_text, kind = struct.unpack_from("<II", content, 12)
    n_binary, kind2 = struct.unpack_from("<II", content, 20 + n_text)
    if (kind, kind2) != (JSON_CHUNK, BINARY_CHUNK) or 28 + n_text + n_binary != total:
        raise ValueError("its chunks are not one JSON and one binary chunk")
    return json.loads(content[20 : 20 + n_text]), content[28 + n_text :]


def _mesh_of(document: dict[str, Any], binary: bytes) -> MeshArrays:
    node = document["nodes"][0]
    points: dict[int, npt.NDArray[np.float32]] = {
        TRIANGLES: np.zeros((0, 3), np.float32),
        LINES: np.zeros((0, 3), np.float32),
    }
    indices = {TRIANGLES: np.zeros((0, 3), np.int32), LINES: np.zeros((0, 2), np.int32)}
    normals, faces = np.zeros((0, 3), np.float32), np.zeros(0, np.int32)
    for primitive in document["meshes"][0]["primitives"]:
        mode, attributes = primitive["mode"], primitive["attributes"]
        steps = _read_accessor(document, binary, attributes["POSITION"]).astype(np.float64)
        points[mode] = (steps * node["scale"] + node["translation"]).astype(np.float32)
        width = 3 if mode == TRIANGLES else 2
        indices[mode] = _read_accessor(document, binary, primitive["indices"]).reshape(-1, width).astype(np.int32)
        if mode == TRIANGLES:
            normals = _read_accessor(document, binary, attributes["NORMAL"]).astype(np.float32) / np.float32(127)
            faces = _read_accessor(document, binary, attributes["_FACE"]).reshape(-1).astype(np.int32)
    return MeshArrays(points[TRIANGLES], normals, faces, indices[TRIANGLES], points[LINES], indices[LINES])


def _read_accessor(document: dict[str, Any], binary: bytes, index: int) -> npt.NDArray[Any]:
    accessor = document["accessors"][index]
    view = document["bufferViews"][accessor["bufferView"]]
    dtype, width = np.dtype(_DTYPES[accessor["componentType"]]), _WIDTHS[accessor["type"]]
    stride = view.get("byteStride", dtype.itemsize * width)
    begin = view["byteOffset"] + accessor.get("byteOffset", 0)
    count = accessor["count"]
    if begin + (count - 1) * stride + dtype.itemsize * width > len(binary):
        raise ValueError("an array reaches beyond the end")
    return np.ndarray((count, width), dtype, binary, begin, (stride, dtype.itemsize))
