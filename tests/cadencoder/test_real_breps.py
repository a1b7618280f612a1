"""The encoder on shapes that the CAD kernel made and read: closed forms, and agreement with brepgraph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dflow.cadaccess import CadLoader
from dflow.cadencoder import BrepEncoder
from dflow.storage import OptStorage

pytest.importorskip("OCP", reason="the CAD kernel is not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from dflow.demo import parts

    folder = tmp_path_factory.mktemp("parts")
    block = parts.box(0, 0, 0, 10, 20, 30)
    parts.write_step(block, folder / "box.step")
    parts.write_step(parts.cylinder(0, 0, 0, 5, 8), folder / "cylinder.step")
    parts.write_step(parts.cut(block, parts.box(2, 2, 20, 6, 16, 10)), folder / "pocket.step")
    parts.write_step(parts.cut(block, parts.cylinder(5, 10, 0, 2, 30)), folder / "hole.step")
    return folder


def encoder(path: Path) -> BrepEncoder:
    return BrepEncoder(CadLoader().create_from_file(str(path)).get_brep())


def test_a_box_has_the_arcs_hops_and_sizes_of_a_box(folder):
    box = encoder(folder / "box.step")
    (types, areas, centroids, loops), _ = box.push_face_attributes()
    assert types.tolist() == [0] * 6
    assert np.allclose(np.sort(areas), [200, 200, 300, 300, 600, 600])
    assert np.allclose(centroids.mean(axis=0), [5, 10, 15])
    assert loops.tolist() == [1] * 6
    (edge_types, lengths, angles, convexities), _ = box.push_edge_attributes()
    assert edge_types.tolist() == [0] * 12
    assert np.allclose(np.sort(lengths), np.repeat([10, 20, 30], 4))
    assert np.allclose(angles, np.pi / 2)
    assert convexities.tolist() == [1] * 12
    assert box.push_face_adjacency_graph().number_of_edges() == 12
    assert np.array_equal(np.sort(box.push_extended_adjacency(), axis=1), np.tile([0, 1, 1, 1, 1, 2], (6, 1)))
    values = box.push_file_attributes(check_validity=True)
    assert values["volume"] == pytest.approx(6000)
    assert values["area"] == pytest.approx(2200)
    assert np.allclose(values["bounding_box"], [0, 0, 0, 10, 20, 30])
    assert (values["is_closed"], values["is_valid"], values["nonmanifold_edges"]) == (True, True, 0)


def test_a_cylinder_has_two_arcs_a_seam_and_no_nonmanifold_edge(folder):
    cylinder = encoder(folder / "cylinder.step")
    (types, areas, _, _), _ = cylinder.push_face_attributes()
    assert sorted(types.tolist()) == [0, 0, 1]
    assert areas[types == 1] == pytest.approx(2 * np.pi * 5 * 8)
    (edge_types, lengths, angles, convexities), _ = cylinder.push_edge_attributes()
    assert sorted(edge_types.tolist()) == [0, 1, 1]
    seam = edge_types.tolist().index(0)
    assert lengths[seam] == pytest.approx(8)
    assert np.isnan(angles[seam])
    assert convexities[seam] == 0
    assert cylinder.push_face_adjacency_graph().number_of_edges() == 2
    assert cylinder.push_file_attributes()["nonmanifold_edges"] == 0
    _, mate, face, edge, _ = cylinder.push_coedges()
    assert np.count_nonzero(edge == seam) == 2
    assert np.array_equal(face[mate[edge == seam]], face[edge == seam])


def test_the_walls_of_a_pocket_meet_in_concave_edges(folder):
    arrays = encoder(folder / "pocket.step").encode("minimal")
    # Four corners between walls and four along the floor.
    assert np.count_nonzero(arrays["edges/edge_convexities"] == 2) == 8
    assert np.count_nonzero(arrays["edges/edge_convexities"] == 1) == 16
    assert np.allclose(arrays["edges/edge_dihedral_angles"][arrays["edges/edge_convexities"] == 2], -np.pi / 2)
    assert sorted(arrays["faces/face_loops"].tolist()) == [1] * 10 + [2]


def test_the_points_of_the_histograms_lie_on_the_trimmed_faces(folder):
    brep = CadLoader().create_from_file(str(folder / "hole.step")).get_brep()
    points, normals = brep.surface_samples(2000, 0)
    assert np.allclose(np.linalg.norm(normals, axis=-1), 1.0)
    spread = np.linalg.norm(points.mean(axis=1) - brep.face_centroids(), axis=1)
    assert np.all(spread < 0.06 * np.sqrt(brep.face_areas()))
    (bore,) = np.flatnonzero(brep.face_types() == 1)
    radii = np.hypot(points[..., 0] - 5, points[..., 1] - 10)
    assert np.allclose(radii[bore], 2)
    assert np.all(radii >= 2 * 0.99)


def test_coedges_of_a_real_part_run_in_closed_loops(folder):
    following, mate, face, edge, _ = encoder(folder / "pocket.step").push_coedges()
    assert np.array_equal(np.sort(following), np.arange(len(following)))
    assert np.array_equal(face[following], face)
    assert np.array_equal(mate[mate], np.arange(len(mate)))
    assert np.all(edge[mate] == edge)
    assert np.all(face[mate] != face)


@pytest.mark.parametrize("recipe", ["minimal", "uvnet", "brepmfr", "brepnet"])
def test_recipes_hold_no_unexpected_nan_on_real_files(shared_data, tmp_path, recipe):
    files = (
        sorted((shared_data / "mfcad").rglob("*.step"))[::130] + sorted((shared_data / "kicad").rglob("*.step"))[::60]
    )
    assert files
    for number, path in enumerate(files):
        # A storage refuses NaN where the array does not document it.
        with OptStorage(str(tmp_path / f"{recipe}{number}")) as storage:
            model = CadLoader().create_from_file(str(path))
            arrays = BrepEncoder(model.get_brep(), storage).encode(recipe, samples=64)
        assert arrays["faces/face_areas"].min() > 0


# Agreement with the peer.


def by_faces(arcs: np.ndarray, values: np.ndarray, centres: np.ndarray) -> list[tuple[Any, ...]]:
    """Edge values keyed by their faces and the edge's middle: edges are numbered differently on both sides."""
    return sorted((*arcs[k], *np.round(centres[k], 3), *np.atleast_1d(values[k])) for k in range(len(arcs)))


@pytest.mark.parametrize("name", ["box", "cylinder", "pocket", "hole"])
def test_conventions_that_brepgraph_shares_agree(folder, name):
    brepgraph = pytest.importorskip("brepgraph", reason="the peer is not installed")
    path = folder / f"{name}.step"
    peer = brepgraph.load(str(path), "brepmfr")
    ours = encoder(path).encode("brepmfr")
    n_faces = peer.num_faces
    assert np.allclose(ours["faces/face_areas"], peer.node_feats["area"], rtol=1e-5)
    assert np.array_equal(ours["faces/face_loops"], peer.node_feats["num_loops"])
    assert np.array_equal(ours["faces/face_neighborscount"], peer.node_feats["num_adjacent_faces"])
    hops = ours["faceface/extended_adjacency"].reshape(n_faces, n_faces)
    assert np.array_equal(hops, peer.pair_feats["shortest_path"])
    arc_edges = ours["graph/arc_edge"]
    arcs = np.stack([ours["graph/edges_source"], ours["graph/edges_destination"]], axis=1)
    assert np.array_equal(arcs, peer.edge_index.T)
    assert np.allclose(ours["edges/edge_lengths"][arc_edges], peer.edge_feats["length"], rtol=1e-5)
    assert np.allclose(
        np.abs(ours["edges/edge_dihedral_angles"][arc_edges]), peer.edge_feats["dihedral_angle"], atol=1e-5
    )
    # brepgraph: 0 concave, 1 convex, 2 smooth.
    code = np.array([2, 1, 3])[peer.edge_feats["convexity"]]
    assert np.array_equal(ours["edges/edge_convexities"][arc_edges], code)
    grids = np.moveaxis(peer.node_feats["uv_grid"], 1, -1)
    assert np.allclose(ours["faces/face_uv_grids"], grids, atol=1e-4)


@pytest.mark.parametrize("name", ["box", "hole"])
def test_histograms_agree_with_brepgraphs_within_the_noise(folder, name):
    brepgraph = pytest.importorskip("brepgraph", reason="the peer is not installed")
    path = folder / f"{name}.step"
    pairs = [(name, {"bins": 16, "samples": 2048, "seed": 3}) for name in ("d2", "a3")]
    peer = brepgraph.load(str(path), brepgraph.FeatureSet(nodes=["area"], edges=["length"], pairs=pairs))
    ours = encoder(path).encode("brepmfr", bins=16, samples=2048)
    for key, feature in (("faceface/d2_distance", "d2"), ("faceface/a3_distance", "a3")):
        mine = ours[key].reshape(peer.pair_feats[feature].shape)
        # 2048 draws: a bin's frequency has a deviation of at most 0.011 on either side.
        assert np.abs(mine - peer.pair_feats[feature]).max() < 0.06
        assert np.abs(mine - peer.pair_feats[feature]).mean() < 0.006
