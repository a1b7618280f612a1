"""A part's picture and mesh, off screen, from numpy arrays alone.

* `render_sample`: preview PNG and binary glTF of one part, atomically written
* `render_image`: the picture as an array, faces coloured on request
* `write_glb`, `read_glb`: the compact mesh with a face index per vertex
* `available_renderer`: which renderer this process uses, and why
"""

from __future__ import annotations

from dflow.render.glb import pack_glb, read_glb, write_glb
from dflow.render.mesh import MeshArrays, RenderMesh
from dflow.render.probe import available_renderer
from dflow.render.sample import RenderReport, render_image, render_sample

__all__ = [
    "MeshArrays",
    "RenderMesh",
    "RenderReport",
    "available_renderer",
    "pack_glb",
    "read_glb",
    "render_image",
    "render_sample",
    "write_glb",
]
