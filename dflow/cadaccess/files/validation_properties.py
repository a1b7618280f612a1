"""The volume and area that a STEP file states about itself.

Geometric validation properties (CAx-IF, Recommended Practices for Geometric and Assembly Validation Properties): a
``PROPERTY_DEFINITION`` named "geometric validation property" owns a representation with one measure item, a volume or
an area, with its own unit. They are read from the file's text: the kernel's readers do not return them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

_NAN = float("nan")


@dataclass(frozen=True, slots=True)
class StatedProperties:
    """The values that the sender's system computed, in mm³ and mm²; NaN where the file states none.

    `volume` and `area` are those of the whole: an assembly states one for each part and one for the whole, which is the
    largest. `volumes` and `areas` are all stated values, in file order.
    """

    volume: float = _NAN
    area: float = _NAN
    volumes: tuple[float, ...] = ()
    areas: tuple[float, ...] = ()


_SCALE = {
    "": 1.0,
    "EXA": 1e18,
    "KILO": 1e3,
    "HECTO": 1e2,
    "DECA": 1e1,
    "DECI": 1e-1,
    "CENTI": 1e-2,
    "MILLI": 1e-3,
    "MICRO": 1e-6,
    "NANO": 1e-9,
}
_ENTITY = re.compile(rb"#(\d+)\s*=\s*((?:'(?:[^']|'')*'|[^;'])*);", re.DOTALL)
_MEASURE = re.compile(r"\b(VOLUME|AREA)_MEASURE\s*\(\s*([-+0-9.Ee]+)\s*\)\s*,\s*#(\d+)")
_REFERENCE = re.compile(r"#(\d+)")
_SI_UNIT = re.compile(r"SI_UNIT\s*\(\s*(?:\.(\w+)\.|\$|\*)\s*,\s*\.METRE\.\s*\)")
_ELEMENT = re.compile(r"DERIVED_UNIT_ELEMENT\s*\(\s*#(\d+)\s*,\s*([-+0-9.Ee]+)\s*\)")


def read_stated(content: bytes) -> StatedProperties:
    """Return the stated properties of a STEP file's text; all NaN where it has none."""
    if b"VOLUME_MEASURE" not in content and b"AREA_MEASURE" not in content:
        return StatedProperties()
    entities = {int(m.group(1)): m.group(2).decode("latin-1") for m in _ENTITY.finditer(content)}
    found: dict[str, list[float]] = {"VOLUME": [], "AREA": []}
    for kind, value, unit in _validation_measures(entities):
        found[kind].append(value * _unit_in_mm(entities, unit, 3 if kind == "VOLUME" else 2))
    volumes, areas = tuple(found["VOLUME"]), tuple(found["AREA"])
    return StatedProperties(_whole(volumes), _whole(areas), volumes, areas)


def _whole(values: tuple[float, ...]) -> float:
    return max(values, default=_NAN)


def _validation_measures(entities: dict[int, str]) -> Iterator[tuple[str, float, int]]:
    """("VOLUME" or "AREA", value, unit's entity) of every measure that a geometric validation property owns."""
    properties = {i for i, text in entities.items() if _is_validation_property(text)}
    seen: set[int] = set()
    for text in entities.values():
        if not text.lstrip().startswith("PROPERTY_DEFINITION_REPRESENTATION"):
            continue
        references = [int(r) for r in _REFERENCE.findall(text)]
        if len(references) != 2 or references[0] not in properties:
            continue
        for item in (int(r) for r in _REFERENCE.findall(entities.get(references[1], ""))):
            measure = _MEASURE.search(entities.get(item, ""))
            if measure and item not in seen:
                seen.add(item)
                yield measure.group(1), float(measure.group(2)), int(measure.group(3))


def _is_validation_property(text: str) -> bool:
    return text.lstrip().startswith("PROPERTY_DEFINITION(") and "geometric" in text and "validation" in text


def _unit_in_mm(entities: dict[int, str], unit: int, power: int) -> float:
    """mm³ or mm² in one of the measure's unit; NaN where the unit is none of length."""
    text = entities.get(unit, "")
    total = 1.0
    elements = [m for r in _REFERENCE.findall(text) if (m := _ELEMENT.search(entities.get(int(r), "")))]
    if not elements:
        return _length_in_mm(entities, unit, 0) ** power
    for element in elements:
        total *= _length_in_mm(entities, int(element.group(1)), 0) ** float(element.group(2))
    return total


def _length_in_mm(entities: dict[int, str], unit: int, depth: int) -> float:
    """mm in one length unit: SI with its prefix, or a unit defined by conversion (an inch)."""
    text = entities.get(unit, "")
    si = _SI_UNIT.search(text)
    if si:
        return 1e3 * _SCALE.get(si.group(1) or "", math.nan)
    conversion = re.search(r"CONVERSION_BASED_UNIT\s*\(\s*'[^']*'\s*,\s*#(\d+)", text)
    if conversion and depth < 4:
        measure = re.search(
            r"LENGTH_MEASURE\s*\(\s*([-+0-9.Ee]+)\s*\)\s*,\s*#(\d+)", entities.get(int(conversion.group(1)), "")
        )
        if measure:
            return float(measure.group(1)) * _length_in_mm(entities, int(measure.group(2)), depth + 1)
    return math.nan
