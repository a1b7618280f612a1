"""What the options of arrays do: masks, orientation, the unit box, the rule of convexity."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dflow.cadencoder import BrepEncoder
from dflow.cadencoder.features import BrepFeatures, compute, mean_convexities, unit_box
from dflow.cadencoder.options import EncodeOptions
from dflow.errors import GeometryError
from tests.cadaccess import solids
from tests.cadencoder.polyhedra import box, nothing


def test_the_unit_box_moves_points_and_scales_lengths_and_areas() -> None:
    scaled, plain = (
        {
            key: compute(BrepFeatures(box(1, 2, 3)), key, EncodeOptions(unit_box=scaled, both_directions=True))
            for key in (
                "faces/face_areas",
                "faces/face_centroids",
                "faces/face_uv_grids",
                "faces/face_discretization",
                "edges/edge_lengths",
                "edges/edge_u_grids",
                "graph/arc_u_grids",
                "coedges/coedge_grids",
                "coedges/coedge_frames",
                "edges/edge_dihedral_angles",
            )
        }
        for scaled in (True, False)
    )
    middle, factor = np.array([0.5, 1, 1.5]), 2 / 3
    for key, array in plain.items():
        expected = array.copy()
        if key == "faces/face_areas":
            expected *= factor**2
        elif key == "edges/edge_lengths":
            expected *= factor
        elif key == "coedges/coedge_frames":
            expected[:, :3, 3] = (array[:, :3, 3] - middle) * factor
        elif key != "edges/edge_dihedral_angles":
            expected[..., :3] = (array[..., :3] - middle) * factor
        np.testing.assert_allclose(scaled[key], expected, err_msg=key)
    assert np.abs(scaled["faces/face_uv_grids"][..., :3]).max() == pytest.approx(1)


def test_a_shape_without_extent_cannot_be_scaled() -> None:
    with pytest.raises(GeometryError, match=r"no extent.*unit_box=False"):
        unit_box(nothing())


def test_an_open_mask_leaves_the_boundary_out_and_the_default_has_it_in(tmp_path: Path) -> None:
    encoder = BrepEncoder(solids.open_brep(solids.drilled(), tmp_path))
    closed = encoder.encode("uvnet", face_grid=11)["faces/face_uv_grids"][..., 6]
    inner = encoder.encode("uvnet", face_grid=11, face_mask="open")["faces/face_uv_grids"][..., 6]
    assert (inner <= closed).all()
    assert not inner[:, [0, -1]].any()
    assert not inner[:, :, [0, -1]].any()
    plate = encoder.brep.face_loops() == 2
    # The hole's circle, radius 2 around the middle of a raster of steps of 1, meets four points of it.
    rim = np.zeros((11, 11))
    rim[[3, 5, 5, 7], [5, 3, 7, 5]] = 1
    assert (closed[plate][:, 1:-1, 1:-1] - inner[plate][:, 1:-1, 1:-1] == rim[1:-1, 1:-1]).all()


def test_oriented_grids_run_backwards_on_reversed_faces(tmp_path: Path) -> None:
    encoder = BrepEncoder(solids.open_brep(solids.box(), tmp_path))
    plain = encoder.push_facegrid(4, 3)
    turned = encoder.encode("uvnet", face_grid=(4, 3), orient_grids=True)["faces/face_uv_grids"]
    flags = encoder._arrays(("faces/face_reversed",), EncodeOptions())["faces/face_reversed"]
    assert sorted(flags.tolist()) == [0, 0, 0, 1, 1, 1]
    for face, backwards in enumerate(flags.tolist()):
        assert np.array_equal(turned[face], plain[face, ::-1] if backwards else plain[face])


def test_the_mean_of_ten_points_says_what_the_middle_says_of_plain_edges(tmp_path: Path) -> None:
    for shape in (solids.pocket(), solids.boss(), solids.filleted_cylinder()):
        brep = solids.open_brep(shape, tmp_path)
        middle, mean = brep.edge_convexities(), mean_convexities(brep, 5.0)
        seams = middle == 0
        assert np.array_equal(mean[~seams], middle[~seams])
        assert (mean[seams] == 3).all()  # by the authors' rule


def test_an_edge_with_one_face_has_no_convexity() -> None:
    assert np.count_nonzero(mean_convexities(box(faces=5), 5.0) == 0) == 4
    assert (mean_convexities(box(), 90.1) == 3).all()
