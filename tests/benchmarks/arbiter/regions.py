"""Trimmed regions, found from the directions of their loops, as strips between lines of constant u."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tests.benchmarks.arbiter.surfaces import Patch


@dataclass(slots=True)
class Chords:
    """Pieces of boundary in (u, v), n of each: from (u0, v0) to (u1, v1), u0 < u1; `ahead` where the loop runs so."""

    u0: np.ndarray
    v0: np.ndarray
    u1: np.ndarray
    v1: np.ndarray
    ahead: np.ndarray


def loop_chords(patch: Patch, lines: list[np.ndarray]) -> np.ndarray:
    """(n, 4) directed chords (u, v, u, v) of lines of points, unwrapped along each chord."""
    found = []
    for points in lines:
        uv, lost = patch.invert(points)
        ends = [uv[:-1], uv[1:]]
        keep = ~(lost[:-1] & lost[1:])
        # u is undefined at a pole: a chord that ends there runs along a line of constant u.
        start, end = ends[0].copy(), ends[1].copy()
        start[lost[:-1], 0] = end[lost[:-1], 0]
        end[lost[1:], 0] = ends[0][lost[1:], 0]
        for axis, period in enumerate(patch.periods):
            if period:
                end[:, axis] -= period * np.round((end[:, axis] - start[:, axis]) / period)
        found.append(np.column_stack([start, end])[keep])
    return np.concatenate(found) if found else np.zeros((0, 4))


def _wrap(chords: np.ndarray, axis: int, low: float, period: float) -> np.ndarray:
    """The chords cut where they pass low + k · period along an axis, and moved into one period."""
    a, b = chords[:, axis], chords[:, axis + 2]
    turn = np.floor((np.minimum(a, b) - low) / period)
    cut = low + (turn + 1) * period
    over = np.maximum(a, b) > cut
    share = np.divide(cut - a, b - a, out=np.zeros_like(a), where=over)
    middle = chords[:, :2] + share[:, None] * (chords[:, 2:] - chords[:, :2])
    middle[:, axis] = cut
    first, second = chords.copy(), chords[over].copy()
    first[over, 2:] = middle[over]
    second[:, :2] = middle[over]
    out = np.concatenate([first, second])
    centre = 0.5 * (out[:, axis] + out[:, axis + 2])
    shift = np.floor((centre - low) / period) * period
    out[:, axis] -= shift
    out[:, axis + 2] -= shift
    return out


@dataclass(slots=True)
class Strips:
    """Trapezoids between two lines of constant u: (n,) each; `bad`, the part of u where the loops do not close."""

    u0: np.ndarray
    u1: np.ndarray
    low0: np.ndarray
    low1: np.ndarray
    high0: np.ndarray
    high1: np.ndarray
    bad: float


def cut_strips(patch: Patch, directed: np.ndarray, level: int) -> Strips:
    """The trimmed region: between each crossing of a line of constant u where material begins and the next."""
    low, high = patch.v_limits
    pu, pv = patch.periods
    u_low = patch.u_limits[0] if math.isfinite(patch.u_limits[0]) else 0.0
    if pu:
        directed = _wrap(directed, 0, u_low, pu)
    if pv:
        directed = _wrap(directed, 1, low, pv)
    ahead = directed[:, 2] > directed[:, 0]
    level_ = directed[:, 2] != directed[:, 0]
    ordered = np.where(ahead[:, None], directed, directed[:, [2, 3, 0, 1]])[level_]
    ahead = ahead[level_]
    events = [ordered[:, 0], ordered[:, 2]]
    if pu:
        events.append(np.array([u_low, u_low + pu]))
    elif not len(directed) and math.isfinite(patch.u_limits[0]):
        events.append(np.array(patch.u_limits))
    line = np.unique(np.concatenate(events))
    if len(line) < 2:
        return Strips(*(np.zeros(0) for _ in range(6)), bad=math.inf)
    if math.isfinite(patch.steps[0]):
        n = max(math.ceil((line[-1] - line[0]) / patch.steps[0] - 1e-9), 1) << level
        line = np.union1d(line, np.linspace(line[0], line[-1], n + 1))
    first, last = np.searchsorted(line, ordered[:, 0]), np.searchsorted(line, ordered[:, 2])
    count = last - first
    chord = np.repeat(np.arange(len(ordered)), count)
    strip = np.arange(len(chord)) - np.repeat(np.cumsum(count) - count - first, count)
    slope = (ordered[:, 3] - ordered[:, 1]) / (ordered[:, 2] - ordered[:, 0])
    v0 = ordered[chord, 1] + (line[strip] - ordered[chord, 0]) * slope[chord]
    v1 = ordered[chord, 1] + (line[strip + 1] - ordered[chord, 0]) * slope[chord]
    order = np.lexsort((v0 + v1, strip))
    strip, v0, v1, enters = strip[order], v0[order], v1[order], ahead[chord[order]]
    n_strips = len(line) - 1
    n_crossings = np.bincount(strip, minlength=n_strips)
    begin = np.cumsum(n_crossings) - n_crossings
    width = np.diff(line)
    base = _material_at_bottom(patch, directed, line, strip, v0 + v1, enters, n_crossings, begin, width)
    odd = (n_crossings + base) % 2 == 1
    bad = odd & ~np.isfinite(high)
    if pv:
        bad = n_crossings % 2 == 1
    number = np.arange(len(strip)) - begin[strip]
    inside = (number + base[strip]) % 2 == 0
    final = number == n_crossings[strip] - 1
    onward = np.minimum(np.arange(len(strip)) + 1, max(len(strip) - 1, 0))
    high0, high1 = np.where(final, high, v0[onward]), np.where(final, high, v1[onward])
    keep = inside & ~bad[strip]
    start = np.flatnonzero((base == 1) & ~bad)
    nothing = n_crossings[start] == 0
    at = np.minimum(begin[start], max(len(strip) - 1, 0))
    top0 = np.where(nothing, high, v0[at] if len(strip) else high)
    top1 = np.where(nothing, high, v1[at] if len(strip) else high)
    bottom = np.full(len(start), low)
    return Strips(
        u0=np.append(line[strip[keep]], line[start]),
        u1=np.append(line[strip[keep] + 1], line[start + 1]),
        low0=np.append(v0[keep], bottom),
        low1=np.append(v1[keep], bottom),
        high0=np.append(high0[keep], top0),
        high1=np.append(high1[keep], top1),
        bad=float(width[bad].sum() / (line[-1] - line[0])),
    )


def _material_at_bottom(
    patch: Patch,
    directed: np.ndarray,
    line: np.ndarray,
    strip: np.ndarray,
    twice_v: np.ndarray,
    enters: np.ndarray,
    n_crossings: np.ndarray,
    begin: np.ndarray,
    width: np.ndarray,
) -> np.ndarray:
    """(strips,) int: 1 where the lowest v of a strip lies in the material."""
    low, high = patch.v_limits
    if not math.isfinite(low):
        return np.zeros(len(width), int)
    if not math.isfinite(high):
        return n_crossings % 2
    # Material lies to the left of a loop: a crossing towards larger u lets it begin.
    step = np.where(enters, 1, -1)
    total = np.cumsum(step)
    depth = (
        total - np.where(n_crossings > 0, total[np.maximum(begin - 1, 0)] * (begin > 0), 0)[strip]
        if len(strip)
        else total
    )
    above = np.empty_like(twice_v)
    final = np.arange(len(strip)) == (begin + n_crossings)[strip] - 1
    above[:-1] = twice_v[1:]
    above[final] = 2 * high
    wrong = [np.zeros(len(width)) for _ in range(2)]
    for base in range(2):
        outside = (depth + base < 0) | (depth + base > 1)
        wrong[base] = np.bincount(strip, outside * (above - twice_v + 1e-3 * (high - low)), len(width))
    found = (wrong[1] < wrong[0]).astype(int)
    for row in np.flatnonzero(n_crossings == 0).tolist():
        found[row] = _material_beside(directed, 0.5 * (line[row] + line[row + 1]), patch)
    return found


def _material_beside(directed: np.ndarray, u: float, patch: Patch) -> int:
    """1 where a line of constant u that no loop crosses lies in the material, as the next loop along u tells."""
    low, high = patch.v_limits
    votes = 0
    for v in np.linspace(low, high, 9)[1:-1] + 1e-4 * (high - low):
        a, b = directed[:, 1] > v, directed[:, 3] > v
        over = np.flatnonzero(a != b)
        if not len(over):
            continue
        share = (v - directed[over, 1]) / (directed[over, 3] - directed[over, 1])
        away = directed[over, 0] + share * (directed[over, 2] - directed[over, 0]) - u
        if patch.periods[0]:
            away %= patch.periods[0]
        behind = bool((away < 0).all())
        nearest = np.where((away < 0) == behind, np.abs(away), np.inf).argmin()
        votes += 1 if b[over[nearest]] != behind else -1  # of a loop that runs upwards, the material is to the left
    return int(votes > 0) if len(directed) else 1
