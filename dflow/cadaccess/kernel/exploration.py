"""Traversal of a parsed shape in the kernel's order: its faces, edges and loops, and how they are connected.

Order and identity are the kernel's: faces and edges come in the order of ``TopExp::MapShapes`` (depth first, first
visit counts), and two sub-shapes are the same when they share shape and location, whatever their orientation
(``IsSame``).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from dflow.cadaccess.kernel import bintools
from dflow.cadaccess.kernel.bintools import (
    EDGE,
    FACE,
    FORWARD,
    INTERNAL,
    REVERSED,
    SHELL,
    SOLID,
    VERTEX,
    WIRE,
    ShapeCode,
)

Node = tuple[int, int, int]
"""A sub-shape in place: (orientation, index in the code, composed location)."""

# TopAbs::Compose: an orientation as seen from outside its parent, [parent][child].
_COMPOSE = ((0, 1, 2, 3), (1, 0, 2, 3), (2, 2, 2, 2), (3, 3, 3, 3))


@dataclass(slots=True)
class Exploration:
    """The result of a traversal; every list is in the kernel's map order.

    `faces` and `edges` hold nodes; `uses` one row per edge use in a face: (face, edge, loop, orientation in the face
    taken forward); `vertices` of each edge are (first, last) ids along the curve, -1 where missing; `loops_of_face`
    counts wires;
    `shells` are nodes with their faces' (row, orientation) and the row of their solid, -1 for a free shell; `solids`
    are nodes.
    """

    faces: list[Node] = field(default_factory=list)
    edges: list[Node] = field(default_factory=list)
    uses: list[tuple[int, int, int, int]] = field(default_factory=list)
    vertices: list[tuple[int, int]] = field(default_factory=list)
    loops_of_face: list[int] = field(default_factory=list)
    n_vertices: int = 0
    vertex_nodes: list[Node] = field(default_factory=list)
    shells: list[tuple[Node, list[tuple[int, int]], int]] = field(default_factory=list)
    solids: list[Node] = field(default_factory=list)


class Places:
    """Composed locations of one shape, interned: equal chains of datums get equal small integers; 0 is the identity."""

    def __init__(self, code: ShapeCode) -> None:
        self._code = code
        self._ids: dict[tuple[tuple[int, int], ...], int] = {(): 0}
        self.chains: list[tuple[tuple[int, int], ...]] = [()]
        self._products: dict[tuple[int, int], int] = {}
        self._matrices: dict[int, np.ndarray | None] = {0: None}

    def matrix(self, place: int) -> np.ndarray | None:
        """(3, 4) float64 of a composed location, None for the identity."""
        if place not in self._matrices:
            total = np.eye(4)
            for datum, power in self.chains[place]:
                step = np.vstack([self._code.datums[datum], [0.0, 0.0, 0.0, 1.0]])
                total = total @ np.linalg.matrix_power(step, power)
            self._matrices[place] = total[:3]
        return self._matrices[place]

    def compose(self, place: int, location: int) -> int:
        """The place of a child with the code's `location` inside a parent at `place`."""
        if location == 0:
            return place
        key = (place, location)
        known = self._products.get(key)
        if known is None:
            chain = bintools.multiply(self.chains[place], self._code.locations[location])
            known = self._ids.setdefault(chain, len(self.chains))
            if known == len(self.chains):
                self.chains.append(chain)
            self._products[key] = known
        return known


class Explorer:
    """The state of a traversal of one root; see `explore`."""

    def __init__(self, code: ShapeCode, places: Places) -> None:
        self.code = code
        self.places = places
        self.found = Exploration()
        self._faces: dict[tuple[int, int], int] = {}
        self._edges: dict[tuple[int, int], int] = {}
        self._vertices: dict[tuple[int, int], int] = {}
        self._solids: set[tuple[int, int]] = set()
        self._n_loops = 0

    def walk(self, node: Node, faces: list[tuple[int, int]] | None = None, solid: int = -1) -> None:
        """Visit `node` and all below it; `faces` collects (face row, orientation) of the shell around, in `solid`."""
        orientation, index, place = node
        kind = self.code.types[index]
        if kind == FACE:
            row = self._visit_face(node)
            if faces is not None:
                faces.append((row, orientation))
            return
        if kind == EDGE:
            self._visit_edge(index, place, orientation)
            return
        if kind == VERTEX:
            return
        if kind == SOLID:
            if (index, place) in self._solids:
                return
            self._solids.add((index, place))
            solid = len(self.found.solids)
            self.found.solids.append(node)
        if kind == SHELL:
            faces = []
            self.found.shells.append((node, faces, solid))
        row_of = _COMPOSE[orientation]
        for o, i, location in self.code.children[index]:
            self.walk((row_of[o], i, self.places.compose(place, location)), faces, solid)

    def _visit_face(self, node: Node) -> int:
        _, index, place = node
        row = self._faces.get((index, place))
        if row is not None:
            return row
        row = self._faces[(index, place)] = len(self.found.faces)
        self.found.faces.append(node)
        first_loop = self._n_loops
        for o, i, location in self.code.children[index]:
            if self.code.types[i] == WIRE:
                self._visit_loop(row, o, i, self.places.compose(place, location))
        self.found.loops_of_face.append(self._n_loops - first_loop)
        return row

    def _visit_loop(self, face: int, orientation: int, wire: int, place: int) -> None:
        loop = self._n_loops
        self._n_loops += 1
        row_of = _COMPOSE[orientation]
        uses, edges, compose = self.found.uses, self._edges, self.places.compose
        for o, i, location in self.code.children[wire]:
            at = compose(place, location) if location else place
            edge = edges.get((i, at))
            if edge is None:
                edge = self._visit_edge(i, at, row_of[o])
            uses.append((face, edge, loop, row_of[o]))

    def _visit_edge(self, index: int, place: int, orientation: int) -> int:
        row = self._edges.get((index, place))
        if row is not None:
            return row
        row = self._edges[(index, place)] = len(self.found.edges)
        self.found.edges.append((orientation, index, place))
        first = last = -1
        for o, i, location in self.code.children[index]:
            vertex = self._visit_vertex(i, self.places.compose(place, location) if location else place)
            if o == FORWARD:
                first = vertex
            elif o == REVERSED:
                last = vertex
        self.found.vertices.append((first, last))
        return row

    def _visit_vertex(self, index: int, place: int) -> int:
        key = (index, place)
        row = self._vertices.get(key)
        if row is None:
            row = self._vertices[key] = len(self.found.vertex_nodes)
            self.found.vertex_nodes.append((INTERNAL, index, place))
        return row


def explore(code: ShapeCode, places: Places, root: Node) -> Exploration:
    """Everything below `root`, whose location is already composed."""
    explorer = Explorer(code, places)
    explorer.walk(root)
    explorer.found.n_vertices = len(explorer.found.vertex_nodes)
    return explorer.found


def root_node(code: ShapeCode, places: Places) -> Node:
    """The whole shape."""
    orientation, index, location = code.root
    return orientation, index, places.compose(0, location)


def find_bodies(code: ShapeCode, places: Places) -> list[Node]:
    """The bodies of a shape, in the kernel's order: solids; then shells and faces that belong to no solid.

    A shape with none of these (wires, edges, points) has no body.
    """
    found: dict[int, list[Node]] = {SOLID: [], SHELL: [], FACE: []}
    seen: set[tuple[int, int]] = set()
    stack = [root_node(code, places)]
    while stack:
        node = stack.pop()
        orientation, index, place = node
        kind = code.types[index]
        if kind in found:
            if (index, place) not in seen:
                seen.add((index, place))
                found[kind].append(node)
            continue
        if kind < FACE:
            row_of = _COMPOSE[orientation]
            stack.extend(
                (row_of[o], i, places.compose(place, location)) for o, i, location in reversed(code.children[index])
            )
    return found[SOLID] + found[SHELL] + found[FACE]


def is_nothing_but(code: ShapeCode, body: Node) -> bool:
    """Return whether the whole shape is this one body, perhaps in compounds of its own."""
    _, index, _ = code.root
    while index != body[1]:
        if code.types[index] >= code.types[body[1]] or len(code.children[index]) != 1:
            return False
        index = code.children[index][0][1]
    return True
