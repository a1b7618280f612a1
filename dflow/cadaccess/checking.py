"""Whether a lightly healed shape can be trusted, judged from its tables; cheap, and run on every light read.

Each check names something that the kernel's full healing repairs. A shape that fails one is read again with full
healing.
"""

from __future__ import annotations

import numpy as np

from dflow.cadaccess import contacts, measuring, shapecode, surfaces
from dflow.cadaccess.brep import Brep
from dflow.errors import CadError

_PLANE_GAP = 1e-8
"""mm; where the ends of neighbouring edges on a plane lie farther apart, full healing puts an edge between them."""


def find_defect(brep: Brep) -> str:
    """The first thing wrong with a lightly healed shape, in words; "" where nothing is."""
    for check in _CHECKS:
        defect = check(brep)
        if defect:
            return defect
    return ""


def _missing_curves(brep: Brep) -> str:
    tables = brep.tables
    lost = np.flatnonzero(tables.use_boundary & (tables.use_curves.kind == 0))
    if len(lost):
        return f"face {tables.use_face[lost[0]]} has an edge without a curve on its surface"
    bare = np.flatnonzero((tables.face_loops == 0) & (tables.faces.kind < shapecode.SPHERE))
    return f"face {bare[0]} has no boundary" if len(bare) else ""


def _open_loops(brep: Brep) -> str:
    tables = brep.tables
    curved = np.bincount(tables.use_face[~tables.use_curves.evaluable], minlength=brep.n_faces) > 0
    open_ = np.flatnonzero(~brep.chords.closed & ~curved & (tables.face_loops > 0))
    if len(open_):
        return f"face {open_[0]} has a loop that does not close"
    chords = brep.chords
    bridge = (chords.t0 == chords.t1) & (tables.faces.kind[chords.face] == shapecode.PLANE)
    wide = np.flatnonzero(bridge & (np.abs(chords.end - chords.start).max(axis=1) > _PLANE_GAP))
    if len(wide):
        return f"face {chords.face[wide[0]]} has edges whose ends lie apart"
    topology = brep.topology()
    vertices = tables.edge_vertices[brep.kernel_edge_rows[topology.coedge_edge]]
    backwards = topology.coedge_reversed.astype(bool)
    start = np.where(backwards, vertices[:, 1], vertices[:, 0])
    end = np.where(backwards, vertices[:, 0], vertices[:, 1])
    loose = np.flatnonzero(end != start[topology.coedge_next])
    return f"face {topology.coedge_face[loose[0]]} has neighbouring edges without a common vertex" if len(loose) else ""


def _shifted_loops(brep: Brep) -> str:
    """Loops of one face that lie a full turn apart in u or v."""
    bounds, kind = brep.face_uv_bounds(), brep.tables.faces.kind
    turn = 2 * np.pi + 1e-3
    around_u = surfaces.axial(kind) | (kind == shapecode.REVOLUTION)
    over = around_u & (bounds[:, 1] - bounds[:, 0] > turn)
    over |= (kind == shapecode.TORUS) & (bounds[:, 3] - bounds[:, 2] > turn)
    wrong = np.flatnonzero(over)
    return f"face {wrong[0]} spans more than a full turn" if len(wrong) else ""


def _touching_loops(brep: Brep) -> str:
    face = contacts.find_contact(brep.tables, brep.chords)
    return f"face {face} has loops that touch" if face >= 0 else ""


def _loop_directions(brep: Brep) -> str:
    """A plane's outer loop runs counter-clockwise around its holes, which run clockwise."""
    tables, chords = brep.tables, brep.chords
    flat = tables.faces.kind[chords.face] == shapecode.PLANE
    start, end, use = chords.start[flat], chords.end[flat], chords.use[flat]
    if not len(use):
        return ""
    corner = chords.start[chords.first[chords.face[flat]]]
    a, b = start - corner, end - corner
    sign = np.where(tables.use_forward[use], 0.5, -0.5)
    loop = tables.use_loop[use]
    n_loops = int(tables.use_loop.max()) + 1
    area = np.bincount(loop, sign * (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]), n_loops)
    face_of_loop = np.full(n_loops, -1)
    face_of_loop[loop] = chords.face[flat]
    mine = face_of_loop >= 0
    outer = np.bincount(face_of_loop[mine], area[mine] > 0, brep.n_faces)
    wrong = np.flatnonzero((outer != 1) & (np.bincount(face_of_loop[mine], minlength=brep.n_faces) > 0))
    return f"face {wrong[0]} has {int(outer[wrong[0]])} outer loops" if len(wrong) else ""


def _areas(brep: Brep) -> str:
    areas = brep.face_areas()
    closed_form, tables = brep.moments, brep.tables
    simple = (tables.faces.kind >= shapecode.PLANE) & (tables.faces.kind <= shapecode.TORUS)
    none = ~(areas > 0) | (closed_form.known & ~(closed_form.area > 0))
    odd = np.flatnonzero(none | (simple & ~measuring.has_area(tables, brep.chords, areas)))
    return f"face {odd[0]} has area {areas[odd[0]]:g}" if len(odd) else ""


def _open_solids(brep: Brep) -> str:
    if brep.tables.n_solids and not brep.is_closed():
        return "a solid has an open shell"
    return ""


def _volumes(brep: Brep) -> str:
    outer, cavity = _turned_shells(brep)
    if outer:
        return "a solid has no positive volume"
    return "a cavity faces the way of its solid's outer shell" if cavity else ""


def has_turned_shells(brep: Brep, *, cavities_only: bool) -> bool:
    """Whether a cavity faces the way of its solid's outer shell, or (unless `cavities_only`) an outer shell inwards;
    false where the shape is too broken to tell.
    """
    if cavities_only and brep.tables.n_shells <= brep.tables.n_solids:
        return False
    try:
        outer, cavity = _turned_shells(brep)
    except (CadError, ArithmeticError, ValueError):
        return False
    return cavity or (outer and not cavities_only)


def _turned_shells(brep: Brep) -> tuple[bool, bool]:
    tables = brep.tables
    if not tables.n_solids:
        return False, False
    return measuring.turned_shells(tables, brep.kernel, brep.moments, brep.chords, brep.face_uv_bounds())


_CHECKS = (
    _missing_curves,
    _open_loops,
    _shifted_loops,
    _touching_loops,
    _loop_directions,
    _areas,
    _open_solids,
    _volumes,
)
