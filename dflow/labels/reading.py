"""What labels come as: files of several formats, lists, dictionaries and tables, read to one form."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dflow.errors import LabelError
from dflow.localpath import local_path
from dflow.storage.paths import read_regular

_LABELS = ("label", "labels", "seg", "segment", "cls", "class", "face_label", "face_labels", "value")
_KEYS = ("name", "face_name", "face", "id", "face_id", "index")
_TYPES = ("type", "face_type", "surface", "surface_type")
_AREAS = ("area", "face_area")
_POINTS = ("point", "points", "xyz", "position", "centroid")
_COLORS = ("color", "colour", "rgb")


@dataclass(frozen=True, slots=True)
class LabelTable:
    """Labels as read, one entry each; a column is None where there is none.

    Attributes
    ----------
    values : n labels, numbers or words
    keys : names or numbers of faces, or colours
    points : (n, 3) float64, mm
    types : names or codes of surface types, None where an entry has none
    areas : (n,) float64, mm², NaN where an entry has none
    source : where they come from, for messages
    """

    values: Sequence[Any]
    source: str
    keys: Sequence[Any] | None = None
    points: np.ndarray | None = None
    types: Sequence[Any] | None = None
    areas: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.values)

    def key(self, entry: int) -> Any:
        """Return the key of an entry: its number where there are none."""
        return entry if self.keys is None else self.keys[entry]


def read_labels(labels: Any, *, field: str | None = None) -> LabelTable:
    """Read labels of the faces of one part.

    Parameters
    ----------
    labels
        A file: ``.seg`` or ``.txt`` with a number a line, ``.json``, ``.csv`` with a line of headings; or what such a
        file holds: a list of labels, a dictionary of labels by name or number, a list of dictionaries or a table with
        the columns ``label``, and ``name``, ``point`` or ``x``, ``y``, ``z``, ``color``, ``type``, ``area``.
    field
        The key or column with the labels, where it is none of the usual ones.

    Raises
    ------
    LabelError
        If nothing of this is found.
    """
    if isinstance(labels, (str, os.PathLike)):
        path = Path(local_path(labels))
        return _from_object(_read_file(path), str(path), field)
    return _from_object(labels, f"the {type(labels).__name__}", field)


def with_columns(table: LabelTable, *, types: Any = None, areas: Any = None) -> LabelTable:
    """Return the table with types and areas that were given apart: a sequence in the labels' order, or by their keys.

    Raises
    ------
    LabelError
        If there is another number of them.
    """
    if types is not None:
        table = replace(table, types=_aligned(table, types, "types"))
    if areas is not None:
        table = replace(table, areas=_numbers(_aligned(table, areas, "areas"), table.source, "areas"))
    return table


def _aligned(table: LabelTable, column: Any, what: str) -> list[Any]:
    if isinstance(column, Mapping):
        known = {str(key): value for key, value in column.items()}
        return [known.get(str(table.key(entry))) for entry in range(len(table))]
    values = list(column)
    if len(values) != len(table):
        raise LabelError(
            f"found {len(values)} {what}, expected one for each of the {len(table)} labels of {table.source}"
        )
    return values


def _read_file(path: Path) -> Any:
    try:
        text = read_regular(path).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise LabelError(f"{path} cannot be read: {error}; pass the file with the labels of this part") from error
    suffix = path.suffix.lower()
    if suffix == ".json":
        try:
            return json.loads(text)
        except ValueError as error:
            raise LabelError(f"{path} is no JSON: {error}; write the labels anew") from error
    if suffix in (".csv", ".tsv"):
        return _read_csv(text)
    return [line.strip() for line in text.splitlines() if line.strip()]


def _read_csv(text: str) -> Any:
    """Dictionaries of a table with headings; lists of its cells without, one or two to a line."""
    head = text.lstrip().partition("\n")[0]
    delimiter = next((sign for sign in "\t;," if sign in head), ",")
    rows = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text), delimiter=delimiter) if any(row)]
    if not rows:
        return []
    if any(_known(cell, (*_LABELS, *_KEYS, *_POINTS, *_COLORS, "x")) for cell in rows[0]):
        return [dict(zip(rows[0], row, strict=False)) for row in rows[1:]]
    if len(rows[0]) == 1:
        return [row[0] for row in rows]
    return [{"name": row[0], "label": row[1]} for row in rows if len(row) > 1]


def _from_object(content: Any, source: str, field: str | None) -> LabelTable:
    if hasattr(content, "to_dict") and hasattr(content, "columns"):  # a pandas table
        content = content.to_dict("list")
    if isinstance(content, np.ndarray):
        content = content.tolist()
    if isinstance(content, Mapping):
        return _from_mapping(content, source, field)
    if isinstance(content, (list, tuple)):
        return _from_sequence(content, source, field)
    raise LabelError(
        f"{source} holds a {type(content).__name__}, expected a list of labels, a dictionary of labels by face, or a "
        "table; pass the labels of one part"
    )


def _from_sequence(content: Sequence[Any], source: str, field: str | None) -> LabelTable:
    if content and all(isinstance(entry, Mapping) for entry in content):
        names = dict.fromkeys(name for entry in content for name in entry)
        return _from_columns({name: [entry.get(name) for entry in content] for name in names}, source, field)
    # As AAGNet has them: [[name, {"seg": …}]]
    parts = [entry for entry in content if _is_named_part(entry)]
    if parts and len(parts) == len(content):
        if len(parts) > 1:
            raise LabelError(
                f"{source} holds the labels of {len(parts)} parts; pass those of one: the dictionary behind its name"
            )
        return _from_object(parts[0][1], source, field)
    if all(_is_scalar(value) for value in content):
        return LabelTable(list(content), source)
    wrong = next(value for value in content if not _is_scalar(value))
    raise LabelError(
        f"{source} has {wrong!r:.80} among its labels, expected numbers or words; pass the labels of one part"
    )


def _is_named_part(entry: Any) -> bool:
    return (
        isinstance(entry, (list, tuple))
        and len(entry) == 2
        and isinstance(entry[0], str)
        and isinstance(entry[1], dict)
    )


def _from_mapping(content: Mapping[Any, Any], source: str, field: str | None) -> LabelTable:
    if field is not None and field in content and not _is_scalar(content[field]) and not _has_columns(content):
        return _from_object(content[field], f"{field!r} of {source}", None)
    if content and all(_is_scalar(value) for value in content.values()):
        return LabelTable(list(content.values()), source, keys=list(content))
    if _has_columns(content):
        return _from_columns(content, source, field)
    found = [name for name in content if _known(name, _LABELS)]
    if len(found) == 1:
        return _from_object(content[found[0]], f"{found[0]!r} of {source}", None)
    if content and all(isinstance(value, Mapping) for value in content.values()):  # by face, with more than a label
        return _from_sequence([{"name": key, **value} for key, value in content.items()], source, field)
    raise LabelError(
        f"{source} has no one list of labels; found {', '.join(map(str, list(content)[:8])) or 'nothing'}: name it "
        "with field="
    )


def _has_columns(content: Mapping[Any, Any]) -> bool:
    """Whether a mapping is a table: lists of one length, one of labels and another one that is known."""
    lists = {name: value for name, value in content.items() if isinstance(value, (list, tuple, np.ndarray))}
    known = any(_known(name, (*_KEYS, *_POINTS, *_COLORS, *_TYPES, *_AREAS, "x")) for name in lists)
    return len(lists) == len(content) > 1 and known and len({len(value) for value in lists.values()}) == 1


def _from_columns(columns: Mapping[str, Sequence[Any]], source: str, field: str | None) -> LabelTable:
    values = columns.get(field) if field is not None else _column(columns, _LABELS)
    if values is None:
        raise LabelError(
            f"{source} has no column {field or 'label'!r}; found {', '.join(map(str, columns)) or 'none'}: name the "
            "one with the labels with field="
        )
    points = _column(columns, _POINTS)
    x, y, z = (_column(columns, (axis,)) for axis in "xyz")
    if points is None and x is not None and y is not None and z is not None:
        points = list(zip(x, y, z, strict=True))
    areas = _column(columns, _AREAS)
    keys = _column(columns, _COLORS)
    return LabelTable(
        list(values),
        source,
        keys=list(keys) if keys is not None else _column(columns, _KEYS),
        points=None if points is None else as_points(points, source),
        types=_column(columns, _TYPES),
        areas=None if areas is None else _numbers(areas, source, "areas"),
    )


def as_points(points: Iterable[Any], source: str) -> np.ndarray:
    """Return (n, 3) float64 of points.

    Raises
    ------
    LabelError
        If they are not three finite numbers each.
    """
    try:
        found = np.array([[float(number) for number in point] for point in points], np.float64).reshape(-1, 3)
    except (TypeError, ValueError) as error:
        raise LabelError(f"{source} has points that are not three numbers: {error}; write x, y and z in mm") from error
    if not np.isfinite(found).all():
        raise LabelError(f"{source} has points that are not finite; write x, y and z in mm")
    return found


def _numbers(values: Sequence[Any], source: str, what: str) -> np.ndarray:
    try:
        return np.array([np.nan if value in (None, "") else float(value) for value in values], np.float64)
    except (TypeError, ValueError) as error:
        raise LabelError(
            f"{source} has {what} that are no numbers: {error}; leave the column out, or mend it"
        ) from error


def _column(columns: Mapping[Any, Sequence[Any]], names: Sequence[str]) -> list[Any] | None:
    for name in names:
        for key, column in columns.items():
            if str(key).strip().lower() == name:
                return list(column)
    return None


def _known(name: object, names: Sequence[str]) -> bool:
    return str(name).strip().lower() in names


def _is_scalar(value: Any) -> bool:
    return isinstance(value, (str, bool, int, float, np.integer, np.floating, np.bool_))
