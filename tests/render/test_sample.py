"""Previews end to end: both renderers, missing graphics, atomic files."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from PIL import Image

from dflow.render import probe, read_glb, render_image, render_sample, sample
from dflow.render.probe import Renderer
from tests.render import shapes

SOFTWARE = Renderer("software", "asked for by the test")


@pytest.fixture
def in_software(monkeypatch):
    monkeypatch.setattr(sample, "available_renderer", lambda: SOFTWARE)


@pytest.fixture(scope="module")
def vtk_works():
    reason = probe.missing_library() or probe.failed_trial()
    if reason:
        pytest.skip(f"VTK cannot draw on this machine: {reason}")


@pytest.fixture
def in_vtk(vtk_works, monkeypatch):
    monkeypatch.setattr(sample, "available_renderer", lambda: Renderer("vtk"))


def _pixels(path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


@pytest.mark.parametrize("renderer", ["software", "vtk"])
def test_both_files_are_written_and_reported(tmp_path, renderer, request):
    request.getfixturevalue(f"in_{renderer}")
    png, glb = tmp_path / "new folder" / "a.png", tmp_path / "a.glb"
    report = render_sample(shapes.box((4, 2, 1)), png, glb)
    assert report.renderer == renderer
    assert (report.png_bytes, report.glb_bytes) == (png.stat().st_size, glb.stat().st_size)
    assert report.seconds > 0
    picture = _pixels(png)
    assert picture.shape == (256, 256, 3)
    assert 0.2 < (picture.min(axis=2) < 250).mean() < 0.7
    assert (picture[:5] == 255).all()  # white background
    assert read_glb(glb).n_faces == 6
    assert sorted(os.listdir(tmp_path)) == ["a.glb", "new folder"]


def test_the_two_renderers_agree(in_vtk, monkeypatch):
    for mesh in (shapes.box((4, 2, 1)), shapes.sphere(3.0)):
        by_vtk = render_image(mesh).astype(int)
        with monkeypatch.context() as patch:
            patch.setattr(sample, "available_renderer", lambda: SOFTWARE)
            by_software = render_image(mesh).astype(int)
        apart = np.abs(by_vtk - by_software).max(axis=2)
        assert np.median(apart) == 0
        assert (apart > 24).mean() < 0.04  # edges and outline only


def test_vtk_draws_the_same_whatever_came_before(in_vtk):
    colors = np.full((6, 3), (200, 30, 30), np.uint8)
    first = render_image(shapes.box())
    render_image(shapes.sphere(100.0))
    render_image(shapes.wire())
    render_image(shapes.box(), face_colors=colors)
    np.testing.assert_array_equal(render_image(shapes.box()), first)


def test_faces_take_their_colours(in_software):
    _check_colours()


def test_vtk_faces_take_their_colours(in_vtk):
    _check_colours()


def _check_colours() -> None:
    colors = np.zeros((6, 3), np.uint8)
    colors[5] = (250, 0, 0)  # +z, on top
    picture = render_image(shapes.box((10, 10, 10)), face_colors=colors, size=(128, 128))
    assert picture[40, 64, 0] > 150
    assert picture[40, 64, 1:].max() < 20
    assert picture[90, 40].max() < 20


def test_too_few_face_colours_are_refused(in_software):
    with pytest.raises(ValueError, match="2 face colours for 6 faces"):
        render_image(shapes.box(), face_colors=np.zeros((2, 3), np.uint8))


def test_a_wire_is_drawn_and_nothing_gives_no_file(tmp_path):
    assert render_sample(shapes.wire(), tmp_path / "wire.png").png_bytes > 0
    assert (_pixels(tmp_path / "wire.png").min(axis=2) < 128).any()
    report = render_sample(shapes.nothing(), tmp_path / "none.png", tmp_path / "none.glb")
    assert report.renderer == "none"
    assert report.note == "no triangles and no edges"
    assert os.listdir(tmp_path) == ["wire.png"]
    assert (render_image(shapes.nothing()) == 255).all()


def test_the_size_may_differ_from_part_to_part(tmp_path):
    for size in ((64, 64), (200, 100), (64, 64)):
        render_sample(shapes.box(), tmp_path / "a.png", size=size)
        assert _pixels(tmp_path / "a.png").shape == (size[1], size[0], 3)


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, in_software):
    (tmp_path / "a.png").write_bytes(b"old")

    def refuse(_from, _to):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="no space left"):
        render_sample(shapes.box(), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.png"]


@pytest.mark.parametrize("renderer", ["software", "vtk"])
def test_threads_draw_for_themselves(renderer, request):
    request.getfixturevalue(f"in_{renderer}")
    expected = render_image(shapes.box())
    results: list[np.ndarray] = []
    threads = [threading.Thread(target=lambda: results.append(render_image(shapes.box()))) for _ in range(3)]
    for thread in threads:
        thread.start()
        thread.join()
    assert len(results) == 3
    for picture in results:
        np.testing.assert_array_equal(picture, expected)


def test_without_egl_the_software_renderer_is_used_and_says_why(monkeypatch):
    def absent(name):
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(probe.ctypes, "CDLL", absent)
    monkeypatch.setenv("DFLOW_RENDERER", "vtk")
    renderer = probe.available_renderer.__wrapped__()
    assert renderer.name == "software"
    assert "EGL cannot be loaded" in renderer.reason


def test_a_crash_of_vtk_costs_a_process_of_its_own_only(monkeypatch):
    monkeypatch.setattr(probe, "_PROBE", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    monkeypatch.setenv("DFLOW_RENDERER", "vtk")
    renderer = probe.available_renderer.__wrapped__()
    assert renderer.name == "software"
    assert "ended by signal 11" in renderer.reason or "EGL cannot be loaded" in renderer.reason


def test_a_trial_that_hangs_is_given_up(monkeypatch):
    monkeypatch.setattr(probe, "_PROBE", "import time; time.sleep(60)")
    monkeypatch.setattr(probe, "PROBE_SECONDS", 0.3)
    assert "within" in probe.failed_trial()


@pytest.mark.parametrize("wish", ["", "software"])
def test_who_does_not_ask_for_vtk_gets_numpy_without_a_trial(monkeypatch, wish):
    monkeypatch.setenv("DFLOW_RENDERER", wish)
    monkeypatch.setattr(probe, "failed_trial", lambda: pytest.fail("tried all the same"))
    assert probe.available_renderer.__wrapped__() == Renderer("software")


def test_vtk_is_used_when_asked_for(monkeypatch, vtk_works):
    monkeypatch.setenv("DFLOW_RENDERER", "vtk")
    assert probe.available_renderer.__wrapped__() == Renderer("vtk")


def test_a_renderer_that_does_not_exist_is_an_error(monkeypatch):
    monkeypatch.setenv("DFLOW_RENDERER", "raytracer")
    with pytest.raises(ValueError, match="raytracer"):
        probe.available_renderer.__wrapped__()


@pytest.mark.slow
def test_hidden_graphics_libraries_do_not_kill_the_process(tmp_path):
    """EGL present as a file but unusable: VTK itself would end the process with a segmentation fault."""
    (tmp_path / "libEGL.so.1").write_bytes(b"not a library")
    program = (
        "from tests.render import shapes\n"
        "from dflow.render import render_sample\n"
        f"print(render_sample(shapes.box(), {str(tmp_path / 'a.png')!r}).renderer)"
    )
    environment = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path), "DFLOW_RENDERER": "vtk"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "software"
    assert _pixels(tmp_path / "a.png").shape == (256, 256, 3)


@pytest.mark.slow
def test_graphics_without_a_driver_crash_the_trial_and_not_this_process(tmp_path):
    """The EGL library is there but finds no driver: VTK then ends its process with a segmentation fault."""
    program = "from dflow.render import available_renderer; print(available_renderer())"
    environment = {**os.environ, "__EGL_VENDOR_LIBRARY_FILENAMES": str(tmp_path / "none.json"), "DFLOW_RENDERER": "vtk"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "name='software'" in done.stdout
    assert "0x" not in done.stdout
