"""The STEP reader: a file's text as `ShapeTables`, without the kernel."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dflow.cadaccess.files.part21 import Instances, RefusedError, scan
from dflow.cadaccess.files.units import find_units
from dflow.cadaccess.geometry import tables as shape_tables
from dflow.cadaccess.geometry.curves import CurveTable
from dflow.cadaccess.geometry.tables import ShapeTables
from dflow.cadaccess.kernel.bintools import LINE
from dflow.cadaccess.step import pcurves
from dflow.cadaccess.step.geometric_items import Geometry, build_geometry
from dflow.cadaccess.step.pcurves import Pole, Uses
from dflow.cadaccess.step.traversal import Rows, Traversal


@dataclass(frozen=True, slots=True)
class TextShape:
    """A STEP file as tables, with its faces' instance numbers and the name of its length unit."""

    tables: ShapeTables
    face_ids: list[bytes]
    unit: str


def read_step(content: bytes) -> TextShape:
    """Return the tables of a STEP file.

    Raises
    ------
    RefusedError
        The file has something that only the kernel can read.
    """
    try:
        instances = scan(content)
        context, solids = _find_solids(instances)
        traversal = Traversal(instances)
        for solid in solids:
            traversal.solid(solid)
        units = find_units(instances, context)
        if not units.angle:
            raise RefusedError("a representation without a unit of angle")
        geometry = build_geometry(traversal, units)
        return TextShape(_assemble(traversal.rows, geometry), traversal.rows.face_ids, units.name)
    except (KeyError, ValueError, IndexError) as error:
        raise RefusedError(f"a statement of unexpected form ({error})") from error


def _find_solids(instances: Instances) -> tuple[bytes, list[bytes]]:
    """The context and the solids of the file's one product, in its representation or in one that stands for it."""
    definitions = instances.find(b"SHAPE_DEFINITION_REPRESENTATION(")
    if len(definitions) != 1:
        raise RefusedError("not exactly one product with a shape")
    shapes = [instances.bodies[definitions[0]][:-1].rsplit(b",", 1)[1]]
    for relation in instances.find(b"SHAPE_REPRESENTATION_RELATIONSHIP("):
        _, one, other = instances.bodies[relation][:-1].rsplit(b",", 2)
        if one != shapes[0]:
            raise RefusedError("representations that are related in a chain")
        shapes.append(other)
    solids: list[bytes] = []
    contexts = set()
    for shape in shapes:
        if instances.keyword(shape) not in (b"ADVANCED_BREP_SHAPE_REPRESENTATION", b"SHAPE_REPRESENTATION"):
            raise instances.mismatch(shape, b"ADVANCED_BREP_SHAPE_REPRESENTATION")
        head, context = instances.bodies[shape][:-1].rsplit(b",", 1)
        contexts.add(context)
        solids += _solids_of(instances, head[head.rindex(b"(") + 1 : -1].split(b","))
    if len(contexts) != 1:
        raise RefusedError("representations in different contexts")
    others = instances.find(b"ADVANCED_BREP_SHAPE_REPRESENTATION(")
    n_solids = len(instances.find(b"MANIFOLD_SOLID_BREP(")) + len(instances.find(b"BREP_WITH_VOIDS("))
    solids = list(dict.fromkeys(solids))  # one solid in two representations of the product is one
    if not solids or n_solids != len(solids) or not set(others) <= set(shapes):
        raise RefusedError("solids outside the product's representation")
    return contexts.pop(), solids


def _solids_of(instances: Instances, items: list[bytes]) -> list[bytes]:
    """The solids among a representation's items; its placements must leave them where they are."""
    solids = [item for item in items if instances.keyword(item) in (b"MANIFOLD_SOLID_BREP", b"BREP_WITH_VOIDS")]
    for item in items:
        if item in solids:
            continue
        _, point, axis, across = instances.expect(item, b"AXIS2_PLACEMENT_3D(")[:-1].rsplit(b",", 3)
        if solids and not _is_origin(
            _numbers(instances, point), _numbers(instances, axis), _numbers(instances, across)
        ):
            raise RefusedError("a representation with a placement of its own")
    return solids


def _numbers(instances: Instances, reference: bytes) -> list[float]:
    """The three coordinates of a point or direction; none where it is left out."""
    if reference == b"$":
        return []
    text = instances.bodies.get(reference, b"")
    return list(map(float, text[text.rindex(b"(") + 1 : -2].split(b",")))


def _is_origin(point: list[float], axis: list[float], across: list[float]) -> bool:
    """Return whether a placement is the origin with the axes of space; a direction that is left out is its axis."""
    upright = not axis or (axis[:2] == [0.0, 0.0] and axis[2] > 0)
    return point == [0.0, 0.0, 0.0] and upright and (not across or (across[0] > 0 and across[1] == 0.0))


def _assemble(rows: Rows, geometry: Geometry) -> ShapeTables:
    uses, face_loops = _uses(rows)
    use_curves, poles = pcurves.trace(geometry, uses)
    members = np.array(
        [
            (face, forward == outward, shell, solid)
            for solid, shells in enumerate(rows.solids)
            for outward, shell in shells
            for face, forward in rows.shells[shell]
        ],
        np.int32,
    ).reshape(-1, 4)
    face_reversed = np.empty(len(rows.face_kinds), bool)
    face_reversed[members[:, 0]] = members[:, 1] == 0
    n_edges = len(rows.edge_kinds)
    flat = np.flatnonzero(use_curves.kind == 0)
    shape_tables.project_on_planes(use_curves, flat, geometry.faces, uses.face[flat], geometry.edges, uses.edge[flat])
    tables = ShapeTables(
        faces=geometry.faces,
        face_reversed=face_reversed,
        face_natural=np.zeros(len(rows.face_kinds), bool),
        face_loops=face_loops,
        face_named=geometry.face_named,
        face_v_start=geometry.face_v_start,
        edges=geometry.edges,
        edge_degenerate=np.zeros(n_edges, bool),
        edge_vertices=geometry.edge_vertices.astype(np.int32),
        use_face=uses.face,
        use_edge=uses.edge,
        use_loop=uses.loop,
        use_forward=uses.forward,
        use_boundary=np.ones(len(uses.face), bool),
        use_curves=use_curves,
        points=geometry.points,
        shell_face=members[:, 0],
        shell_reversed=members[:, 1] == 0,
        shell_row=members[:, 2],
        shell_solid=members[:, 3],
        n_shells=len(rows.shells),
        n_solids=len(rows.solids),
    )
    return _insert_poles(tables, poles) if poles else tables


def _uses(rows: Rows) -> tuple[Uses, np.ndarray]:
    flat: list[tuple[int, int, int, bool]] = []
    loop = 0
    for face, loops in enumerate(rows.face_loops):
        for along, uses in loops:
            flat += [(face, edge, loop, forward == along) for edge, forward in uses]
            loop += 1
    table = np.array(flat, np.int32).reshape(-1, 4)
    counts = np.array([len(loops) for loops in rows.face_loops], np.int32)
    forward = (table[:, 3] != 0) == np.array(rows.edge_forward, bool)[table[:, 1]]
    return Uses(table[:, 0], table[:, 1], table[:, 2], forward), counts


def _insert_poles(tables: ShapeTables, poles: list[Pole]) -> ShapeTables:
    """The tables with an edge without length at every pole, in the order of the first visit."""
    n_edges, n_uses = len(tables.edge_degenerate), len(tables.use_face)
    before = np.array([pole.before_use for pole in poles], np.intp)
    first_use = np.full(n_edges, n_uses)
    np.minimum.at(first_use, tables.use_edge, np.arange(n_uses))
    edge_order = np.argsort(np.append(first_use, before - 0.5), kind="stable")
    use_order = np.argsort(np.append(np.arange(n_uses), before - 0.5), kind="stable")
    rank = np.argsort(edge_order)
    vertex = np.array([pole.vertex for pole in poles], np.int32)
    ends = np.concatenate([tables.edge_vertices, np.stack([vertex, vertex], axis=1)])[edge_order]
    first_edge = np.full(len(tables.points), len(ends))
    np.minimum.at(first_edge, ends, np.arange(len(ends))[:, None])
    vertex_order = np.argsort(first_edge, kind="stable")
    vertex_rank = np.argsort(vertex_order).astype(np.int32)
    n = len(poles)

    def use_rows(column: np.ndarray, more: np.ndarray) -> np.ndarray:
        return np.concatenate([column, more.astype(column.dtype)])[use_order]

    return replace(
        tables,
        edges=_extend(tables.edges, n, edge_order),
        edge_degenerate=np.append(tables.edge_degenerate, np.ones(n, bool))[edge_order],
        edge_vertices=vertex_rank[ends],
        points=tables.points[vertex_order],
        use_face=use_rows(tables.use_face, tables.use_face[before]),
        use_edge=rank[use_rows(tables.use_edge, n_edges + np.arange(n))].astype(np.int32),
        use_loop=use_rows(tables.use_loop, tables.use_loop[before]),
        use_forward=use_rows(tables.use_forward, np.ones(n, bool)),
        use_boundary=np.ones(n_uses + n, bool),
        use_curves=_with_poles(_extend(tables.use_curves, n, use_order), np.flatnonzero(use_order >= n_uses), poles),
    )


def _extend(table: CurveTable, n: int, order: np.ndarray) -> CurveTable:
    """The table with n empty rows behind, in another order."""
    kind, origin, x, y, radii, first, last = (
        np.concatenate([column, np.zeros((n, *column.shape[1:]), column.dtype)])
        for column in (table.kind, table.origin, table.x, table.y, table.radii, table.first, table.last)
    )
    return CurveTable(kind, origin, x, y, radii, first, last, table.splines).take(order)


def _with_poles(table: CurveTable, rows: np.ndarray, poles: list[Pole]) -> CurveTable:
    """Fill in the poles' lines, which run as the loop does."""
    for row, pole in zip(rows.tolist(), sorted(poles, key=lambda pole: pole.before_use), strict=True):
        table.kind[row] = LINE
        table.origin[row], table.x[row] = pole.start, (np.sign(pole.reach), 0.0)
        table.last[row] = abs(pole.reach)
    return table
