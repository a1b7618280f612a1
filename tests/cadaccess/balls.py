"""Parts of a ball, written statement by statement, on a sphere whose axis and seam may lie anywhere."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.cadaccess.statements import Statements

RADIUS = 2.0
CENTRE = np.array([1.0, 2.0, 3.0])
VOLUME = 4 / 3 * np.pi * RADIUS**3
AREA = 4 * np.pi * RADIUS**2

X, Y, Z = np.eye(3)
AXES = {
    "up": (Z, X),
    "up, turned": (Z, -X),
    "down": (-Z, Y),
    "along x": (X, Y),
    "against y": (-Y, -X),
    "in a vertical plane": (np.array([1.0, 1.0, 0.0]), Z),
    "in an edge": (np.array([1.0, 0.0, 1.0]), Y),
    "aslant": (np.array([1.0, 2.0, 3.0]), np.array([3.0, 0.0, -1.0])),
}

Uses = list[tuple[str, bool]]


def along(edges: list[str]) -> Uses:
    return [(edge, True) for edge in edges]


def against(edges: list[str]) -> Uses:
    return [(edge, False) for edge in edges[::-1]]


@dataclass(frozen=True, slots=True)
class Part:
    """A solid, its volume in mm³, and the area of its curved face in mm²."""

    solid: str
    volume: float
    area: float


class Ball:
    """A file with parts of a ball.

    Parameters
    ----------
    axes : a name among `AXES`; split : edges an arc is cut into; revolved : whether the sphere is a half circle that is
        turned about the axis.
    """

    def __init__(self, axes: str = "up", split: int = 1, *, revolved: bool = False) -> None:
        self.made = Statements()
        self.axes, self.split, self.revolved = AXES[axes], split, revolved
        self.vertices: dict[tuple[float, ...], str] = {}

    def sphere(self) -> str:
        z, x = (part / np.linalg.norm(part) for part in self.axes)
        if not self.revolved:
            return self.made.add(f"SPHERICAL_SURFACE('',{self.made.place(CENTRE, z, x)},{RADIUS})")
        circle = self.made.circle(RADIUS, CENTRE, np.cross(x, z), x)
        ends = ",".join(f"(PARAMETER_VALUE({end!r}))" for end in (-np.pi / 2, np.pi / 2))
        half = self.made.add(f"TRIMMED_CURVE('',{circle},{ends},.T.,.PARAMETER.)")
        axis = self.made.add(f"AXIS1_PLACEMENT('',{self.made.point(CENTRE)},{self.made.direction(z)})")
        return self.made.add(f"SURFACE_OF_REVOLUTION('',{half},{axis})")

    def vertex(self, at: np.ndarray) -> str:
        key = tuple((at.round(9) + 0.0).tolist())
        if key not in self.vertices:
            self.vertices[key] = self.made.vertex(at)
        return self.vertices[key]

    def line(self, start: np.ndarray, end: np.ndarray) -> str:
        way = (end - start) / np.linalg.norm(end - start)
        return self.made.edge(self.vertex(start), self.vertex(end), self.made.line(start, way))

    def arc(self, centre: np.ndarray, radius: float, z: np.ndarray, x: np.ndarray, turn: float) -> list[str]:
        """Edges counter-clockwise about z, from the direction x on."""
        y, circle = np.cross(z, x), self.made.circle(radius, centre, z, x)
        points = [centre + radius * (np.cos(t) * x + np.sin(t) * y) for t in np.linspace(0.0, turn, self.split + 1)]
        return [self.made.edge(self.vertex(a), self.vertex(b), circle) for a, b in itertools.pairwise(points)]

    def flat(self, normal: np.ndarray, uses: Uses, at: np.ndarray = CENTRE) -> str:
        x = np.cross(normal, [0.3, 0.5, 0.8])
        return self.made.face(self.made.add(f"PLANE('',{self.made.place(at, normal, x / np.linalg.norm(x))})"), uses)

    def octant(self, *, rest: bool = False, forward: bool = True) -> Part:
        """An eighth of the ball, or the `rest` of it; `forward` : the flag of its curved face."""
        tips = [CENTRE + RADIUS * axis for axis in np.eye(3)]
        spokes = [self.line(CENTRE, tip) for tip in tips]
        arcs = [self.arc(CENTRE, RADIUS, np.eye(3)[(i + 2) % 3], np.eye(3)[i], np.pi / 2) for i in range(3)]
        flats = []
        for i, arc in enumerate(arcs):
            j, normal = (i + 1) % 3, np.eye(3)[(i + 2) % 3]
            if rest:
                flats.append(self.flat(normal, [(spokes[i], True), *along(arc), (spokes[j], False)]))
            else:
                flats.append(self.flat(-normal, [(spokes[j], True), *against(arc), (spokes[i], False)]))
        around = arcs[0] + arcs[1] + arcs[2]
        curved = self.made.face(self.sphere(), against(around) if rest else along(around), forward=forward)
        share = 7 / 8 if rest else 1 / 8
        return Part(self.made.solid(curved, *flats), share * VOLUME, share * AREA)

    def wedge(self, angle: float) -> Part:
        """What lies between two half planes through the z axis."""
        low, high, ends = CENTRE - RADIUS * Z, CENTRE + RADIUS * Z, (X, np.cos(angle) * X + np.sin(angle) * Y)
        axis = self.line(low, high)
        first, last = (self.arc(CENTRE, RADIUS, np.cross(-Z, way), -Z, np.pi) for way in ends)
        flats = (
            self.flat(-Y, [*along(first), (axis, False)]),
            self.flat(np.cross(Z, ends[1]), [(axis, True), *against(last)]),
        )
        share = angle / (2 * np.pi)
        curved = self.made.face(self.sphere(), along(last) + against(first))
        return Part(self.made.solid(curved, *flats), share * VOLUME, share * AREA)

    def without_caps(self, *cuts: tuple[float, Sequence[float]]) -> Part:
        """What planes leave of the ball, each so far from its centre along a direction."""
        loops, flats, volume, area = [], [], VOLUME, AREA
        for far, way in cuts:
            z = np.array(way) / np.linalg.norm(way)
            x = np.cross(z, [0.3, 0.5, 0.8])
            rim = self.arc(CENTRE + far * z, float(np.sqrt(RADIUS**2 - far**2)), z, x / np.linalg.norm(x), 2 * np.pi)
            loops.append(against(rim))
            flats.append(self.flat(z, along(rim), CENTRE + far * z))
            deep = RADIUS - far
            volume -= np.pi * deep**2 * (3 * RADIUS - deep) / 3
            area -= 2 * np.pi * RADIUS * deep
        return Part(self.made.solid(self.made.face(self.sphere(), *loops), *flats), volume, area)

    def write(self, part: Part, path: Path) -> Path:
        return self.made.write(path, part.solid)
