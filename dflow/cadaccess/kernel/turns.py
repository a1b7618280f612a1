"""Loops on periodic surfaces, whose edges' curves in (u, v) may lie whole turns off.

The kernel's reader lays each curve into one turn of its surface, and its own mode to move them (``FixShiftedMode``)
moves some too far, or none. In the poles of a surface (a sphere's, a cone's apex, where a revolved profile meets its
axis) two curves may meet at any angle, with an edge without length along the pole between them: the kernel lets it run
the shorter way, so that a loop may bound what the face is not. Here it runs with the face on its left.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from OCP.BRep import BRep_Builder, BRep_Tool
from OCP.BRepAdaptor import BRepAdaptor_Surface
from OCP.BRepTools import BRepTools
from OCP.collections import IndexedMap_TopoDS_Shape_TopTools_ShapeMapHasher as ShapeMap
from OCP.Geom import Geom_Surface
from OCP.Geom2d import Geom2d_Curve, Geom2d_Line
from OCP.gp import gp_Dir2d, gp_Pnt2d, gp_Vec2d
from OCP.TopAbs import TopAbs_FACE, TopAbs_FORWARD, TopAbs_REVERSED, TopAbs_ShapeEnum, TopAbs_WIRE
from OCP.TopExp import TopExp
from OCP.TopLoc import TopLoc_Location
from OCP.TopoDS import TopoDS, TopoDS_Edge, TopoDS_Face, TopoDS_Iterator, TopoDS_Shape, TopoDS_Vertex, TopoDS_Wire

_JOINT = 1e-3
"""Of a loop's size in (u, v): how far two curves that meet may end apart."""
_ROUNDING = 1e-6
"""In (u, v): as far may they be apart in a loop without size, that of one closed edge."""
_SAME_WAY = 1e-4
"""rad: two curves that leave a pole within it may have nothing or a whole turn between them."""
_MOST_DOUBTS = 6
_CONFUSION = 1e-7
"""mm, the kernel's ``Precision::Confusion``."""


def align_turns(shape: TopoDS_Shape) -> bool:
    """Move the edges' curves on periodic surfaces by whole turns, so that each loop is closed in (u, v), runs along
    poles with the face on its left, and the holes of a face are within its outer loop. A loop that encloses a pole by
    that gets a seam to it.

    The shape is changed in place. Return whether it was changed.
    """
    return sum(_align_face(face, turn) for face, turn in _periodic_faces(shape)) > 0


def exceeds_turn(shape: TopoDS_Shape) -> bool:
    """Return whether a face spans more than a whole turn of its surface."""
    for face, turn in _periodic_faces(shape):
        u_min, u_max, v_min, v_max = BRepTools.UVBounds_s(face)
        if (np.array([u_max - u_min, v_max - v_min]) > turn * (1 + _JOINT)).any():
            return True
    return False


def each(shape: TopoDS_Shape, kind: TopAbs_ShapeEnum) -> Iterator[TopoDS_Shape]:
    """Yield every shape of a kind once, however often it is placed: at the origin, forward."""
    found, seen = ShapeMap(), ShapeMap()
    TopExp.MapShapes_s(shape, kind, found)
    for key in range(1, found.Extent() + 1):
        alone = found.FindKey(key).Located(TopLoc_Location()).Oriented(TopAbs_FORWARD)
        if not seen.Contains(alone):
            seen.Add(alone)
            yield alone


def children(shape: TopoDS_Shape) -> Iterator[TopoDS_Shape]:
    """Yield what a shape consists of, one level down."""
    walk = TopoDS_Iterator(shape)
    while walk.More():
        yield walk.Value()
        walk.Next()


def replace_children(parent: TopoDS_Shape, old: list[TopoDS_Shape], new: list[TopoDS_Shape]) -> None:
    """Put `new` in place of the children `old`, in place."""
    builder = BRep_Builder()
    parent.Free(True)
    for child in old:
        builder.Remove(parent, child)
    for child in new:
        builder.Add(parent, child)


def _periodic_faces(shape: TopoDS_Shape) -> Iterator[tuple[TopoDS_Face, np.ndarray]]:
    """Yield every face on a periodic surface, and (2,) its turn in u and v: inf where the surface is not periodic."""
    for found in each(shape, TopAbs_FACE):
        face = TopoDS.Face(found)
        surface = BRepAdaptor_Surface(face, False)
        u, v = surface.IsUPeriodic(), surface.IsVPeriodic()
        if u or v:
            yield face, np.array([surface.UPeriod() if u else np.inf, surface.VPeriod() if v else np.inf])


@dataclass(frozen=True, slots=True)
class _Loop:
    """A loop's edges that have a length, n of them as they run, where they lie after they were moved.

    Attributes
    ----------
    edges : list of them; poles : the edge without length before each, None where there is none.
    start, end : (n, 2), (u, v) of their ends after `moves` : (n, 2).
    excess : how far u runs from the loop's start to its end: 0, or a turn around a pole, up or down.
    """

    edges: list[TopoDS_Edge]
    poles: list[TopoDS_Edge | None]
    start: np.ndarray
    end: np.ndarray
    moves: np.ndarray
    excess: float

    @property
    def low(self) -> np.ndarray:
        """(2,) least u and v of the ends."""
        found: np.ndarray = np.minimum(self.start, self.end).min(axis=0)
        return found

    @property
    def high(self) -> np.ndarray:
        """(2,) largest u and v of the ends."""
        found: np.ndarray = np.maximum(self.start, self.end).max(axis=0)
        return found

    @property
    def is_clockwise(self) -> bool:
        """Whether its corners run clockwise in (u, v)."""
        (u, v), (to_u, to_v) = self.start.T, self.end.T
        (next_u, next_v) = np.roll(self.start, -1, axis=0).T
        return bool((u * to_v - v * to_u + to_u * next_v - to_v * next_u).sum() <= 0)

    def moved(self, by: np.ndarray) -> _Loop:
        """The loop with its edges `by` : (n, 2) or (2,) further on."""
        return replace(self, start=self.start + by, end=self.end + by, moves=self.moves + by)

    def begun_at(self, i: int) -> _Loop:
        """The loop from its edge `i` on."""
        behind = np.zeros_like(self.moves)
        behind[:i, 0] = self.excess
        later = self.moved(behind)
        start, end, moves = (np.roll(column, -i, axis=0) for column in (later.start, later.end, later.moves))
        return _Loop(self.edges[i:] + self.edges[:i], self.poles[i:] + self.poles[:i], start, end, moves, self.excess)


def _align_face(face: TopoDS_Face, turn: np.ndarray) -> bool:
    wires = list(children(face))
    found = [_close_loop(face, wire, turn) for wire in wires]
    loops = [loop for loop in found if loop is not None]
    if not loops or len(loops) < len(wires):
        return False
    outer = max(loops, key=lambda loop: float(np.prod(loop.high - loop.low)))
    middle = 0.5 * (outer.low + outer.high)
    middle -= np.floor(middle / turn) * _times(turn) if outer.moves.any() else 0.0
    loops = [loop.moved(np.round((middle - 0.5 * (loop.low + loop.high)) / turn) * _times(turn)) for loop in loops]
    around = [i for i, loop in enumerate(loops) if loop.excess]
    seam = _Seam.find(face, loops, around[0], turn) if len(around) == 1 else None
    if around and seam is None:
        return False
    if seam is not None:
        loops = seam.loops
    else:
        holes = _holes_across_seam(face, loops, float(turn[0])) or list(range(len(loops)))
        bound = _bound_naturally(face, [loops[i] for i in holes], [wires[i] for i in holes], float(turn[0]))
        loops = bound or loops
    changed = [_lay(face, loop) for loop in loops]
    if seam is not None:
        _sew(face, wires[around[0]], loops[around[0]], seam.pole)
    return any(changed) or seam is not None or bool(bound)


def _close_loop(face: TopoDS_Face, wire: TopoDS_Shape, turn: np.ndarray) -> _Loop | None:
    """A loop, closed by moves; None where whole turns do not close it within one turn.

    Around a whole torus both orders of the edges do: taken is the one that runs counter-clockwise, unless one needs no
    moves.
    """
    edges = [TopoDS.Edge(edge) for edge in children(wire)] if wire.ShapeType() == TopAbs_WIRE else []
    if not edges or not all(_ends(edge, face) for edge in edges):
        return None
    found = []
    for step in (1, -1):  # a loop may be stored backwards
        for loop in _closed(face, edges[::step], turn):
            polar = any(loop.poles)
            found.append(((bool(loop.excess), not polar and bool(loop.moves.any()), loop.is_clockwise), loop))
    return min(found, key=lambda candidate: candidate[0])[1] if found else None


def _closed(face: TopoDS_Face, stored: list[TopoDS_Edge], turn: np.ndarray) -> Iterator[_Loop]:
    """Yield the loops that moves by whole turns make of edges, up to a turn around a pole."""
    edges, poles = _split_off_poles(face, stored, turn)
    if not edges:
        return
    start, end = np.array([_ends(edge, face) for edge in edges]).reshape(-1, 2, 2).swapaxes(0, 1)
    gap = np.roll(end, 1, axis=0) - start
    turns = np.round(gap / turn)
    rest = gap - turns * _times(turn)
    polar = np.array([pole is not None for pole in poles])
    choices = [[turns]]
    if polar.any():
        found = _turns_at_poles(face, edges, poles, (start, gap), float(turn[0]))
        if found is None:
            return
        rest[polar, 0] = 0.0
        choices = [[*at] for at in found]
    size = np.ptp(np.concatenate([start, end]), axis=0)
    if (np.abs(rest) > _JOINT * size + _ROUNDING).any():
        return
    for chosen in product(*choices):
        if polar.any():
            turns[polar, 0] = chosen
        total = turns.sum(axis=0)
        if total[1] or abs(total[0]) > 1:
            continue
        moves = np.cumsum(turns, axis=0) * _times(turn)
        excess = float(total[0] * turn[0]) if total[0] else 0.0
        loop = _Loop(edges, poles, start + moves, end + moves, moves, excess)
        if excess or (loop.high - loop.low <= turn * (1 + _JOINT)).all():
            yield loop


def _split_off_poles(
    face: TopoDS_Face, stored: list[TopoDS_Edge], turn: np.ndarray
) -> tuple[list[TopoDS_Edge], list[TopoDS_Edge | None]]:
    """The edges that have a length, and for each the one along a pole that comes before it; ([], []) where two come."""
    edges: list[TopoDS_Edge] = []
    poles: list[TopoDS_Edge | None] = []
    waiting: list[TopoDS_Edge] = []
    for edge in stored:
        if BRep_Tool.Degenerated_s(edge) and np.isfinite(turn[0]) and _runs_along_u(edge, face):
            waiting.append(edge)
            continue
        edges.append(edge)
        poles.append(waiting.pop() if waiting else None)
        if waiting:
            return [], []
    if waiting and edges:
        if len(waiting) > 1 or poles[0] is not None:
            return [], []
        poles[0] = waiting.pop()
    return edges, poles


def _turns_at_poles(
    face: TopoDS_Face,
    edges: list[TopoDS_Edge],
    poles: list[TopoDS_Edge | None],
    meeting: tuple[np.ndarray, np.ndarray],
    turn: float,
) -> list[list[float]] | None:
    """For each pole, the turns by which the edge after it may have to move; None where the poles are in other places.

    `meeting` : (u, v) where each edge starts, and the gap from there to the end of the edge before, (n, 2) each.
    """
    start, gap = meeting
    middles = [_curve(edge, face).Value(0.5 * sum(BRep_Tool.Range_s(edge, face))).Y() for edge in edges]  # type: ignore[union-attr]
    every = np.concatenate([start[:, 1], middles])
    middle = 0.5 * (every.min() + every.max())
    found: list[list[float]] = []
    doubts = 0
    for i, pole in enumerate(poles):
        if pole is None:
            continue
        if abs(_ends(pole, face)[1] - start[i, 1]) > _JOINT:
            return None
        side = 1.0 if start[i, 1] < middle else -1.0  # which way u runs with the face on the left
        on = side * -gap[i, 0] % turn
        straight = round((gap[i, 0] + side * on) / turn)
        near = min(on, turn - on) < _SAME_WAY
        if not near:
            found.append([straight])
            continue
        none = round(gap[i, 0] / turn)
        before = edges[i - 1]
        if edges[i].IsSame(before) and edges[i].Orientation() != before.Orientation():  # a seam, there and back
            found.append([none + side])
        else:
            doubts += 1
            found.append([none, none + side])
    return found if doubts <= _MOST_DOUBTS else None


def _lay(face: TopoDS_Face, loop: _Loop) -> bool:
    """Move a loop's curves, and lay the edges without length between them; return whether that changed anything."""
    builder, changed = BRep_Builder(), False
    for edge, move in zip(loop.edges, loop.moves.tolist(), strict=True):
        curve = _curve(edge, face)
        if curve is not None and any(move):
            curve.Translate(gp_Vec2d(*move))
            builder.Range(edge, face, *BRep_Tool.Range_s(edge, face))  # computes the ends that it keeps
            changed = True
    for i, pole in enumerate(loop.poles):
        if pole is None:
            continue
        start, end = loop.end[i - 1], loop.start[i]
        if np.abs(np.subtract(_ends(pole, face), (*start, *end))).max() > _ROUNDING:
            _draw(face, pole, start, end)
            changed = True
    return changed


def _draw(face: TopoDS_Face, edge: TopoDS_Edge, start: np.ndarray, end: np.ndarray) -> None:
    """Give an edge without length a line in (u, v), from `start` to `end` : (2,) as its loop runs."""
    if edge.Orientation() == TopAbs_REVERSED:
        start, end = end, start
    builder, length = BRep_Builder(), float(np.linalg.norm(end - start))
    line = Geom2d_Line(gp_Pnt2d(*start.tolist()), gp_Dir2d(*(end - start).tolist()))
    builder.UpdateEdge(edge, line, face, BRep_Tool.Tolerance_s(edge))
    builder.Range(edge, face, 0.0, length)


@dataclass(frozen=True, slots=True)
class _Seam:
    """The seam that a loop around a pole needs: from where the loop begins along u = const to `pole`, v of it.

    `loops` : all of the face, the others in the turn that begins or ends at the seam.
    """

    loops: list[_Loop]
    pole: float

    @classmethod
    def find(cls, face: TopoDS_Face, loops: list[_Loop], around: int, turn: np.ndarray) -> _Seam | None:
        """The seam to the pole that the loop `around` encloses; None where there is no pole, or no way to it along
        u = const that crosses no loop.
        """
        surface, loop = BRep_Tool.Surface_s(face), loops[around]
        _, _, v_min, v_max = surface.Bounds()
        pole = v_max if loop.excess > 0 else v_min
        if not _is_pole(surface, pole, turn[0]):
            return None
        trails = [_trail(face, each) for each in loops]
        for i in np.argsort(np.abs(loop.start[:, 1] - pole), kind="stable").tolist():
            if loop.poles[i] is None and not any(_crosses(trail, loop.start[i], pole, turn[0]) for trail in trails):
                begun = loop.begun_at(i)
                u, _ = _trail(face, begun)
                if np.ptp(u) <= turn[0] * (1 + _JOINT):
                    first = [float(each.min()) for each, _ in trails]
                    shifts = [np.array([turn[0] * np.ceil((u.min() - low) / turn[0]), 0.0]) for low in first]
                    placed = [each.moved(shift) for each, shift in zip(loops, shifts, strict=True)]
                    return cls([*placed[:around], begun, *placed[around + 1 :]], pole)
        return None


def _crosses(trail: tuple[np.ndarray, np.ndarray], start: np.ndarray, pole: float, turn: float) -> bool:
    """Whether a line from `start` : (2,) along u = const to `pole` crosses a trail."""
    u, v = trail
    off = np.remainder(u - start[0] + 0.5 * turn, turn) - 0.5 * turn
    crossed = (off[:-1] * off[1:] < 0) & (np.abs(np.diff(off)) < 0.5 * turn)
    beyond = np.abs(v - pole) < abs(start[1] - pole) - _ROUNDING
    return bool((crossed & (beyond[:-1] | beyond[1:])).any())


def _is_pole(surface: Geom_Surface, v: float, turn: float) -> bool:
    """Whether the surface is a point at `v`."""
    if not abs(v) < 1e50:
        return False
    points = [surface.Value(share * turn, v) for share in (0.0, 0.3, 0.6)]
    return all(points[0].Distance(point) < _CONFUSION for point in points)


def _trail(face: TopoDS_Face, loop: _Loop) -> tuple[np.ndarray, np.ndarray]:
    """Points along a loop, u and v of each."""
    points = []
    for edge, move in zip(loop.edges, loop.moves, strict=True):
        curve = _curve(edge, face)
        assert curve is not None
        first, last = BRep_Tool.Range_s(edge, face)
        along = [curve.Value(t) for t in np.linspace(first, last, 65).tolist()]
        line = np.array([(point.X(), point.Y()) for point in along]) + move
        points.append(line[::-1] if edge.Orientation() == TopAbs_REVERSED else line)
    u, v = np.concatenate(points).T
    return u, v


def _sew(face: TopoDS_Face, wire: TopoDS_Shape, loop: _Loop, pole: float) -> None:
    """Put a seam to a pole, and the edge along it, into the loop of a wire."""
    u, v = loop.start[0].tolist()
    corner, at_pole = TopExp.FirstVertex_s(loop.edges[0], True), _make_vertex(face, u, pole)
    back = u + loop.excess
    if v < pole:
        edge, ways = _make_seam(face, (back, u), (v, pole), (corner, at_pole)), (TopAbs_FORWARD, TopAbs_REVERSED)
    else:
        edge, ways = _make_seam(face, (u, back), (pole, v), (at_pole, corner)), (TopAbs_REVERSED, TopAbs_FORWARD)
    cap = _make_cap(face, at_pole, pole, (back, u))
    run = [e for pair in zip(loop.poles, loop.edges, strict=True) for e in pair if e is not None]
    replace_children(wire, list(children(wire)), [*run, edge.Oriented(ways[0]), cap, edge.Oriented(ways[1])])


def _holes_across_seam(face: TopoDS_Face, loops: list[_Loop], turn: float) -> list[int]:
    """Which of a face's loops are holes in the whole of its surface, where some lie across its seam; else none."""
    whole = [
        i
        for i, loop in enumerate(loops)
        if len(loop.edges) == 2 and all(loop.poles) and loop.edges[0].IsSame(loop.edges[1])
    ]
    if len(whole) != 1:
        return []
    left = loops[whole[0]].low[0]
    holes = [i for i in range(len(loops)) if i != whole[0]]
    ends = [(float(u.min()), float(u.max())) for u, _ in (_trail(face, loops[i]) for i in holes)]
    across = any(low < left - _ROUNDING or high > left + turn + _ROUNDING for low, high in ends)
    return holes if across else []


def _bound_naturally(
    face: TopoDS_Face, loops: list[_Loop], wires: list[TopoDS_Shape], turn: float
) -> list[_Loop] | None:
    """Bound a face, of which `loops` leave holes in its surface, by the whole of that; return the loops in its window.

    None, and the face is left as it is, where the loops do not run the wrong way round, the surface does not end in
    two poles, or there is no place for a seam between the holes. `wires` : those of the loops, all that the face keeps.
    """
    surface = BRep_Tool.Surface_s(face)
    _, _, low, high = surface.Bounds()
    trails = [_trail(face, loop) for loop in loops]
    area = sum(float(np.sum(u * np.roll(v, -1) - v * np.roll(u, -1))) for u, v in trails)
    if any(any(loop.poles) for loop in loops) or area >= 0 or not all(_is_pole(surface, v, turn) for v in (low, high)):
        return None
    begins = np.array([u.min() for u, _ in trails])
    widths = np.array([np.ptp(u) for u, _ in trails])
    off = np.remainder(begins[:, None] - (begins + widths), turn)  # from the end of each (column) to the next begin
    gaps = off.min(axis=0)
    free = np.where(
        (np.remainder(begins + widths - begins[:, None], turn) < widths[:, None] - _ROUNDING).any(0), 0, gaps
    )
    best = int(free.argmax())
    if free[best] < _JOINT:
        return None
    start = float(begins[best] + widths[best] + 0.5 * free[best])
    poles = [_make_vertex(face, start, v) for v in (low, high)]
    seam = _make_seam(face, (start + turn, start), (low, high), (poles[0], poles[1]))
    bottom = _make_cap(face, poles[0], low, (start, start + turn))
    top = _make_cap(face, poles[1], high, (start + turn, start))
    wire, builder = TopoDS_Wire(), BRep_Builder()
    builder.MakeWire(wire)
    for edge in (bottom, seam, top, seam.Oriented(TopAbs_REVERSED)):
        builder.Add(wire, edge)
    wire.Closed(True)
    replace_children(face, list(children(face)), [wire, *wires])
    shifts = np.floor((start - begins) / turn) + 1.0
    return [loop.moved(np.array([shift * turn, 0.0])) for loop, shift in zip(loops, shifts.tolist(), strict=True)]


def _make_vertex(face: TopoDS_Face, u: float, v: float) -> TopoDS_Vertex:
    vertex = TopoDS_Vertex()
    BRep_Builder().MakeVertex(vertex, BRep_Tool.Surface_s(face).Value(u, v), _CONFUSION)
    return vertex


def _make_seam(
    face: TopoDS_Face, at: tuple[float, float], v: tuple[float, float], ends: tuple[TopoDS_Vertex, TopoDS_Vertex]
) -> TopoDS_Edge:
    """An edge up along u = const, which lies at the first u of `at` where it is taken forward, else at the second."""
    edge, builder = TopoDS_Edge(), BRep_Builder()
    builder.MakeEdge(edge, BRep_Tool.Surface_s(face).UIso(at[0]), _CONFUSION)
    for vertex, way in zip(ends, (TopAbs_FORWARD, TopAbs_REVERSED), strict=True):
        builder.Add(edge, vertex.Oriented(way))
    builder.UpdateEdge(edge, *(Geom2d_Line(gp_Pnt2d(u, 0.0), gp_Dir2d(0.0, 1.0)) for u in at), face, _CONFUSION)
    builder.Range(edge, *v)
    return edge


def _make_cap(face: TopoDS_Face, pole: TopoDS_Vertex, v: float, u: tuple[float, float]) -> TopoDS_Edge:
    """An edge without length along a pole, from the first u to the second."""
    cap, builder = TopoDS_Edge(), BRep_Builder()
    builder.MakeEdge(cap)
    builder.Degenerated(cap, True)
    for way in (TopAbs_FORWARD, TopAbs_REVERSED):
        builder.Add(cap, pole.Oriented(way))
    _draw(face, cap, np.array([u[0], v]), np.array([u[1], v]))
    return cap


def _times(turn: np.ndarray) -> np.ndarray:
    """What a number of turns is multiplied by: 0 where the surface is not periodic."""
    return np.where(np.isinf(turn), 0.0, turn)


def _ends(edge: TopoDS_Edge, face: TopoDS_Face) -> tuple[float, ...]:
    """(u, v) where an edge begins and where it ends, as its loop runs; empty where it has no curve on the face."""
    curve = _curve(edge, face)
    if curve is None:
        return ()
    first, last = (curve.Value(t) for t in BRep_Tool.Range_s(edge, face))
    if edge.Orientation() == TopAbs_REVERSED:
        first, last = last, first
    return first.X(), first.Y(), last.X(), last.Y()


def _runs_along_u(edge: TopoDS_Edge, face: TopoDS_Face) -> bool:
    _, start, _, end = _ends(edge, face)
    return abs(end - start) < _ROUNDING


def _curve(edge: TopoDS_Edge, face: TopoDS_Face) -> Geom2d_Curve | None:
    """The edge's own curve on the face, not a copy."""
    return BRep_Tool.CurveOnSurface_s(edge, face, 0.0, 0.0)
