"""Grids of pictures: their layout, their texts, and pictures that cannot be read."""

from __future__ import annotations

from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from dflow.insights.grid import LABEL_CHARACTERS, Tile, draw_grid, load_picture, printable, save_figure, shorten

RED = np.full((8, 8, 3), (255, 0, 0), np.uint8)


@pytest.mark.parametrize(
    ("n_tiles", "columns", "expected"), [(1, None, 1), (4, None, 2), (5, None, 3), (99, None, 5), (2, 9, 2), (7, 3, 3)]
)
def test_tiles_are_laid_out_in_rows(n_tiles: int, columns: int | None, expected: int) -> None:
    figure = draw_grid([Tile(RED)] * n_tiles, columns=columns)
    low, high = figure.axes[0].get_xlim()
    assert (high - low) / 1.02 == pytest.approx(expected, abs=0.02)
    assert len(figure.axes[0].images) == n_tiles


def test_a_picture_keeps_its_proportions_in_the_middle_of_its_tile() -> None:
    (image,) = draw_grid([Tile(np.zeros((10, 20, 3), np.uint8))]).axes[0].images
    left, right, bottom, top = image.get_extent()
    assert (left, right, bottom, top) == pytest.approx((0.0, 1.0, 0.75, 0.25))


def test_texts_are_drawn_as_they_are() -> None:
    figure = draw_grid([Tile(None, "$x^2$", "broken")], title="$y$", legend=[((1, 2, 3), "$z$")])
    assert [text.get_text() for text in figure.axes[0].texts] == ["broken", "$x^2$"]
    assert not figure.axes[0].texts[1].get_parse_math()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [r"\$z\$"]
    figure.canvas.draw()


def test_no_tiles_and_no_columns() -> None:
    assert [text.get_text() for text in draw_grid([]).axes[0].texts] == ["no parts"]
    with pytest.raises(ValueError, match="grid_cols must be at least 1, not 0"):
        draw_grid([Tile(RED)], columns=0)


def test_pictures_of_any_depth_become_rgb(tmp_path: Path) -> None:
    for name, pixels in (
        ("rgba", np.dstack([RED, np.full((8, 8), 9, np.uint8)])),
        ("grey", np.linspace(0, 1, 64).reshape(8, 8)),
    ):
        matplotlib.image.imsave(tmp_path / f"{name}.png", pixels, cmap="gray")
        picture = load_picture(tmp_path / f"{name}.png")
        assert picture is not None
        assert (picture.shape, picture.dtype) == ((8, 8, 3), np.uint8)
    assert load_picture(tmp_path / "rgba.png")[0, 0].tolist() == [255, 0, 0]  # type: ignore[index]


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\nnothing", b"text"])
def test_a_damaged_picture_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.png").write_bytes(content)
    assert load_picture(tmp_path / "x.png") is None
    assert load_picture(tmp_path / "absent.png") is None


def test_a_figure_is_saved_whole_or_not_at_all(tmp_path: Path) -> None:
    figure = draw_grid([Tile(RED)])
    save_figure(figure, tmp_path / "deep" / "grid")
    assert (tmp_path / "deep" / "grid").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="xyz"):
        save_figure(figure, tmp_path / "deep" / "grid.xyz")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["grid"]


def test_long_labels_keep_both_ends() -> None:
    text = "a" * 40 + "z" * 40
    assert len(shorten(text)) == LABEL_CHARACTERS
    assert shorten(text)[0] == "a"
    assert shorten(text)[-1] == "z"
    assert shorten("short") == "short"


def test_characters_without_a_glyph_become_boxes() -> None:
    assert printable("a\n\x1bü日") == "a□□ü□"
