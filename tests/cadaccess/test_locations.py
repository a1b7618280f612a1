"""Locations that scale or mirror, in BREP files and in what the kernel writes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from OCP.BRepBuilderAPI import BRepBuilderAPI_Transform
from OCP.gp import gp_Ax1, gp_Ax2, gp_Dir, gp_Pnt, gp_Trsf, gp_Vec
from OCP.TopAbs import TopAbs_FACE, TopAbs_SHELL
from OCP.TopExp import TopExp_Explorer
from OCP.TopLoc import TopLoc_Location
from OCP.TopoDS import TopoDS_Shape

from dflow.cadaccess import Brep, CadLoader
from dflow.errors import GeometryError
from tests.cadaccess import solids
from tests.cadaccess.everyway import read_every_way


def _scaled(factor: float) -> gp_Trsf:
    move = gp_Trsf()
    move.SetScale(gp_Pnt(1, 2, 3), factor)
    return move


def _mirrored() -> gp_Trsf:
    move = gp_Trsf()
    move.SetMirror(gp_Ax2(gp_Pnt(1, 2, 3), gp_Dir(1, 1, 0.3)))
    return move


def _turned() -> gp_Trsf:
    turn, shift = gp_Trsf(), gp_Trsf()
    turn.SetRotation(gp_Ax1(gp_Pnt(3, 1, 2), gp_Dir(0.2, 1, 0.7)), 0.8)
    shift.SetTranslation(gp_Vec(10, -5, 2))
    return shift.Multiplied(turn)


CHAINS = {
    "scaled": [_scaled(2)],
    "mirrored": [_mirrored()],
    "inverted": [_scaled(-0.5)],
    "scaled and mirrored": [_scaled(2), _mirrored()],
    "mirrored twice": [_mirrored(), _turned(), _mirrored()],
    "scaled and back": [_scaled(2), _scaled(0.5)],
    "turned in between": [_turned(), _scaled(3), _turned(), _mirrored(), _turned()],
}
SHAPES: dict[str, Callable[[], TopoDS_Shape]] = {
    "pocket": solids.pocket,
    "drilled": solids.drilled,
    "cone": solids.cone,
    "torus": solids.torus,
    "sphere": solids.sphere,
}


def _placed(shape: TopoDS_Shape, chain: list[gp_Trsf]) -> TopoDS_Shape:
    """The shape in compounds, one in the other, each placed by one of the chain."""
    for move in chain:
        shape = solids.compound(shape.Located(TopLoc_Location(move), False))
    return shape


def _assert_copy(brep: Brep, original: Brep, chain: list[gp_Trsf]) -> None:
    """That `brep` is the original, moved by all of the chain: sizes, senses and places."""
    size = abs(np.prod([move.ScaleFactor() for move in chain]))

    def moved(points: np.ndarray) -> np.ndarray:
        at = [gp_Pnt(*point) for point in points.tolist()]
        for move in chain:
            for point in at:
                point.Transform(move)
        return np.array([(point.X(), point.Y(), point.Z()) for point in at])

    assert brep.volume() == pytest.approx(original.volume() * size**3)
    np.testing.assert_allclose(brep.face_areas(), original.face_areas() * size**2)
    np.testing.assert_allclose(brep.edge_lengths(), original.edge_lengths() * size)
    np.testing.assert_allclose(brep.face_centroids(), moved(original.face_centroids()), atol=1e-6)
    np.testing.assert_allclose(brep.centroid(), moved(original.centroid()[None])[0], atol=1e-6)
    np.testing.assert_array_equal(brep.edge_convexities(), original.edge_convexities())
    np.testing.assert_allclose(np.sort(brep.tables.points, 0), np.sort(moved(original.tables.points), 0), atol=1e-6)
    points, normals = brep.surface_samples(1000, 0)
    flux = np.einsum("fni,fni->fn", points - brep.centroid(), normals).mean(axis=1) @ brep.face_areas() / 3
    assert flux == pytest.approx(brep.volume(), rel=0.1)  # normals point outwards
    assert brep.is_closed()
    assert brep.is_valid()


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("name", SHAPES)
def test_a_brep_file_whose_locations_scale_or_mirror(name: str, chain: str, tmp_path: Path) -> None:
    original = solids.open_brep(SHAPES[name](), tmp_path)
    model = solids.open_model(_placed(SHAPES[name](), CHAINS[chain]), tmp_path)
    assert (model.get_body_count(), model.get_brep().n_faces) == (1, original.n_faces)
    _assert_copy(model.get_brep(), original, CHAINS[chain])
    _assert_copy(model.get_brep(0), original, CHAINS[chain])


@pytest.mark.parametrize("move", [_scaled(2), _mirrored()], ids=["scaled", "mirrored"])
def test_copies_of_a_part_stay_apart_and_the_rest_is_shared(move: gp_Trsf, tmp_path: Path) -> None:
    part = solids.drilled()
    shifted = part.Moved(TopLoc_Location(_turned()))
    copy = part.Located(TopLoc_Location(move), False)
    away = copy.Located(TopLoc_Location(_turned()).Multiplied(copy.Location()), False)
    model = solids.open_model(solids.compound(part, shifted, copy, away, copy), tmp_path)
    original = solids.open_brep(part, tmp_path)
    assert (model.get_body_count(), model.get_brep().n_faces) == (4, 4 * original.n_faces)
    for body, chain in enumerate(([], [_turned()], [move], [move, _turned()])):
        _assert_copy(model.get_brep(body), original, chain)


def _with_parts_placed(shape: TopoDS_Shape, move: gp_Trsf, kind: object) -> TopoDS_Shape:
    """A solid whose shells, or whose shells' faces, are placed each by itself."""
    from OCP.BRep import BRep_Builder
    from OCP.TopoDS import TopoDS_Shell, TopoDS_Solid

    builder, solid, shell = BRep_Builder(), TopoDS_Solid(), TopoDS_Shell()
    builder.MakeSolid(solid)
    builder.MakeShell(shell)
    walk = TopExp_Explorer(shape, kind)
    while walk.More():
        part = walk.Current().Located(TopLoc_Location(move), False)
        builder.Add(solid if kind == TopAbs_SHELL else shell, part)
        walk.Next()
    if kind == TopAbs_FACE:
        builder.Add(solid, shell)
    return solid


def test_a_solid_whose_shell_is_placed_with_scale(tmp_path: Path) -> None:
    original = solids.open_brep(solids.drilled(), tmp_path)
    shape = _with_parts_placed(solids.drilled(), _mirrored(), TopAbs_SHELL)
    brep = solids.open_brep(_placed(shape, [_scaled(3)]), tmp_path)
    _assert_copy(brep, original, [_mirrored(), _scaled(3)])


def test_faces_that_are_scaled_apart_within_a_shell_are_refused(tmp_path: Path) -> None:
    shape = _with_parts_placed(solids.drilled(), _mirrored(), TopAbs_FACE)
    with pytest.raises(GeometryError, match="placed with scale or mirror"):
        solids.open_brep(shape, tmp_path)


@pytest.mark.parametrize("move", [_scaled(2), _mirrored(), _scaled(-3)], ids=["scaled", "mirrored", "inverted"])
@pytest.mark.parametrize("name", SHAPES)
def test_instances_that_the_kernel_writes_with_scale_or_mirror(name: str, move: gp_Trsf, tmp_path: Path) -> None:
    part = SHAPES[name]()
    copy = part.Located(TopLoc_Location(move), False)
    path = solids.write_step(solids.compound(part, copy), tmp_path / "part.step")
    assert "CARTESIAN_TRANSFORMATION_OPERATOR_3D" in path.read_text()
    original = solids.open_brep(part, tmp_path)
    size = abs(move.ScaleFactor())
    for way, model in read_every_way(path):
        assert model.get_body_count() == 2, way
        breps = sorted((model.get_brep(body) for body in range(2)), key=lambda brep: brep.centroid().tolist())
        wanted = sorted((size**3, 1.0))
        assert sorted(brep.volume() / original.volume() for brep in breps) == pytest.approx(wanted), way
        area = sum(brep.area() for brep in breps)
        assert area == pytest.approx(original.area() * (1 + size**2)), way
        n_concave = 2 * int((original.edge_convexities() == 2).sum())
        assert int((model.get_brep().edge_convexities() == 2).sum()) == n_concave, way


def test_a_copy_in_place_keeps_the_names_of_its_faces(tmp_path: Path) -> None:
    part = solids.box()
    path = solids.write_step(
        solids.compound(part, part.Located(TopLoc_Location(_scaled(2)), False)), tmp_path / "part.step"
    )
    count = iter(range(100))
    path.write_text(re.sub(r"ADVANCED_FACE\(''", lambda _: f"ADVANCED_FACE('f{next(count)}'", path.read_text()))
    model = CadLoader().create_from_file(path)
    names = [f"f{i}" for i in range(6)]
    assert [sorted(model.get_brep(body).face_names()) for body in (0, 1)] == [names, names]
    assert sorted(model.get_brep().face_names()) == sorted(names * 2)


def test_a_transformed_shape_is_what_its_location_says(tmp_path: Path) -> None:
    """The kernel's own copy in place is the oracle: face by face, in the same order."""
    part, move = solids.boss(), _turned().Multiplied(_mirrored()).Multiplied(_scaled(1.5))
    ours = solids.open_brep(part.Located(TopLoc_Location(move), False), tmp_path)
    kernels = solids.open_brep(BRepBuilderAPI_Transform(part, move, True).Shape(), tmp_path)
    np.testing.assert_allclose(ours.face_samples(4, 4), kernels.face_samples(4, 4), atol=1e-9)
    np.testing.assert_allclose(ours.edge_samples(4), kernels.edge_samples(4), atol=1e-9)


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_the_kernels_own_assemblies_scale_as_it_wrote_them(scale: float, tmp_path: Path) -> None:
    """It states the scale of a part's placement as the inverse."""
    placed = solids.box(1, 2, 3).Located(TopLoc_Location(_scaled(scale)), False)
    path = solids.write_step(solids.compound(solids.box(1, 2, 3), placed), tmp_path / "part.step")
    assert f",{1 / scale:g}" in path.read_text().split("CARTESIAN_TRANSFORMATION_OPERATOR_3D")[1]
    for way, model in read_every_way(path):
        assert model.get_brep().volume() == pytest.approx(6 * (1 + scale**3)), way
