"""The colours that a STEP file gives its faces (ISO 10303-46: styled items), read from its text."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

_STATEMENT = re.compile(rb"(#\d+)\s*=\s*([A-Z0-9_]*)\s*\(((?:'(?:[^']|'')*'|/\*.*?\*/|[^';])*)\)\s*;", re.DOTALL)
_NOT_NUMBERS = re.compile(rb"'(?:[^']|'')*'|/\*.*?\*/", re.DOTALL)
_REFERENCE = re.compile(rb"#\d+")

_STYLED = (b"STYLED_ITEM", b"OVER_RIDING_STYLED_ITEM", b"CONTEXT_DEPENDENT_OVER_RIDING_STYLED_ITEM")

_STYLES = frozenset(
    b"""PRESENTATION_STYLE_ASSIGNMENT PRESENTATION_STYLE_BY_CONTEXT SURFACE_STYLE_USAGE SURFACE_SIDE_STYLE
    SURFACE_STYLE_FILL_AREA FILL_AREA_STYLE FILL_AREA_STYLE_COLOUR SURFACE_STYLE_RENDERING
    SURFACE_STYLE_RENDERING_WITH_PROPERTIES""".split()
)
"""What lies between a styled item and the colour of a surface. Styles of curves and points are none of it."""

_FACES = (b"ADVANCED_FACE", b"FACE_SURFACE")

_WHOLES = frozenset(
    b"""CLOSED_SHELL OPEN_SHELL ORIENTED_CLOSED_SHELL ORIENTED_OPEN_SHELL CONNECTED_FACE_SET MANIFOLD_SOLID_BREP
    BREP_WITH_VOIDS FACETED_BREP SHELL_BASED_SURFACE_MODEL FACE_BASED_SURFACE_MODEL GEOMETRIC_SET
    GEOMETRIC_CURVE_SET MAPPED_ITEM REPRESENTATION_MAP SHAPE_REPRESENTATION ADVANCED_BREP_SHAPE_REPRESENTATION
    MANIFOLD_SURFACE_SHAPE_REPRESENTATION GEOMETRICALLY_BOUNDED_SURFACE_SHAPE_REPRESENTATION""".split()
)
"""What faces are parts of, down to them."""

_NAMED = {
    b"red": (1.0, 0.0, 0.0),
    b"green": (0.0, 1.0, 0.0),
    b"blue": (0.0, 0.0, 1.0),
    b"yellow": (1.0, 1.0, 0.0),
    b"magenta": (1.0, 0.0, 1.0),
    b"cyan": (0.0, 1.0, 1.0),
    b"black": (0.0, 0.0, 0.0),
    b"white": (1.0, 1.0, 1.0),
}
"""Pre-defined colours of draughting (ISO 10303-46)."""

Color = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class _Statement:
    keyword: bytes
    parameters: bytes

    def references(self) -> list[bytes]:
        return _REFERENCE.findall(_NOT_NUMBERS.sub(b"", self.parameters))


def has_styles(content: bytes) -> bool:
    """Return whether a STEP file styles anything."""
    return b"STYLED_ITEM" in content


def list_faces(content: bytes) -> list[bytes]:
    """Return the instance numbers of all faces of a STEP file, in the order of its text."""
    return [number for number, keyword, _ in _STATEMENT.findall(content) if keyword in _FACES]


def face_colors(content: bytes, face_ids: Sequence[bytes]) -> np.ndarray:
    """Return the colour of each face, as the file states it.

    Parameters
    ----------
    content : of a STEP file
    face_ids : the faces' instance numbers, ``b"#12"``; ``b""`` for a face that none is known of

    Returns
    -------
    (F, 3) float64: red, green and blue in 0 to 1, NaN where the file gives the face no colour. A style of the face
    itself wins over that of its shell, and that over those of its solid and of what holds it; an over-riding style over
    the one that it replaces. One face that an assembly places several times has one colour.
    """
    colors = np.full((len(face_ids), 3), np.nan)
    if not has_styles(content):
        return colors
    statements = {
        number: _Statement(keyword, parameters)
        for number, keyword, parameters in _STATEMENT.findall(content)
        if keyword in _STYLES or keyword in _WHOLES or keyword in _FACES or keyword in _STYLED or b"COLOUR" in keyword
    }
    nearest: dict[bytes, tuple[int, int, Color]] = {}  # by face: how far the styled item is, its rank, its colour
    for statement in statements.values():
        if statement.keyword not in _STYLED:
            continue
        styles, item = _styles_and_item(statement)
        color = next((found for style in styles if (found := _color(statements, style)) is not None), None)
        if color is None:
            continue
        rank = _STYLED.index(statement.keyword)
        for face, steps in _faces_of(statements, item):
            known = nearest.get(face)
            if known is None or (steps, -rank) < (known[0], -known[1]):
                nearest[face] = steps, rank, color
    for row, number in enumerate(face_ids):
        if number in nearest:
            colors[row] = nearest[number][2]
    return colors


def _styles_and_item(statement: _Statement) -> tuple[list[bytes], bytes]:
    """The references in the list of styles, and the item behind it."""
    plain = _NOT_NUMBERS.sub(b"", statement.parameters)
    begin, end = plain.find(b"("), plain.find(b")")
    items = _REFERENCE.findall(plain[end:])
    return _REFERENCE.findall(plain[begin:end]), items[0] if items else b""


def _color(statements: dict[bytes, _Statement], style: bytes) -> Color | None:
    """The colour of a surface's area; else that of its rendering."""
    rendered: Color | None = None
    seen = {style}
    waiting = deque([(style, False)])
    while waiting:
        number, is_rendering = waiting.popleft()
        statement = statements.get(number)
        if statement is None:
            continue
        if statement.keyword not in _STYLES:
            color = _colour_of(statement)
            if color is not None and not is_rendering:
                return color
            rendered = rendered or color
            continue
        is_rendering = is_rendering or statement.keyword.startswith(b"SURFACE_STYLE_RENDERING")
        for reference in statement.references():
            if reference not in seen:
                seen.add(reference)
                waiting.append((reference, is_rendering))
    return rendered


def _colour_of(statement: _Statement) -> Color | None:
    if statement.keyword == b"COLOUR_RGB":
        numbers = _NOT_NUMBERS.sub(b"", statement.parameters).split(b",")[-3:]
        try:
            red, green, blue = (float(number) for number in numbers)
        except ValueError:
            return None
        return red, green, blue
    if statement.keyword in (b"DRAUGHTING_PRE_DEFINED_COLOUR", b"PRE_DEFINED_COLOUR"):
        return _NAMED.get(statement.parameters.strip().strip(b"'").lower())
    return None


def _faces_of(statements: dict[bytes, _Statement], item: bytes) -> Iterator[tuple[bytes, int]]:
    """The faces that an item is or holds, and how many steps they are below it."""
    seen = {item}
    waiting = deque([(item, 0)])
    while waiting:
        number, steps = waiting.popleft()
        statement = statements.get(number)
        if statement is None:
            continue
        if statement.keyword in _FACES:
            yield number, steps
        elif statement.keyword in _WHOLES:
            for reference in statement.references():
                if reference not in seen:
                    seen.add(reference)
                    waiting.append((reference, steps + 1))
