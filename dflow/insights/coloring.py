"""Colours of faces by their labels, for pictures and 3D views."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from dflow.errors import DatasetNotFoundError, UnknownKeyError
from dflow.insights.palette import NEUTRAL, ColorPalette, Rgb

QUALITATIVE = ((10, "tab10"), (20, "tab20"))
"""The largest number of classes for each colour map; more classes are spread over the hues."""

MAX_CLASSES, N_RANGES = 40, 8
"""Numbers with more than `MAX_CLASSES` distinct values are measurements, and are coloured by `N_RANGES` ranges."""
NO_LABEL: Hashable = None
NO_LABEL_TEXT = "no value"
FACES = "faces"

Labels = Sequence[Hashable] | npt.NDArray[Any]


class LabelSource(Protocol):
    """The methods of `DatasetExplorer` that are called to find labels."""

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
        """Return the colours of one part's faces, (n_faces, 3) uint8."""
        return self.palette.colors_of(self.labels[file_id])

    def texts(self, file_id: int) -> list[str]:
        """Return the text of each face of one part, for a viewer."""
        return [self.palette.get_description(label) for label in self.labels[file_id]]

    def legend(self) -> list[tuple[Rgb, str]]:
        """Return colour and description of the labels that occur, in the palette's order."""
        used = {label for labels in self.labels.values() for label in labels}
        return [entry for label, entry in self.palette.items() if label in used]


def color_faces(
    file_ids: Sequence[int],
    color_by: str | Mapping[int, Labels],
    *,
    source: LabelSource | None,
    palette: ColorPalette | None,
) -> FaceColoring:
    """Return the labels and colours of the faces of parts.

    Parameters
    ----------
    file_ids : the parts to colour
    color_by : name of an array of `source` with one label per face, or the labels by file id (a prediction)
    source : the dataset's explorer
    palette : colours; by default one per label that occurs

    Raises
    ------
    UnknownKeyError
        If no array of that name exists, or labels of a part are missing.
    ValueError
        If there is not one label per face.
    """
    if isinstance(color_by, str):
        labels, names = _labels_of_array(file_ids, color_by, source)
    else:
        labels, names = _labels_given(file_ids, color_by), {}
    distinct = {label for values in labels.values() for label in values}
    if palette is None and not names and _are_many_numbers(distinct):
        labels, names = _as_ranges(labels, distinct)
        palette = ColorPalette.from_labels(names, "viridis", {NO_LABEL: NEUTRAL} if NO_LABEL in distinct else {})
    return FaceColoring(labels, palette or default_palette(distinct, names))


def default_palette(labels: set[Hashable], names: Mapping[Hashable, str]) -> ColorPalette:
    """Return distinct colours in the labels' natural order, and the neutral one for no label."""
    ordered = sorted(labels - {NO_LABEL}, key=_order)
    described = {label: names.get(label, str(label)) for label in ordered}
    name = next((name for most, name in QUALITATIVE if len(ordered) <= most), "hsv")
    if NO_LABEL in labels:
        return ColorPalette.from_labels({**described, NO_LABEL: NO_LABEL_TEXT}, name, {NO_LABEL: NEUTRAL})
    return ColorPalette.from_labels(described, name)


def _order(label: Any) -> tuple[int, Any]:
    """Sort key: numbers by value, then texts, then other values by their text."""
    if isinstance(label, (int, float)):
        return 0, label
    return (1, label) if isinstance(label, str) else (2, str(label))


def _are_many_numbers(labels: set[Hashable]) -> bool:
    """Whether these are measurements rather than classes."""
    return len(labels) > MAX_CLASSES and all(isinstance(label, (int, float)) for label in labels - {NO_LABEL})


def _as_ranges(
    labels: Mapping[int, Sequence[Hashable]], distinct: set[Hashable]
) -> tuple[dict[int, list[Hashable]], dict[Hashable, str]]:
    """Return the number of each value's range and the ranges' texts, for a legend of few entries."""
    known = np.array([label for label in distinct if label is not NO_LABEL], np.float64)
    finite = known[np.isfinite(known)]
    edges = np.linspace(finite.min(), finite.max(), N_RANGES + 1) if len(finite) else np.array([0.0, 1.0])

    def range_of(label: Any) -> Hashable:
        if label is NO_LABEL:
            return NO_LABEL
        return int(np.clip(np.searchsorted(edges, label, side="right") - 1, 0, len(edges) - 2))

    texts: dict[Hashable, str] = {i: f"{a:.4g} to {b:.4g}" for i, (a, b) in enumerate(pairwise(edges.tolist()))}
    if NO_LABEL in distinct:
        texts[NO_LABEL] = NO_LABEL_TEXT
    return {file_id: [range_of(label) for label in values] for file_id, values in labels.items()}, texts


def _labels_given(file_ids: Sequence[int], labels: Mapping[int, Labels]) -> dict[int, list[Hashable]]:
    missing = [file_id for file_id in file_ids if file_id not in labels]
    if missing:
        raise UnknownKeyError(
            f"color_by has no labels for the parts {missing[:5]}; expected a sequence of labels for every shown file id"
        )
    return {file_id: _one_each(np.asarray(labels[file_id]), "color_by") for file_id in file_ids}


def _one_each(values: npt.NDArray[Any], name: str) -> list[Hashable]:
    """Return the labels as a list, NaN as no label.

    Raises
    ------
    ValueError
        If there is more than one per face.
    """
    if values.ndim != 1:
        shape = " × ".join(map(str, values.shape[1:]))
        raise ValueError(
            f"{name} cannot colour faces: it has {shape or 'no'} numbers per face, expected one; choose an array of "
            "one number per face, such as face_types"
        )
    return [NO_LABEL if isinstance(v, float) and v != v else v for v in values.tolist()]  # NaN does not equal itself


def _labels_of_array(
    file_ids: Sequence[int], name: str, source: LabelSource | None
) -> tuple[dict[int, list[Hashable]], dict[Hashable, str]]:
    if source is None:
        raise UnknownKeyError(
            f"color_by={name!r} names an array, but this viewer has no dataset; make it with "
            "DatasetViewer.from_explorer(explorer), or pass labels by file id"
        )
    group, _, array = name.rpartition("/")
    group = group or _group_of(array, source)
    labels = {file_id: _one_each(source.file_dataset(file_id, group)[array].values, name) for file_id in file_ids}
    if group != FACES and FACES in source.available_groups():
        _check_one_a_face(labels, name, group, source)
    for table_name in (f"{group}/{array}", array):
        try:
            table = source.get_descriptions(table_name)
        except (UnknownKeyError, DatasetNotFoundError):
            continue
        return labels, dict(zip(table["id"].tolist(), table["name"].astype(str).tolist(), strict=True))
    return labels, {}  # an array of plain numbers, without names


def _check_one_a_face(labels: Mapping[int, Sequence[Hashable]], name: str, group: str, source: LabelSource) -> None:
    """Raise ValueError if labels of another group, such as edges, are not one per face."""
    for file_id, values in labels.items():
        n_faces = max(source.file_dataset(file_id, FACES).sizes.values(), default=0)
        if len(values) != n_faces:
            raise ValueError(
                f"{name} cannot colour faces: the part {file_id} has {len(values)} rows of group {group!r}, "
                f"but {n_faces} faces; choose an array of faces"
            )


def _group_of(array: str, source: LabelSource) -> str:
    groups = [g for g in source.available_groups() if g != "file" and array in source.available_arrays(g)]
    if not groups:
        raise UnknownKeyError(
            f"color_by={array!r}: no group with rows has such an array; available_arrays('faces') of the explorer "
            "lists those of the faces"
        )
    return FACES if FACES in groups else groups[0]
