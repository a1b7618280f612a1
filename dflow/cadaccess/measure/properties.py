"""Areas, centroids, lengths, angles and bounds: in numpy where there is a table, else by the kernel."""

from __future__ import annotations

import numpy as np

from dflow.cadaccess.geometry import bsplines, curves, surfaces
from dflow.cadaccess.geometry.curves import CurveTable
from dflow.cadaccess.geometry.runs import run_lengths, run_starts
from dflow.cadaccess.geometry.surfaces import axial
from dflow.cadaccess.geometry.tables import ShapeTables
from dflow.cadaccess.kernel import bintools
from dflow.cadaccess.kernel.shape import KernelShape
from dflow.cadaccess.measure import bounding_box, trimming
from dflow.cadaccess.measure.moments import Moments, cone_moments
from dflow.cadaccess.measure.sampling import face_points
from dflow.cadaccess.measure.trimming import Chords


def uv_bounds(tables: ShapeTables, kernel: KernelShape, chords: Chords) -> np.ndarray:
    """(F, 4) float64: u_min, u_max, v_min, v_max of each trimmed face, as ``BRepTools::UVBounds`` gives them.

    Exact but for splines, which count with all poles of their trimmed range.
    """
    known = trimming.evaluable_faces(tables)
    low, high = _loop_bounds(tables, chords)
    _widen_by_splines(tables, low, high, known)
    lowest, highest = surfaces.limits(tables.faces)
    beyond = np.maximum(lowest - low, high - highest).max(axis=1, initial=-np.inf)
    # The kernel tests whether a surface is periodic beyond its bounds before it trims a face there.
    known &= beyond <= 1e-9 * (1.0 + np.maximum(np.abs(low), np.abs(high)).max(axis=1, initial=0.0))
    out = np.empty((tables.n_faces, 4))
    out[:, 0::2], out[:, 1::2] = np.maximum(low, lowest), np.minimum(high, highest)
    for row in np.flatnonzero(~known).tolist():
        out[row] = kernel.uv_bounds(row)
    return out


def _loop_bounds(tables: ShapeTables, chords: Chords) -> tuple[np.ndarray, np.ndarray]:
    """(F, 2) lowest and highest (u, v) over the corners of each face's chords and the extremes of its arcs; 0 without
    chords.
    """
    low, high = np.zeros((tables.n_faces, 2)), np.zeros((tables.n_faces, 2))
    if not len(chords.face):
        return low, high
    begins = run_starts(chords.face)
    low[chords.face[begins]] = np.minimum.reduceat(np.minimum(chords.start, chords.end), begins, axis=0)
    high[chords.face[begins]] = np.maximum.reduceat(np.maximum(chords.start, chords.end), begins, axis=0)
    kind = tables.use_curves.kind
    arcs = np.flatnonzero(tables.use_boundary & ((kind == bintools.CIRCLE) | (kind == bintools.ELLIPSE)))
    if len(arcs):
        points, owner = bounding_box.arc_extremes(tables.use_curves, arcs), tables.use_face[arcs]
        np.minimum.at(low, owner, points.min(axis=1))
        np.maximum.at(high, owner, points.max(axis=1))
    return low, high


def _widen_by_splines(tables: ShapeTables, low: np.ndarray, high: np.ndarray, known: np.ndarray) -> None:
    """Widen the bounds of faces by the poles of their splines; faces with rarer curves are no longer `known`."""
    table = tables.use_curves
    free = np.flatnonzero(tables.use_boundary & (table.kind > bintools.ELLIPSE))
    for use, face in zip(free.tolist(), tables.use_face[free].tolist(), strict=True):
        spline = table.splines.get(use)
        if spline is None:
            known[face] = False
            continue
        poles = spline.poles
        if (poles >= low[face]).all() and (poles <= high[face]).all():
            continue
        trimmed = bsplines.trim(spline, float(table.first[use]), float(table.last[use]))
        if trimmed is None:
            known[face] = False
            continue
        low[face] = np.minimum(low[face], trimmed.min(axis=0))
        high[face] = np.maximum(high[face], trimmed.max(axis=0))


def face_moments(
    tables: ShapeTables, kernel: KernelShape, chords: Chords, moments: Moments
) -> tuple[np.ndarray, np.ndarray]:
    """Areas (F,) in mm² and centroids (F, 3) in mm: closed forms, else the kernel's."""
    good = moments.known & has_area(tables, chords, moments.area)
    areas = np.where(good, moments.area, 1.0)
    centroids = moments.first / areas[:, None]
    for row in np.flatnonzero(~good).tolist():
        area, centroids[row] = kernel.face_moments(row)
        areas[row] = abs(area)  # negative where the loops run the wrong way round
        if not areas[row] > 0:
            centroids[row] = _middle_of_corners(tables, row)
    return areas, centroids


def has_area(tables: ShapeTables, chords: Chords, areas: np.ndarray) -> np.ndarray:
    """(F,) bool: faces whose area, of (F,) areas, is more than the rounding noise around a slit."""
    around = np.bincount(chords.face, np.abs(chords.end - chords.start).max(axis=1), tables.n_faces)
    return areas > 1e-12 * around**2


def _middle_of_corners(tables: ShapeTables, row: int) -> np.ndarray:
    """(3,) the mean of a face's vertices, NaN where it has none."""
    corners = np.unique(tables.edge_vertices[tables.use_edge[tables.use_face == row]])
    corners = corners[corners >= 0]
    return tables.points[corners].mean(axis=0) if len(corners) else np.full(3, np.nan)


def edge_lengths(tables: ShapeTables, kernel: KernelShape, edge_rows: np.ndarray) -> np.ndarray:
    """(E,) float64, mm."""
    known = tables.edges.evaluable[edge_rows]
    out = np.zeros(len(edge_rows))
    out[known] = curve_lengths(tables.edges, edge_rows[known])
    for i in np.flatnonzero(~known & ~tables.edge_degenerate[edge_rows]).tolist():
        out[i] = kernel.edge_length(int(edge_rows[i]))
    return out


def gauss_lengths(tables: ShapeTables, edge_rows: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """`lengths` : (E,) with those of ellipses, hyperbolas and parabolas as the kernel integrates them.

    ``BRepGProp::LinearProperties`` takes 10 Gauss points over the whole edge, 5 on a parabola; its lengths of other
    curves are exact to 1e-7.
    """
    table = tables.edges
    out = lengths.copy()
    for kind, n in _GAUSS_POINTS.items():
        which = np.flatnonzero(table.kind[edge_rows] == kind)
        rows = edge_rows[which]
        nodes, weights = np.polynomial.legendre.leggauss(n)
        half, middle = 0.5 * (table.last[rows] - table.first[rows]), 0.5 * (table.last[rows] + table.first[rows])
        slopes = curves.evaluate(table, rows, middle[:, None] + half[:, None] * nodes)[1]
        out[which] = np.abs(half) * (np.linalg.norm(slopes, axis=-1) @ weights)
    return out


_GAUSS_POINTS = {bintools.ELLIPSE: 10, bintools.HYPERBOLA: 10, bintools.PARABOLA: 5}


def dihedral_angles(tables: ShapeTables, kernel: KernelShape, edge_rows: np.ndarray) -> np.ndarray:
    """(E,) float64, radians, convex > 0; NaN where an edge has not exactly two faces.

    The sign is that of ``(n_a × n_b) · t`` with t the edge's direction as face a's loop runs, the material to its left.
    """
    angles = np.full(len(tables.edge_degenerate), np.nan)
    edge, first, second = _edges_between_two_faces(tables)
    if len(edge):
        use = np.concatenate([first, second])
        middle = 0.5 * (tables.use_curves.first[use] + tables.use_curves.last[use])
        uv, _ = curves.evaluate(tables.use_curves, use, middle[:, None])
        both = face_points(tables, kernel, tables.use_face[use], uv[..., 0], uv[..., 1])[1][:, 0]
        normals = np.split(both, 2)
        tangent = _tangents(tables, kernel, edge)
        along = tables.use_forward[first] != tables.face_reversed[tables.use_face[first]]
        tangent *= np.where(along, 1.0, -1.0)[:, None]
        cross = np.cross(normals[0], normals[1])
        sine = np.einsum("ij,ij->i", cross, tangent)
        size = np.sqrt(np.einsum("ij,ij->i", cross, cross))
        angles[edge] = np.copysign(np.arctan2(size, np.einsum("ij,ij->i", *normals)), sine)
    return angles[edge_rows]


def _edges_between_two_faces(tables: ShapeTables) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Edges used once each by two different faces, with those two uses, lower face first."""
    uses = np.flatnonzero(tables.use_boundary & ~tables.edge_degenerate[tables.use_edge])
    order = uses[np.lexsort((tables.use_face[uses], tables.use_edge[uses]))]
    edge, face = tables.use_edge[order], tables.use_face[order]
    start = run_starts(edge)
    twice = start[run_lengths(start, len(edge)) == 2]
    twice = twice[face[twice] != face[twice + 1]]
    return edge[twice], order[twice], order[twice + 1]


def _tangents(tables: ShapeTables, kernel: KernelShape, edge: np.ndarray) -> np.ndarray:
    """Unit tangents at the edges' midpoints, (n, 3)."""
    edges = tables.edges
    middle = 0.5 * (edges.first[edge] + edges.last[edge])
    _, slope = curves.evaluate(edges, edge, middle[:, None])
    tangent = slope[:, 0]
    for i in np.flatnonzero(~edges.evaluable[edge]).tolist():
        row = int(edge[i])
        tangent[i] = kernel.edge_points(row, np.array([0.5 * sum(kernel.edge_range(row))]))[1][0]
    size = np.sqrt(np.einsum("ij,ij->i", tangent, tangent))
    return tangent / np.where(size > 0, size, 1.0)[:, None]


def shells_are_closed(tables: ShapeTables) -> bool:
    """Return whether there is a shell, and every edge of each is used equally often both ways."""
    if not len(tables.shell_face) or len(np.unique(tables.shell_row)) < tables.n_shells:
        return False
    counted = np.flatnonzero(tables.use_boundary & ~tables.edge_degenerate[tables.use_edge])
    face = tables.use_face[counted]
    first, size = np.searchsorted(face, tables.shell_face), np.bincount(face, minlength=tables.n_faces)
    times = size[tables.shell_face]
    member = np.repeat(np.arange(len(times)), times)
    use = counted[np.arange(len(member)) - np.repeat(np.cumsum(times) - times, times) + first[member]]
    direction = np.where(tables.use_forward[use] != tables.shell_reversed[member], 1.0, -1.0)
    key = tables.shell_row[member].astype(np.int64) * len(tables.edge_degenerate) + tables.use_edge[use]
    _, inverse = np.unique(key, return_inverse=True)
    return not np.bincount(inverse, direction).any()


def shell_volumes(tables: ShapeTables, kernel: KernelShape, moments: Moments) -> np.ndarray:
    """(n_shells,) float64, mm³: what each encloses, negative where its faces point inwards. Exact; free forms are
    measured by the kernel.
    """
    flux = np.where(moments.known, moments.flux, 0.0)
    for row in np.flatnonzero(~moments.known).tolist():
        flux[row] = 3.0 * _forward(tables, row) * kernel.face_cone(row)[0]
    return _sum_over_shells(tables, flux) / 3.0


def volume_and_centroid(
    tables: ShapeTables, kernel: KernelShape, chords: Chords, moments: Moments
) -> tuple[float, np.ndarray]:
    """Volume in mm³ of the solids together and their centroid (3,) in mm; NaN centroid where the volume is 0."""
    cones = np.column_stack([moments.flux / 3.0, cone_moments(tables, chords, moments)])
    for row in np.flatnonzero(~moments.known).tolist():
        volume, moment = kernel.face_cone(row)
        cones[row] = _forward(tables, row) * np.append(volume, moment)
    mine = tables.shell_solid >= 0
    signed = np.where(tables.shell_reversed[mine], -1.0, 1.0)
    total = signed @ cones[tables.shell_face[mine]]
    return float(total[0]), total[1:] / total[0] if total[0] else np.full(3, np.nan)


def _forward(tables: ShapeTables, row: int) -> float:
    """-1 for a reversed face: the factor from the kernel's value of the face to that of the face taken forward."""
    return -1.0 if tables.face_reversed[row] else 1.0


def _sum_over_shells(tables: ShapeTables, flux: np.ndarray) -> np.ndarray:
    """`flux` : (F,) through the faces taken forward, summed as the shells use them."""
    signed = np.where(tables.shell_reversed, -1.0, 1.0) * flux[tables.shell_face]
    return np.bincount(tables.shell_row, signed, tables.n_shells)


def turned_shells(
    tables: ShapeTables, kernel: KernelShape, moments: Moments, chords: Chords, bounds: np.ndarray
) -> tuple[bool, bool]:
    """Return whether a solid's outer shell, its largest, has no positive volume, and whether a cavity faces the same
    way.

    The flux through free-form faces is first estimated from a few points; it is computed only where the
    estimate does not decide.
    """
    centre = tables.points.mean(axis=0) if len(tables.points) else np.zeros(3)
    flux = np.where(moments.known, moments.flux - moments.vector_area @ centre, 0.0)
    uncertainty = np.zeros(tables.n_faces)
    free = np.flatnonzero(~moments.known & tables.faces.evaluable & chords.closed & ~axial(tables.faces.kind))
    if len(free) + moments.known.sum() < tables.n_faces:
        return _turned(tables, shell_volumes(tables, kernel, moments))
    if len(free):
        flux[free], uncertainty[free] = _estimate_flux(tables, chords, free, bounds[free], centre)
    total = _sum_over_shells(tables, flux)
    unsure = np.bincount(tables.shell_row, uncertainty[tables.shell_face], tables.n_shells)
    if (np.abs(total) > unsure).all() and not any(found := _turned(tables, total)):
        return found
    return _turned(tables, shell_volumes(tables, kernel, moments))


def _turned(tables: ShapeTables, volume: np.ndarray) -> tuple[bool, bool]:
    """The result of `turned_shells`, from volume : (n_shells,)."""
    solid = np.full(tables.n_shells, -1)
    solid[tables.shell_row] = tables.shell_solid
    mine = solid >= 0
    solid, volume = solid[mine], volume[mine]
    largest = np.zeros(tables.n_solids)
    np.maximum.at(largest, solid, np.abs(volume))
    outer = np.abs(volume) >= largest[solid]
    side = np.zeros(tables.n_solids)
    side[solid[outer]] = np.sign(volume[outer])
    return bool((side <= 0).any()), bool((~outer & ~(volume * side[solid] < 0)).any())


def _estimate_flux(
    tables: ShapeTables, chords: Chords, rows: np.ndarray, bounds: np.ndarray, centre: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Flux of (P − centre) through free-form faces taken forward, by 36 points per face, and a bound of the error."""
    n = 6
    share = (np.arange(n) + 0.5) / n
    u = bounds[:, :1] + (bounds[:, 1:2] - bounds[:, :1]) * share
    v = bounds[:, 2:3] + (bounds[:, 3:] - bounds[:, 2:3]) * share
    inside = trimming.inside(tables, chords, rows, u, v[:, None])
    flux, uncertainty = np.zeros(len(rows)), np.zeros(len(rows))
    cell = (bounds[:, 1] - bounds[:, 0]) * (bounds[:, 3] - bounds[:, 2]) / n**2
    for i, row in enumerate(rows.tolist()):
        points, du, dv = surfaces.slopes(tables.faces, row, np.repeat(u[i], n), np.tile(v[i], n))
        each = np.einsum("ij,ij->i", points - centre, np.cross(du, dv)) * cell[i]
        flux[i] = each[inside[i].ravel()].sum()
        uncertainty[i] = 0.3 * np.abs(each).sum()
    return flux, uncertainty


_RELATIVE = 1e-9
_MAX_HALVINGS = 40
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(14)
_PIECES_A_CONIC = 8


def curve_lengths(table: CurveTable, rows: np.ndarray) -> np.ndarray:
    """(n,) float64, mm: the lengths of the curves `rows`, which numpy can evaluate, over their ranges.

    Closed forms for lines and circles; others to better than 1e-9 of their length.
    """
    kind, span = table.kind[rows], np.abs(table.last[rows] - table.first[rows])
    out = span * np.where(kind == bintools.CIRCLE, table.radii[rows, 0], 1.0)
    other = np.flatnonzero(kind > bintools.CIRCLE)
    if len(other):
        out[other] = _integrate(table, rows[other])
    return out


def _integrate(table: CurveTable, rows: np.ndarray) -> np.ndarray:
    """(n,) lengths: a piece is accepted when its two halves add up to its own length."""
    owner, low, high = _first_pieces(table, rows)
    length = _gauss(table, rows[owner], low, high)
    total = np.bincount(owner, length, len(rows))
    done = np.zeros(len(rows))
    for _ in range(_MAX_HALVINGS):
        middle = 0.5 * (low + high)
        owner, low, high = np.tile(owner, 2), np.append(low, middle), np.append(middle, high)
        halves = _gauss(table, rows[owner], low, high)
        left, right = np.split(halves, 2)
        settled = np.abs(left + right - length) <= _RELATIVE * total[owner[: len(length)]]
        both = np.tile(settled, 2)
        done += np.bincount(owner[both], halves[both], len(rows))
        owner, low, high, length = owner[~both], low[~both], high[~both], halves[~both]
        if not len(owner):
            return done
    return done + np.bincount(owner, length, len(rows))


def _first_pieces(table: CurveTable, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Owner, low and high of the pieces to begin with: a spline's polynomials, eight parts of a conic."""
    breaks = []
    for row in rows.tolist():
        low, high = sorted((float(table.first[row]), float(table.last[row])))
        spline = table.splines.get(row)
        if spline is None:
            breaks.append(np.linspace(low, high, _PIECES_A_CONIC + 1))
        else:
            breaks.append(bsplines.span_breaks(spline, low, high))
    owner = np.repeat(np.arange(len(rows)), [len(line) - 1 for line in breaks])
    return owner, np.concatenate([line[:-1] for line in breaks]), np.concatenate([line[1:] for line in breaks])


def _gauss(table: CurveTable, rows: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    half = 0.5 * (high - low)
    t = 0.5 * (low + high)[:, None] + half[:, None] * _NODES
    slopes = curves.evaluate(table, rows, t)[1]
    return half * (np.sqrt(np.einsum("nmk,nmk->nm", slopes, slopes)) @ _WEIGHTS)
