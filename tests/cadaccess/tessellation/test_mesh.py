"""Triangles of whole shapes against exact areas, and the kernel's for what numpy has no table for."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dflow.cadaccess import CadLoader
from dflow.cadaccess.brep import Brep
from dflow.cadaccess.kernel import bintools
from dflow.cadaccess.tessellation import mesh as meshing
from dflow.cadaccess.tessellation.mesh import Mesh
from dflow.demo import parts
from tests.cadaccess import solids

SHAPES = (solids.cylinder, solids.cone, solids.sphere, solids.torus, solids.drilled, solids.filleted_cylinder)
REAL = (
    "mfcad/step/0-0-0-2-10-23.step",
    "kicad/Package_TO_SOT_THT/TO-126-2_Vertical.step",
    "kicad/Resistor_THT/R_Axial_DIN0204_L3.6mm_D1.6mm_P5.08mm_Vertical.step",
)


def _mesh(brep: Brep) -> Mesh:
    return meshing.mesh_shape(brep.tables, brep.chords, lambda: pytest.fail("the kernel was asked"))


def _facets(mesh: Mesh) -> np.ndarray:
    a, b, c = (mesh.vertices[mesh.triangles[:, i]].astype(float) for i in range(3))
    return np.cross(b - a, c - a) / 2


def _check(mesh: Mesh, brep: Brep) -> None:
    """Every face has about its exact area, and its triangles and normals look the same way."""
    facets = _facets(mesh)
    areas = np.bincount(mesh.triangle_faces, np.linalg.norm(facets, axis=1), brep.n_faces)
    box = brep.bounding_box()
    slack = 2e-4 * float(((box[3:] - box[:3]) ** 2).sum())
    np.testing.assert_allclose(areas, brep.face_areas(), rtol=0.06, atol=slack)
    across = np.einsum("tk,tik->t", facets, mesh.normals[mesh.triangles])
    wrong = np.linalg.norm(facets[across < 0], axis=1).sum()
    assert wrong <= slack
    np.testing.assert_allclose(np.linalg.norm(mesh.normals, axis=1), 1.0, atol=1e-3)


@pytest.mark.parametrize("how", solids.PLACES)
@pytest.mark.parametrize("shape", SHAPES)
def test_solids_are_meshed_from_their_tables(tmp_path: Path, shape, how) -> None:
    brep = solids.open_brep(solids.place(shape(), how), tmp_path)
    mesh = _mesh(brep)
    _check(mesh, brep)
    a = mesh.vertices[mesh.triangles[:, 0]].astype(float)
    volume = np.einsum("ij,ij->", a, _facets(mesh)) / 3
    assert volume == pytest.approx(brep.volume(), rel=0.05)


@pytest.mark.parametrize("name", REAL)
def test_real_parts_are_meshed_from_their_tables(shared_data: Path, name) -> None:
    brep = CadLoader().create_from_file(str(shared_data / name)).get_brep()
    _check(_mesh(brep), brep)


def test_arcs_that_are_large_in_the_part_get_more_chords(tmp_path: Path) -> None:
    alone = _mesh(solids.open_brep(solids.cylinder(2.0, 7.0), tmp_path))
    beside = _mesh(solids.open_brep(solids.compound(solids.cylinder(2.0, 7.0), solids.box(500, 500, 1)), tmp_path))
    assert np.count_nonzero(alone.triangle_faces < 3) > 1.5 * np.count_nonzero(beside.triangle_faces < 3)


def test_the_kernel_meshes_the_faces_that_have_no_table(tmp_path: Path) -> None:
    brep = solids.open_brep(solids.filleted_cylinder(), tmp_path)
    table = brep.tables.faces
    kind = table.kind.copy()
    odd = np.flatnonzero(kind == bintools.TORUS)
    assert len(odd)
    kind[odd] = bintools.OFFSET
    mesh = meshing.mesh_shape(replace(brep.tables, faces=replace(table, kind=kind)), brep.chords, lambda: brep.kernel)
    _check(mesh, brep)
    assert set(odd) <= set(mesh.triangle_faces)


MESH_ALL = """
import sys
import numpy as np
from dflow.cadaccess import CadLoader
for path in sys.argv[1:]:
    mesh = CadLoader().create_from_file(path).get_mesh()
    assert mesh.triangles.max() < len(mesh.vertices), path
    print(path)
"""


@pytest.mark.slow
def test_kernels_stay_within_their_arrays(tmp_path: Path) -> None:
    """Compiled once more, so that numba checks every index; `tests/test_compiled.py` has the kernels' own tests so."""
    paths = [str(path) for path in parts.write_parts(tmp_path, n_parts=12)]
    real = Path(__file__).parents[3] / "shared" / "data"
    for pattern, every in (("mfcad/step/*.step", 20), ("kicad/*/*.step", 3)):
        paths += [str(path) for path in sorted(real.glob(pattern))[::every]]
    checked = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path / "kept")}
    done = subprocess.run([sys.executable, "-c", MESH_ALL, *paths], env=checked, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:-1] == paths


def test_reading_and_encoding_load_no_compiler(tmp_path: Path) -> None:
    """numba takes longer to import than a part to read."""
    (path,) = parts.write_parts(tmp_path, n_parts=1)
    program = (
        "import sys, dflow\n"
        "from dflow.cadaccess import CadLoader\n"
        "from dflow.cadencoder import BrepEncoder\n"
        "model = CadLoader().create_from_file(sys.argv[1])\n"
        "BrepEncoder(model.get_brep()).encode('uvnet')\n"
        "print('numba' in sys.modules)\n"
        "model.get_mesh()\n"
        "print('numba' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
