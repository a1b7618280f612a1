"""A part's picture and mesh, off screen, from numpy arrays alone.

* `render_sample`: preview PNG and binary glTF of one part, atomically written
* `render_image`: the picture as an array, faces coloured on request
* `write_glb`, `read_glb`: the compact mesh with a face index per vertex

The names load on first use: drawing imports compiled loops.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dflow.lazy import attach

if TYPE_CHECKING:
    from dflow.render.glb import pack_glb, read_glb, write_glb
    from dflow.render.mesh import MeshArrays, RenderMesh
    from dflow.render.sample import RenderReport, render_image, render_sample
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "MeshArrays": "dflow.render.mesh",
            "RenderMesh": "dflow.render.mesh",
            "RenderReport": "dflow.render.sample",
            "pack_glb": "dflow.render.glb",
            "read_glb": "dflow.render.glb",
            "render_image": "dflow.render.sample",
            "render_sample": "dflow.render.sample",
            "write_glb": "dflow.render.glb",
        },
    )

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
