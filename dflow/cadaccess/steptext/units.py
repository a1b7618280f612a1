"""The factors from a representation's units to mm and radians."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dflow.cadaccess.steptext.records import Records, RefusedError

_ASSIGNED = re.compile(rb"GLOBAL_UNIT_ASSIGNED_CONTEXT\(\(([#\d,]+)\)\)")
_SI = re.compile(rb"SI_UNIT\((\$|\.[A-Z]+\.),\.(METRE|RADIAN|STERADIAN)\.\)")
_CONVERTED = re.compile(rb"CONVERSION_BASED_UNIT\('([^']*)',(#\d+)\)")
_MEASURE = re.compile(rb"[A-Z_]*MEASURE_WITH_UNIT\((?:[A-Z_]*MEASURE\()?([-+.\dE]+)\)?,(#\d+)\)")

_PREFIXES = {
    b"$": 1.0,
    b".KILO.": 1e3,
    b".DECI.": 1e-1,
    b".CENTI.": 1e-2,
    b".MILLI.": 1e-3,
    b".MICRO.": 1e-6,
    b".NANO.": 1e-9,
}


@dataclass(frozen=True, slots=True)
class Units:
    """`length` : mm in one unit of the file; `angle` : radians in one; `name` : the length unit in the file's words."""

    length: float
    angle: float
    name: str


def find_units(records: Records, context: bytes) -> Units:
    """The units of a geometric context.

    Raises
    ------
    RefusedError
        No length unit, or one that is neither SI nor a multiple of one that is.
    """
    match = _ASSIGNED.search(records.bodies.get(context, b""))
    if match is None:
        raise RefusedError("a representation without units")
    length, angle, name = 0.0, 0.0, ""
    for reference in match.group(1).split(b","):
        text = records.bodies.get(reference, b"")
        if b"LENGTH_UNIT()" in text:
            length, name = 1000.0 * _factor(records, text, b"METRE"), _name(text)
        elif b"PLANE_ANGLE_UNIT()" in text:
            angle = _factor(records, text, b"RADIAN")
    if not (length > 0 and angle > 0):
        raise RefusedError("a representation without units of length and angle")
    # 1e-3 m times 1e3 is 1 mm to the last digit or not at all.
    return Units(1.0 if abs(length - 1.0) < 1e-15 else length, angle, name)


def _factor(records: Records, text: bytes, base: bytes) -> float:
    """How many of the SI unit `base` one unit is."""
    plain = _SI.search(text)
    if plain is not None and plain.group(2) == base and plain.group(1) in _PREFIXES:
        return _PREFIXES[plain.group(1)]
    converted = _CONVERTED.search(text)
    if converted is None:
        raise RefusedError("a unit that is not understood")
    measure = _MEASURE.fullmatch(records.bodies.get(converted.group(2), b""))
    if measure is None:
        raise RefusedError("a unit that is not understood")
    under = _SI.search(records.bodies.get(measure.group(2), b""))
    if under is None or under.group(2) != base or under.group(1) not in _PREFIXES:
        raise RefusedError("a unit of a unit")
    return float(measure.group(1)) * _PREFIXES[under.group(1)]


def _name(text: bytes) -> str:
    """As the kernel's reader says it: "millimetre", "INCH"."""
    converted = _CONVERTED.search(text)
    if converted is not None:
        return converted.group(1).decode("latin-1")
    plain = _SI.search(text)
    prefix, base = (plain.group(1), plain.group(2)) if plain else (b"$", b"METRE")
    return ("" if prefix == b"$" else prefix.strip(b".").decode("ascii").lower()) + base.decode("ascii").lower()
