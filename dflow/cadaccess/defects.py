"""Defects of a shape, found in its tables; the checks are cheap, and run on every light read.

Each check finds a defect that the kernel's full healing repairs: a shape that fails one is read again with full
healing. What the reading that was taken still has is data: the sample's ``n_defects`` and ``defect_names``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import partial

import numpy as np

from dflow.cadaccess.brep import Brep
from dflow.cadaccess.geometry import surfaces
from dflow.cadaccess.geometry.tables import ShapeTables
from dflow.cadaccess.kernel import bintools
from dflow.cadaccess.measure import contacts, properties
from dflow.cadaccess.measure.trimming import Chords
from dflow.errors import CadError

_PLANE_GAP = 1e-8
"""mm; where the ends of neighbouring edges on a plane lie farther apart, full healing puts an edge between them."""

_WIDE_GAP = 1e-3
"""mm; a gap between edges that full healing left, or that was never healed, is a defect from here on."""

_STATED_ERROR = 1e-3
"""A relative error against the file's own volume or area; what the shape's own system computed is much closer."""

BOUNDARY = ("curve missing", "loop open", "outer loop off")
"""Defects of a face's boundary, which leave its area undefined."""

_HARMLESS = ("edges apart", "vertex not shared")
"""Defects that areas and volumes do not suffer from."""

Defects = Iterator[tuple[str, str]]
"""Names of defects with a message each."""

Check = Callable[[Brep], Defects]


def find_defect(brep: Brep) -> str:
    """Return a message about the first defect of a lightly healed shape; "" where it has none."""
    for check in _CHECKS:
        for _, message in check(brep):
            return message
    return ""


def find_defects(brep: Brep) -> dict[str, str]:
    """Return all defects of a shape, however it was read: a message by each one's name (`CadModel.find_defects`)."""
    found: dict[str, str] = {}
    for check in map(_as_data, _CHECKS):
        try:
            for name, message in check(brep):
                found.setdefault(name, message)
        except (CadError, ArithmeticError, ValueError, LookupError) as error:
            found.setdefault("unmeasurable", str(error))
    return found


def _as_data(check: Check) -> Check:
    """What takes the place of a check of a light reading in the defects of a sample: full healing changes more than
    what makes values wrong.
    """
    if check is _touching_loops:
        return _crossing_loops
    return partial(_gaps, gap=_WIDE_GAP) if check is _gaps else check


def rank(found: Collection[str]) -> tuple[int, int]:
    """Return how bad defects are, for comparison: the number of those that areas and volumes suffer from, and of
    all.
    """
    return sum(name not in _HARMLESS for name in found), len(found)


def find_stated_errors(brep: Brep) -> dict[str, str]:
    """Return where a shape of one body contradicts the file's geometric validation properties: a message by name,
    "stated volume off" or "stated area off".
    """
    stated = brep.stated_properties()
    if brep.n_bodies != 1 or not (stated.volumes or stated.areas):
        return {}  # of an assembly, the whole may be missing among the stated values
    pairs = {"volume": (brep.volume(), stated.volume, "mm³"), "area": (brep.area(), stated.area, "mm²")}
    return {
        f"stated {what} off": f"the {what} is {computed:g} {unit}, the file states {given:g} {unit}"
        for what, (computed, given, unit) in pairs.items()
        if abs(computed - given) > _STATED_ERROR * abs(given)
    }


def find_endless_face(brep: Brep) -> str:
    """Return a message about the first face that nothing bounds, its surface having no end; "" where there is none."""
    bare = np.flatnonzero((brep.tables.face_loops == 0) & (brep.tables.faces.kind < bintools.SPHERE))
    return f"face {bare[0]} has no boundary" if len(bare) else ""


def _missing_curves(brep: Brep) -> Defects:
    tables = brep.tables
    lost = np.flatnonzero(tables.use_boundary & (tables.use_curves.kind == 0))
    if len(lost):
        yield "curve missing", f"face {tables.use_face[lost[0]]} has an edge without a curve on its surface"
    endless = find_endless_face(brep)
    if endless:
        yield "boundary missing", endless


def _open_loops(brep: Brep) -> Defects:
    tables = brep.tables
    curved = np.bincount(tables.use_face[~tables.use_curves.evaluable], minlength=brep.n_faces) > 0
    open_ = np.flatnonzero(~brep.chords.closed & ~curved & (tables.face_loops > 0))
    if len(open_):
        yield "loop open", f"face {open_[0]} has a loop that does not close"


def _gaps(brep: Brep, gap: float = _PLANE_GAP) -> Defects:
    chords = brep.chords
    bridge = (chords.t0 == chords.t1) & (brep.tables.faces.kind[chords.face] == bintools.PLANE)
    wide = np.flatnonzero(bridge & (np.abs(chords.end - chords.start).max(axis=1) > gap))
    if len(wide):
        yield "edges apart", f"face {chords.face[wide[0]]} has edges whose ends lie apart"


def _loose_edges(brep: Brep) -> Defects:
    tables, topology = brep.tables, brep.topology()
    vertices = tables.edge_vertices[brep.kernel_edge_rows[topology.coedge_edge]]
    backwards = topology.coedge_reversed.astype(bool)
    start = np.where(backwards, vertices[:, 1], vertices[:, 0])
    end = np.where(backwards, vertices[:, 0], vertices[:, 1])
    loose = np.flatnonzero(end != start[topology.coedge_next])
    if len(loose):
        face = topology.coedge_face[loose[0]]
        yield "vertex not shared", f"face {face} has neighbouring edges without a common vertex"


def _shifted_loops(brep: Brep) -> Defects:
    """Loops of one face that lie a full turn apart in u or v."""
    bounds, kind = brep.face_uv_bounds(), brep.tables.faces.kind
    turn = 2 * np.pi + 1e-3
    around_u = surfaces.axial(kind) | (kind == bintools.REVOLUTION)
    over = around_u & (bounds[:, 1] - bounds[:, 0] > turn)
    over |= (kind == bintools.TORUS) & (bounds[:, 3] - bounds[:, 2] > turn)
    wrong = np.flatnonzero(over)
    if len(wrong):
        yield "bounds beyond a turn", f"face {wrong[0]} spans more than a full turn"


def _touching_loops(brep: Brep) -> Defects:
    """Full healing cuts edges where loops touch; areas and volumes are right without."""
    if len(brep.touching_loops):
        yield "loops touch", f"face {brep.touching_loops[0, 0]} has loops that touch"


def _crossing_loops(brep: Brep) -> Defects:
    face = contacts.find_crossing(brep.tables, brep.chords, brep.touching_loops)
    if face >= 0:
        yield "loops cross", f"face {face} has loops that cross"


def _loop_directions(brep: Brep) -> Defects:
    """A plane's outer loop runs counter-clockwise around its holes, which run clockwise."""
    tables, chords = brep.tables, brep.chords
    flat = tables.faces.kind[chords.face] == bintools.PLANE
    start, end, use = chords.start[flat], chords.end[flat], chords.use[flat]
    if not len(use):
        return
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
    if len(wrong):
        yield "outer loop off", f"face {wrong[0]} has {int(outer[wrong[0]])} outer loops"


def _areas(brep: Brep) -> Defects:
    areas = brep.face_areas()
    closed_form, tables = brep.moments, brep.tables
    simple = (tables.faces.kind >= bintools.PLANE) & (tables.faces.kind <= bintools.TORUS)
    odd = ~(areas > 0) | (closed_form.known & ~(closed_form.area > 0))
    odd = odd | (simple & ~properties.has_area(tables, brep.chords, areas))
    if odd.any():
        yield "area off", f"face {odd.argmax()} has area {areas[odd.argmax()]:g}"
    backwards = _run_backwards(tables, brep.chords, np.flatnonzero(~closed_form.known & brep.chords.closed))
    if len(backwards):
        yield "area off", f"face {backwards[0]} has loops that run the wrong way round"


def _run_backwards(tables: ShapeTables, chords: Chords, rows: np.ndarray) -> np.ndarray:
    """Which faces of `rows` : (n,) lie to the right of their loops in (u, v), so that their area counts as negative.

    The kernel's areas, which are taken where there is no closed form, have no sign.
    """
    if not len(rows):
        return rows
    mine = np.isin(chords.face, rows)
    face, start, end = chords.face[mine], chords.start[mine], chords.end[mine]
    corner = chords.start[chords.first[face]]
    a, b = start - corner, end - corner
    sign = np.where(tables.use_forward[chords.use[mine]], 0.5, -0.5)
    area = np.bincount(face, sign * (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]), tables.n_faces)
    doubt = np.bincount(face, chords.sagitta[mine] * np.hypot(*(end - start).T), tables.n_faces)
    found: np.ndarray = rows[area[rows] < -doubt[rows]]
    return found


def _open_solids(brep: Brep) -> Defects:
    if brep.tables.n_solids and not brep.is_closed():
        yield "shell open", "a solid has an open shell"


def _volumes(brep: Brep) -> Defects:
    outer, cavity = _turned_shells(brep)
    if outer:
        yield "volume negative", "a solid has no positive volume"
    if cavity:
        yield "cavity turned", "a cavity faces the way of its solid's outer shell"


def has_turned_shells(brep: Brep, *, cavities_only: bool) -> bool:
    """Return whether a cavity faces the way of its solid's outer shell, or (unless `cavities_only`) an outer shell
    inwards; false where the shape is too broken for the check.
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
    return properties.turned_shells(tables, brep.kernel, brep.moments, brep.chords, brep.face_uv_bounds())


_CHECKS: tuple[Check, ...] = (
    _missing_curves,
    _open_loops,
    _gaps,
    _loose_edges,
    _shifted_loops,
    _touching_loops,
    _loop_directions,
    _areas,
    _open_solids,
    _volumes,
)
