"""Real parts from file to picture and mesh."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from dflow.cadaccess import CadLoader
from dflow.render import read_glb, render_sample

PARTS = [
    "mfcad/step/0-0-0-2-10-23.step",
    "kicad/Package_TO_SOT_THT/TO-126-2_Vertical.step",
    "kicad/Resistor_THT/R_Axial_DIN0204_L3.6mm_D1.6mm_P5.08mm_Vertical.step",
]


@pytest.mark.parametrize("part", PARTS)
def test_a_real_part_is_seen_and_every_face_of_it_is_in_the_mesh(shared_data, tmp_path, part):
    model = CadLoader().create_from_file(str(shared_data / part))
    report = render_sample(model.get_mesh(), tmp_path / "a.png", tmp_path / "a.glb")
    with Image.open(tmp_path / "a.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    drawn = pixels.min(axis=2) < 250
    assert 0.05 < drawn.mean() < 0.8
    assert drawn.any(axis=1).sum() > 200 or drawn.any(axis=0).sum() > 200  # it fills the picture one way
    assert len(np.unique(pixels[drawn][:, 2])) > 2  # shaded, not a silhouette
    mesh = read_glb(tmp_path / "a.glb")
    assert np.unique(mesh.triangle_faces).tolist() == list(range(model.get_face_count()))
    assert report.glb_bytes < 100 + 40 * (len(mesh.vertices) + len(mesh.triangles) + len(mesh.edge_points)) + 2000
    box = model.get_brep().bounding_box()
    size = box[3:] - box[:3]
    assert np.abs(np.ptp(mesh.vertices, axis=0) - size).max() < 0.02 * size.max()
