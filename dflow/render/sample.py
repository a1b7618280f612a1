"""One part's preview and mesh, written beside its store."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dflow.render.glb import pack_glb
from dflow.render.mesh import MeshArrays, RenderMesh, clean_arrays
from dflow.render.png import encode_indexed_png, encode_png
from dflow.render.software import PALETTE, draw, draw_software
from dflow.render.view import View, fit_view
from dflow.storage.atomic import write_whole

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class RenderReport:
    """The result of one preview.

    `png_bytes` and `glb_bytes` are the sizes of the written files; `seconds` is wall time; `note` is the reason why no
    file was written.
    """

    png_bytes: int = 0
    glb_bytes: int = 0
    seconds: float = 0.0
    note: str = ""


def render_sample(
    mesh: RenderMesh | MeshArrays,
    png_path: str | os.PathLike[str] | None = None,
    glb_path: str | os.PathLike[str] | None = None,
    *,
    size: tuple[int, int] = (256, 256),
    face_colors: Image | None = None,
) -> RenderReport:
    """Write a part's preview picture and its mesh.

    Parameters
    ----------
    mesh : triangles and edges of the part
    png_path : of the picture; None for no picture
    glb_path : of the binary glTF; None for no mesh
    size : width and height in pixels
    face_colors : (n_faces, 3) uint8, or None for one colour

    Returns
    -------
    The report. A mesh without triangles and edges gets no files.

    Raises
    ------
    OSError
        If a file cannot be written; an existing one is then unchanged.
    """
    started = time.perf_counter()
    arrays = clean_arrays(mesh)
    if arrays.is_empty:
        return RenderReport(seconds=time.perf_counter() - started, note="no triangles and no edges")
    png_bytes = glb_bytes = 0
    if png_path is not None:
        png_bytes = _write(png_path, _png(arrays, size, face_colors))
    if glb_path is not None:
        glb_bytes = _write(glb_path, pack_glb(arrays))
    return RenderReport(png_bytes, glb_bytes, time.perf_counter() - started)


def render_image(
    mesh: RenderMesh | MeshArrays, *, size: tuple[int, int] = (256, 256), face_colors: Image | None = None
) -> Image:
    """Return the picture of a part, (height, width, 3) uint8; all white for a mesh without triangles and edges.

    Parameters
    ----------
    mesh : triangles and edges of the part
    size : width and height in pixels
    face_colors : (n_faces, 3) uint8, or None for one colour

    Notes
    -----
    Drawn at twice the size and averaged: smoother than a preview, at four times its cost.
    """
    arrays = clean_arrays(mesh)
    if arrays.is_empty:
        return np.full((size[1], size[0], 3), 255, np.uint8)
    view = _view(arrays, size, face_colors)
    return draw_software(arrays, view, size, face_colors=face_colors, supersampling=2)


def _png(arrays: MeshArrays, size: tuple[int, int], face_colors: Image | None) -> bytes:
    view = _view(arrays, size, face_colors)
    if face_colors is not None:
        return encode_png(draw_software(arrays, view, size, face_colors=face_colors))
    return encode_indexed_png(draw(arrays, view, size).codes, PALETTE)


def _view(arrays: MeshArrays, size: tuple[int, int], face_colors: Image | None) -> View:
    if face_colors is not None and len(face_colors) < arrays.n_faces:
        raise ValueError(f"{len(face_colors)} face colours for {arrays.n_faces} faces")
    return fit_view(arrays, size[0] / size[1])


def _write(path: str | os.PathLike[str], content: bytes) -> int:
    write_whole(path, [content])
    return len(content)
