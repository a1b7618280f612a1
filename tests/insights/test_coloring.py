"""Labels of faces and their colours: by array, by prediction, as ranges."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dflow.errors import UnknownKeyError
from dflow.insights import ColorPalette
from dflow.insights.coloring import N_RANGES, NO_LABEL, NO_LABEL_TEXT, color_faces, default_palette
from dflow.insights.palette import NEUTRAL
from tests.insights.parts import FakeExplorer


@pytest.fixture(scope="module")
def explorer(tmp_path_factory: pytest.TempPathFactory) -> FakeExplorer:
    folder: Path = tmp_path_factory.mktemp("cache")
    return FakeExplorer(folder)


def test_codes_of_an_array_have_their_names_and_distinct_colours(explorer: FakeExplorer) -> None:
    coloring = color_faces([0, 2], "face_types", source=explorer, palette=None)
    assert coloring.labels == {0: [0, 0, 1, 1, 0, 0], 2: [0, 0, 1, 1, 0, 2]}
    assert coloring.texts(0)[:3] == ["plane", "plane", "cylinder"]
    colors = coloring.colors(2)
    assert (colors.shape, colors.dtype) == ((6, 3), np.uint8)
    assert len({tuple(color) for color in colors.tolist()}) == 3
    assert [text for _, text in coloring.legend()] == [coloring.palette.get_description(i) for i in range(3)]


def test_the_group_may_be_named(explorer: FakeExplorer) -> None:
    short = color_faces([0], "face_types", source=explorer, palette=None)
    assert color_faces([0], "faces/face_types", source=explorer, palette=None).labels == short.labels


def test_missing_numbers_are_neutral(explorer: FakeExplorer) -> None:
    coloring = color_faces([0], "face_areas", source=explorer, palette=None)
    assert coloring.labels[0][0] is NO_LABEL
    assert coloring.colors(0)[0].tolist() == list(NEUTRAL)
    assert (NEUTRAL, NO_LABEL_TEXT) in coloring.legend()


def test_many_numbers_become_ranges_that_cover_them() -> None:
    values = np.append(np.arange(100.0), np.nan)
    coloring = color_faces([7], {7: values}, source=None, palette=None)
    labels = coloring.labels[7]
    assert labels[-1] is NO_LABEL
    assert labels[:-1] == sorted(labels[:-1])  # type: ignore[type-var]
    assert (labels[0], labels[99]) == (0, N_RANGES - 1)
    assert coloring.texts(7)[0] == "0 to 12.38"
    assert len(coloring.legend()) == N_RANGES + 1


def test_a_palette_of_the_caller_is_kept_also_for_many_numbers() -> None:
    palette = ColorPalette({0: (1, 2, 3)}, {0: "hole"})
    coloring = color_faces([1], {1: np.arange(60)}, source=None, palette=palette)
    assert coloring.colors(1)[:2].tolist() == [[1, 2, 3], list(NEUTRAL)]
    assert coloring.legend() == [((1, 2, 3), "hole")]


def test_labels_of_any_kind_are_ordered_numbers_first() -> None:
    assert default_palette({"b", 10, 9, "a", (1,)}, {9: "nine"}).keys() == [9, 10, "a", "b", (1,)]
    assert default_palette({9}, {9: "nine"}).get_description(9) == "nine"


@pytest.mark.parametrize(
    ("color_by", "error", "parts"),
    [
        ("face_centroids", ValueError, ("has 3 numbers per face", "expected one", "face_types")),
        ("edge_types", ValueError, ("12 rows of group 'edges'", "but 6 faces", "choose an array of faces")),
        ("colour", UnknownKeyError, ("color_by='colour'", "no group with rows", "available_arrays('faces')")),
        ({1: [0]}, UnknownKeyError, ("no labels for the parts [0]", "expected a sequence of labels")),
    ],
)
def test_errors_name_what_was_found_expected_and_to_do(explorer, color_by, error, parts) -> None:
    with pytest.raises(error) as caught:
        color_faces([0], color_by, source=explorer, palette=None)
    assert all(part in str(caught.value) for part in parts), caught.value


def test_an_array_needs_a_dataset() -> None:
    with pytest.raises(UnknownKeyError, match=r"DatasetViewer\.from_explorer\(explorer\), or pass labels"):
        color_faces([0], "face_types", source=None, palette=None)
