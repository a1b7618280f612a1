"""B-spline curves and surfaces by their text (ISO 10303-42), in the file's unit."""

from __future__ import annotations

import re

import numpy as np

from dflow.cadaccess.shapecode import Spline, SplineSurface
from dflow.cadaccess.steptext.records import Records, RefusedError, parse_reals

_CURVE = re.compile(
    rb"B_SPLINE_CURVE_WITH_KNOTS\('[^']*',(\d+),\(([#\d,]+)\),\.[A-Z_]+\.,\.([TFU])\.,\.[TFU]\.,\(([\d,]+)\),\(([-+.\dE,]+)\),\.[A-Z_]+\.\)"
)
_RATIONAL_CURVE = re.compile(
    rb"\(BOUNDED_CURVE\(\)B_SPLINE_CURVE\((\d+),\(([#\d,]+)\),\.[A-Z_]+\.,\.([TFU])\.,\.[TFU]\.\)"
    rb"B_SPLINE_CURVE_WITH_KNOTS\(\(([\d,]+)\),\(([-+.\dE,]+)\),\.[A-Z_]+\.\)"
    rb"CURVE\(\)GEOMETRIC_REPRESENTATION_ITEM\(\)RATIONAL_B_SPLINE_CURVE\(\(([-+.\dE,]+)\)\)REPRESENTATION_ITEM\('[^']*'\)\)"
)
_SURFACE = re.compile(
    rb"B_SPLINE_SURFACE_WITH_KNOTS\('[^']*',(\d+),(\d+),\(\(([#\d,()]+)\)\),\.[A-Z_]+\.,\.[TFU]\.,\.[TFU]\.,\.[TFU]\.,"
    rb"\(([\d,]+)\),\(([\d,]+)\),\(([-+.\dE,]+)\),\(([-+.\dE,]+)\),\.[A-Z_]+\.\)"
)
_RATIONAL_SURFACE = re.compile(
    rb"\(BOUNDED_SURFACE\(\)B_SPLINE_SURFACE\((\d+),(\d+),\(\(([#\d,()]+)\)\),\.[A-Z_]+\.,\.[TFU]\.,\.[TFU]\.,\.[TFU]\.\)"
    rb"B_SPLINE_SURFACE_WITH_KNOTS\(\(([\d,]+)\),\(([\d,]+)\),\(([-+.\dE,]+)\),\(([-+.\dE,]+)\),\.[A-Z_]+\.\)"
    rb"GEOMETRIC_REPRESENTATION_ITEM\(\)RATIONAL_B_SPLINE_SURFACE\(\(\(([-+.\dE,()]+)\)\)\)"
    rb"REPRESENTATION_ITEM\('[^']*'\)SURFACE\(\)\)"
)


def parse_curve(records: Records, text: bytes) -> Spline:
    """A B-spline curve.

    Raises
    ------
    RefusedError
        It is of another kind, periodic, or its numbers do not fit.
    """
    match = _CURVE.fullmatch(text) or _RATIONAL_CURVE.fullmatch(text)
    if match is None:
        raise RefusedError("a curve that is neither a line, a conic nor a B-spline with knots")
    degree, references, _, times, knots, *weights = match.groups()
    poles = _points(records, references.split(b","))
    flat = _flat_knots(int(degree), times, knots, len(poles))
    ratio = _weights(weights[0], (len(poles),)) if weights else None
    return Spline(int(degree), poles, ratio, flat, False)


def parse_surface(records: Records, text: bytes) -> SplineSurface:
    """A B-spline surface; raises as `parse_curve`."""
    match = _SURFACE.fullmatch(text) or _RATIONAL_SURFACE.fullmatch(text)
    if match is None:
        raise RefusedError("a surface that is neither of the simple kinds nor a B-spline with knots")
    degree_u, degree_v, references, times_u, times_v, knots_u, knots_v, *weights = match.groups()
    rows = [row.split(b",") for row in references.split(b"),(")]
    shape = len(rows), len(rows[0])
    if any(len(row) != shape[1] for row in rows):
        raise RefusedError("a B-spline surface whose rows have different lengths")
    poles = _points(records, [pole for row in rows for pole in row]).reshape(*shape, 3)
    flat_u = _flat_knots(int(degree_u), times_u, knots_u, shape[0])
    flat_v = _flat_knots(int(degree_v), times_v, knots_v, shape[1])
    ratio = _weights(weights[0].replace(b"),(", b","), shape) if weights else None
    return SplineSurface((int(degree_u), int(degree_v)), poles, ratio, flat_u, flat_v)


def _points(records: Records, references: list[bytes]) -> np.ndarray:
    texts = [records.take(r, b"CARTESIAN_POINT(") for r in references]
    return parse_reals([t[t.rindex(b"(") + 1 : -2] for t in texts], 3)


def _flat_knots(degree: int, times: bytes, knots: bytes, n_poles: int) -> np.ndarray:
    counts = np.array(times.split(b","), np.bytes_).astype(np.int64)
    values = parse_reals([knots], knots.count(b",") + 1)[0]
    order = degree + 1
    clamped = counts[0] == order and counts[-1] == order
    sound = len(values) == len(counts) >= 2 and (np.diff(values) > 1e-12).all() and (counts[1:-1] < order).all()
    if not (clamped and sound and counts.sum() == n_poles + order and 2 <= order <= 26):
        raise RefusedError("a B-spline whose knots do not fit its poles, or that is periodic")
    return np.repeat(values, counts)


def _weights(text: bytes, shape: tuple[int, ...]) -> np.ndarray | None:
    """None where all are equal."""
    found = parse_reals([text], text.count(b",") + 1)[0]
    if len(found) != np.prod(shape) or not (found > 0).all():
        raise RefusedError("a rational B-spline with odd weights")
    return None if float(np.ptp(found)) < 1e-15 else found.reshape(shape)
