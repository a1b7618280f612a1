"""What a file consists of: its bodies, and the tables of each."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from dflow.cadaccess.geometry.tables import ShapeTables, build_tables
from dflow.cadaccess.kernel import exploration
from dflow.cadaccess.kernel.bintools import ShapeCode
from dflow.cadaccess.kernel.exploration import Node, Places


class Bodies(Protocol):
    """A file's bodies: solids, and shells and faces that belong to none, in the kernel's order."""

    @property
    def count(self) -> int:
        """Number of bodies."""

    def tables(self, body: int | None) -> ShapeTables:
        """Return the tables of one body, or of the whole file."""

    def is_alone(self, body: int) -> bool:
        """Return whether the whole file is this one body."""


@dataclass(slots=True)
class CodedBodies:
    """The bodies of a shape that the kernel wrote out."""

    code: ShapeCode
    places: Places
    _nodes: list[Node] = field(init=False)

    def __post_init__(self) -> None:
        self._nodes = exploration.find_bodies(self.code, self.places)

    @property
    def count(self) -> int:
        """Number of bodies."""
        return len(self._nodes)

    def tables(self, body: int | None) -> ShapeTables:
        """Return the tables of one body, or of the whole file."""
        root = exploration.root_node(self.code, self.places) if body is None else self._nodes[body]
        return build_tables(self.code, self.places, root)

    def is_alone(self, body: int) -> bool:
        """Return whether the whole file is this one body."""
        return exploration.is_nothing_but(self.code, self._nodes[body])


@dataclass(frozen=True, slots=True)
class Solids:
    """The bodies of a file that consists of solids, each with faces of its own."""

    whole: ShapeTables

    @property
    def count(self) -> int:
        """Number of bodies."""
        return self.whole.n_solids

    def tables(self, body: int | None) -> ShapeTables:
        """Return the tables of one solid, or of the whole file."""
        return self.whole if body is None else select_solid(self.whole, body)

    def is_alone(self, body: int) -> bool:
        """Return whether the whole file is this one solid."""
        return self.whole.n_solids == 1 and body == 0


def solid_faces(tables: ShapeTables, solid: int) -> np.ndarray:
    """(n,) int64: the rows of a solid's faces, in order."""
    return np.unique(tables.shell_face[tables.shell_solid == solid])


def select_solid(tables: ShapeTables, solid: int) -> ShapeTables:
    """The tables of one solid; its edges and vertices are numbered anew in the order of their first use."""
    members = tables.shell_solid == solid
    faces = solid_faces(tables, solid)
    face_rank = np.full(tables.n_faces, -1, np.int32)
    face_rank[faces] = np.arange(len(faces))
    uses = np.flatnonzero(face_rank[tables.use_face] >= 0)
    edges, use_edge = _by_first_use(tables.use_edge[uses])
    ends = tables.edge_vertices[edges]
    vertices, vertex_rank = _by_first_use(ends[ends >= 0])
    new_ends = np.full_like(ends, -1)
    new_ends[ends >= 0] = vertex_rank
    shells, shell_row = np.unique(tables.shell_row[members], return_inverse=True)
    return replace(
        tables,
        faces=tables.faces.take(faces),
        face_reversed=tables.face_reversed[faces],
        face_natural=tables.face_natural[faces],
        face_loops=tables.face_loops[faces],
        face_named=tables.face_named[faces],
        face_v_start=tables.face_v_start[faces],
        edges=tables.edges.take(edges),
        edge_degenerate=tables.edge_degenerate[edges],
        edge_vertices=new_ends,
        use_face=face_rank[tables.use_face[uses]],
        use_edge=use_edge.astype(np.int32),
        use_loop=np.unique(tables.use_loop[uses], return_inverse=True)[1].astype(np.int32),
        use_forward=tables.use_forward[uses],
        use_boundary=tables.use_boundary[uses],
        use_curves=tables.use_curves.take(uses),
        points=tables.points[vertices],
        shell_face=face_rank[tables.shell_face[members]],
        shell_reversed=tables.shell_reversed[members],
        shell_row=shell_row.astype(np.int32),
        shell_solid=np.zeros(int(members.sum()), np.int32),
        n_shells=len(shells),
        n_solids=1,
    )


def _by_first_use(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct values in the order of their first appearance, and each value's place among them."""
    distinct, first, place = np.unique(values, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return distinct[order], np.argsort(order)[place]
