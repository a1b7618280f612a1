"""Binary glTF: valid by the specification, read back within half a step of its grid."""

from __future__ import annotations

import json
import struct
from dataclasses import replace

import numpy as np
import pytest

from dflow.render import pack_glb, read_glb, write_glb
from dflow.render.mesh import clean_arrays
from tests.render import shapes


def _document(content: bytes) -> dict:
    n_text = struct.unpack_from("<I", content, 12)[0]
    return json.loads(content[20 : 20 + n_text])


def _corners(mesh):
    return mesh.vertices[mesh.triangles]


@pytest.mark.parametrize(
    "mesh",
    [shapes.box((30, 2, 5), (100, -7, 0)), shapes.sphere(1e-3), shapes.sphere(2500.0, 200), shapes.wire()],
    ids=["box", "tiny sphere", "sphere of 80,000 vertices", "wire"],
)
def test_a_mesh_reads_back_within_half_a_step(tmp_path, mesh):
    arrays = clean_arrays(mesh)
    assert write_glb(mesh, tmp_path / "a.glb") == (tmp_path / "a.glb").stat().st_size
    back = read_glb(tmp_path / "a.glb")
    everything = np.concatenate([arrays.vertices, arrays.edge_points])
    step = float(np.ptp(everything, axis=0).max()) / 65535
    single = float(np.abs(everything).max()) * 2e-7  # float32 itself
    assert np.abs(_corners(back) - _corners(arrays)).max(initial=0) <= step / 2 + single
    np.testing.assert_array_equal(back.triangle_faces, arrays.triangle_faces)
    assert np.abs(back.normals[back.triangles] - arrays.normals[arrays.triangles]).max(initial=0) <= 0.5 / 127 + 1e-6
    segments = back.edge_points[back.edge_segments] - arrays.edge_points[arrays.edge_segments]
    assert np.abs(segments).max(initial=0) <= step / 2 + single


def test_a_vertex_that_two_faces_share_is_split(tmp_path):
    shared = shapes.PolylineMesh(
        [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]],
        np.tile([0.0, 0.0, 1.0], (4, 1)),
        [[0, 2, 1], [0, 1, 3], [0, 3, 2]],
        [4, 2, 2],
        np.zeros((0, 3)),
        [0],
    )
    write_glb(shared, tmp_path / "a.glb")
    back = read_glb(tmp_path / "a.glb")
    assert len(back.vertices) == 3 + 4
    assert back.triangle_faces.tolist() == [4, 2, 2]


def test_more_faces_than_sixteen_bits_hold_keep_their_index(tmp_path):
    mesh = shapes.box()
    mesh.triangle_faces[:] = np.repeat([0, 1, 65535, 65536, 70001, 16_000_000], 2)
    write_glb(mesh, tmp_path / "a.glb")
    np.testing.assert_array_equal(read_glb(tmp_path / "a.glb").triangle_faces, mesh.triangle_faces)


def test_the_file_keeps_the_alignment_rules_of_gltf():
    content = pack_glb(clean_arrays(shapes.box((3, 4, 5))))
    document = _document(content)
    assert len(content) % 4 == 0
    assert len(content) == struct.unpack_from("<I", content, 8)[0]
    n_bytes = document["buffers"][0]["byteLength"]
    sizes = {5120: 1, 5123: 2, 5125: 4, 5126: 4}
    widths = {"SCALAR": 1, "VEC3": 3}
    for accessor in document["accessors"]:
        view = document["bufferViews"][accessor["bufferView"]]
        assert view["byteOffset"] % 4 == 0
        assert view["byteOffset"] + view["byteLength"] <= n_bytes
        element = sizes[accessor["componentType"]] * widths[accessor["type"]]
        if view["target"] == 34962:  # vertex attributes
            assert view["byteStride"] % 4 == 0
            assert accessor.get("byteOffset", 0) % 4 == 0
            assert accessor["componentType"] != 5125
        end = accessor.get("byteOffset", 0) + (accessor["count"] - 1) * view.get("byteStride", element) + element
        assert end <= view["byteLength"]
    positions = document["accessors"][document["meshes"][0]["primitives"][0]["attributes"]["POSITION"]]
    assert positions["min"] == [0, 0, 0]
    assert positions["max"][2] == 65535


def test_a_box_takes_little_room_and_equal_meshes_give_equal_bytes():
    content = pack_glb(clean_arrays(shapes.box()))
    assert len(content) < 2800
    assert pack_glb(clean_arrays(shapes.box())) == content


@pytest.mark.parametrize("damage", ["truncated", "text", "empty", "beyond"])
def test_a_damaged_file_is_refused_with_its_name(tmp_path, damage):
    content = pack_glb(clean_arrays(shapes.box()))
    spoiled = {
        "truncated": content[:-8],
        "text": b"solid ascii" * 20,
        "empty": b"",
        "beyond": content.replace(b'"count":24', b'"count":99'),
    }[damage]
    (tmp_path / "bad.glb").write_bytes(spoiled)
    with pytest.raises(ValueError, match=r"bad\.glb"):
        read_glb(tmp_path / "bad.glb")


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_coordinates_that_are_not_finite_are_refused(value):
    clean = clean_arrays(shapes.box())
    points = clean.vertices.copy()
    points[3, 1] = value
    with pytest.raises(ValueError, match="not finite"):
        pack_glb(replace(clean, vertices=points))
