"""Parts written out: read again, they are the same parts."""

from __future__ import annotations

import numpy as np
import pytest

from dflow.cadaccess import CadLoader, CadModel
from dflow.demo.parts import write_parts
from dflow.errors import KernelError
from tests.cadaccess import solids

SHAPES = {
    "box": solids.box,
    "drilled": solids.drilled,
    "filleted": solids.filleted_cylinder,
    "sphere": solids.sphere,
    "torus": solids.torus,
    "placed": lambda: solids.place(solids.pocket(), "placed"),
    "mirrored": lambda: solids.place(solids.boss(), "mirrored"),
}


def read(path) -> CadModel:
    return CadLoader().create_from_file(path)


def read_obj(path):
    """Vertices, normals, triangles and each triangle's group, by the format's own words."""
    rows = {"v": [], "vn": []}
    triangles, groups, group = [], [], ""
    for line in path.read_text().splitlines():
        word, *values = line.split()
        if word in rows:
            rows[word].append([float(value) for value in values])
        elif word == "g":
            group = values[0]
        elif word == "f":
            corners = [value.split("//") for value in values]
            assert all(vertex == normal for vertex, normal in corners)
            triangles.append([int(vertex) - 1 for vertex, _ in corners])
            groups.append(group)
    return np.array(rows["v"]), np.array(rows["vn"]), np.array(triangles), groups


def volume(corners):
    """Of a closed surface of triangles (T, 3, 3), by the divergence theorem."""
    return np.einsum("ij,ij->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6


@pytest.mark.parametrize("name", SHAPES)
def test_a_written_step_file_holds_the_same_part(name, tmp_path):
    model = solids.open_model(SHAPES[name](), tmp_path, ".step")
    before = model.get_brep()
    n_bytes = model.export_step(tmp_path / "again.step")
    again = read(tmp_path / "again.step")
    after = again.get_brep()
    assert n_bytes == (tmp_path / "again.step").stat().st_size
    assert again.read_report.schema.startswith("AUTOMOTIVE_DESIGN")
    assert after.face_types().tolist() == before.face_types().tolist()
    assert after.face_areas() == pytest.approx(before.face_areas(), rel=1e-6)
    assert after.volume() == pytest.approx(before.volume(), rel=1e-6)
    assert sorted(after.edge_lengths()) == pytest.approx(sorted(before.edge_lengths()), rel=1e-6)


def test_generated_parts_survive_the_way_out_and_in(tmp_path):
    write_parts(tmp_path / "parts", n_parts=6, seed=3)
    for path in sorted((tmp_path / "parts").rglob("*.step")):
        model = read(path)
        model.export_step(tmp_path / "again.step")
        again = read(tmp_path / "again.step").get_brep()
        assert again.face_types().tolist() == model.get_brep().face_types().tolist()
        assert again.volume() == pytest.approx(model.get_brep().volume(), rel=1e-6)


def test_writing_twice_gives_the_same_bytes_and_leaves_the_model_alone(tmp_path):
    model = solids.open_model(solids.filleted_cylinder(), tmp_path, ".step")
    areas = model.get_brep().face_areas().tolist()
    for suffix, export in (("step", model.export_step), ("obj", model.export_obj), ("stl", model.export_stl)):
        for folder in ("one", "two"):
            (tmp_path / folder).mkdir(exist_ok=True)
            export(tmp_path / folder / f"part.{suffix}")
        assert (tmp_path / "one" / f"part.{suffix}").read_bytes() == (tmp_path / "two" / f"part.{suffix}").read_bytes()
    assert read(tmp_path / "part.step").get_brep().face_areas().tolist() == areas
    assert model.get_brep().face_areas().tolist() == areas


def test_a_view_of_a_body_writes_that_body(tmp_path):
    model = solids.open_model(solids.compound(solids.box(), solids.sphere(2)), tmp_path)
    volumes = []
    for body in range(2):
        model.for_body(body).export_step(tmp_path / f"{body}.step")
        volumes.append(read(tmp_path / f"{body}.step").get_brep().volume())
    assert sorted(volumes) == pytest.approx([30, 4 / 3 * np.pi * 8], rel=1e-6)


def test_an_obj_file_holds_the_mesh_with_a_group_a_face(tmp_path):
    model = solids.open_model(solids.drilled(), tmp_path)
    mesh = model.get_mesh()
    model.export_obj(tmp_path / "part.obj")
    vertices, normals, triangles, groups = read_obj(tmp_path / "part.obj")
    assert (vertices.astype(np.float32) == mesh.vertices).all()
    assert (normals.astype(np.float32) == mesh.normals).all()
    assert (triangles == mesh.triangles).all()
    assert groups == [f"face_{row}" for row in mesh.triangle_faces]
    assert volume(vertices[triangles]) == pytest.approx(400 - 4 * np.pi * 4, rel=0.01)


def test_an_stl_file_holds_the_triangles_with_their_normals(tmp_path):
    model = solids.open_model(solids.box(2, 3, 5), tmp_path)
    n_bytes = model.export_stl(tmp_path / "part.stl")
    content = (tmp_path / "part.stl").read_bytes()
    assert n_bytes == len(content) == 84 + 12 * 50
    assert not content.startswith(b"solid")  # readers take that for the text form
    assert int.from_bytes(content[80:84], "little") == 12
    rows = np.frombuffer(content, [("f", "<f4", 12), ("attribute", "<u2")], offset=84)["f"]
    assert volume(rows[:, 3:].reshape(-1, 3, 3)) == pytest.approx(30)
    assert sorted(map(tuple, np.unique(rows[:, :3], axis=0))) == sorted(
        [(-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1)]
    )


def test_a_shape_the_kernel_cannot_write_is_an_error_and_leaves_no_file(tmp_path):
    from OCP.TopoDS import TopoDS_Compound

    from dflow.cadaccess.writing import write_step

    with pytest.raises(KernelError, match="nothing"):
        write_step(TopoDS_Compound(), tmp_path / "nothing.step")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_an_error(tmp_path):
    model = solids.open_model(solids.box(), tmp_path)
    with pytest.raises(FileNotFoundError):
        model.export_obj(tmp_path / "none" / "part.obj")
