"""Closed-form solids, placed, mirrored and reversed, in BREP and STEP."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.cadaccess import solids

PI = np.pi
SLANT = np.hypot(2.0, 4.0)
FORMS: dict[str, tuple[Callable[[], object], float, float]] = {
    "box": (solids.box, 30.0, 62.0),
    "cylinder": (solids.cylinder, 28 * PI, 2 * PI * 2 * 7 + 8 * PI),
    "cone": (solids.cone, PI * 4 / 3 * (9 + 3 + 1), PI * (9 + 1) + PI * (3 + 1) * SLANT),
    "sphere": (solids.sphere, 4 / 3 * PI * 2.5**3, 4 * PI * 2.5**2),
    "torus": (solids.torus, 2 * PI**2 * 5 * 1.5**2, 4 * PI**2 * 5 * 1.5),
}


@pytest.mark.parametrize("suffix", [".brep", ".step"])
@pytest.mark.parametrize("how", solids.PLACES)
@pytest.mark.parametrize("form", FORMS)
def test_volume_and_area_are_the_closed_forms(form: str, how: str, suffix: str, tmp_path: Path) -> None:
    make, volume, area = FORMS[form]
    brep = solids.open_brep(solids.place(make(), how), tmp_path, suffix)
    # A reversed solid encloses minus its volume in a BREP file; a STEP reader turns it the right way round.
    sign = -1.0 if how == "reversed" and suffix == ".brep" else 1.0
    assert brep.volume() == pytest.approx(sign * volume, rel=1e-9)
    assert brep.area() == pytest.approx(area, rel=1e-9)
    assert brep.is_closed()


@pytest.mark.parametrize("how", ["at_origin", "placed", "mirrored"])
@pytest.mark.parametrize("form", FORMS)
def test_normals_point_out_of_the_material_and_samples_lie_on_the_surface(form: str, how: str, tmp_path: Path) -> None:
    brep = solids.open_brep(solids.place(FORMS[form][0](), how), tmp_path)
    grid = brep.face_samples(7, 6).reshape(brep.n_faces, -1, 7)
    for row in range(brep.n_faces):
        uv = _grid_uv(brep.face_uv_bounds()[row], 7, 6)
        points, normals = brep.kernel.surface_points(row, uv)
        np.testing.assert_allclose(grid[row, :, :3], points, atol=1e-9)
        defined = np.isfinite(normals).all(axis=1)
        np.testing.assert_allclose(grid[row, defined, 3:6], normals[defined], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(grid[..., 3:6], axis=-1), 1.0, atol=1e-12)
    # The divergence theorem holds for outward normals only: the flux of P through the faces is three times the volume.
    points, normals = brep.surface_samples(4000, 1)
    flux = np.einsum("fnk,fnk->fn", points - brep.centroid(), normals).mean(axis=1)
    assert flux @ brep.face_areas() / 3 == pytest.approx(brep.volume(), rel=0.03)


def _grid_uv(bounds: np.ndarray, n_u: int, n_v: int) -> np.ndarray:
    u, v = np.linspace(bounds[0], bounds[1], n_u), np.linspace(bounds[2], bounds[3], n_v)
    return np.stack(np.meshgrid(u, v, indexing="ij"), axis=-1).reshape(-1, 2)


def test_box_edges_are_convex_at_a_right_angle(tmp_path: Path) -> None:
    brep = solids.open_brep(solids.box(), tmp_path)
    np.testing.assert_allclose(brep.edge_dihedral_angles(), PI / 2, atol=1e-12)
    assert (brep.edge_convexities() == 1).all()
    assert sorted(brep.edge_lengths().round(9)) == sorted([2.0] * 4 + [3.0] * 4 + [5.0] * 4)
    assert (brep.edge_types() == 0).all()


@pytest.mark.parametrize("how", ["at_origin", "placed", "mirrored"])
def test_pocket_has_concave_inner_edges_and_a_convex_rim(how: str, tmp_path: Path) -> None:
    brep = solids.open_brep(solids.place(solids.pocket(), how), tmp_path)
    convexities = brep.edge_convexities()
    assert np.bincount(convexities, minlength=4).tolist() == [0, 16, 8, 0]
    np.testing.assert_allclose(np.abs(brep.edge_dihedral_angles()), PI / 2, atol=1e-9)
    assert (np.sign(brep.edge_dihedral_angles()) == np.where(convexities == 1, 1, -1)).all()
    assert brep.volume() == pytest.approx(1000 - 48, rel=1e-12)
    assert sorted(brep.face_loops()) == [1] * 10 + [2]


def test_a_drilled_hole_has_convex_rims_and_a_boss_a_concave_foot(tmp_path: Path) -> None:
    for number, (shape, convex, concave) in enumerate(((solids.drilled(), 14, 0), (solids.boss(), 13, 1))):
        (tmp_path / str(number)).mkdir()
        brep = solids.open_brep(shape, tmp_path / str(number))
        count = np.bincount(brep.edge_convexities(), minlength=4)
        assert (count[1], count[2]) == (convex, concave)
        assert count[0] == 1  # the seam of the cylinder


def test_a_fillet_is_smooth_on_both_sides(tmp_path: Path) -> None:
    brep = solids.open_brep(solids.filleted_cylinder(), tmp_path)
    assert np.bincount(brep.face_types(), minlength=5).tolist() == [2, 1, 0, 0, 2]
    angles = brep.edge_dihedral_angles()
    circles = np.isfinite(angles)
    assert circles.sum() == 4
    np.testing.assert_allclose(angles[circles], 0.0, atol=1e-6)
    assert (brep.edge_convexities()[circles] == 3).all()


def test_a_tighter_smooth_limit_tells_an_obtuse_edge_apart(tmp_path: Path) -> None:
    wedge = solids.cone(low=3.0, high=2.9, height=10.0)
    brep = solids.open_brep(wedge, tmp_path)
    assert (brep.edge_convexities(smooth_degrees=100.0)[np.isfinite(brep.edge_dihedral_angles())] == 3).all()
    assert (brep.edge_convexities(smooth_degrees=1.0)[np.isfinite(brep.edge_dihedral_angles())] == 1).all()


def test_mask_of_a_drilled_plate_is_the_circle(tmp_path: Path) -> None:
    brep = solids.open_brep(solids.drilled(), tmp_path)
    holed = np.flatnonzero(brep.face_loops() == 2)
    grid = brep.face_samples(41, 41)[holed]
    off = np.hypot(grid[..., 0] - 5, grid[..., 1] - 5)
    clear = np.abs(off - 2) > 1e-9
    assert ((grid[..., 6] == 1) == (off > 2))[clear].all()
    assert len(holed) == 2


def test_cap_of_a_cylinder_is_a_disc_in_a_square(tmp_path: Path) -> None:
    brep = solids.open_brep(solids.cylinder(radius=2.0), tmp_path)
    caps = brep.face_samples(51, 51)[brep.face_types() == 0]
    off = np.hypot(caps[..., 0], caps[..., 1])
    clear = np.abs(off - 2) > 1e-9
    assert ((caps[..., 6] == 1) == (off < 2))[clear].all()
    assert caps[..., 6].mean() == pytest.approx(PI / 4 * (50 / 51) ** 2, abs=0.005)


def test_topology_of_a_box_visits_every_edge_once_each_way(tmp_path: Path) -> None:
    topology = solids.open_brep(solids.box(), tmp_path).topology()
    assert len(topology.coedge_face) == 24
    for edge in range(12):
        uses = np.flatnonzero(topology.coedge_edge == edge)
        assert sorted(topology.coedge_reversed[uses]) == [0, 1]
    for coedge in range(24):
        walk, at = [], coedge
        for _ in range(4):
            walk.append(at)
            at = int(topology.coedge_next[at])
        assert at == coedge
        assert len({int(topology.coedge_loop[c]) for c in walk}) == 1


@pytest.mark.parametrize("how", ["at_origin", "mirrored"])
def test_loops_run_with_the_face_on_their_left(how: str, tmp_path: Path) -> None:
    brep = solids.open_brep(solids.place(solids.pocket(), how), tmp_path)
    topology, ends = brep.topology(), brep.edge_samples(2)[..., :3]
    area = np.zeros(brep.n_faces)
    backwards = topology.coedge_reversed.astype(bool)
    start = np.where(backwards[:, None], ends[topology.coedge_edge, 1], ends[topology.coedge_edge, 0])
    end = np.where(backwards[:, None], ends[topology.coedge_edge, 0], ends[topology.coedge_edge, 1])
    np.testing.assert_allclose(end, start[topology.coedge_next], atol=1e-9)
    normal = brep.face_samples(2, 2)[:, 0, 0, 3:6]
    np.add.at(
        area, topology.coedge_face, 0.5 * np.einsum("ij,ij->i", np.cross(start, end), normal[topology.coedge_face])
    )
    np.testing.assert_allclose(area, brep.face_areas(), rtol=1e-9)


def test_a_seam_is_two_coedges_of_one_face_and_poles_have_none(tmp_path: Path) -> None:
    brep = solids.open_brep(solids.sphere(), tmp_path)
    topology = brep.topology()
    assert (brep.n_edges, len(topology.coedge_face)) == (1, 2)
    assert topology.coedge_next.tolist() == [1, 0]
    assert np.isnan(brep.edge_dihedral_angles()).all()


def test_boxes_are_exact(tmp_path: Path) -> None:
    for number, (shape, box) in enumerate(
        (
            (solids.box(), [0, 0, 0, 2, 3, 5]),
            (solids.sphere(), [-2.5] * 3 + [2.5] * 3),
            (solids.torus(), [-6.5, -6.5, -1.5, 6.5, 6.5, 1.5]),
            (solids.cylinder(angle=PI / 2), [0, 0, 0, 2, 2, 7]),
        )
    ):
        (tmp_path / str(number)).mkdir()
        np.testing.assert_allclose(solids.open_brep(shape, tmp_path / str(number)).bounding_box(), box, atol=1e-6)


def test_centroids_follow_the_placement(tmp_path: Path) -> None:
    brep = solids.open_brep(solids.place(solids.cone(), "placed"), tmp_path)
    volume, centre = brep.kernel.face_cone, brep.centroid()
    total = np.sum([volume(row)[1] for row in range(brep.n_faces)], axis=0) / brep.volume()
    np.testing.assert_allclose(centre, total, atol=1e-6)


def test_surface_samples_are_even_and_repeatable(tmp_path: Path) -> None:
    brep = solids.open_brep(solids.boss(), tmp_path)
    points, _ = brep.surface_samples(3000, 7)
    np.testing.assert_array_equal(points, brep.surface_samples(3000, 7)[0])
    assert not np.array_equal(points, brep.surface_samples(3000, 8)[0])
    error = np.abs(points.mean(axis=1) - brep.face_centroids())
    assert (error < 5 * points.std(axis=1) / np.sqrt(3000) + 1e-9).all()


def test_arrays_cannot_be_written_to(tmp_path: Path) -> None:
    brep = solids.open_brep(solids.box(), tmp_path)
    for array in (brep.face_areas(), brep.face_samples(3, 3), brep.edge_samples(3), brep.topology().coedge_next):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
