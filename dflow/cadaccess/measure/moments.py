"""Area, first moment and flux of trimmed faces, as integrals around their loops.

By Green's theorem, ``∬ f du dv = −∮ (∫ f dv) du``. On planes, cylinders, cones, spheres and tori the inner integral has
a closed form (below), so that a straight edge of a plane needs its two ends only and any other piece one Gauss-Legendre
rule, exact to rounding. On free forms both integrals are numeric (`dflow.cadaccess.measure.quadrature`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dflow.cadaccess.geometry import curves, surfaces
from dflow.cadaccess.geometry.runs import run_starts
from dflow.cadaccess.geometry.surfaces import SurfaceTable, axial, profile
from dflow.cadaccess.geometry.tables import ShapeTables
from dflow.cadaccess.kernel import bintools
from dflow.cadaccess.measure import quadrature, trimming
from dflow.cadaccess.measure.trimming import Chords

_LONG_RULE = np.polynomial.legendre.leggauss(20)
_SHORT_RULE = np.polynomial.legendre.leggauss(8)
"""For a straight edge, which may run a full turn around an axis, and for the short pieces that curves are cut into."""

_FINE_RULE = np.polynomial.legendre.leggauss(200)
"""For circles oblique to a sphere's axis: the angle around the axis turns fast where they pass a pole."""

_STRAY = 0.02
"""Of a sphere's radius: how far a curve in (u, v) may lie on average from the edge that it stands for."""

_AT_POLE = 0.005
"""Of a sphere's radius: a circle that comes nearer to the axis passes a pole on the side that its spline says."""


@dataclass(frozen=True, slots=True)
class Moments:
    """Integrals over trimmed faces, with the face taken forward.

    Attributes
    ----------
    known : (F,) bool; the rows below are valid only where it is true.
    area : (F,) float64, mm²; first : (F, 3), ∬ P dA; vector_area : (F, 3), ∬ n dA; flux : (F,), ∬ P·n dA (a third of it
        is the volume of the cone over the face from the origin); free_cone : (F, 3), ∬ P (P·n) dA, of free forms only
        (`cone_moments` computes it for the others).
    """

    known: np.ndarray
    area: np.ndarray
    first: np.ndarray
    vector_area: np.ndarray
    flux: np.ndarray
    free_cone: np.ndarray


def integrate(tables: ShapeTables, chords: Chords) -> Moments:
    """The moments of the faces whose loops close and whose surface has no offset and does not cross its axis."""
    kind = tables.faces.kind
    crossing, beyond = _beyond_their_axis(tables.faces, chords)
    known = chords.closed & ((kind == bintools.PLANE) | axial(kind)) & ~crossing
    n = tables.n_faces
    sign = np.where(tables.use_forward, 1.0, -1.0)
    sums = np.zeros((n, 8))  # area, first moment (3), vector area (3), flux; the frame's origin is the reference
    flat = kind == bintools.PLANE
    straight = known[chords.face] & flat[chords.face] & (chords.sagitta == 0)
    _add_straight(tables.faces, chords, np.flatnonzero(straight), sign, sums)
    table = tables.use_curves
    along_v = (table.kind == bintools.LINE) & (table.x[:, 0] == 0) & axial(kind)[tables.use_face]
    rest = np.flatnonzero(
        known[chords.face] & ~straight & ~along_v[chords.use]
    )  # a chord of constant u contributes nothing
    oblique = _oblique_circles(tables, chords.use[rest])
    short = (chords.sagitta[rest] > 0) & ~oblique
    parts = (rest[short], _SHORT_RULE), (rest[~short & ~oblique], _LONG_RULE), (rest[oblique], _FINE_RULE)
    for rows, rule in parts:
        if len(rows):
            _add_curved(tables, chords, rows, rule, sign, sums)
    sums[beyond, :4] *= -1.0
    moments = _refer_to_world(tables.faces, known, sums)
    _add_patches(tables, chords, moments)
    free = np.flatnonzero(~moments.known & chords.closed & (kind > bintools.TORUS) & tables.faces.evaluable)
    if len(free):
        _add_free_forms(tables, free, moments)
    return moments


def _beyond_their_axis(table: SurfaceTable, chords: Chords) -> tuple[np.ndarray, np.ndarray]:
    """(F,) bool each: faces of a cone on both sides of its apex, or of a torus on both sides of where it meets itself;
    and faces wholly beyond.

    The area beyond counts as negative in the closed forms.
    """
    crossing, beyond = np.zeros(len(table.kind), bool), np.zeros(len(table.kind), bool)
    rings = (table.kind == bintools.TORUS) & (table.radii[:, 1] > table.radii[:, 0])
    rows = np.flatnonzero((table.kind == bintools.CONE) | rings)
    if not len(rows) or not len(chords.face):
        return crossing, beyond
    low, high = np.full(len(table.kind), np.inf), np.full(len(table.kind), -np.inf)
    begins = run_starts(chords.face)
    low[chords.face[begins]] = np.minimum.reduceat(np.minimum(chords.start[:, 1], chords.end[:, 1]), begins)
    high[chords.face[begins]] = np.maximum.reduceat(np.maximum(chords.start[:, 1], chords.end[:, 1]), begins)
    rows = rows[low[rows] <= high[rows]]
    low, high = low[rows], high[rows]
    high_turn, low_turn = (2 * np.pi * np.ceil(low / (2 * np.pi) - turn) + 2 * np.pi * turn for turn in (0.0, 0.5))
    v = np.stack([low, high, np.minimum(high_turn, high), np.minimum(low_turn, high)], axis=1)
    rho = profile(table.kind[rows], table.radii[rows], v)[0]
    small = 1e-9 * np.abs(rho).max(axis=1)
    crossing[rows] = (rho.max(axis=1) > small) & (rho.min(axis=1) < -small)
    beyond[rows] = (rho.max(axis=1) <= small) & (rho.min(axis=1) < -small)
    return crossing, beyond


def _add_patches(tables: ShapeTables, chords: Chords, moments: Moments) -> None:
    """Fill in the spline surfaces whose faces cover them whole: the cheapest of the free forms."""
    rows = np.array([row for row, spline in tables.faces.splines.items() if not any(spline.periodic)], np.intp)
    if not len(rows):
        return
    low, high = surfaces.limits(tables.faces)
    bounds = np.stack([low[:, 0], high[:, 0], low[:, 1], high[:, 1]], axis=1)
    full = chords.closed & trimming.fill_their_bounds(tables, chords, bounds)
    for row in rows[full[rows]].tolist():
        found = quadrature.integrate_patch(tables.faces.splines[row])
        if found is not None:
            moments.known[row] = True
            moments.area[row], moments.flux[row] = found.area, found.flux
            moments.first[row], moments.vector_area[row] = found.first, found.vector_area
            moments.free_cone[row] = found.cone


def _add_free_forms(tables: ShapeTables, rows: np.ndarray, moments: Moments) -> None:
    sums, good = quadrature.integrate_faces(tables, rows)
    rows, sums = rows[good], sums[good]
    moments.known[rows] = True
    moments.area[rows], moments.first[rows] = sums[:, 0], sums[:, 1:4]
    moments.vector_area[rows], moments.flux[rows] = sums[:, 4:7], sums[:, 7]
    moments.free_cone[rows] = sums[:, 8:]


def _refer_to_world(table: SurfaceTable, known: np.ndarray, sums: np.ndarray) -> Moments:
    area, first, vector_area, flux = sums[:, 0], sums[:, 1:4], sums[:, 4:7], sums[:, 7]
    vector_area = vector_area * table.handed[:, None]
    flux = flux * table.handed + np.einsum("ij,ij->i", table.origin, vector_area)
    first = first + area[:, None] * table.origin
    return Moments(known, area, first, vector_area, flux, np.zeros_like(first))


def _add_by_face(sums: np.ndarray, face: np.ndarray, values: np.ndarray) -> None:
    for column in range(values.shape[1]):
        sums[:, column] += np.bincount(face, values[:, column], len(sums))


def _add_straight(table: SurfaceTable, chords: Chords, rows: np.ndarray, sign: np.ndarray, sums: np.ndarray) -> None:
    """Add the straight edges of planes: triangles from each face's first corner."""
    if not len(rows):
        return
    face = chords.face[rows]
    corner = chords.start[chords.first[face]]
    a, b = chords.start[rows] - corner, chords.end[rows] - corner
    twice = sign[chords.use[rows]] * (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])
    area = 0.5 * twice
    middle = corner + (a + b) / 3.0
    _add_plane_sums(table, face, area, area[:, None] * middle, sums)


def _add_plane_sums(
    table: SurfaceTable, face: np.ndarray, area: np.ndarray, moment: np.ndarray, sums: np.ndarray
) -> None:
    x, y, z = table.x[face], table.y[face], table.z[face]
    first = moment[:, :1] * x + moment[:, 1:] * y
    values = np.column_stack([area, first, area[:, None] * z, np.zeros_like(area)])
    _add_by_face(sums, face, values)


def _add_curved(
    tables: ShapeTables,
    chords: Chords,
    rows: np.ndarray,
    rule: tuple[np.ndarray, np.ndarray],
    sign: np.ndarray,
    sums: np.ndarray,
) -> None:
    """Add all other chords, by quadrature along their pieces of curve."""
    nodes, weights = rule
    table = tables.faces
    uv, slope = _along(tables, chords, rows, nodes)
    weight = sign[chords.use[rows]][:, None] * weights
    face = chords.face[rows]
    flat = table.kind[face] == bintools.PLANE
    if flat.any():
        corner = chords.start[chords.first[face[flat]]]
        _add_plane_curves(table, face[flat], corner, uv[flat], slope[flat], weight[flat], sums)
    if not flat.all():
        turn = ~flat
        _add_axial(table, face[turn], uv[turn], slope[turn, :, 0] * weight[turn], sums)


def _along(tables: ShapeTables, chords: Chords, rows: np.ndarray, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n, m, 2) each: points at `nodes`, from -1 to 1, of the chords' pieces of curve, and the slopes by them.

    A spline that runs straight is taken as its chord: its slope is no polynomial beyond its first knot.
    """
    half = 0.5 * (chords.t1[rows] - chords.t0[rows])
    t = chords.t0[rows][:, None] + half[:, None] * (1.0 + nodes)
    uv, slope = curves.evaluate(tables.use_curves, chords.use[rows], t)
    _follow_circles(tables, chords.use[rows], t, uv, slope)
    slope = slope * half[:, None, None]
    even = np.flatnonzero((chords.sagitta[rows] == 0) & (tables.use_curves.kind[chords.use[rows]] > bintools.ELLIPSE))
    if len(even):
        start, end = chords.start[rows[even]][:, None], chords.end[rows[even]][:, None]
        slope[even] = 0.5 * (end - start)
        uv[even] = start + 0.5 * (1.0 + nodes)[:, None] * (end - start)
    return uv, slope


def _oblique_circles(tables: ShapeTables, uses: np.ndarray) -> np.ndarray:
    """(n,) bool: which of some uses are circles on spheres that are no conics in (u, v)."""
    on_sphere = tables.faces.kind[tables.use_face[uses]] == bintools.SPHERE
    is_circle = tables.edges.kind[tables.use_edge[uses]] == bintools.CIRCLE
    return on_sphere & is_circle & (tables.use_curves.kind[uses] > bintools.ELLIPSE)


def _follow_circles(tables: ShapeTables, uses: np.ndarray, t: np.ndarray, uv: np.ndarray, slope: np.ndarray) -> None:
    """Put points of `_oblique_circles` where the edge itself runs: `uv`, `slope` : (n, m, 2), in place.

    The kernel fits a spline in (u, v) to such a circle, which strays by up to 1e-3 of the radius near a pole. Where
    the two differ by more than `_STRAY`, their parameters do not correspond, and the spline stays.
    """
    faces, edge = tables.faces, tables.use_edge[uses]
    rows = np.flatnonzero(_oblique_circles(tables, uses))
    if not len(rows):
        return
    face = tables.use_face[uses[rows]]
    points, slopes = curves.evaluate(tables.edges, edge[rows], t[rows])
    frame = np.stack([faces.x[face], faces.y[face], faces.z[face]], axis=2)
    at = (points - faces.origin[face][:, None]) @ frame
    go = slopes @ frame
    reach = np.maximum(np.hypot(at[..., 0], at[..., 1]), 1e-300)
    u, v = np.arctan2(at[..., 1], at[..., 0]), np.arctan2(at[..., 2], reach)
    u += 2.0 * np.pi * np.round((uv[rows, :, 0] - u) / (2.0 * np.pi))
    stray = np.maximum(np.abs(uv[rows, :, 0] - u) * np.cos(v), np.abs(uv[rows, :, 1] - v)).mean(axis=1)
    of_use = uses[rows]
    kept = (np.bincount(of_use, stray) / np.maximum(np.bincount(of_use), 1))[of_use] < _STRAY
    kept &= ~np.isin(of_use, of_use[(reach < _AT_POLE * faces.radii[face, :1]).any(axis=1)])
    near = rows[kept]
    uv[near] = np.stack([u, v], axis=2)[kept]
    slope[near, :, 0] = ((at[..., 0] * go[..., 1] - at[..., 1] * go[..., 0]) / reach**2)[kept]


def _add_plane_curves(
    table: SurfaceTable,
    face: np.ndarray,
    corner: np.ndarray,
    uv: np.ndarray,
    slope: np.ndarray,
    weight: np.ndarray,
    sums: np.ndarray,
) -> None:
    off = uv - corner[:, None]
    sweep = weight * (off[..., 0] * slope[..., 1] - off[..., 1] * slope[..., 0])
    area = 0.5 * sweep.sum(axis=1)
    moment = np.einsum("ij,ijk->ik", sweep, off) / 3.0 + area[:, None] * corner
    _add_plane_sums(table, face, area, moment, sums)


def _add_axial(table: SurfaceTable, face: np.ndarray, uv: np.ndarray, du: np.ndarray, sums: np.ndarray) -> None:
    """`du` : (n, m), the loop's step in u with its quadrature weight."""
    u, v = uv[..., 0], uv[..., 1]
    over_v = antiderivatives(table.kind[face], table.radii[face], v)
    cos, sin = np.cos(u) * du, np.sin(u) * du
    x, y, z = table.x[face], table.y[face], table.z[face]

    def around(radial: np.ndarray, axial: np.ndarray) -> np.ndarray:
        total_x, total_y = (radial * cos).sum(axis=1), (radial * sin).sum(axis=1)
        along = (axial * du).sum(axis=1)
        return -(total_x[:, None] * x + total_y[:, None] * y + along[:, None] * z)

    area = -over_v.speed * (over_v.rho * du).sum(axis=1)
    first = over_v.speed[:, None] * around(over_v.rho_rho, over_v.rho_zeta)
    vector_area = around(over_v.rho_zeta_slope, -over_v.rho_rho_slope)
    flux = -(over_v.flux * du).sum(axis=1)
    _add_by_face(sums, face, np.column_stack([area, first, vector_area, flux]))


@dataclass(frozen=True, slots=True)
class Antiderivatives:
    """Antiderivatives in v, at (n, m) values of v, of products of an axial surface's profile rho(v), zeta(v).

    Attributes
    ----------
    speed : (n,) float64, the length of the profile's slope, which does not depend on v.
    rho, rho_rho, rho_zeta : (n, m) float64, ∫rho, ∫rho², ∫rho·zeta.
    rho_zeta_slope, rho_rho_slope : (n, m) float64, ∫rho·zeta', ∫rho·rho'.
    flux : (n, m) float64, ∫rho(rho·zeta' − zeta·rho').
    """

    speed: np.ndarray
    rho: np.ndarray
    rho_rho: np.ndarray
    rho_zeta: np.ndarray
    rho_zeta_slope: np.ndarray
    rho_rho_slope: np.ndarray
    flux: np.ndarray


def antiderivatives(kind: np.ndarray, radii: np.ndarray, v: np.ndarray) -> Antiderivatives:
    """Return the antiderivatives of n axial surfaces.

    Parameters
    ----------
    kind : (n,) int8; radii : (n, 2) float64; v : (n, m) float64
    """
    big, second = radii[:, :1], radii[:, 1:]
    sin_a = np.where(kind[:, None] == bintools.CONE, np.sin(second), 0.0)
    cos_a = np.where(kind[:, None] == bintools.CONE, np.cos(second), 1.0)
    v2, v3 = v * v / 2, v * v * v / 3
    rho = big * v + sin_a * v2
    found = Antiderivatives(
        speed=np.ones(len(kind)),
        rho=rho,
        rho_rho=big**2 * v + 2 * big * sin_a * v2 + sin_a**2 * v3,
        rho_zeta=cos_a * (big * v2 + sin_a * v3),
        rho_zeta_slope=cos_a * rho,
        rho_rho_slope=sin_a * rho,
        flux=big * cos_a * rho,
    )
    bent = (kind == bintools.SPHERE) | (kind == bintools.TORUS)
    if bent.any():
        _fill_bent(found, bent, kind == bintools.SPHERE, radii, v)
    return found


def _fill_bent(found: Antiderivatives, bent: np.ndarray, sphere: np.ndarray, radii: np.ndarray, v: np.ndarray) -> None:
    """Fill in the rows of spheres and tori, whose profiles are circles."""
    big, second = radii[bent, :1], radii[bent, 1:]
    minor = np.where(sphere[bent, None], big, second)
    major = np.where(sphere[bent, None], 0.0, big)
    w, sin, cos = v[bent], np.sin(v[bent]), np.cos(v[bent])
    cos_cos = w / 2 + sin * cos / 2
    rho_zeta = -major * minor * cos + minor**2 * sin**2 / 2
    found.speed[bent] = minor[:, 0]
    found.rho[bent] = major * w + minor * sin
    found.rho_rho[bent] = major**2 * w + 2 * major * minor * sin + minor**2 * cos_cos
    found.rho_zeta[bent] = rho_zeta
    found.rho_zeta_slope[bent] = major * minor * sin + minor**2 * cos_cos
    found.rho_rho_slope[bent] = -rho_zeta
    found.flux[bent] = (major**2 * minor + minor**3) * sin + major * minor**2 * (w + cos_cos)


def cone_moments(tables: ShapeTables, chords: Chords, moments: Moments) -> np.ndarray:
    """(F, 3) float64: ``∬ P (P·n) dA / 4`` of the known faces taken forward, the first moment of the cone from the
    origin.

    Their sum over a solid's faces is its volume times its centroid. For planes it follows from the first moment, for
    free forms from their own quadrature; on axial surfaces the inner integral is computed by quadrature too.
    """
    table = tables.faces
    height = np.einsum("ij,ij->i", table.origin, table.z) * table.handed
    out = np.where((table.kind == bintools.PLANE)[:, None], height[:, None] * moments.first, moments.free_cone)
    rows = np.flatnonzero(moments.known[chords.face] & axial(table.kind)[chords.face])
    if len(rows):
        sign = np.where(tables.use_forward, 1.0, -1.0)[chords.use[rows]]
        _add_axial_cones(tables, chords, rows, sign, out)
    return out / 4.0


def _add_axial_cones(tables: ShapeTables, chords: Chords, rows: np.ndarray, sign: np.ndarray, out: np.ndarray) -> None:
    table, (nodes, weights) = tables.faces, _LONG_RULE
    uv, slope = _along(tables, chords, rows, nodes)
    step = slope[..., 0] * sign[:, None] * weights  # (n, m): du along the loop
    moving = np.flatnonzero(np.abs(step).max(axis=1) > 0)
    if not len(moving):
        return
    face, step, uv = chords.face[rows[moving]], step[moving], uv[moving]
    base = chords.start[chords.first[face], 1][:, None]
    reach = 0.5 * (uv[..., 1] - base)
    w = (base + reach)[..., None] + reach[..., None] * nodes  # (n, m, j): v from the base to the loop
    area = (step * reach)[..., None] * weights
    kind, radii = table.kind[face], table.radii[face]
    rho, zeta, rho_slope, zeta_slope = (
        part.reshape(w.shape) for part in profile(kind, radii, w.reshape(len(face), -1))
    )
    minor = np.where(kind == bintools.SPHERE, radii[:, 0], np.where(kind == bintools.TORUS, radii[:, 1], 1.0))
    scale = (minor * table.handed[face])[:, None, None] * rho * area
    origin, z = table.origin[face][:, None], table.z[face][:, None]
    arm = np.cos(uv[..., :1]) * table.x[face][:, None] + np.sin(uv[..., :1]) * table.y[face][:, None]  # (n, m, 3)
    origin_arm = np.einsum("nmk,nok->nm", arm, origin)[..., None]
    origin_z = np.einsum("nok,nok->n", origin, z)[:, None, None]
    push = scale * ((origin_arm + rho) * zeta_slope - (origin_z + zeta) * rho_slope)  # P·N and the weights
    total = push.sum(axis=2)[..., None] * origin
    total += (push * rho).sum(axis=2)[..., None] * arm + (push * zeta).sum(axis=2)[..., None] * z
    np.add.at(out, face, -total.sum(axis=1))
