"""The factors from a representation's units to mm and radians."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dflow.cadaccess.files.part21 import Instances, RefusedError

_ASSIGNED = re.compile(rb"GLOBAL_UNIT_ASSIGNED_CONTEXT\((?:'(?:[^']|'')*',)*\(([#\d,]+)\)\)")
_SI = re.compile(rb"\bSI_UNIT\((?:\*,)?(\$|\.[A-Z]+\.),\.([A-Z_]+)\.\)")
_CONVERTED = re.compile(rb"\bCONVERSION_BASED_UNIT\((?:[#*\d]+,)?'((?:[^']|'')*)',(#\d+)\)")
_MEASURE = re.compile(rb"MEASURE_WITH_UNIT\((?:[A-Z_]*MEASURE\()?([-+.\dE]+)\)?,(#\d+)\)")

_PREFIXES = {
    b"$": 1.0,
    b".EXA.": 1e18,
    b".PETA.": 1e15,
    b".TERA.": 1e12,
    b".GIGA.": 1e9,
    b".MEGA.": 1e6,
    b".KILO.": 1e3,
    b".HECTO.": 1e2,
    b".DECA.": 1e1,
    b".DECI.": 1e-1,
    b".CENTI.": 1e-2,
    b".MILLI.": 1e-3,
    b".MICRO.": 1e-6,
    b".NANO.": 1e-9,
    b".PICO.": 1e-12,
    b".FEMTO.": 1e-15,
    b".ATTO.": 1e-18,
}

_BASES = {b"LENGTH_UNIT": b"METRE", b"PLANE_ANGLE_UNIT": b"RADIAN"}
"""The quantities that shapes are measured in, and the SI unit of each."""


@dataclass(frozen=True, slots=True)
class Units:
    """`length` : mm in one unit of the file; `angle` : radians in one, 0 where the file states no unit of angle; `name`
    : of the length unit; `references` : the instances of the length unit and of the angle unit.
    """

    length: float
    angle: float
    name: str
    references: tuple[bytes, bytes]


def find_units(instances: Instances, context: bytes) -> Units:
    """The units of a geometric context.

    Raises
    ------
    RefusedError
        No length unit, several that differ, or one that does not lead to an SI unit.
    """
    match = _ASSIGNED.search(instances.bodies.get(context, b""))
    if match is None:
        raise RefusedError("a representation without units")
    found: dict[bytes, tuple[float, bytes]] = {}
    for reference in match.group(1).split(b","):
        quantity = find_quantity(instances, reference)
        if not quantity:
            continue
        factor = _factor(instances, reference, _BASES[quantity])
        if found.setdefault(quantity, (factor, reference))[0] != factor:
            raise RefusedError("a representation with two units of one quantity")
    if b"LENGTH_UNIT" not in found:
        raise RefusedError("a representation without a unit of length")
    length, reference = found[b"LENGTH_UNIT"]
    angle, turned = found.get(b"PLANE_ANGLE_UNIT", (0.0, b""))
    # 1e-3 m times 1e3 is 1 mm to the last digit or not at all.
    length = 1.0 if abs(1000.0 * length - 1.0) < 1e-15 else 1000.0 * length
    return Units(length, angle, _name(instances.bodies[reference]), (reference, turned))


def find_quantity(instances: Instances, reference: bytes) -> bytes:
    """Return what a unit measures: ``b"LENGTH_UNIT"``, ``b"PLANE_ANGLE_UNIT"``, or neither: empty."""
    text = instances.bodies.get(reference, b"")
    for quantity, base in _BASES.items():
        if quantity + b"(" in text:
            return quantity
        if not text.startswith(b"(") and _base(instances, text) == base:  # an instance that names no quantity
            return quantity
    return b""


def _base(instances: Instances, text: bytes) -> bytes:
    try:
        return _resolve(instances, text)[1]
    except RefusedError:
        return b""


def _factor(instances: Instances, reference: bytes, base: bytes) -> float:
    """Return how many of the SI unit `base` one unit is."""
    factor, found = _resolve(instances, instances.bodies.get(reference, b""))
    if found != base or not 0.0 < factor < float("inf"):
        raise RefusedError(f"a unit of {factor:g} {found.decode('latin-1')}")
    return factor


def _resolve(instances: Instances, text: bytes, depth: int = 0) -> tuple[float, bytes]:
    """Return how many of which SI unit a unit is, through as many units defined by units as there are."""
    plain = _SI.search(text)
    if plain is not None and plain.group(1) in _PREFIXES:
        return _PREFIXES[plain.group(1)], plain.group(2)
    converted = _CONVERTED.search(text)
    if converted is None or depth > 20:
        raise RefusedError("a unit that does not lead to an SI unit")
    measure = _MEASURE.search(instances.bodies.get(converted.group(2), b""))
    if measure is None:
        raise RefusedError("a unit whose measure is not understood")
    factor, base = _resolve(instances, instances.bodies.get(measure.group(2), b""), depth + 1)
    try:
        return float(measure.group(1)) * factor, base
    except ValueError as error:
        raise RefusedError("a unit whose measure is no number") from error


def _name(text: bytes) -> str:
    """The unit's name as the kernel's reader gives it: "millimetre", "INCH"."""
    converted = _CONVERTED.search(text)
    if converted is not None:
        return converted.group(1).decode("latin-1")
    plain = _SI.search(text)
    prefix, base = (plain.group(1), plain.group(2)) if plain else (b"$", b"METRE")
    return ("" if prefix == b"$" else prefix.strip(b".").decode("ascii").lower()) + base.decode("ascii").lower()
