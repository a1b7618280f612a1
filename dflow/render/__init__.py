"""A part's picture and mesh, off screen, from numpy arrays alone.

* `render_sample`: preview PNG and binary glTF of one part, atomically written
* `render_image`: the picture as an array, faces coloured on request
* `write_glb`, `read_glb`: the compact mesh with a face index per vertex

The names load on first use: drawing brings compiled loops, which those who only read a mesh do without.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dflow.render.glb import pack_glb, read_glb, write_glb
    from dflow.render.mesh import MeshArrays, RenderMesh
    from dflow.render.sample import RenderReport, render_image, render_sample

_HOMES = {
    "pack_glb": "dflow.render.glb",
    "read_glb": "dflow.render.glb",
    "write_glb": "dflow.render.glb",
    "MeshArrays": "dflow.render.mesh",
    "RenderMesh": "dflow.render.mesh",
    "RenderReport": "dflow.render.sample",
    "render_image": "dflow.render.sample",
    "render_sample": "dflow.render.sample",
}

__all__ = [
    "MeshArrays",
    "RenderMesh",
    "RenderReport",
    "pack_glb",
    "read_glb",
    "render_image",
    "render_sample",
    "write_glb",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'dflow.render' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
