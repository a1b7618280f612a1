"""Draw grids of previews as matplotlib figures, without a display and without pyplot's global state."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.image
import numpy as np
import numpy.typing as npt
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dflow.insights.palette import Rgb
from dflow.localpath import local_path

Image = npt.NDArray[np.uint8]

TILE_INCHES = 2.0
LABEL_SIZE = 8
LABEL_CHARACTERS = 26
"""The number of characters that fit under a tile of two inches."""
MISSING_RGB: Rgb = (225, 228, 232)


class PreviewFigure(Figure):
    """A matplotlib figure that a notebook displays even if pyplot was never imported."""

    def _repr_png_(self) -> bytes:
        out = io.BytesIO()
        self.savefig(out, format="png", dpi=100)
        return out.getvalue()


@dataclass(frozen=True, slots=True)
class Tile:
    """One cell of a grid: a picture (H, W, 3), or None and the reason; `label` below it, `frame` around it."""

    picture: Image | None
    label: str = ""
    missing: str = "no preview"
    frame: Rgb | None = None


def load_picture(path: str | os.PathLike[str]) -> Image | None:
    """Read a PNG as (H, W, 3) uint8; return None if it cannot be read (damaged pictures are shown as missing)."""
    try:
        pixels = matplotlib.image.imread(os.fspath(path), format="png")
    except (OSError, ValueError, SyntaxError):  # Pillow raises SyntaxError for a broken PNG
        return None
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[:, :, None], 3, axis=2)
    if pixels.dtype != np.uint8:
        pixels = np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    return np.ascontiguousarray(pixels[:, :, :3])


def draw_grid(
    tiles: Sequence[Tile],
    *,
    columns: int | None = None,
    figsize: tuple[float, float] | None = None,
    title: str | None = None,
    missing_color: Rgb = MISSING_RGB,
    legend: Sequence[tuple[Rgb, str]] = (),
) -> PreviewFigure:
    """Draw a figure of tiles, row by row.

    Parameters
    ----------
    tiles : in reading order
    columns : tiles per row; by default about as many as rows, five at most
    figsize : width and height in inches; by default two inches per tile
    title : above the grid
    missing_color : fill of tiles without a picture
    legend : colour and text pairs, below the grid
    """
    n_columns = columns if columns is not None else min(5, max(1, math.ceil(math.sqrt(len(tiles)))))
    if n_columns < 1:
        raise ValueError(f"grid_cols must be at least 1, not {n_columns}")
    n_columns = min(n_columns, max(len(tiles), 1))
    n_rows = max(1, math.ceil(len(tiles) / n_columns))
    labelled = any(tile.label for tile in tiles)
    pitch = 1.14 if labelled else 1.02
    figure = _figure(n_columns, n_rows * pitch, figsize, title, legend)
    axes = figure.axes[0]
    # One set of axes for all tiles: one set per tile would take 20 ms per tile.
    for number, tile in enumerate(tiles):
        row, column = divmod(number, n_columns)
        _draw_tile(axes, tile, column * 1.02, row * pitch, missing_color)
    if not tiles:
        axes.text(0.5, 0.5, "no parts", ha="center", va="center", color="0.4")
    axes.set_xlim(-0.01, n_columns * 1.02)
    axes.set_ylim(n_rows * pitch, -0.01)
    return figure


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Save in the format of the suffix (PNG by default), under a temporary name that is renamed."""
    target = os.path.abspath(local_path(path))
    suffix = os.path.splitext(target)[1].lstrip(".").lower() or "png"
    os.makedirs(os.path.dirname(target), exist_ok=True)
    temporary = os.path.join(os.path.dirname(target), f".tmp-{os.getpid()}-{os.path.basename(target)}")
    try:
        figure.savefig(temporary, format=suffix, dpi=120)
        os.replace(temporary, target)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


def shorten(text: str, length: int = LABEL_CHARACTERS) -> str:
    """Cut the middle out of a long label, whose beginning and end identify it best."""
    if len(text) <= length:
        return text
    tail = length // 2
    return f"{text[: length - tail - 1]}…{text[-tail:]}"


def printable(text: str) -> str:
    """Return the text with everything that the figure's font cannot draw replaced by a box."""
    font = font_manager.get_font(font_manager.findfont(font_manager.FontProperties()))
    return "".join(c if c.isprintable() and font.get_char_index(ord(c)) else "□" for c in text)


def _figure(
    width: float, height: float, figsize: tuple[float, float] | None, title: str | None, legend: Sequence[Any]
) -> PreviewFigure:
    head = 0.4 if title else 0.0
    foot = 0.1 + 0.25 * math.ceil(len(legend) / max(1, int(width))) if legend else 0.0
    size = figsize or (width * TILE_INCHES, height * TILE_INCHES + head + foot)
    figure = PreviewFigure(figsize=size)
    FigureCanvasAgg(figure)
    bottom, top = foot / size[1], 1 - head / size[1]
    axes = figure.add_axes((0.0, bottom, 1.0, max(top - bottom, 0.1)))
    axes.set_axis_off()
    axes.set_aspect("equal")
    if title:
        figure.suptitle(printable(title), y=1 - 0.12 / size[1], va="top", fontsize=11, parse_math=False)
    if legend:
        _add_legend(figure, legend, max(1, int(width)))
    return figure


def _add_legend(figure: Figure, legend: Sequence[tuple[Rgb, str]], columns: int) -> None:
    from matplotlib.patches import Patch

    patches = [Patch(color=[c / 255 for c in rgb]) for rgb, _ in legend]
    # Mathematical markup in a class's name stays text.
    texts = [printable(shorten(text)).replace("$", r"\$") for _, text in legend]
    figure.legend(patches, texts, loc="lower center", ncols=min(columns, len(legend)), fontsize=8, frameon=False)


def _draw_tile(axes: Any, tile: Tile, left: float, top: float, missing_color: Rgb) -> None:
    from matplotlib.patches import Rectangle

    if tile.picture is not None:
        # Pictures that are not square keep their aspect ratio inside the tile.
        height, width = tile.picture.shape[:2]
        side = max(height, width)
        x, y = left + (1 - width / side) / 2, top + (1 - height / side) / 2
        axes.imshow(tile.picture, extent=(x, x + width / side, y + height / side, y), interpolation="antialiased")
    else:
        axes.add_patch(Rectangle((left, top), 1, 1, facecolor=[c / 255 for c in missing_color], edgecolor="none"))
        axes.text(left + 0.5, top + 0.5, tile.missing, ha="center", va="center", color="0.35", fontsize=LABEL_SIZE)
    if tile.frame is not None:
        axes.add_patch(Rectangle((left, top), 1, 1, fill=False, edgecolor=[c / 255 for c in tile.frame], linewidth=2))
    if tile.label:
        text = printable(shorten(tile.label))
        axes.text(left + 0.5, top + 1.01, text, ha="center", va="top", fontsize=LABEL_SIZE, parse_math=False)
