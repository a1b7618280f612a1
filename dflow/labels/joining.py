"""Joining labels to faces: by name, order, point or colour, with everything checked that can be.

What does not fit is named; no label is ever moved to another face to make counts fit.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from dflow.cadaccess.brep import Brep
from dflow.cadaccess.codes import FACE_TYPES
from dflow.errors import LabelError
from dflow.labels.reading import LabelTable, as_points, read_labels, with_columns
from dflow.plaintext import get_logger

logger = get_logger(__name__)

By = Literal["name", "order", "point", "color"]

NO_LABEL = -1
"""The label of a face that has none: what losses in PyTorch are told to ignore."""

AREA_TOLERANCE = 0.01
"""Relative difference up to which two areas are of one face: kernels differ by less, faces mostly by more."""

COLOR_TOLERANCE = 1.5 / 255
"""Difference of a channel up to which two colours are one: what rounding to 8 bits leaves."""

_TYPE_WORDS = {
    **{word.lower(): code for code, word in FACE_TYPES.items()},
    "planar": 0,
    "cylindrical": 1,
    "conical": 2,
    "spherical": 3,
    "toroidal": 4,
    "bspline": 5,
    "b-spline": 5,
    "bezier": 5,
    "revolved": 13,
    "extruded": 14,
}


@dataclass(frozen=True)
class JoinReport:
    """What a join found.

    Attributes
    ----------
    by : what labels and faces were joined by
    n_faces, n_labels : of the shape, and in the source
    checked : what was compared: "count", "names", "types", "areas", "distances", "colors"
    unlabelled : rows of the faces without a label
    problems : what does not fit, a sentence each
    counts : faces by label
    """

    by: str
    n_faces: int
    n_labels: int
    checked: tuple[str, ...]
    unlabelled: tuple[int, ...]
    problems: tuple[str, ...]
    counts: Mapping[int, int]

    def __str__(self) -> str:
        lines = [
            f"{self.n_labels} labels joined by {self.by} to {self.n_faces} faces ({', '.join(self.checked)} checked), "
            f"{len(self.unlabelled)} faces without a label"
        ]
        return "; ".join([*lines, *self.problems])


class FaceLabels(NamedTuple):
    """Labels in the order of a shape's faces: `labels` (F,) int32, and the `report` of how they came there."""

    labels: np.ndarray
    report: JoinReport


def join(
    brep: Brep,
    labels: Any = None,
    *,
    by: By,
    field: str | None = None,
    classes: Mapping[str, int] | None = None,
    missing: int | None = None,
    types: Any = None,
    areas: Any = None,
    tolerance: float = 1e-3,
    strict: bool = True,
) -> FaceLabels:
    """Return the label of each face, and a report.

    Parameters
    ----------
    brep
        The shape, of the whole file or of a body.
    labels
        A file (``.seg`` or ``.txt`` with a number a line, ``.json``, ``.csv``), or what it holds; see
        `dflow.labels.reading.read_labels`. With ``by="name"`` they can be left out: the names are the labels, as in
        MFCAD++.
    by
        * ``"name"``: the key of a label is the face's name in the STEP file (``ADVANCED_FACE('12', …)``); in a list
          the i-th label is that of the face named i, as in MFCAD.
        * ``"order"``: the i-th label is that of face i. Only the count proves it; pass `types` or `areas` where the
          source has them.
        * ``"point"``: a label is that of the face on which its point lies, x, y, z in mm as the shape is.
        * ``"color"``: a dictionary of labels by colour: ``"#ff8000"``, (255, 128, 0) or (1.0, 0.5, 0.0).
    field
        The key or column that holds the labels, where a file has several, such as ``seg`` and ``inst``.
    classes
        Codes of labels that are words.
    missing
        The label of faces that the source has none for; without it, such faces are an error.
    types, areas
        Of the faces that the labels belong to, in the labels' order or by their keys: surface types (words or codes of
        `FACE_TYPES`), areas in mm². A label whose face has others (areas by more than 1 %) does not fit. Columns
        ``type`` and ``area`` of the source are compared anyway.
    tolerance
        mm that a point may lie off its face. A point within it of several faces is ambiguous.
    strict
        Raise for what does not fit. Else it is logged and in the report, and its faces have `missing`, or −1.

    Returns
    -------
    FaceLabels
        ``labels`` (F,) int32 in the order of the shape's faces, and ``report``.

    Raises
    ------
    LabelError
        If labels and shape do not fit; the message names each face and label. In a flow, the file fails with it.

    Examples
    --------
    In a transform task, with one line:

    >>> from dflow import CadLoader, labels
    >>> brep = CadLoader().create_from_file(part).get_brep()
    >>> labels.join(brep, [0, 0, 0, 0, 1, 1, 2, 2, 2], by="order", areas=brep.face_areas()).labels
    array([0, 0, 0, 0, 1, 1, 2, 2, 2], dtype=int32)

    In the task it reads ``storage.save_data("faces/label", labels.join(brep, seg_file, by="order").labels)``.
    """
    if by not in _WAYS:
        raise LabelError(
            f"found by={by!r}, expected {', '.join(map(repr, _WAYS))}: what labels and faces have in common"
        )
    if labels is None and by != "name":
        raise LabelError(
            f"by={by!r} needs labels: pass a file, a list or a dictionary (only names are labels themselves)"
        )
    found = _Join(brep)
    if labels is None:
        table = _names_as_labels(brep)
    else:
        table = with_columns(read_labels(labels, field=field), types=types, areas=areas)
    values = _codes(table, classes)
    faces = _WAYS[by](found, table, tolerance) if labels is not None else found.by_own_name(table)
    kept = found.compare(table, faces)
    placed = found.place(table, values, kept)
    return _report(found, table, by, placed, missing=missing, strict=strict)


@dataclass(slots=True)
class _Join:
    """A join in progress: what was checked, and what does not fit."""

    brep: Brep
    checked: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def by_own_name(self, table: LabelTable) -> list[list[int]]:
        self.checked.append("names")
        return [[int(key)] for key in table.keys or ()]

    def by_name(self, table: LabelTable, tolerance: float) -> list[list[int]]:
        names = self.brep.face_names()
        if not any(names):
            raise LabelError(
                f"the {len(names)} faces have no names in their file; join by='point' or by='order' instead, or export "
                "the part with names"
            )
        rows: dict[str, list[int]] = defaultdict(list)
        for row, name in enumerate(names):
            rows[name].append(row)
        self.checked += ["count", "names"]
        if table.keys is None:
            self._check_count(table)
        faces: list[list[int]] = []
        for entry in range(len(table)):
            named = rows.get(str(table.key(entry)).strip(), [])
            if not named:
                self.problems.append(f"no face is named {str(table.key(entry))!r} (the first is {names[0]!r})")
            elif len(named) > 1:
                self.problems.append(f"faces {_listed(named)} are all named {str(table.key(entry))!r}")
            faces.append(named if len(named) == 1 else [])
        return faces

    def by_order(self, table: LabelTable, tolerance: float) -> list[list[int]]:
        self.checked.append("count")
        order = list(range(len(table)))
        if table.keys is not None:
            try:
                order = [int(str(key)) for key in table.keys]
            except ValueError:
                raise LabelError(
                    f"{table.source} has labels by {str(table.keys[0])!r}, which is no row of a face; join by='name'"
                ) from None
            if sorted(order) != list(range(len(order))):
                self.problems.append(f"the labels are not those of faces 0 to {len(order) - 1}, each once")
                return [[] for _ in order]
        if not self._check_count(table):
            return [[] for _ in order]
        if table.types is None and table.areas is None:
            self._check_names_in_order()
        return [[row] for row in order]

    def by_point(self, table: LabelTable, tolerance: float) -> list[list[int]]:
        from dflow.cadaccess.kernel.distance import faces_near

        points = table.points
        if points is None and table.keys is not None:
            points = as_points(
                [key if not isinstance(key, str) else key.strip("()[]").split(",") for key in table.keys], table.source
            )
        if points is None:
            raise LabelError(f"{table.source} has no points: it needs the columns x, y, z and label")
        self.checked.append("distances")
        faces: list[list[int]] = []
        for entry, near in enumerate(faces_near(self.brep.kernel, points, tolerance)):
            where = f"point {entry} {tuple(np.round(points[entry], 6).tolist())}"
            if not near.rows:
                self.problems.append(
                    f"{where} lies on no face: the nearest, {near.nearest}, is {near.distance:.4g} mm away"
                )
            elif len(near.rows) > 1:
                self.problems.append(f"{where} lies on faces {_listed(near.rows)} alike")
            faces.append(list(near.rows) if len(near.rows) == 1 else [])
        return faces

    def by_color(self, table: LabelTable, tolerance: float) -> list[list[int]]:
        if table.keys is None:
            raise LabelError(f"{table.source} has no colours; pass a dictionary of labels by colour such as '#ff8000'")
        wanted = np.array([as_color(key, table.source) for key in table.keys]).reshape(-1, 3)
        colors = self.brep.face_colors()
        if np.isnan(colors).all() and len(colors):
            raise LabelError("no face has a colour in its file; join by='name', 'point' or 'order' instead")
        self.checked.append("colors")
        faces: list[list[int]] = [[] for _ in range(len(table))]
        strange: dict[str, list[int]] = defaultdict(list)
        for row, color in enumerate(colors):
            if np.isnan(color[0]):
                continue
            off = np.abs(wanted - color).max(axis=1, initial=0.0)
            near = np.flatnonzero(off <= COLOR_TOLERANCE)
            if len(near):
                faces[int(near[np.argmin(off[near])])].append(row)
            else:
                strange[as_hex(color)].append(row)
        self.problems += [
            f"faces {_listed(rows)} have the colour {color}, which has no label" for color, rows in strange.items()
        ]
        return faces

    def compare(self, table: LabelTable, faces: Sequence[Sequence[int]]) -> list[list[int]]:
        """Return the faces of each label that have the type and the area given with it."""
        kept = [list(rows) for rows in faces]
        if table.types is not None:
            self.checked.append("types")
            codes = self.brep.face_types()
            wanted = [_type_code(word, table.source) for word in table.types]
            for entry, rows in enumerate(kept):
                code = wanted[entry]
                for row in [r for r in rows if code is not None and codes[r] != code]:
                    rows.remove(row)
                    self.problems.append(
                        f"face {row} is of type {FACE_TYPES[int(codes[row])]}, that of label {table.key(entry)!r} is "
                        f"{FACE_TYPES[int(code or 0)]}"
                    )
        if table.areas is not None:
            self.checked.append("areas")
            areas = self.brep.face_areas()
            for entry, rows in enumerate(kept):
                area = float(table.areas[entry])
                for row in [r for r in rows if abs(areas[r] - area) > AREA_TOLERANCE * max(abs(area), areas[r])]:
                    rows.remove(row)
                    self.problems.append(
                        f"face {row} has {areas[row]:.6g} mm², that of label {table.key(entry)!r} has {area:.6g} mm²"
                    )
        return kept

    def place(self, table: LabelTable, values: Sequence[int], faces: Sequence[Sequence[int]]) -> dict[int, int]:
        """Return the label of each face that has one; faces with several have none."""
        claims: dict[int, list[int]] = defaultdict(list)
        for entry, rows in enumerate(faces):
            for row in rows:
                claims[row].append(entry)
        placed: dict[int, int] = {}
        for row, entries in claims.items():
            found = {values[entry] for entry in entries}
            if len(found) == 1:
                placed[row] = found.pop()
            else:
                one = [f"{values[entry]} ({table.key(entry)!r})" for entry in entries[:3]]
                self.problems.append(f"face {row} has several labels: {', '.join(one)}")
        return placed

    def _check_count(self, table: LabelTable) -> bool:
        if len(table) != self.brep.n_faces:
            self.problems.append(f"found {len(table)} labels, the shape has {self.brep.n_faces} faces")
            return False
        return True

    def _check_names_in_order(self) -> None:
        """Names that number the faces in another order than they lie in say what the labels go by."""
        names = self.brep.face_names()
        if not all(name.isdecimal() for name in names) or len(names) < 2:
            return
        numbers = [int(name) for name in names]
        if sorted(numbers) == list(range(min(numbers), min(numbers) + len(numbers))) and numbers != sorted(numbers):
            self.checked.append("names")
            self.problems.append(
                f"the file numbers its faces {min(numbers)} to {max(numbers)} in another order than they lie in (face "
                f"0 is named {names[0]!r}): join by='name', or prove the order with areas= or types="
            )


_WAYS: Mapping[str, Callable[[_Join, LabelTable, float], list[list[int]]]] = {
    "name": _Join.by_name,
    "order": _Join.by_order,
    "point": _Join.by_point,
    "color": _Join.by_color,
}


def _names_as_labels(brep: Brep) -> LabelTable:
    names = brep.face_names()
    rows = [row for row, name in enumerate(names) if name.strip()]
    return LabelTable([names[row].strip() for row in rows], "the faces' names", keys=rows)


def _codes(table: LabelTable, classes: Mapping[str, int] | None) -> list[int]:
    """The labels as numbers.

    Raises
    ------
    LabelError
        If one is no whole number and no word of `classes`.
    """
    codes: list[int] = []
    strange: dict[str, None] = {}
    for value in table.values:
        code = None if classes is None else classes.get(value)
        if code is None:
            try:
                code = int(value) if float(value).is_integer() else None
            except (TypeError, ValueError, OverflowError):
                code = None
        if code is None or not -(2**31) <= code < 2**31:
            strange[repr(value)] = None
            code = NO_LABEL
        codes.append(int(code))
    if strange:
        words = ", ".join(list(strange)[:8])
        raise LabelError(
            f"{table.source} has the labels {words}, expected whole numbers: pass classes= with a number for each word"
        )
    return codes


def _report(
    found: _Join, table: LabelTable, by: str, placed: Mapping[int, int], *, missing: int | None, strict: bool
) -> FaceLabels:
    n_faces = found.brep.n_faces
    unlabelled = tuple(row for row in range(n_faces) if row not in placed)
    labels = np.full(n_faces, NO_LABEL if missing is None else missing, np.int32)
    for row, value in placed.items():
        labels[row] = value
    counts = Counter(placed.values())
    report = JoinReport(
        by,
        n_faces,
        len(table),
        tuple(dict.fromkeys(found.checked)),
        unlabelled,
        tuple(found.problems),
        dict(sorted(counts.items())),
    )
    wrong = list(found.problems)
    if unlabelled and missing is None:
        wrong.append(f"{len(unlabelled)} of {n_faces} faces have no label: {_listed(unlabelled)}")
    if wrong and strict:
        more = f"; and {len(wrong) - 8} more" if len(wrong) > 8 else ""
        advice = "Mend the labels" if found.problems else "Pass missing= for faces without a label"
        raise LabelError(
            f"the labels of {table.source} do not fit the shape: {'; '.join(wrong[:8])}{more}. {advice}, or pass "
            f"strict=False, which leaves those faces at {NO_LABEL if missing is None else missing}"
        )
    if wrong:
        logger.warning("%s", report)
    return FaceLabels(labels, report)


def _type_code(word: Any, source: str) -> int | None:
    """The code of a surface type; None where there is none."""
    if word is None or word == "" or word != word:
        return None
    text = str(word).strip().lower().replace("_", "").removesuffix("surface")
    if text in _TYPE_WORDS:
        return _TYPE_WORDS[text]
    if text.isdecimal() and int(text) in FACE_TYPES:
        return int(text)
    raise LabelError(
        f"{source} has the surface type {word!r}, expected {', '.join(FACE_TYPES.values())} or their codes"
    )


def as_color(color: Any, source: str) -> np.ndarray:
    """Return (3,) float64 in 0 to 1 of ``"#ff8000"``, three whole numbers up to 255, or three numbers up to 1.

    Raises
    ------
    LabelError
        If it is no colour.
    """
    text = color.strip().strip("()[]") if isinstance(color, str) else ""
    try:
        if text.startswith("#") and len(text) == 7:
            return np.frombuffer(bytes.fromhex(text[1:]), np.uint8) / 255
        parts = [float(part) for part in (text.replace(",", " ").split() if text else color)]
        if len(parts) == 3 and all(0 <= part <= 255 for part in parts):
            return np.array(parts) / (1 if max(parts) <= 1 else 255)
    except (TypeError, ValueError):
        pass
    raise LabelError(f"{source} has the colour {color!r}, expected '#ff8000', (255, 128, 0) or (1.0, 0.5, 0.0)")


def as_hex(color: np.ndarray) -> str:
    """Return a colour as ``#rrggbb``."""
    return "#" + "".join(f"{round(float(channel) * 255):02x}" for channel in color)


def _listed(rows: Sequence[int]) -> str:
    return ", ".join(map(str, rows[:8])) + (", …" if len(rows) > 8 else "")
