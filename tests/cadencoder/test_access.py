"""The protocols of the encoder's shape: what satisfies them, with which shapes and dtypes."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest

from dflow.cadaccess import Brep
from dflow.cadaccess.topology import Topology
from dflow.cadencoder.access import BrepAccess, CoedgeTopology
from tests.cadaccess import solids
from tests.cadencoder import polyhedra


def _members(protocol: type) -> dict[str, object]:
    return {name: value for name, value in vars(protocol).items() if not name.startswith("_")}


@pytest.mark.parametrize("implementation", [Brep, polyhedra.Polyhedron])
def test_every_method_of_the_protocol_takes_the_same_parameters(implementation: type) -> None:
    for name, wanted in _members(BrepAccess).items():
        found = getattr(implementation, name)
        if isinstance(wanted, property):
            assert isinstance(found, property), name
            continue
        assert list(inspect.signature(found).parameters) == list(inspect.signature(wanted).parameters), name


def test_a_topology_has_every_array_of_the_protocol() -> None:
    assert set(_members(CoedgeTopology)) <= set(Topology.__dataclass_fields__)


@pytest.fixture(scope="module")
def shape(tmp_path_factory: pytest.TempPathFactory) -> BrepAccess:
    path: Path = tmp_path_factory.mktemp("access")
    return solids.open_brep(solids.box(1, 2, 3), path)


@pytest.mark.parametrize("kind", ["kernel", "polyhedron"])
def test_the_arrays_have_the_stated_shapes_and_dtypes(kind: str, shape: BrepAccess) -> None:
    brep: BrepAccess = shape if kind == "kernel" else polyhedra.box(1, 2, 3)
    assert (brep.n_faces, brep.n_edges) == (6, 12)
    for array, dtype, size in (
        (brep.face_types(), np.int32, (6,)),
        (brep.face_areas(), np.float64, (6,)),
        (brep.face_centroids(), np.float64, (6, 3)),
        (brep.face_loops(), np.int32, (6,)),
        (brep.face_samples(2, 3), np.float64, (6, 2, 3, 7)),
        (brep.surface_points(4, 0), np.float64, (6, 4, 3)),
        (brep.surface_samples(4, 0)[1], np.float64, (6, 4, 3)),
        (brep.edge_types(), np.int32, (12,)),
        (brep.edge_lengths(), np.float64, (12,)),
        (brep.edge_dihedral_angles(), np.float64, (12,)),
        (brep.edge_convexities(), np.int32, (12,)),
        (brep.edge_samples(5), np.float64, (12, 5, 6)),
        (brep.bounding_box(), np.float64, (6,)),
        (brep.centroid(), np.float64, (3,)),
        (brep.topology().coedge_face, np.int32, (24,)),
        (brep.topology().coedge_reversed, np.int8, (24,)),
    ):
        assert (array.dtype, array.shape) == (dtype, size)
    assert (brep.volume(), brep.area()) == (pytest.approx(6.0), pytest.approx(22.0))


def test_surface_points_are_those_of_the_samples(shape: BrepAccess) -> None:
    np.testing.assert_array_equal(shape.surface_points(9, 4), shape.surface_samples(9, 4)[0])
