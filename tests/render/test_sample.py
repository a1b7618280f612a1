"""Previews end to end: pictures, meshes, atomic files; no graphics library is loaded."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from PIL import Image

from dflow.render import read_glb, render_image, render_sample
from tests.render import shapes


def _pixels(path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def test_both_files_are_written_and_reported(tmp_path):
    png, glb = tmp_path / "new folder" / "a.png", tmp_path / "a.glb"
    report = render_sample(shapes.box((4, 2, 1)), png, glb)
    assert (report.png_bytes, report.glb_bytes) == (png.stat().st_size, glb.stat().st_size)
    assert report.seconds > 0
    picture = _pixels(png)
    assert picture.shape == (256, 256, 3)
    assert 0.2 < (picture.min(axis=2) < 250).mean() < 0.7
    assert (picture[:5] == 255).all()  # white background
    assert read_glb(glb).n_faces == 6
    assert sorted(os.listdir(tmp_path)) == ["a.glb", "new folder"]


def test_faces_take_their_colours():
    colors = np.zeros((6, 3), np.uint8)
    colors[5] = (250, 0, 0)  # +z, on top
    picture = render_image(shapes.box((10, 10, 10)), face_colors=colors, size=(128, 128))
    assert picture[40, 64, 0] > 150
    assert picture[40, 64, 1:].max() < 20
    assert picture[90, 40].max() < 20


def test_too_few_face_colours_are_refused():
    with pytest.raises(ValueError, match="2 face colours for 6 faces"):
        render_image(shapes.box(), face_colors=np.zeros((2, 3), np.uint8))


def test_a_wire_is_drawn_and_nothing_gives_no_file(tmp_path):
    assert render_sample(shapes.wire(), tmp_path / "wire.png").png_bytes > 0
    assert (_pixels(tmp_path / "wire.png").min(axis=2) < 128).any()
    report = render_sample(shapes.nothing(), tmp_path / "none.png", tmp_path / "none.glb")
    assert (report.png_bytes, report.glb_bytes) == (0, 0)
    assert report.note == "no triangles and no edges"
    assert os.listdir(tmp_path) == ["wire.png"]
    assert (render_image(shapes.nothing()) == 255).all()


def test_the_size_may_differ_from_part_to_part(tmp_path):
    for size in ((64, 64), (200, 100), (64, 64)):
        render_sample(shapes.box(), tmp_path / "a.png", size=size)
        assert _pixels(tmp_path / "a.png").shape == (size[1], size[0], 3)


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(b"old")

    def refuse(_from, _to):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="no space left"):
        render_sample(shapes.box(), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.png"]


def test_threads_draw_for_themselves():
    expected = render_image(shapes.box())
    results: list[np.ndarray] = []
    threads = [threading.Thread(target=lambda: results.append(render_image(shapes.box()))) for _ in range(3)]
    for thread in threads:
        thread.start()
        thread.join()
    assert len(results) == 3
    for picture in results:
        np.testing.assert_array_equal(picture, expected)


def test_drawing_loads_no_graphics_library(tmp_path):
    """Machines without a screen, a graphics driver or its libraries draw the same."""
    program = (
        "import sys\n"
        "from tests.render import shapes\n"
        "from dflow.render import render_sample\n"
        f"print(render_sample(shapes.box(), {str(tmp_path / 'a.png')!r}).png_bytes > 0)\n"
        "loaded = [line.split()[-1] for line in open('/proc/self/maps')]\n"
        "print([path for path in loaded if 'libEGL' in path or 'libGL' in path], 'vtkmodules' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split("\n")[:2] == ["True", "[] False"]
    assert _pixels(tmp_path / "a.png").shape == (256, 256, 3)
