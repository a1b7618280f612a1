"""The pictures in a run's report, as SVG text: what was done by when, how busy the workers were, how long items took.

Numbers come from ``run.json``; names go through `shown`, for they are untrusted.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from dflow.plaintext import plain

COLORS = ("#2a9d8f", "#457b9d", "#e76f51", "#8d6a9f", "#c9a227", "#6b705c")
WIDTH, LEFT, RIGHT = 900, 150, 20
"""Pixels: of the picture, and of its margins beside the plot."""

ROW = 16
WORKERS_SHOWN = 48
"""More rows than this nobody reads; those that worked longest are shown."""

NAME_LENGTH = 22
SHADES = 4


def shown(text: object) -> str:
    """Any text as HTML that shows it and does nothing else."""
    return html.escape(plain(text), quote=True)


def duration(seconds: float) -> str:
    """``3.2 ms``, ``12.4 s``, ``2 h 05 min``."""
    if seconds < 0.1:
        return f"{1e3 * seconds:.1f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def progress_chart(done: Mapping[str, Sequence[Sequence[float]]], seconds: float) -> str:
    """Each task's share of its own items that was through, by time; `done` holds (seconds, items) by task."""
    height = 170
    lines = [_time_axis(seconds, height)]
    for number, (task, points) in enumerate(done.items()):
        most = max((count for _, count in points), default=0)
        if not most:
            continue
        places = " ".join(f"{_x(at, seconds):.1f},{10 + height * (1 - count / most):.1f}" for at, count in points)
        color = COLORS[number % len(COLORS)]
        lines.append(f'<polyline points="{places}" fill="none" stroke="{color}" stroke-width="2"/>')
        lines.append(_label(f"{_short(task)} {most:,}", 26 + ROW * number, color, task))
    return _picture(lines, max(height, ROW * len(done)) + 40)


def worker_chart(workers: Sequence[Mapping[str, Any]], bin_seconds: float, seconds: float) -> str:
    """A row a worker process: the darker, the busier."""
    longest = sorted(workers, key=lambda worker: -worker["seconds"])[:WORKERS_SHOWN]
    height = ROW * max(1, len(longest))
    lines = [_time_axis(seconds, height)]
    for row, worker in enumerate(longest):
        lines.append(_label(f"{_short(worker['host'], 14)} {worker['pid']}", 22 + ROW * row, "#333", worker["host"]))
        shades = [min(SHADES, round(SHADES * busy / bin_seconds)) for busy in worker["busy_seconds"]]
        for shade, run in groupby(enumerate(shades), key=lambda each: each[1]):
            numbers = [number for number, _ in run]
            begin, end = _x(numbers[0] * bin_seconds, seconds), _x((numbers[-1] + 1) * bin_seconds, seconds)
            if shade and end > begin:
                lines.append(
                    f'<rect x="{begin:.1f}" y="{12 + ROW * row}" width="{end - begin:.1f}" height="{ROW - 4}" '
                    f'fill="{COLORS[1]}" fill-opacity="{shade / SHADES:.2f}"/>'
                )
    return _picture(lines, height + 40)


def histogram_chart(counts: Sequence[int], limits: Sequence[float], color: str = COLORS[0]) -> str:
    """How many items took how long; `counts` has one entry more than `limits`, for what took longer."""
    held = [number for number, count in enumerate(counts) if count]
    first, last = (held[0], held[-1]) if held else (0, 0)
    width, most, height = min(110, (WIDTH - 40) // (last - first + 1)), max(counts, default=0) or 1, 70
    bars = []
    for place, number in enumerate(range(first, last + 1)):
        tall, left = height * counts[number] / most, 20 + place * width
        label = f"≤ {duration(limits[number])}" if number < len(limits) else f"> {duration(limits[-1])}"
        middle = left + width / 2
        bars.append(
            f'<rect x="{left + 2}" y="{20 + height - tall:.1f}" width="{width - 4}" height="{tall:.1f}" '
            f'fill="{color}"/>'
            f'<text x="{middle}" y="{15 + height - tall:.1f}" text-anchor="middle">{counts[number]:,}</text>'
            f'<text x="{middle}" y="{height + 34}" text-anchor="middle">{label}</text>'
        )
    return _picture(bars, height + 42)


def _picture(parts: Sequence[str], height: int) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">{"".join(parts)}</svg>'


def _x(at: float, seconds: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * min(1.0, at / max(seconds, 1e-3))


def _time_axis(seconds: float, height: int) -> str:
    ticks = []
    for quarter in range(5):
        x = _x(seconds * quarter / 4, seconds)
        ticks.append(
            f'<line x1="{x:.1f}" y1="10" x2="{x:.1f}" y2="{10 + height}" stroke="#e3e6ea"/>'
            f'<text x="{x:.1f}" y="{26 + height}" text-anchor="middle">{duration(seconds * quarter / 4)}</text>'
        )
    return "".join(ticks)


def _label(text: str, y: int, color: str, title: str) -> str:
    return f'<text x="6" y="{y}" fill="{color}"><title>{shown(title)}</title>{shown(text)}</text>'


def _short(name: str, length: int = NAME_LENGTH) -> str:
    return name if len(name) <= length else name[: length - 1] + "…"
