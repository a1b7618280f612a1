"""Cavities whose shells are stored either way round, in every way of reading: each face has the material behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from OCP.BRep import BRep_Builder
from OCP.BRepPrimAPI import BRepPrimAPI_MakeBox, BRepPrimAPI_MakeCylinder, BRepPrimAPI_MakeSphere
from OCP.gp import gp_Ax2, gp_Dir, gp_Pnt
from OCP.TopAbs import TopAbs_SHELL
from OCP.TopExp import TopExp_Explorer
from OCP.TopoDS import TopoDS_Shape, TopoDS_Solid

from dflow.cadaccess import Brep, CadLoader, CadModel
from tests.cadaccess import rewriting, solids, stepfile, ways
from tests.cadaccess.stepfile import StepFile

Points = np.ndarray


@dataclass(frozen=True)
class Region:
    """A closed form; `make` : the kernel's shape of it, `holds` : which points are within."""

    volume: float
    area: float
    centre: tuple[float, float, float]
    make: Callable[[], TopoDS_Shape]
    holds: Callable[[Points], np.ndarray]


def cube(low: float, high: float) -> Region:
    side, middle = high - low, 0.5 * (low + high)
    return Region(
        side**3,
        6 * side**2,
        (middle,) * 3,
        lambda: BRepPrimAPI_MakeBox(gp_Pnt(low, low, low), side, side, side).Shape(),
        lambda p: ((p > low) & (p < high)).all(axis=-1),
    )


def ball(at: float, radius: float) -> Region:
    return Region(
        4 / 3 * np.pi * radius**3,
        4 * np.pi * radius**2,
        (at,) * 3,
        lambda: BRepPrimAPI_MakeSphere(gp_Pnt(at, at, at), radius).Shape(),
        lambda p: np.linalg.norm(p - at, axis=-1) < radius,
    )


def rod(at: float, radius: float, height: float) -> Region:
    axis = gp_Ax2(gp_Pnt(at, at, at - height / 2), gp_Dir(0, 0, 1))
    return Region(
        np.pi * radius**2 * height,
        2 * np.pi * radius * (radius + height),
        (at,) * 3,
        lambda: BRepPrimAPI_MakeCylinder(axis, radius, height).Shape(),
        lambda p: (np.hypot(*np.moveaxis(p[..., :2] - at, -1, 0)) < radius) & (np.abs(p[..., 2] - at) < height / 2),
    )


PARTS: dict[str, list[list[Region]]] = {
    "a cavity": [[cube(0, 10), cube(3, 7)]],
    "two cavities": [[cube(0, 10), cube(1, 3), cube(5, 9)]],
    "a round cavity": [[cube(0, 10), ball(5, 2)]],
    "a cavity of three faces": [[ball(0, 9), rod(1, 2, 4)]],
    "a ball in a ball and a cube": [[ball(0, 9), ball(-2, 1.5), cube(1, 4)]],
    "a solid in a cavity": [[cube(0, 10), cube(2, 8)], [ball(5, 2)]],
    "hollow solids within each other": [
        [cube(0, 10), cube(1, 9)],
        [cube(2, 8), cube(3, 7)],
        [ball(5, 1.5), ball(5, 1)],
    ],
}
"""For each solid its outer shell and then its cavities."""


def in_material(part: Sequence[Sequence[Region]], points: Points) -> np.ndarray:
    found = np.zeros(points.shape[:-1], bool)
    for outer, *cavities in part:
        mine = outer.holds(points)
        for cavity in cavities:
            mine &= ~cavity.holds(points)
        found |= mine
    return found


def assert_is(brep: Brep, part: Sequence[Sequence[Region]]) -> None:
    """The sizes of the part, its normals, the sense of its loops and which of its edges are concave."""
    signed = [(region, 1.0 if i == 0 else -1.0) for solid in part for i, region in enumerate(solid)]
    volume = sum(sign * region.volume for region, sign in signed)
    moment = sum(sign * region.volume * np.array(region.centre) for region, sign in signed)
    assert brep.volume() == pytest.approx(volume, rel=1e-6)
    assert brep.area() == pytest.approx(sum(region.area for region, _ in signed), rel=1e-6)
    np.testing.assert_allclose(brep.centroid(), moment / volume, atol=1e-5)
    assert brep.is_closed()
    points, normals = brep.surface_samples(50, 1)
    assert in_material(part, points - 1e-5 * normals).all()
    assert not in_material(part, points + 1e-5 * normals).any()
    _assert_edges(brep, part)


def _assert_edges(brep: Brep, part: Sequence[Sequence[Region]]) -> None:
    topology, middle = brep.topology(), brep.edge_samples(3)[:, 1]
    at, along = middle[topology.coedge_edge, :3], middle[topology.coedge_edge, 3:]
    along = along * np.where(topology.coedge_reversed, -1.0, 1.0)[:, None]
    flat = brep.face_types()[topology.coedge_face] == 0
    normal = brep.face_samples(2, 2)[topology.coedge_face, 0, 0, 3:6]
    left = at + 1e-3 * np.cross(normal, along)
    assert in_material(part, left - 1e-5 * normal)[flat].all()
    assert not in_material(part, left + 1e-5 * normal)[flat].any()
    # Around the middle of a convex edge, less than half is material.
    off = np.random.default_rng(0).normal(size=(200, 3))
    off /= np.linalg.norm(off, axis=1)[:, None]
    share = in_material(part, middle[:, None, :3] + 1e-3 * off).mean(axis=1)
    angles, sharp = brep.edge_dihedral_angles(), ~np.isnan(brep.edge_dihedral_angles())
    np.testing.assert_array_equal(brep.edge_convexities()[sharp], np.where(share < 0.5, 1, 2)[sharp])
    np.testing.assert_allclose(np.abs(angles[sharp]), np.pi / 2, atol=1e-6)


def _model_is(model: CadModel, part: Sequence[Sequence[Region]]) -> None:
    assert_is(model.get_brep(), part)
    assert model.get_body_count() == len(part)
    volumes = sorted(model.get_brep(body).volume() for body in range(len(part)))
    wanted = sorted(solid[0].volume - sum(cavity.volume for cavity in solid[1:]) for solid in part)
    np.testing.assert_allclose(volumes, wanted, rtol=1e-6)


def _solid(regions: Sequence[Region], turned: Sequence[bool]) -> TopoDS_Shape:
    """A solid of these shells, cavities looking into themselves; `turned` : the other way."""
    builder, solid = BRep_Builder(), TopoDS_Solid()
    builder.MakeSolid(solid)
    for i, (region, other) in enumerate(zip(regions, turned, strict=True)):
        shell = TopExp_Explorer(region.make(), TopAbs_SHELL).Current()
        builder.Add(solid, shell.Reversed() if (i > 0) != other else shell)
    return solid


# -- BREP files


@pytest.mark.parametrize("how", ["none", "first", "all"])
@pytest.mark.parametrize("name", PARTS)
def test_cavities_of_a_brep_file(name: str, how: str, tmp_path: Path) -> None:
    part = PARTS[name]
    turned = {"none": [False] * 9, "first": [False, True] + [False] * 9, "all": [False] + [True] * 9}[how]
    shape = solids.compound(*(_solid(solid, turned[: len(solid)]) for solid in part))
    _model_is(CadLoader().create_from_file(solids.write_brep(shape, tmp_path / "part.brep")), part)


# -- STEP files


def _plain(file: StepFile, shell: str) -> str:
    return shell


def _inside_out(file: StepFile, shell: str) -> str:
    rewriting.turn_shell(file, int(shell[1:]))
    return shell


def _wrapped(file: StepFile, shell: str) -> str:
    return file.add("ORIENTED_CLOSED_SHELL", "''", "*", shell, ".T.")


def _wrapped_turned(file: StepFile, shell: str) -> str:
    return file.add("ORIENTED_CLOSED_SHELL", "''", "*", _inside_out(file, shell), ".F.")


OUTER = {"plain": _plain, "inside out": _inside_out, "oriented": _wrapped, "oriented back": _wrapped_turned}
"""How the outer shell is stored; inside out is against the standard, and every solid of STEP is finite all the same."""

CAVITIES = {"out F": (False, ".F."), "in T": (True, ".T."), "in F": (True, ".F."), "out T": (False, ".T.")}
"""Whether a cavity's faces look into it, and its flag; the last two are against the standard."""


SENSES = [(outer, cavity) for outer in OUTER for cavity in CAVITIES if outer == "plain" or cavity in ("out F", "in F")]


@pytest.mark.parametrize(("outer", "cavity"), SENSES)
@pytest.mark.parametrize("name", PARTS)
def test_shells_of_a_step_file(name: str, outer: str, cavity: str, tmp_path: Path) -> None:
    part = PARTS[name]
    shape = solids.compound(*(_solid(solid, [False] * len(solid)) for solid in part))
    path = solids.write_step(shape, tmp_path / "part.step", pcurves=False)
    file, (turned, flag) = stepfile.parse(path.read_text()), CAVITIES[cavity]
    for void in file.of("ORIENTED_CLOSED_SHELL"):
        values = file.values(void)
        assert values[3] == ".F."
        values[3] = flag
        if turned:
            rewriting.turn_shell(file, int(values[2][1:]))
    for solid in file.solids():
        file.values(solid)[1] = OUTER[outer](file, file.values(solid)[1])
    path.write_text(file.text())
    taken = []
    for way in ("text", "light", "full"):
        model = ways.open_by(way, path)
        if model is not None:
            taken.append(way)
            _model_is(model, part)
    assert "full" in taken
    if (outer, cavity) == ("plain", "out F"):
        assert "light" in taken
        assert "text" in taken or name not in ("a cavity", "two cavities")
