"""One part in 3D: its colours, and a page that nothing from outside can break out of."""

from __future__ import annotations

import json
import re

import pytest

from dflow.cadaccess import CadLoader
from dflow.demo.parts import box, write_step
from dflow.insights import CADViewer, ColorPalette, group_predictions_by_label, quick_view
from dflow.render import write_glb
from tests.render import shapes


@pytest.fixture
def mesh_file(tmp_path):
    write_glb(shapes.box(), tmp_path / "part.glb")
    return tmp_path / "part.glb"


def _data(page: str) -> dict:
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.S).group(1))


def test_faces_take_colours_one_by_one_by_group_and_by_label(mesh_file):
    with CADViewer() as viewer:
        viewer.load_scs_file(mesh_file)
        viewer.set_face_color([0, 5], (9, 8, 7))
        assert _data(viewer.to_html())["parts"][0]["faceColors"][5] == [9, 8, 7]
        palette = ColorPalette({1: (10, 20, 30), 2: (40, 50, 60)}, {1: "hole", 2: "slot"})
        viewer.color_faces_by_groups(group_predictions_by_label([1, 1, 2, 2, 1, 1], palette))
        data = _data(viewer.to_html())
        assert data["parts"][0]["faceColors"] == [[10, 20, 30]] * 2 + [[40, 50, 60]] * 2 + [[10, 20, 30]] * 2
        assert data["parts"][0]["faceLabels"][2] == "slot"
        assert data["legend"] == [[[10, 20, 30], "hole"], [[40, 50, 60], "slot"]]
        viewer.clear_face_colors()
        assert _data(viewer.to_html())["parts"][0]["faceColors"] is None
    assert viewer.get_status()["loaded"] is False


def test_colours_and_faces_are_checked(mesh_file):
    viewer = CADViewer()
    viewer.load_scs_file(mesh_file)
    with pytest.raises(IndexError, match=r"no face 6: part\.glb has 6 faces; expected indices from 0 to 5"):
        viewer.set_face_color(6, (0, 0, 0))
    with pytest.raises(ValueError, match="three numbers"):
        viewer.set_face_color(0, (0, 0, 300))
    with pytest.raises(ValueError, match="2 labels for the 6 faces"):
        viewer.color_faces_by_labels([0, 1], ColorPalette({0: (0, 0, 0)}))


def test_the_arguments_of_hoops_ai_are_accepted(mesh_file):
    viewer = CADViewer("127.0.0.1", None, None, "none", True, True, 0.15)
    viewer.load_scs_file(mesh_file)
    viewer.show(300, 300)
    assert viewer.get_status()["loaded"]


def test_a_damaged_mesh_is_shown_as_missing(tmp_path):
    (tmp_path / "bad.glb").write_bytes(b"nothing")
    viewer = CADViewer()
    viewer.load_scs_file(tmp_path / "bad.glb")
    assert viewer.get_status()["loaded"] is False
    assert _data(viewer.to_html())["parts"][0]["mesh"] is None


def test_the_page_needs_nothing_and_is_saved_whole(mesh_file, tmp_path):
    viewer = quick_view(mesh_file)
    viewer.save_html(tmp_path / "deep" / "view.html")
    page = (tmp_path / "deep" / "view.html").read_text("utf-8")
    assert "default-src 'none'" in page
    assert not re.search(r"""(src|href)\s*=\s*["']?\s*(https?:)?//""", page)
    assert "https://" not in page


def test_a_viewer_shows_itself_in_a_notebook(mesh_file):
    viewer = CADViewer(label="mine")
    viewer.load_scs_file(mesh_file)
    assert viewer._repr_html_().startswith("<iframe sandbox=")
    assert repr(viewer) == "<CADViewer 'mine', 6 faces>"


class Notebook:
    """A shell of a notebook: its cells' numbers, and what they display."""

    kernel = None

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.execution_count = 1
        self.displayed: list[str] = []
        monkeypatch.setattr("dflow.insights.cad_viewer._shell", lambda: self)
        monkeypatch.setattr("IPython.display.display", lambda data, raw: self.displayed.append(data["text/html"]))

    def end_cell(self, value: CADViewer) -> int:
        """Show the cell's last value; how often the cell has shown a part."""
        n_shown = len(self.displayed) + (value._repr_html_() is not None)
        self.displayed.clear()
        self.execution_count += 1
        return n_shown


def test_a_quick_view_is_shown_once_as_a_cells_last_line_and_again_in_later_cells(mesh_file, monkeypatch):
    notebook = Notebook(monkeypatch)
    viewer = quick_view(mesh_file)
    assert notebook.end_cell(viewer) == 1
    assert notebook.end_cell(viewer) == 1
    viewer = quick_view(mesh_file)  # not the last line
    assert len(notebook.displayed) == 1
    notebook.execution_count += 1
    notebook.displayed.clear()
    assert notebook.end_cell(viewer) == 1


def test_an_opened_model_and_a_body_of_it_are_shown(tmp_path):
    write_step(box(0, 0, 0, 2, 3, 5), tmp_path / "box.step")
    model = CadLoader().create_from_file(tmp_path / "box.step")
    assert repr(quick_view(model)) == "<CADViewer 'box.step', 6 faces>"
    assert quick_view(model.for_body(0)).get_status()["n_faces"] == 6
    assert quick_view(tmp_path / "box.step").get_status()["n_faces"] == 6
