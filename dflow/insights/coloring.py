"""From labels of faces to colours of faces, for pictures and 3D views alike."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from dflow.errors import DatasetNotFoundError, UnknownKeyError
from dflow.insights.palette import ColorPalette, Rgb

QUALITATIVE = ((10, "tab10"), (20, "tab20"))
"""Colour maps for up to so many classes; more are spread over the hues."""

Labels = Sequence[Hashable] | npt.NDArray[Any]


class LabelSource(Protocol):
    """What of a dataset's explorer is needed to find labels."""

    def file_dataset(self, file_id_code: int, group: str) -> Any: ...
    def available_groups(self) -> list[str]: ...
    def available_arrays(self, group: str) -> list[str]: ...
    def get_descriptions(self, table_name: str) -> Any: ...


@dataclass(frozen=True, slots=True)
class FaceColoring:
    """Labels of each part's faces, in face-index order, and the colours of the labels."""

    labels: Mapping[int, Sequence[Hashable]]
    palette: ColorPalette

    def colors(self, file_id: int) -> npt.NDArray[np.uint8]:
        """(n_faces, 3) uint8 of one part."""
        return self.palette.colors_of(self.labels[file_id])

    def texts(self, file_id: int) -> list[str]:
        """What a viewer says of each face of one part."""
        return [self.palette.get_description(label) for label in self.labels[file_id]]

    def legend(self) -> list[tuple[Rgb, str]]:
        """Colour and description of the labels that occur, in the palette's order."""
        used = {label for labels in self.labels.values() for label in labels}
        return [(color, self.palette.get_description(label)) for label, color in self.palette.items() if label in used]


def color_faces(
    file_ids: Sequence[int],
    color_by: str | Mapping[int, Labels],
    *,
    source: LabelSource | None,
    palette: ColorPalette | None,
) -> FaceColoring:
    """Decide every face's colour.

    Parameters
    ----------
    file_ids : the parts to colour
    color_by : name of an array with one label a face (then `source` is asked), or the labels by file id (a prediction)
    source : the dataset's explorer
    palette : colours; by default one per label that occurs

    Raises
    ------
    UnknownKeyError
        If no array of that name exists, or labels of a part are missing.
    """
    if isinstance(color_by, str):
        labels, names = _labels_of_array(file_ids, color_by, source)
    else:
        labels, names = _labels_given(file_ids, color_by), {}
    if palette is None:
        palette = default_palette({label for values in labels.values() for label in values}, names)
    return FaceColoring(labels, palette)


def default_palette(labels: set[Hashable], names: Mapping[Hashable, str]) -> ColorPalette:
    """Distinct colours in the labels' natural order."""
    ordered = sorted(labels, key=lambda label: (isinstance(label, str), label))
    described = {label: names.get(label, str(label)) for label in ordered}
    name = next((name for most, name in QUALITATIVE if len(ordered) <= most), "hsv")
    return ColorPalette.from_labels(described, name)


def _labels_given(file_ids: Sequence[int], labels: Mapping[int, Labels]) -> dict[int, list[Hashable]]:
    missing = [file_id for file_id in file_ids if file_id not in labels]
    if missing:
        raise UnknownKeyError(f"color_by has no labels for the parts {missing[:5]}")
    return {file_id: np.asarray(labels[file_id]).tolist() for file_id in file_ids}


def _labels_of_array(
    file_ids: Sequence[int], name: str, source: LabelSource | None
) -> tuple[dict[int, list[Hashable]], dict[Hashable, str]]:
    if source is None:
        raise UnknownKeyError(f"color_by={name!r} needs a viewer made by DatasetViewer.from_explorer")
    group, _, array = name.rpartition("/")
    group = group or _group_of(array, source)
    labels = {file_id: source.file_dataset(file_id, group)[array].values.tolist() for file_id in file_ids}
    try:
        table = source.get_descriptions(array)
        names = dict(zip(table["id"].tolist(), table["name"].astype(str).tolist(), strict=True))
    except (UnknownKeyError, DatasetNotFoundError):
        names = {}  # an array of plain numbers: they are their own names
    return labels, names


def _group_of(array: str, source: LabelSource) -> str:
    groups = [g for g in source.available_groups() if g != "file" and array in source.available_arrays(g)]
    if not groups:
        raise UnknownKeyError(f"no group of the dataset with rows has an array {array!r}")
    return "faces" if "faces" in groups else groups[0]
