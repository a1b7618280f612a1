"""DatasetViewer on a small folder of previews, some of them missing, damaged or hostile."""

from __future__ import annotations

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure

from dflow.errors import UnknownKeyError
from dflow.insights import ColorPalette, DatasetViewer
from tests.insights.parts import FakeExplorer


@pytest.fixture(scope="module")
def explorer(tmp_path_factory):
    return FakeExplorer(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def viewer(explorer):
    return DatasetViewer.from_explorer(explorer)


def _pixels(figure: Figure) -> np.ndarray:
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3]


def _texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def test_a_grid_shows_each_part_and_says_what_is_missing(viewer):
    figure = viewer.show_preview_as_image(range(4), grid_cols=2, label_format="both")
    assert isinstance(figure, Figure)
    assert _texts(figure) == [
        "0: box.step",
        "no preview",
        "1: other $x^2$.step",
        "damaged preview",
        "2: □□□.step",
        "3: <img src=…'owned'>.step",
    ]
    assert len(figure.axes[0].images) == 2
    assert _pixels(figure).shape[2] == 3


def test_the_figure_is_saved_by_its_suffix_and_nothing_else_is_left(viewer, tmp_path):
    viewer.show_preview_as_image([0, 3], save_path=tmp_path / "new" / "grid.png", figsize=(3, 2))
    assert matplotlib.image.imread(tmp_path / "new" / "grid.png").shape == (240, 360, 4)
    viewer.show_preview_as_image([0], save_path=tmp_path / "grid.pdf")
    assert (tmp_path / "grid.pdf").read_bytes().startswith(b"%PDF")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["grid.pdf", "grid.png", "new"]


def test_only_the_first_k_are_shown_and_the_title_says_so(viewer):
    figure = viewer.show_preview_as_image(np.array([3, 0, 0, 3]), 2, show_labels=False)
    assert len(figure.axes[0].images) == 2
    assert figure.get_suptitle() == "2 of 4"
    assert viewer.show_preview_as_image([0]).get_suptitle() == ""
    assert viewer.show_preview_as_image([0, 1], 1, title="mine").get_suptitle() == "mine"


def test_a_missing_preview_takes_the_colour_asked_for(viewer):
    for color in ((200, 30, 60), (200 / 255, 30 / 255, 60 / 255)):
        pixels = _pixels(viewer.show_preview_as_image([1], missing_color=color))
        assert (np.abs(pixels.astype(int) - (200, 30, 60)).max(axis=2) <= 1).mean() > 0.5


def test_no_parts_give_a_figure_that_says_so(viewer):
    assert _texts(viewer.show_preview_as_image([])) == ["no parts"]


def test_a_figure_shows_itself_in_a_notebook(viewer):
    assert viewer.show_preview_as_image([0])._repr_png_().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"file_ids": [7]}, UnknownKeyError, "file id 7; the dataset has 0 to 3"),
        ({"file_ids": [0], "label_format": "stem"}, ValueError, "'stem'"),
        ({"file_ids": [0], "grid_cols": 0}, ValueError, "grid_cols"),
        ({"file_ids": [0], "color_by": "no_such_array"}, UnknownKeyError, "no_such_array"),
        ({"file_ids": [0], "color_by": {1: [0] * 6}}, UnknownKeyError, r"no labels for the parts \[0\]"),
        ({"file_ids": [0], "color_by": {0: [1, 2]}}, ValueError, "2 face colours for 6 faces"),
        ({"file_ids": [0], "color_by": "edge_types"}, ValueError, "has 12 rows of group 'edges', but 6 faces"),
        ({"file_ids": [0], "color_by": "face_centroids"}, ValueError, "has 3 numbers per face"),
        ({"file_ids": [0], "color_by": {0: np.zeros((6, 2, 2))}}, ValueError, "2 × 2 numbers per face"),
        ({"file_ids": [0], "k": -1}, ValueError, "k=-1; expected the number of parts to show, at least 0"),
        ({"file_ids": [1], "missing_color": (300, 0, 0)}, ValueError, "three numbers from 0 to 255"),
        ({"file_ids": [1], "missing_color": (0, 0, 0, 1)}, ValueError, "three numbers from 0 to 255"),
        ({"file_ids": [1], "missing_color": "reddish"}, ValueError, "reddish"),
    ],
)
def test_what_cannot_be_shown_is_named(viewer, arguments, error, message):
    with pytest.raises(error, match=message):
        viewer.show_preview_as_image(**arguments)


def test_faces_are_coloured_by_an_array_with_a_legend_of_its_names(viewer):
    figure = viewer.show_preview_as_image([0, 2], color_by="face_types", show_labels=False)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["plane", "cylinder", "<img src=x o…itle='owned'>"]
    first, second = figure.axes[0].images
    plane, hostile = (np.array(c.get_facecolor()[:3]) for c in np.array(legend.get_patches())[[0, 2]])
    for image, color in ((first, plane), (second, hostile)):
        top = image.get_array()[49, 128] / 255.0  # +z, the last face, on top
        np.testing.assert_allclose(top / top.max(), color / color.max(), atol=0.02)


def test_labels_may_be_missing_and_of_any_kind(viewer):
    labels = {0: [np.nan, np.nan, 2.0, 1.0, np.nan, np.nan], 2: np.array(["b", "a", None, 3, "a", "a"], object)}
    (legend,) = viewer.show_preview_as_image([0], color_by=labels).legends
    assert [text.get_text() for text in legend.get_texts()] == ["1.0", "2.0", "no value"]
    (legend,) = viewer.show_preview_as_image([2], color_by=labels).legends
    assert [text.get_text() for text in legend.get_texts()] == ["3", "a", "b", "no value"]


def test_many_numbers_are_coloured_by_ranges(viewer):
    (few,) = viewer.show_preview_as_image([0, 2], color_by="face_areas").legends
    assert len(few.get_texts()) == 11
    many = {0: [*np.linspace(10, 20, 49), np.nan], 1: [5.0] * 6}
    (legend,) = viewer.show_preview_as_image([0, 1], color_by=many).legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts == ["5 to 6.875", *texts[1:-1], "no value"]
    assert len(texts) <= 9


def test_a_missing_preview_takes_a_named_colour(viewer):
    pixels = _pixels(viewer.show_preview_as_image([1], missing_color="tab:red"))
    assert (np.abs(pixels.astype(int) - (214, 39, 40)).max(axis=2) <= 1).mean() > 0.5


def test_faces_are_coloured_by_a_prediction(viewer):
    palette = ColorPalette({"stock": (40, 40, 250), "hole": (250, 40, 40)})
    figure = viewer.show_preview_as_image([0], color_by={0: ["stock"] * 5 + ["hole"]}, palette=palette)
    (image,) = figure.axes[0].images
    red, _, blue = image.get_array()[49, 128].astype(int)
    assert red > 2 * blue


def test_a_comparison_shows_both_groups(viewer):
    figure = viewer.create_comparison_view([0, 3], [3], titles=("train", "test"))
    assert _texts(figure) == ["train: 0", "train: 3", "test: 3"]
    assert figure.get_suptitle() == "train  |  test"
    assert _texts(viewer.create_comparison_view(0, 3)) == ["A: 0", "B: 3"]


class _Hit:
    def __init__(self, file_id, score):
        self.id, self.score = file_id, score


def test_search_results_come_in_any_shape(viewer, explorer):
    hits = [3, (0, 0.5), {"id": 3, "distance": 0.25}, _Hit(0, 0.125), (99, 0.1)]
    figure = viewer.show_search_results(hits, query_file=0)
    assert _texts(figure) == ["query: box.step", "3", "0  0.5", "3  0.25", "0  0.125", "not in the dataset", "99  0.1"]
    assert _texts(viewer.show_search_results([], query_file=explorer.folder / "0.png")) == ["query: 0.png"]
    with pytest.raises(TypeError, match="no file id"):
        viewer.show_search_results([object()])


def test_availability_is_what_lies_on_the_disk(viewer, capsys):
    assert viewer.get_available_file_ids() == [0, 2, 3]
    assert viewer.filter_by_availability([3, 2, 1, 0], require_png=True, require_3d=True) == [2, 0]
    assert viewer.filter_by_availability([1, 3], require_png=False) == [1, 3]
    info = viewer.get_file_info(3)
    assert (info["png_available"], info["3d_available"], info["scs_path"]) == (True, False, None)
    statistics = viewer.get_statistics()
    assert statistics["total_files"] == 4
    assert (statistics["png_available"], statistics["3d_available"]) == (3, 3)
    assert statistics["png_percentage"] == 75.0
    viewer.print_statistics()
    assert "75.0 %" in capsys.readouterr().out


def test_a_viewer_is_made_of_lists_too(explorer, tmp_path):
    viewer = DatasetViewer([10, 20], ["0.png", float("nan")], [None, ""], reference_dir=explorer.folder)
    assert viewer.get_available_file_ids() == [10]
    assert _texts(viewer.show_preview_as_image([10, 20], label_format="name")) == ["10", "no preview", "20"]
    with pytest.raises(UnknownKeyError, match="from_explorer"):
        viewer.show_preview_as_image([10], color_by="face_types")
    with pytest.raises(ValueError, match="equally long"):
        DatasetViewer([1, 2], [None], [None, None])


def test_an_unknown_way_to_display_is_refused(viewer):
    with pytest.raises(ValueError, match="display_mode='window'; expected one of inline, sidecar, none"):
        viewer.show_preview_as_3d([0], display_mode="window")


def test_three_d_views_are_returned_and_saved_as_one_page(viewer, tmp_path):
    viewers = viewer.show_preview_as_3d([0, 3], color_by="face_types", save_path=tmp_path / "parts.html")
    assert [v.get_status()["loaded"] for v in viewers] == [True, False]
    assert viewers[0].get_status()["n_colored_faces"] == 6
    assert (tmp_path / "parts.html").stat().st_size > 10_000
