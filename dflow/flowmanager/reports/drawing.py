"""Drawings of a flow, made by matplotlib without Graphviz."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from dflow.flowmanager.plan.wiring import FLOW_INPUT, Plan
from dflow.flowmanager.reports.flowoutput import FlowOutput
from dflow.localpath import local_path

_COLOURS = {"extract": "#d6eaf8", "transform": "#d5f5e3", "custom": "#fdebd0", "export": "#e8daef", "data": "#f4f6f7"}


@dataclass(frozen=True, slots=True)
class Box:
    """A box of a drawing: its column (left to right), row, text and kind, which determines the colour."""

    column: int
    row: int
    text: str
    kind: str


class FlowDrawing:
    """A drawing of boxes and arrows, which a notebook displays; `svg` is its text, `save` writes it to a file."""

    def __init__(self, boxes: Sequence[Box], arrows: Sequence[tuple[int, int]], title: str) -> None:
        self.boxes = tuple(boxes)
        self.arrows = tuple(arrows)
        self.title = title

    @property
    def svg(self) -> str:
        """The drawing as SVG."""
        buffer = io.BytesIO()
        self._write(buffer, format="svg")
        return buffer.getvalue().decode("utf-8")

    def save(self, filename: str | os.PathLike[str]) -> None:
        """Write the drawing; the suffix gives the format."""
        self._write(local_path(filename), dpi=144)

    def _write(self, target: Any, **settings: Any) -> None:
        # An SVG keeps text as text, so that its viewer finds a font for names in any script; matplotlib's font lacks
        # many letters, and each gives a warning.
        with rc_context({"svg.fonttype": "none"}), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
            self._figure().savefig(target, bbox_inches="tight", **settings)

    def _repr_svg_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return f"FlowDrawing({self.title!r}, {len(self.boxes)} boxes)"

    def _figure(self) -> Figure:
        columns = 1 + max(box.column for box in self.boxes)
        rows = 1 + max(box.row for box in self.boxes)
        figure = Figure(figsize=(2.4 * columns, 0.5 + 0.7 * rows))
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set_xlim(-0.6, columns - 0.4)
        axes.set_ylim(rows - 0.4, -0.8)
        axes.set_title(self.title, loc="left", fontsize=9, parse_math=False)
        for begin, end in self.arrows:
            _draw_arrow(axes, self.boxes[begin], self.boxes[end])
        for box in self.boxes:
            _draw_box(axes, box)
        return figure


def draw_plan(plan: Plan) -> FlowDrawing:
    """Draw inputs and tasks, with an arrow per value that is handed on."""
    boxes = [Box(0, row, key, "data") for row, key in enumerate(plan.input_keys)]
    arrows: list[tuple[int, int]] = []
    first = len(boxes)
    for step in plan.steps:
        boxes.append(Box(step.index + 1, 0, f"{step.task.name}\n{step.task.kind}", step.task.kind))
        for source in (step.item, *(source for _, source in step.extras)):
            begin = plan.input_keys.index(source.key) if source.step == FLOW_INPUT else first + source.step
            arrows.append((begin, len(boxes) - 1))
    return FlowDrawing(boxes, arrows, " -> ".join(step.task.name for step in plan.steps))


def draw_batches(output: FlowOutput, most: int = 6) -> FlowDrawing:
    """Draw the nodes that Dask worked through: at most `most` batches of every task, and the number of the others."""
    boxes: list[Box] = []
    arrows: list[tuple[int, int]] = []
    earlier: list[int] = []
    for column, (kind, labels) in enumerate(_columns(output, most)):
        places = [len(boxes) + number for number in range(len(labels))]
        boxes += [Box(column, row, label, kind) for row, label in enumerate(labels)]
        chained = kind == "transform" and len(earlier) == len(places) and boxes[earlier[0]].kind == "transform"
        if chained:
            arrows += list(zip(earlier, places, strict=True))
        else:
            arrows += [(begin, end) for begin in earlier for end in places]
        earlier = places
    return FlowDrawing(boxes, arrows, f"{output.flow_name}: {output.counts.submitted} files")


def _columns(output: FlowOutput, most: int) -> list[tuple[str, list[str]]]:
    columns = []
    for task in output.task_instances:
        count = task.n_nodes
        labels = [f"{task.name}-{number:06d}" for number in range(min(count, most))]
        if count > most:
            labels.append(f"... {count - most} more")
        columns.append((task.kind, labels or [f"{task.name}\n(reused)"]))
    return columns


def _draw_box(axes: object, box: Box) -> None:
    patch = FancyBboxPatch(
        (box.column - 0.36, box.row - 0.24),
        0.72,
        0.48,
        boxstyle="round,pad=0.02",
        facecolor=_COLOURS.get(box.kind, "white"),
        edgecolor="#566573",
        linewidth=0.8,
    )
    axes.add_patch(patch)  # type: ignore[attr-defined]  # matplotlib's Axes
    axes.text(  # type: ignore[attr-defined]
        box.column, box.row, box.text, ha="center", va="center", fontsize=8, parse_math=False
    )


def _draw_arrow(axes: object, begin: Box, end: Box) -> None:
    axes.annotate(  # type: ignore[attr-defined]
        "",
        xy=(end.column - 0.39, end.row),
        xytext=(begin.column + 0.39, begin.row),
        arrowprops={"arrowstyle": "->", "color": "#808b96", "linewidth": 0.8},
    )
