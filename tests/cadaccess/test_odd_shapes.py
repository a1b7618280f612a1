"""Shapes that readers get wrong, written statement by statement, with their closed forms, in every way of reading."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from OCP.BRep import BRep_Builder
from OCP.BRepMesh import BRepMesh_IncrementalMesh
from OCP.BRepPrimAPI import BRepPrimAPI_MakeBox
from OCP.gp import gp_Pnt
from OCP.TopAbs import TopAbs_FACE, TopAbs_SHELL
from OCP.TopExp import TopExp_Explorer
from OCP.TopLoc import TopLoc_Location
from OCP.TopoDS import TopoDS, TopoDS_Compound, TopoDS_Face, TopoDS_Shape, TopoDS_Solid

from dflow.cadaccess import Brep, CadLoader
from dflow.cadaccess.kernel.bintools import CONE
from dflow.errors import GeometryError
from tests.cadaccess import solids, ways
from tests.cadaccess.statements import Statements
from tests.cadaccess.step.test_reader import FREE_CURVES, SHAPES, SPLINE_SURFACES, assert_same


def _open_all(path: Path, wanted: int = 3) -> list[Brep]:
    """The file as every way gives it that takes it, at least so many."""
    models = [ways.open_by(way, path) for way in ways.WAYS]
    breps = [model.get_brep() for model in models if model is not None]
    assert len(breps) >= wanted
    return breps


# -- the sense of edges


def _turn_edges(content: bytes, every: int) -> bytes:
    """Every so many edges from their end to their start, against their curves, and so their uses: the same shape."""
    edges = re.findall(rb"#(\d+) = EDGE_CURVE", content)[::every]
    for edge in edges:
        content = re.sub(rb"(#%s = EDGE_CURVE\('',)(#\d+),(#\d+),(#\d+),\.T\." % edge, rb"\1\3,\2,\4,.F.", content)
        content = re.sub(rb"(ORIENTED_EDGE\('',\*,\*,#%s),\.F\." % edge, rb"\1,.X.", content)
        content = re.sub(rb"(ORIENTED_EDGE\('',\*,\*,#%s),\.T\." % edge, rb"\1,.F.", content)
    assert edges
    return content.replace(b",.X.", b",.T.")


EDGES = {**SHAPES, **SPLINE_SURFACES, **FREE_CURVES}


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("name", [name for name in EDGES if name not in ("box", "pocket", "boss", "frustum")])
def test_edges_against_their_curves_are_the_same_shape(name: str, every: int, tmp_path: Path) -> None:
    path = solids.write_step(EDGES[name](), tmp_path / "part.step", pcurves=False)
    before = _open_all(path, 2)
    path.write_bytes(_turn_edges(path.read_bytes(), every))
    after = _open_all(path, 2)
    assert len(after) == len(before)
    for one, other in zip(after, before, strict=True):
        assert one.volume() == pytest.approx(other.volume(), rel=1e-6)
        np.testing.assert_allclose(one.face_areas(), other.face_areas(), rtol=1e-6)
        np.testing.assert_array_equal(one.edge_convexities(), other.edge_convexities())
        np.testing.assert_allclose(one.edge_dihedral_angles(), other.edge_dihedral_angles(), atol=1e-5)
    assert_same(after[0], after[1])


# -- shells


def _box_in_box(*, sense: str, inward: bool) -> tuple[Statements, str]:
    """A box of 10 with a cubic cavity of 4, whose faces look into it or out of it before its shell is oriented."""
    made = Statements()
    outer = made.shell(*_cube(made, 0.0, 10.0, outward=True))
    inner = made.shell(*_cube(made, 3.0, 7.0, outward=not inward))
    void = made.add(f"ORIENTED_CLOSED_SHELL('',*,{inner},.{sense}.)")
    return made, made.add(f"BREP_WITH_VOIDS('',{outer},({void}))")


def _cube(made: Statements, low: float, high: float, *, outward: bool) -> list[str]:
    corners = {(i, j, k): (low + i * (high - low), low + j * (high - low), low + k * (high - low))
               for i in (0, 1) for j in (0, 1) for k in (0, 1)}  # fmt: skip
    vertices = {key: made.vertex(at) for key, at in corners.items()}
    edges: dict[tuple[tuple[int, ...], tuple[int, ...]], str] = {}
    faces = []
    for axis in range(3):
        for end in (0, 1):
            around = [(0, 0), (1, 0), (1, 1), (0, 1)]
            loop = [tuple(np.insert(np.array(pair), axis, end).tolist()) for pair in around]
            normal = np.cross(np.subtract(loop[1], loop[0]), np.subtract(loop[2], loop[1]))
            wanted = np.zeros(3)
            wanted[axis] = (1.0 if end else -1.0) * (1.0 if outward else -1.0)
            if normal @ wanted < 0:
                loop.reverse()
            uses = []
            for one, other in zip(loop, [*loop[1:], loop[0]], strict=True):
                key = (min(one, other), max(one, other))
                if key not in edges:
                    along = np.subtract(corners[key[1]], corners[key[0]])
                    edges[key] = made.edge(vertices[key[0]], vertices[key[1]], made.line(corners[key[0]], along))
                uses.append((edges[key], one == key[0]))
            x = np.roll(np.abs(wanted), 1)
            plane = made.add(f"PLANE('',{made.place(corners[loop[0]], wanted, x)})")
            faces.append(made.face(plane, uses))
    return faces


@pytest.mark.parametrize("inward", [False, True])
@pytest.mark.parametrize("sense", ["T", "F"])
def test_a_cavity_is_taken_off_whatever_its_flags(sense: str, inward: bool, tmp_path: Path) -> None:
    made, solid = _box_in_box(sense=sense, inward=inward)
    path = made.write(tmp_path / "part.step", solid)
    for brep in _open_all(path, 2):
        assert brep.volume() == pytest.approx(936.0)
        assert brep.area() == pytest.approx(696.0)
        np.testing.assert_array_equal(np.bincount(brep.edge_convexities(), minlength=4), [0, 12, 12, 0])


@pytest.mark.parametrize("how", ["at_origin", "placed"])
@pytest.mark.parametrize("turned", [False, True])
def test_a_cavity_of_a_brep_file_is_taken_off(turned: bool, how: str, tmp_path: Path) -> None:
    shells = [
        TopExp_Explorer(box, TopAbs_SHELL).Current()
        for box in (solids.box(10, 10, 10), BRepPrimAPI_MakeBox(gp_Pnt(3, 3, 3), 4.0, 4.0, 4.0).Shape())
    ]
    builder, solid = BRep_Builder(), TopoDS_Solid()
    builder.MakeSolid(solid)
    builder.Add(solid, shells[0])
    builder.Add(solid, shells[1] if turned else shells[1].Reversed())
    both = solids.compound(solids.place(solid, how), solids.place(solid, "placed"))
    brep = solids.open_brep(both if how == "at_origin" else solids.place(solid, how), tmp_path)
    assert brep.volume() == pytest.approx(936.0 * (2 if how == "at_origin" else 1))
    assert int((brep.edge_convexities() == 2).sum()) == 12 * (2 if how == "at_origin" else 1)


# -- tori that meet themselves, cones


def _torus_area(major: float, minor: float) -> float:
    v = np.linspace(0.0, 2 * np.pi, 200001)
    return float(2 * np.pi * minor * np.trapezoid(np.abs(major + minor * np.cos(v)), v))


@pytest.mark.parametrize(("major", "minor"), [(2.0, 3.0), (2.9, 3.0), (3.0, 3.0), (0.5, 3.0), (5.0, 1.5)])
def test_the_area_of_a_torus_that_meets_itself_counts_both_sides(major: float, minor: float, tmp_path: Path) -> None:
    made = Statements()
    torus = made.add(f"TOROIDAL_SURFACE('',{made.place((1, 2, 3), (0, 1, 1))},{major},{minor})")
    out = np.array([1.0, 2.0, 3.0]) + (major + minor) * np.array([1.0, 0.0, 0.0])
    path = made.write(tmp_path / "part.step", made.solid(made.point_bound_face(torus, out)))
    for brep in _open_all(path):
        assert brep.area() == pytest.approx(_torus_area(major, minor), rel=1e-6)
        np.testing.assert_allclose(brep.face_centroids()[0], [1, 2, 3], atol=1e-5)


MAJOR, MINOR = 2.0, 3.0
POLE = np.arccos(-MAJOR / MINOR)
"""The v in which the torus meets itself."""


def _profile(low: float, high: float) -> tuple[float, float]:
    """Area and volume of the part of the torus between two v."""
    v = np.linspace(low, high, 200001)
    radius = MAJOR + MINOR * np.cos(v)
    area = 2 * np.pi * MINOR * np.trapezoid(np.abs(radius), v)
    return float(area), float(abs(np.pi * np.trapezoid(radius**2 * MINOR * np.cos(v), v)))


def _torus(made: Statements, keyword: str, part: str) -> str:
    select = "" if keyword == "TOROIDAL_SURFACE" else ",.T." if part == "apple" else ",.F."
    return made.add(f"{keyword}('',{made.place()},{MAJOR},{MINOR}{select})")


@pytest.mark.parametrize("part", ["apple", "lemon"])
@pytest.mark.parametrize("keyword", ["TOROIDAL_SURFACE", "DEGENERATE_TOROIDAL_SURFACE"])
def test_a_meridian_bounds_the_outer_or_inner_part_of_a_torus(keyword: str, part: str, tmp_path: Path) -> None:
    made = Statements()
    torus, height = _torus(made, keyword, part), MINOR * np.sin(POLE)
    ends = made.vertex((0, 0, -height)), made.vertex((0, 0, height))
    ends = ends if part == "apple" else ends[::-1]
    arc = made.edge(*ends, made.circle(MINOR, (MAJOR, 0, 0), (0, -1, 0)))
    path = made.write(tmp_path / "part.step", made.solid(made.face(torus, [(arc, True), (arc, False)])))
    area, volume = _profile(-POLE, POLE) if part == "apple" else _profile(POLE, 2 * np.pi - POLE)
    for brep in _open_all(path, 2):
        assert brep.area() == pytest.approx(area, rel=1e-6)
        assert brep.volume() == pytest.approx(volume, rel=1e-6)


@pytest.mark.parametrize("keyword", ["TOROIDAL_SURFACE", "DEGENERATE_TOROIDAL_SURFACE"])
def test_half_of_the_outer_part_of_a_torus(keyword: str, tmp_path: Path) -> None:
    made = Statements()
    torus, wide = _torus(made, keyword, "apple"), MAJOR + MINOR
    start, top = made.vertex((wide, 0, 0)), made.vertex((0, 0, MINOR * np.sin(POLE)))
    rim = made.edge(start, start, made.circle(wide))
    seam = made.edge(start, top, made.circle(MINOR, (MAJOR, 0, 0), (0, -1, 0)))
    side = made.face(torus, [(rim, True), (seam, True), (seam, False)])
    cap = made.disc(rim, onward=False, at=(0, 0, 0), z=(0, 0, -1))
    area, volume = _profile(0.0, POLE)
    for brep in _open_all(made.write(tmp_path / "part.step", made.solid(side, cap))):
        np.testing.assert_allclose(brep.face_areas(), [area, np.pi * wide**2], rtol=1e-6)
        assert brep.volume() == pytest.approx(volume, rel=1e-6)


@pytest.mark.parametrize("part", ["apple", "lemon"])
def test_a_part_of_a_torus_without_an_edge_is_refused(part: str, tmp_path: Path) -> None:
    made = Statements()
    torus = _torus(made, "DEGENERATE_TOROIDAL_SURFACE", part)
    solid = made.solid(made.point_bound_face(torus, (0, 0, MINOR * np.sin(POLE))))
    with pytest.raises(GeometryError, match=r"bounded by a VERTEX_LOOP.*export the face with a seam edge"):
        CadLoader().create_from_file(made.write(tmp_path / "part.step", solid))


@pytest.mark.parametrize("forward", [True, False])
@pytest.mark.parametrize("at", [-3.0, 0.0, 2.0, 4.0, 6.0])
def test_a_cone_may_be_placed_anywhere_on_its_axis(at: float, forward: bool, tmp_path: Path) -> None:
    """A cone of radius 3 and height 4, whose placement is below it, in it, in its apex or beyond.

    With the face's flag against the sense of its loop, it is no other solid.
    """
    made = Statements()
    beyond = at > 4.0
    radius, angle = 3.0 * abs(4.0 - at) / 4.0, float(np.arctan(3.0 / 4.0))
    axis = made.place((0, 0, at), (0, 0, 1 if beyond else -1))
    cone = made.add(f"CONICAL_SURFACE('',{axis},{radius!r},{angle!r})")
    start, apex = made.vertex((3, 0, 0)), made.vertex((0, 0, 4))
    rim = made.edge(start, start, made.circle(3.0))
    seam = made.edge(start, apex, made.line((3, 0, 0), (-0.6, 0, 0.8)))
    side = made.face(cone, [(rim, True), (seam, True), (seam, False)], forward=forward)
    cap = made.disc(rim, onward=False, at=(0, 0, 0), z=(0, 0, -1))
    for brep in _open_all(made.write(tmp_path / "part.step", made.solid(side, cap)), 3 if forward else 2):
        points, normals = brep.surface_samples(20, 0)
        assert (np.einsum("fni,fni->fn", points - np.array([0, 0, 1]), normals) > 0).all()
        np.testing.assert_allclose(brep.face_areas(), [15 * np.pi, 9 * np.pi])
        assert brep.volume() == pytest.approx(12 * np.pi)
        assert sorted(brep.edge_convexities().tolist()) == [0, 1]


@pytest.mark.parametrize(("low", "high", "at"), [(-2.0, 4.0, 4.0), (-2.0, 4.0, 0.0), (-4.0, 2.0, 2.0)])
def test_a_sheet_on_both_sides_of_the_apex_of_a_cone(low: float, high: float, at: float, tmp_path: Path) -> None:
    made = Statements()
    cone = made.add(f"CONICAL_SURFACE('',{made.place((0, 0, at))},{at / 2!r},{float(np.arctan(0.5))!r})")
    ends = made.vertex((low / 2, 0, low)), made.vertex((high / 2, 0, high))
    rims = [
        made.edge(end, end, made.circle(abs(z) / 2, (0, 0, z), (0, 0, 1), (np.sign(z), 0, 0)))
        for end, z in zip(ends, (low, high), strict=True)
    ]
    seam = made.edge(*ends, made.line((low / 2, 0, low), np.array([1.0, 0.0, 2.0]) / np.sqrt(5.0)))
    face = made.face(cone, [(rims[0], True), (seam, True), (rims[1], False), (seam, False)])
    shell = made.add(f"OPEN_SHELL('',({face}))")
    path = made.write(tmp_path / "part.step", made.add(f"SHELL_BASED_SURFACE_MODEL('',({shell}))"))
    for brep in _open_all(path, 2):
        assert brep.area() == pytest.approx(np.pi * np.sqrt(5.0) / 4 * (low**2 + high**2), rel=1e-6)


def _frustum(made: Statements, low: float, high: float, height: float, angle: float, upward: bool) -> str:
    """About a tilted axis; the cone's own axis runs up or down."""
    z = np.array([2.0, 1.0, 2.0]) / 3.0
    x = np.array([1.0, -2.0, 0.0]) / np.sqrt(5.0)
    base = np.array([1.0, 2.0, 3.0])
    top = base + height * z
    rims, vertices = [], []
    for at, radius in ((base, low), (top, high)):
        vertices.append(made.vertex(at + radius * x))
        rims.append(made.edge(vertices[-1], vertices[-1], made.circle(radius, at, z, x)))
    along = height * z + (high - low) * x
    seam = made.edge(*vertices, made.line(base + low * x, along / np.linalg.norm(along)))
    axis, radius = (z, low) if upward else (-z, low)
    cone = made.add(f"CONICAL_SURFACE('',{made.place(base, axis, x)},{radius!r},{angle!r})")
    side = made.face(cone, [(rims[0], True), (seam, True), (rims[1], False), (seam, False)])
    caps = made.disc(rims[0], onward=False, at=base, z=-z), made.disc(rims[1], onward=True, at=top, z=z)
    return made.solid(side, *caps)


@pytest.mark.parametrize(("low", "high"), [(5.0, 3.0), (3.0, 5.0), (2.0, 0.5)])
@pytest.mark.parametrize("upward", [True, False])
def test_a_cone_may_narrow_along_its_axis(low: float, high: float, upward: bool, tmp_path: Path) -> None:
    made = Statements()
    angle = float(np.arctan((high - low) / 4.0)) * (1.0 if upward else -1.0)
    path = made.write(tmp_path / "part.step", _frustum(made, low, high, 4.0, angle, upward))
    slant = np.hypot(4.0, high - low)
    for brep in _open_all(path, 2):
        assert brep.tables.faces.kind[0] == CONE
        assert brep.area() == pytest.approx(np.pi * ((low + high) * slant + low**2 + high**2))
        assert brep.volume() == pytest.approx(np.pi * 4.0 * (low**2 + low * high + high**2) / 3)
        assert not (brep.edge_convexities() == 2).any()


# -- balls and slits


def _slit_ball(made: Statements, axis: Sequence[float], x: Sequence[float], span: tuple[float, float], n: int) -> str:
    """A ball of 5 whose only bound is an arc in the plane normal to (0, -1, 0.3), in n edges, there and back."""
    normal = np.array([0.0, -1.0, 0.3]) / np.hypot(1.0, 0.3)
    across = np.array([1.0, 0.0, 0.0])
    up = np.cross(normal, across)
    ball = made.add(f"SPHERICAL_SURFACE('',{made.place((0, 0, 0), axis, x)},5.)")
    arc = made.circle(5.0, (0, 0, 0), normal, across)
    corners = [made.vertex(5 * (np.cos(t) * across + np.sin(t) * up)) for t in np.linspace(*span, n + 1)]
    edges = [made.edge(one, other, arc) for one, other in itertools.pairwise(corners)]
    return made.solid(made.face(ball, [(edge, True) for edge in edges] + [(edge, False) for edge in edges[::-1]]))


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("span", [(-np.pi / 2, np.pi / 2), (-0.4, 0.9), (0.1, 0.6)])
@pytest.mark.parametrize(
    ("axis", "x"), [((1, 0, 0), (0, 1, 0)), ((0, 0, 1), (1, 0, 0)), ((0, 0.3, 1), (1, 0, 0)), ((1, 2, 3), (3, 0, -1))]
)
def test_a_slit_takes_nothing_from_a_ball(
    axis: Sequence[float], x: Sequence[float], span: tuple[float, float], n: int, tmp_path: Path
) -> None:
    made = Statements()
    path = made.write(tmp_path / "part.step", _slit_ball(made, axis, x, span, n))
    for brep in _open_all(path, 2):
        assert brep.area() == pytest.approx(100 * np.pi, rel=1e-6)
        assert brep.volume() == pytest.approx(500 * np.pi / 3, rel=1e-6)


def _octant(made: Statements, first: int, *, turned: bool) -> str:
    """An eighth of a ball of 2 about (1, 2, 3), the loop of its curved face beginning with its edge `first`."""
    centre, axes = np.array([1.0, 2.0, 3.0]), np.eye(3)
    middle = made.vertex(centre)
    tips = [made.vertex(centre + 2.0 * axis) for axis in axes]
    spokes = [made.edge(middle, tip, made.line(centre, axis)) for tip, axis in zip(tips, axes, strict=True)]
    arcs, flats = [], []
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        arcs.append(made.edge(tips[i], tips[j], made.circle(2.0, centre, axes[k], axes[i])))
        plane = made.add(f"PLANE('',{made.place(centre, -axes[k], axes[i])})")
        flats.append(made.face(plane, [(spokes[j], True), (arcs[i], False), (spokes[i], False)]))
    ball = made.add(f"SPHERICAL_SURFACE('',{made.place(centre)},2.)")
    uses = [(arc, True) for arc in arcs[first:] + arcs[:first]]
    return made.solid(made.face(ball, uses, turned=turned), *flats)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("first", [0, 1, 2])
def test_a_loop_may_begin_and_end_in_the_pole_of_a_ball(first: int, turned: bool, tmp_path: Path) -> None:
    made = Statements()
    for brep in _open_all(made.write(tmp_path / "part.step", _octant(made, first, turned=turned))):
        np.testing.assert_allclose(brep.face_areas(), [2 * np.pi, np.pi, np.pi, np.pi])
        assert brep.volume() == pytest.approx(4 * np.pi / 3)
        np.testing.assert_array_equal(brep.edge_convexities(), 1)


# -- surfaces of revolution


def _rounded_tip(made: Statements, big: float, small: float, up: float, turn: float) -> str:
    """A disc whose lower rim is rounded: the profile is a spline of degree 6 close to the circle of the seam.

    `up` : the z of the axis; `turn` : the angle from the seam to the profile.
    """
    z, flat = np.array([0.0, 0.0, 1.0]), big - small
    ends, step = np.eye(2), np.pi / 12
    bent = [
        ends[0] + 2 * step * ends[1] - np.pi**2 / 120 * ends[0],
        ends[1] + 2 * step * ends[0] - np.pi**2 / 120 * ends[1],
    ]
    poles = [ends[0], ends[0] + step * ends[1], bent[0], np.zeros(2), bent[1], ends[1] + step * ends[0], ends[1]]
    poles[3] = (64 * np.sqrt(0.5) - np.array([1, 6, 15, 0, 15, 6, 1]) @ poles) / 20  # on the circle halfway
    out = np.array([np.cos(turn), np.sin(turn), 0.0])
    points = [made.point((flat + small * a) * out - small * b * z) for a, b in poles]
    profile = made.add(
        f"B_SPLINE_CURVE_WITH_KNOTS('',6,({','.join(points)}),.UNSPECIFIED.,.F.,.F.,(7,7),(0.,{np.pi / 2!r}),"
        ".PIECEWISE_BEZIER_KNOTS.)"
    )
    axis = made.add(f"AXIS1_PLACEMENT('',{made.point((0, 0, 0))},{made.direction((0, 0, up))})")
    surface = made.add(f"SURFACE_OF_REVOLUTION('',{profile},{axis})")
    x = np.array([1.0, 0.0, 0.0])
    vertices = made.vertex(big * x), made.vertex(flat * x - small * z)
    rims = (
        made.edge(vertices[0], vertices[0], made.circle(big)),
        made.edge(vertices[1], vertices[1], made.circle(flat, -small * z)),
    )
    seam = made.edge(*vertices, made.circle(small, flat * x, (0, 1, 0), x))
    uses = [(rims[1], True), (seam, False), (rims[0], False), (seam, True)]
    side = made.face(surface, uses, forward=up < 0)
    caps = made.disc(rims[0], onward=True, at=(0, 0, 0), z=z), made.disc(rims[1], onward=False, at=-small * z, z=-z)
    return made.solid(side, *caps)


@pytest.mark.parametrize("uncertainty", [0.0, 1e-7])
@pytest.mark.parametrize("turn", [0.0, 1.0, -2.0])
@pytest.mark.parametrize("up", [1.0, -1.0])
def test_a_revolved_face_spans_one_turn(up: float, turn: float, uncertainty: float, tmp_path: Path) -> None:
    """The kernel counts the face twice where the file's accuracy is finer than the seam's distance from the profile."""
    made, big, small = Statements(), 5.0, 2.0
    solid = _rounded_tip(made, big, small, up, turn)
    flat = big - small
    volume = np.pi * small * (flat**2 + flat * np.pi * small / 2 + 2 / 3 * small**2)
    rounded = 2 * np.pi * small * (flat * np.pi / 2 + small)
    for brep in _open_all(made.write(tmp_path / "part.step", solid, uncertainty=uncertainty)):
        areas = [rounded, np.pi * big**2, np.pi * flat**2]
        np.testing.assert_allclose(brep.face_areas(), areas, rtol=1e-5)
        assert np.ptp(brep.face_uv_bounds()[0, :2]) == pytest.approx(2 * np.pi)
        assert brep.volume() == pytest.approx(volume, rel=1e-5)
        assert sorted(brep.edge_convexities().tolist()) == [0, 1, 3]


# -- names


@pytest.mark.parametrize(
    "name", ["(''top'')", "'')", "a'',b", "x'' )", "'',''", "a('',#2)", "it''s", "(top)", "''", "a;b", "", "/* c */''"]
)
@pytest.mark.parametrize("comment", ["", "/* it's */"])
def test_a_name_loses_no_face(name: str, comment: str, tmp_path: Path) -> None:
    path = solids.write_step(solids.drilled(), tmp_path / "part.step")
    content = path.read_text().replace("ADVANCED_FACE('',", f"ADVANCED_FACE('{name}',", 1)
    path.write_text(content.replace("DATA;", f"DATA;{comment}"))
    for brep in _open_all(path, 2):
        assert brep.n_faces == 7
        assert brep.volume() == pytest.approx(400 - 16 * np.pi)
        assert sorted(brep.face_names())[-1] == name.replace("''", "'")


# -- triangles


def _triangles_only() -> TopoDS_Shape:
    box = solids.box()
    BRepMesh_IncrementalMesh(box, 0.1)
    from OCP.BRep import BRep_Tool

    builder, whole = BRep_Builder(), TopoDS_Compound()
    builder.MakeCompound(whole)
    walk = TopExp_Explorer(box, TopAbs_FACE)
    while walk.More():
        face = TopoDS_Face()
        builder.MakeFace(face, BRep_Tool.Triangulation_s(TopoDS.Face(walk.Current()), TopLoc_Location()))
        builder.Add(whole, face)
        walk.Next()
    return whole


def test_a_brep_file_of_triangles_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(GeometryError, match="6 of its faces have no surface"):
        CadLoader().create_from_file(solids.write_brep(_triangles_only(), tmp_path / "part.brep"))


def _add_triangles(path: Path, *, instead: bool) -> None:
    """A tessellated tetrahedron as a representation of the same product, beside or instead of its exact one."""
    content = path.read_text()
    shape = re.search(r"SHAPE_DEFINITION_REPRESENTATION\((#\d+),(#\d+)\)", content)
    context = re.search(r"ADVANCED_BREP_SHAPE_REPRESENTATION\('',\([^)]*\),(#\d+)\)", content)
    assert shape is not None
    assert context is not None
    more = ["#9001=COORDINATES_LIST('',4,((0.,0.,0.),(10.,0.,0.),(0.,10.,0.),(0.,0.,10.)));"]
    for i, corners in enumerate(("1,3,2", "1,2,4", "2,3,4", "3,1,4")):
        more.append(f"#{9002 + i}=TRIANGULATED_FACE('',#9001,4,((0.,0.,1.)),$,(),(({corners})));")
    more.append("#9006=TESSELLATED_SOLID('',(#9002,#9003,#9004,#9005),$);")
    more.append(f"#9007=TESSELLATED_SHAPE_REPRESENTATION('',(#9006),{context.group(1)});")
    if instead:
        content = content.replace(shape.group(0), f"SHAPE_DEFINITION_REPRESENTATION({shape.group(1)},#9007)")
    else:
        more.append(f"#9008=SHAPE_REPRESENTATION_RELATIONSHIP('','',{shape.group(2)},#9007);")
    path.write_text(content.replace("ENDSEC;\nEND-ISO", "\n".join(more) + "\nENDSEC;\nEND-ISO"))


def test_triangles_alone_are_an_error(tmp_path: Path) -> None:
    path = solids.write_step(solids.box(), tmp_path / "part.step")
    _add_triangles(path, instead=True)
    with pytest.raises(GeometryError, match="have no surface"):
        CadLoader().create_from_file(path)


def test_triangles_beside_exact_faces_are_left_out(tmp_path: Path) -> None:
    path = solids.write_step(solids.box(), tmp_path / "part.step")
    _add_triangles(path, instead=False)
    for brep in _open_all(path, 2):
        assert brep.n_faces == 6
        assert brep.volume() == pytest.approx(30.0)
