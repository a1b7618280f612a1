"""Colours for classes: of faces, of files, of predictions."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Rgb = tuple[int, int, int]
NEUTRAL: Rgb = (190, 196, 204)
"""The colour of faces without a class."""


class ColorPalette:
    """One colour and one description per label, in a fixed order. Immutable; cheap to share.

    Parameters
    ----------
    colors : label to (red, green, blue), 0 to 255
    descriptions : label to its text in a legend; by default the label as text

    Examples
    --------
    >>> from dflow.insights import ColorPalette
    >>> palette = ColorPalette({0: (200, 0, 0), 1: (0, 0, 200)}, {0: "hole"})
    >>> palette.get_color(0), palette.get_description(0), palette.get_color(7)
    ((200, 0, 0), 'hole', (190, 196, 204))
    """

    def __init__(
        self, colors: Mapping[Hashable, Sequence[int]], descriptions: Mapping[Hashable, str] | None = None
    ) -> None:
        self._colors = {label: checked_color(color) for label, color in colors.items()}
        self._descriptions = dict(descriptions or {})

    @classmethod
    def from_labels(
        cls,
        labels: Mapping[Hashable, str] | Iterable[Hashable],
        cmap_name: str = "hsv",
        reserved_colors: Mapping[Hashable, Sequence[int]] | None = None,
    ) -> ColorPalette:
        """Spread the colours of a matplotlib colour map over the labels.

        Parameters
        ----------
        labels : label to description, or labels alone; duplicates count once
        cmap_name : a colour map's name; colours of qualitative ones ("tab20") are repeated in turn, those of others are
            sampled at equal distances
        reserved_colors : colours of labels that get no colour of the map

        Raises
        ------
        ValueError
            If matplotlib has no colour map of that name, or a colour is not three numbers from 0 to 255.
        """
        descriptions = {k: str(v) for k, v in labels.items()} if isinstance(labels, Mapping) else {}
        unique = list(dict.fromkeys(labels))
        reserved = dict(reserved_colors or {})
        free = [label for label in unique if label not in reserved]
        spread = dict(zip(free, _spread(cmap_name, len(free)), strict=True))
        return cls({label: reserved.get(label, spread.get(label, NEUTRAL)) for label in unique}, descriptions)

    def get_color(self, label: Hashable, default: Sequence[int] = NEUTRAL) -> Rgb:
        """Return the label's colour, `default` for a label that is not in the palette.

        Parameters
        ----------
        label : a key of the palette
        """
        return self._colors.get(label, checked_color(default))

    def get_description(self, label: Hashable) -> str:
        """Return the label's text in a legend.

        Parameters
        ----------
        label : a key of the palette
        """
        return self._descriptions.get(label, str(label))

    def colors_of(self, labels: Sequence[Hashable] | npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """Return the colours of many labels, (n, 3) uint8; unknown labels get the neutral one.

        Parameters
        ----------
        labels : (n,), any mix of known and unknown ones
        """
        values = labels.tolist() if isinstance(labels, np.ndarray) else labels
        return np.array([self.get_color(label) for label in values], np.uint8).reshape(-1, 3)

    def items(self) -> list[tuple[Hashable, tuple[Rgb, str]]]:
        """Return the labels, each with its colour and description, in order."""
        return [(label, (color, self.get_description(label))) for label, color in self._colors.items()]

    def get_label(self, label: Hashable) -> str:
        """Call `get_description`, as HOOPS AI's scripts do.

        Parameters
        ----------
        label : a key of the palette
        """
        return self.get_description(label)

    def get_all_colors(self) -> dict[Hashable, Rgb]:
        """Return the colours by label, in order."""
        return dict(self._colors)

    def get_all_descriptions(self) -> dict[Hashable, str]:
        """Return the descriptions by label, in order."""
        return {label: self.get_description(label) for label in self._colors}

    def keys(self) -> list[Hashable]:
        """Return the labels, in order."""
        return list(self._colors)

    def values(self) -> list[Rgb]:
        """Return the colours, in the labels' order."""
        return list(self._colors.values())

    def __getitem__(self, label: Hashable) -> Rgb:
        return self._colors[label]

    def __contains__(self, label: object) -> bool:
        return label in self._colors

    def __iter__(self) -> Iterator[Hashable]:
        return iter(self._colors)

    def __len__(self) -> int:
        return len(self._colors)

    def __repr__(self) -> str:
        return f"ColorPalette({self._colors!r})"


def group_predictions_by_label(
    predictions: Sequence[Hashable] | npt.NDArray[Any],
    palette: ColorPalette,
    exclude_labels: Iterable[Hashable] = (),
) -> list[tuple[list[int], Rgb, str]]:
    """Group faces by predicted class, for `CADViewer.color_faces_by_groups`.

    Parameters
    ----------
    predictions : one label per face, in face-index order
    palette : order, colour and description of the labels; other labels come last, in the neutral colour
    exclude_labels : labels that are left out

    Returns
    -------
    One (face indices, colour, description) per label that occurs, in the palette's order.
    """
    values = predictions.tolist() if isinstance(predictions, np.ndarray) else list(predictions)
    excluded = set(exclude_labels)
    faces: dict[Hashable, list[int]] = {label: [] for label in palette}
    for face, label in enumerate(values):
        faces.setdefault(label, []).append(face)
    return [
        (indices, palette.get_color(label), palette.get_description(label))
        for label, indices in faces.items()
        if indices and label not in excluded
    ]


def checked_color(color: Sequence[int]) -> Rgb:
    """Return a colour as three integers.

    Raises
    ------
    ValueError
        If it is not three numbers from 0 to 255.
    """
    try:
        red, green, blue = (int(c) for c in color)
    except (TypeError, ValueError) as error:
        raise ValueError(f"a colour is three numbers from 0 to 255, not {color!r}") from error
    if not all(0 <= c <= 255 for c in (red, green, blue)):
        raise ValueError(f"a colour is three numbers from 0 to 255, not {color!r}")
    return red, green, blue


def _spread(cmap_name: str, count: int) -> list[Rgb]:
    import matplotlib

    try:
        cmap = matplotlib.colormaps[cmap_name]
    except KeyError as error:
        raise ValueError(
            f"matplotlib has no colour map {cmap_name!r}; 'hsv', 'tab20' and 'viridis' are some"
        ) from error
    if cmap.N < 256:
        shades = [cmap(i % cmap.N) for i in range(count)]
    else:  # the last step is left out: cyclic maps end with the colour that they begin with
        shades = [cmap(i / max(count, 1)) for i in range(count)]
    return [checked_color([round(255 * c) for c in shade[:3]]) for shade in shades]
