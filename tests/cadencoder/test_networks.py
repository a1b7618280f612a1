"""The inputs of published networks: closed forms on generated solids, and the authors' own arrays where they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from OCP.BRepBuilderAPI import BRepBuilderAPI_Transform
from OCP.gp import gp_Trsf, gp_Vec

from dflow.cadaccess import Brep
from dflow.cadencoder import NETWORKS, BrepEncoder, network_arrays, pack_network
from dflow.cadencoder.features import ARRAY_KEYS
from dflow.errors import GeometryError, RecipeError
from dflow.schema import standard_array
from dflow.storage import MemoryStorage, OptStorage
from tests.benchmarks import networks as golden
from tests.cadaccess import solids

LENGTH, CIRCLE, CLOSED, LINE = 3, 4, 5, 9
SHAPES = {
    "box": solids.box,
    "cylinder": solids.cylinder,
    "cone": lambda: solids.cone(3.0, 0.0, 4.0),
    "sphere": solids.sphere,
    "torus": solids.torus,
    "drilled": solids.drilled,
    "pocket": solids.pocket,
    "filleted": solids.filleted_cylinder,
}


def _brep(name: str, folder: Path, how: str = "at_origin") -> Brep:
    return solids.open_brep(solids.place(SHAPES[name](), how), folder)


# The authors' own arrays.


def test_every_array_of_the_golden_parts_is_the_authors(shared_data: Path) -> None:
    parts = list(golden.golden(shared_data))
    if not parts:
        pytest.skip("the authors' arrays are absent: ../shared/data/golden")
    for name, theirs, path in parts:
        brep = golden.CadLoader().create_from_file(path).get_brep()
        for key, found in golden.differences(brep, theirs).items():
            where = f"{name} {key}: {found}"
            assert found.n_different <= (0 if theirs[key].dtype.kind == "i" else 0.001 * found.n_values), where
            assert found.n_mask_different <= 0.002 * found.n_mask, where


# UV-Net.


@pytest.mark.parametrize("how", solids.PLACES)
@pytest.mark.parametrize("name", sorted(SHAPES))
def test_on_oriented_grids_du_cross_dv_points_outward(name: str, how: str, tmp_path: Path) -> None:
    grids = network_arrays(_brep(name, tmp_path, how), "uvnet")["x"].astype(float)
    du, dv = (np.diff(grids[..., :3], axis=axis)[:, :9, :9] for axis in (1, 2))
    cross = np.cross(du, dv)
    middle = grids[:, :9, :9, 3:6] + grids[:, 1:, 1:, 3:6]
    size = np.linalg.norm(cross, axis=-1)
    good = size > 1e-3 * size.max(axis=(1, 2), keepdims=True)  # next to a pole the grid's cells are slivers
    assert (np.einsum("fijk,fijk->fij", cross, middle)[good] > 0).all()


@pytest.mark.parametrize("how", solids.PLACES)
@pytest.mark.parametrize("name", ["box", "drilled", "pocket"])
def test_arcs_run_along_their_source_faces_coedge(name: str, how: str, tmp_path: Path) -> None:
    brep = _brep(name, tmp_path, how)
    arrays = network_arrays(brep, "uvnet")
    source, destination, edges = arrays["src"], arrays["dst"], arrays["e"].astype(float)
    pairs = set(zip(source.tolist(), destination.tolist(), strict=True))
    assert len(pairs) == len(source)
    assert pairs == {(b, a) for a, b in pairs}
    assert (np.diff(source) >= 0).all()
    there = {pair: row for row, pair in enumerate(zip(source.tolist(), destination.tolist(), strict=True))}
    back = [there[pair] for pair in zip(destination.tolist(), source.tolist(), strict=True)]
    np.testing.assert_allclose(edges[back], edges[:, ::-1] * np.repeat([1, -1], 3), atol=1e-5)
    along = np.einsum("ank,ank->an", np.diff(edges[..., :3], axis=1), edges[:, 1:, 3:] + edges[:, :-1, 3:])
    assert (along > 0).all()
    flat = np.flatnonzero((brep.face_types()[source] == 0) & (brep.face_loops()[source] == 1))
    normal = arrays["x"][source[flat], 0, 0, 3:6]
    inward = np.cross(normal, edges[flat, 0, 3:])
    toward = brep.face_centroids()[source[flat]] - edges[flat, 0, :3]
    assert (np.einsum("ak,ak->a", inward, toward) > 0).all()  # seen from outside, the face is to the left


def test_a_sphere_has_a_face_and_no_arc(tmp_path: Path) -> None:
    arrays = network_arrays(_brep("sphere", tmp_path), "uvnet")
    assert [arrays[name].shape for name in ("x", "src", "dst", "e")] == [(1, 10, 10, 7), (0,), (0,), (0, 10, 6)]
    np.testing.assert_allclose(arrays["x"][..., :3], 2.5 * arrays["x"][..., 3:6], atol=1e-6)
    assert arrays["x"][..., 6].all()


# BRepNet.


def test_a_box_for_brepnet(tmp_path: Path) -> None:
    arrays = network_arrays(_brep("box", tmp_path), "brepnet")
    half = np.array([2, 3, 5]) / 5
    points = arrays["face_point_grids"][:, :3]
    np.testing.assert_allclose(np.abs(points).max(axis=(0, 2, 3)), half, atol=1e-7)
    areas = [4 * a * b for a, b in ((half[1], half[2]), (half[0], half[2]), (half[0], half[1]))]
    np.testing.assert_allclose(np.sort(arrays["face_features"][:, 5]), np.sort(np.repeat(areas, 2)), rtol=1e-6)
    assert (arrays["face_features"][:, [0, 1, 2, 3, 4, 6]] == [1, 0, 0, 0, 0, 0]).all()
    mask = np.zeros((10, 10))
    mask[1:-1, 1:-1] = 1
    assert (arrays["face_point_grids"][:, 6] == mask).all()  # strictly inside
    edges = arrays["edge_features"]
    assert (np.delete(edges, LENGTH, axis=1) == [0, 1, 0, 0, 0, 0, 0, 0, 1]).all()
    np.testing.assert_allclose(np.sort(edges[:, LENGTH]), np.sort(np.repeat(2 * half, 4)), rtol=1e-6)
    assert arrays["coedge_features"].sum() == 12


@pytest.mark.parametrize("how", solids.PLACES)
@pytest.mark.parametrize("name", sorted(SHAPES))
def test_coedges_are_walked_and_have_frames(name: str, how: str, tmp_path: Path) -> None:
    arrays = network_arrays(_brep(name, tmp_path, how), "brepnet")
    following, mate, face, edge = (arrays[key] for key in ("next", "mate", "face", "edge"))
    rows = np.arange(len(following))
    breaks = following != rows + 1
    assert (following[breaks] <= rows[breaks]).all()  # a loop is walked from its first row to its last
    assert (face[following] == face).all()
    assert (mate[mate] == rows).all()
    assert (edge[mate] == edge).all()
    without = arrays["edge_features"][edge, LENGTH] == 0
    assert (mate[without] == rows[without]).all()
    assert not arrays["coedge_point_grids"][without].any()
    assert not arrays["coedge_lcs"][without].any()
    frames, grids = arrays["coedge_lcs"][~without].astype(float), arrays["coedge_point_grids"][~without]
    axes = frames[:, :3, :3]
    np.testing.assert_allclose(axes.transpose(0, 2, 1) @ axes, np.broadcast_to(np.eye(3), axes.shape), atol=1e-5)
    np.testing.assert_allclose(np.linalg.det(axes), 1, atol=1e-5)
    middle = grids[:, :, 4] + grids[:, :, 5]
    for column, first in ((1, 3), (2, 6)):  # v is the tangent, w the left face's normal
        assert (np.einsum("ck,ck->c", axes[:, :, column], middle[:, first : first + 3]) > 1.8).all()
    ends = grids[:, :3, -1], arrays["coedge_point_grids"][following[~without], :3, 0]
    joined = ~without[following[~without]]
    np.testing.assert_allclose(ends[0][joined], ends[1][joined], atol=1e-5)
    gaps = np.linalg.norm(np.diff(grids[:, :3], axis=2), axis=1)
    np.testing.assert_allclose(gaps, np.broadcast_to(gaps.mean(axis=1, keepdims=True), gaps.shape), rtol=1e-3)


def test_convexity_of_a_pocket_and_of_fillets_and_seams(tmp_path: Path) -> None:
    concave, convex, smooth = network_arrays(_brep("pocket", tmp_path), "brepnet")["edge_features"][:, :3].sum(axis=0)
    assert (concave, convex, smooth) == (8, 16, 0)
    features = network_arrays(_brep("filleted", tmp_path), "brepnet")["edge_features"]
    assert (features[:, 2] == 1).all()  # four rims between fillets and their neighbours, and the seams
    rims, seam = (
        network_arrays(_brep("cylinder", tmp_path), "brepnet")["edge_features"][rows] for rows in ([0, 2], [1])
    )
    np.testing.assert_allclose(rims, [[0, 1, 0, 4 * np.pi / 3.5, 1, 1, 0, 0, 0, 0]] * 2, rtol=1e-6)
    np.testing.assert_allclose(seam, [[0, 0, 1, 2, 0, 0, 0, 0, 0, 1]], rtol=1e-6)


def test_poles_and_apexes_are_edges_without_length(tmp_path: Path) -> None:
    sphere = network_arrays(_brep("sphere", tmp_path), "brepnet")
    poles = sphere["edge_features"][:, LENGTH] == 0
    assert (poles.sum(), len(sphere["edge"])) == (2, 4)
    assert (sphere["edge_features"][poles] == np.eye(10)[CLOSED]).all()
    np.testing.assert_allclose(sphere["edge_features"][~poles, LENGTH], np.pi, rtol=1e-6)
    cone = network_arrays(_brep("cone", tmp_path), "brepnet")["edge_features"]
    apex = cone[cone[:, LENGTH] == 0]
    assert (apex == np.eye(10)[CLOSED] + np.eye(10)[CIRCLE]).all()
    assert len(apex) == 1


def test_scale_factors_read_the_coordinates_of_both_faces_as_three_rows(tmp_path: Path) -> None:
    arrays = network_arrays(_brep("drilled", tmp_path), "brepnet")
    grids, face, mate = arrays["face_point_grids"], arrays["face"], arrays["mate"]
    for coedge in range(len(face)):
        both = np.stack([grids[face[coedge], :3], grids[face[mate[coedge]], :3]]).reshape(3, -1)
        assert arrays["coedge_scale_factors"][coedge] == pytest.approx(2 / np.ptp(both, axis=1).max(), rel=1e-6)


def test_scaling_happens_before_the_cast(tmp_path: Path) -> None:
    move = gp_Trsf()
    move.SetTranslation(gp_Vec(1e6, -2e6, 3e5))
    near = network_arrays(solids.open_brep(solids.box(1, 2, 3), tmp_path), "brepnet")
    moved = BRepBuilderAPI_Transform(solids.box(1, 2, 3), move, True).Shape()
    far = network_arrays(solids.open_brep(moved, tmp_path), "brepnet")
    for name, array in near.items():
        np.testing.assert_allclose(far[name], array, atol=1e-6, err_msg=name)


# AAGNet.


def test_a_cylinder_for_aagnet(tmp_path: Path) -> None:
    arrays = network_arrays(_brep("cylinder", tmp_path), "aagnet")
    assert arrays["num_nodes"] == 3
    assert arrays["edges"].tolist() == [[0, 0, 1, 2], [1, 2, 0, 0]]
    np.testing.assert_allclose(arrays["graph_face_attr"][0], [0, 1, 0, 0, 0, 8 * np.pi / 3.5, 0, 0, 0, 0], atol=1e-6)
    assert np.ptp(arrays["graph_face_attr"][1:, 9]) == pytest.approx(2)
    assert (arrays["graph_edge_attr"][:, 10:] == arrays["graph_edge_attr"][:, 7:9]).all()
    # A disc's grid: nine points inside, and the vertex on its rim, which the kernel calls inside.
    assert arrays["graph_face_grid"][:, 6].sum(axis=(1, 2)).tolist() == [9, 10, 10]
    one, other = arrays["graph_edge_grid"][:2], arrays["graph_edge_grid"][2:]
    np.testing.assert_allclose(one[:, :3], other[:, :3, ::-1], atol=1e-6)
    np.testing.assert_allclose(one[:, 3:6], -other[:, 3:6, ::-1], atol=1e-6)
    np.testing.assert_allclose(one[:, 6:9], other[:, 9:, ::-1], atol=1e-6)


# BrepMFR: a mapping of our own to the published network's tables.


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_codes_for_brepmfr_fit_its_tables_and_none_is_for_padding(name: str, tmp_path: Path) -> None:
    arrays = network_arrays(_brep(name, tmp_path), "brepmfr")
    tables = {"face_type": 6, "face_loop": 256, "face_adj": 128, "edge_type": 6, "edge_conv": 3}
    for key, n_rows in tables.items():
        assert arrays[key].dtype == np.int32
        assert ((arrays[key] >= 1) & (arrays[key] < n_rows)).all(), key
    assert arrays["spatial_pos"].dtype == arrays["edges_path"].dtype == np.int32
    assert ((arrays["spatial_pos"] + 1 >= 1) & (arrays["spatial_pos"] + 1 < 64)).all()
    assert arrays["node_data"].shape[1:] == (5, 5, 7)
    assert arrays["edge_data"].shape[1:] == (5, 7)
    assert all(np.isfinite(array).all() for array in arrays.values())


def test_paths_for_brepmfr_are_arcs_from_face_to_face(tmp_path: Path) -> None:
    arrays = network_arrays(_brep("pocket", tmp_path), "brepmfr")
    source, destination, paths = arrays["src"], arrays["dst"], arrays["edges_path"]
    for one, row in enumerate(paths):
        for other, path in enumerate(row):
            arcs = path[path >= 0]
            assert len(arcs) == arrays["spatial_pos"][one, other]
            here = one
            for arc in arcs:
                assert source[arc] == here
                here = destination[arc]
            assert here == other
    concave = arrays["edge_conv"] == 1
    assert concave.sum() == 16  # eight edges, both ways
    assert (arrays["edge_ang"][concave] < 0).all()


# What holds for all.


@pytest.mark.parametrize("network", sorted(NETWORKS))
def test_a_mirrored_copy_has_the_same_sizes(network: str, tmp_path: Path) -> None:
    one, other = (
        network_arrays(_brep("drilled", tmp_path, how), network, unit_box=False) for how in ("at_origin", "mirrored")
    )
    for name, array in one.items():
        assert other[name].shape == array.shape
    for name in ("face_features", "graph_face_attr"):
        if name in one:
            np.testing.assert_allclose(np.sort(one[name][:, 5]), np.sort(other[name][:, 5]), rtol=1e-5)


@pytest.mark.parametrize("network", sorted(NETWORKS))
def test_what_a_storage_keeps_packs_to_the_same(network: str, tmp_path: Path) -> None:
    brep = _brep("drilled", tmp_path)
    for storage in (MemoryStorage(), OptStorage(str(tmp_path / network))):
        encoded = BrepEncoder(brep, storage).encode(network=network)
        assert tuple(encoded) == NETWORKS[network].recipe.keys
        packed = pack_network({key: storage.load_data(key) for key in encoded}, network)
        for name, array in network_arrays(brep, network).items():
            np.testing.assert_array_equal(packed[name], array)
            assert packed[name].dtype in (np.float32, np.int32)


def test_every_array_of_a_network_is_known_and_standard() -> None:
    for network in NETWORKS.values():
        assert set(network.recipe.keys) <= set(ARRAY_KEYS)
        assert all(standard_array(*key.split("/")) is not None for key in network.recipe.keys)


def test_several_solids_and_sheets_are_refused_and_a_body_is_not(tmp_path: Path) -> None:
    two = solids.open_model(solids.compound(solids.box(), solids.cylinder()), tmp_path)
    sheet = solids.open_brep(_first_face(solids.box()), tmp_path)
    for network in NETWORKS:
        with pytest.raises(GeometryError, match="2 solids and 0 sheet bodies; encode every solid on its own"):
            network_arrays(two.get_brep(), network)
        with pytest.raises(GeometryError, match="0 solids and 1 sheet bodies"):
            network_arrays(sheet, network)
    assert network_arrays(two.get_brep(0), "aagnet")["num_nodes"] == 6
    assert network_arrays(two.get_brep(1), "aagnet")["num_nodes"] == 3


def _first_face(shape: object) -> object:
    from OCP.TopAbs import TopAbs_FACE
    from OCP.TopExp import TopExp_Explorer

    return TopExp_Explorer(shape, TopAbs_FACE).Current()


def test_unknown_networks_and_missing_arrays_say_what_there_is(tmp_path: Path) -> None:
    brep = _brep("box", tmp_path)
    with pytest.raises(RecipeError, match="no network 'uv-net'; the networks are uvnet, brepnet, aagnet, brepmfr"):
        network_arrays(brep, "uv-net")
    with pytest.raises(RecipeError, match="a recipe or network="):
        BrepEncoder(brep).encode("uvnet", network="uvnet")
    with pytest.raises(
        RecipeError, match=r"faces/face_uv_grids is missing; encode the files with encode\(network='uvnet'"
    ):
        pack_network({}, "uvnet")
