"""`BrepEncoder`: what the pushes return and save, and what recipes consist of."""

from __future__ import annotations

import inspect
from pathlib import Path

import networkx
import numpy as np
import pytest

from dflow.cadencoder import EDGE_TYPES, FACE_TYPES, NETWORKS, RECIPES, BrepEncoder, EncodeOptions
from dflow.cadencoder.features import ARRAY_KEYS, relative_error
from dflow.errors import DflowError, GeometryError, RecipeError, TooBigError
from dflow.schema import SchemaBuilder, standard_array
from dflow.storage import DataStorage, MemoryStorage, OptStorage, describe
from tests.cadencoder.polyhedra import Polyhedron, Stated, box, nothing

UNPUSHED = {"faces/face_reversed"}
"""Arrays that come by `encode` with options alone."""

PUSHES = sorted(name for name, _ in inspect.getmembers(BrepEncoder) if name.startswith("push_"))

FACES = ["faces/face_types", "faces/face_areas", "faces/face_centroids", "faces/face_loops"]
EDGES = ["edges/edge_types", "edges/edge_lengths", "edges/edge_dihedral_angles", "edges/edge_convexities"]
GRAPH = ["graph/edges_source", "graph/edges_destination", "graph/arc_edge"]
GRIDS = ["faces/face_uv_grids", "edges/edge_u_grids"]
PAIRS = ["extended_adjacency", "face_pair_edges_path", "d2_distance", "a3_distance"]
COEDGES = ["next", "mate", "face", "edge", "reversed"]


@pytest.fixture(params=["memory", "zarr"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> DataStorage:
    return MemoryStorage() if request.param == "memory" else OptStorage(str(tmp_path / "sample"))


# Without a storage.


def test_face_attributes_come_as_a_list_and_the_meaning_of_the_codes():
    arrays, descriptions = BrepEncoder(box(1, 2, 3)).push_face_attributes()
    types, areas, centroids, loops = arrays
    assert [a.dtype.name for a in arrays] == ["int32", "float32", "float32", "int32"]
    assert np.array_equal(types, np.zeros(6))
    assert np.allclose(np.sort(areas), [2, 2, 3, 3, 6, 6])
    assert np.allclose(centroids.mean(axis=0), [0.5, 1.0, 1.5])
    assert np.array_equal(loops, np.ones(6))
    assert descriptions == dict(FACE_TYPES)
    assert descriptions[0] == "Plane"


def test_edge_attributes_come_as_a_list_and_the_meaning_of_the_codes():
    arrays, descriptions = BrepEncoder(box(1, 2, 3)).push_edge_attributes()
    types, lengths, angles, convexities = arrays
    assert [a.dtype.name for a in arrays] == ["int32", "float32", "float32", "int32"]
    assert np.array_equal(types, np.zeros(12))
    assert np.allclose(np.sort(lengths), np.repeat([1, 2, 3], 4))
    assert np.allclose(angles, np.pi / 2)
    assert np.array_equal(convexities, np.ones(12))
    assert descriptions == dict(EDGE_TYPES)


def test_smooth_is_what_the_caller_says():
    arrays, _ = BrepEncoder(box()).push_edge_attributes(smooth_degrees=90.1)
    assert np.array_equal(arrays[3], np.full(12, 3))


def test_defaults_of_the_pushes_are_hoops_ais():
    encoder = BrepEncoder(box())
    assert encoder.push_face_indices().tolist() == [0, 1, 2, 3, 4, 5]
    assert encoder.push_edge_indices().tolist() == list(range(12))
    assert encoder.push_face_discretization().shape == (6, 25, 7)
    assert encoder.push_facegrid().shape == (6, 5, 5, 7)
    assert encoder.push_curvegrid().shape == (12, 5, 6)
    assert encoder.push_face_neighbors_count().tolist() == [4] * 6
    assert encoder.push_extended_adjacency().shape == (6, 6)
    assert encoder.push_face_pair_edges_path().shape == (6, 6, 16)
    assert encoder.push_average_face_pair_distance_histograms().shape == (6, 6, 64)
    assert encoder.push_average_face_pair_angle_histograms().shape == (6, 6, 64)


def test_discretization_is_the_first_points_of_the_smallest_square_raster():
    encoder = BrepEncoder(box())
    assert np.array_equal(encoder.push_face_discretization(7), encoder.push_facegrid(3, 3).reshape(6, 9, 7)[:, :7])
    assert encoder.push_face_discretization(1).shape == (6, 1, 7)


def test_a_face_grid_may_differ_along_u_and_v():
    assert BrepEncoder(box()).push_facegrid(2, 4).shape == (6, 2, 4, 7)


def test_the_adjacency_graph_is_a_networkx_digraph_with_one_arc_per_edge():
    graph = BrepEncoder(box()).push_face_adjacency_graph()
    assert isinstance(graph, networkx.DiGraph)
    assert (graph.number_of_nodes(), graph.number_of_edges()) == (6, 12)
    assert sorted(data["edge"] for *_, data in graph.edges(data=True)) == list(range(12))


def test_coedges_come_in_the_order_of_their_names():
    following, mate, face, edge, reverse = BrepEncoder(box()).push_coedges()
    assert np.array_equal(face[following], face)
    assert np.array_equal(edge[mate], edge)
    assert reverse.dtype == np.int8
    assert reverse.sum() == 12


def test_distances_of_a_grid_are_all_pairs_of_raster_points():
    found = BrepEncoder(box()).push_average_face_pair_distance_histograms(grid=2, num_bins=8, method="grid")
    corners = box().face_samples(2, 2)[..., :3].reshape(6, 4, 3)
    gaps = np.linalg.norm(corners[0][:, None] - corners[1][None], axis=-1) / np.sqrt(14)
    expected = np.histogram(gaps, 8, (0, 1))[0] / 16
    assert np.allclose(found[0, 1], expected)


@pytest.mark.parametrize("method", ["area", "grid"])
def test_angles_between_normals_of_a_box_are_right_or_straight(method):
    found = BrepEncoder(box()).push_average_face_pair_angle_histograms(num_bins=4, kind="normals", method=method)
    assert np.allclose(found[0, 0], [1, 0, 0, 0])
    assert np.allclose(found[0, 1], [0, 0, 0, 1])
    assert np.allclose(found[0, 2], [0, 0, 1, 0])


def test_angles_of_raster_points_are_drawn_with_the_seed():
    encode = BrepEncoder(box()).push_average_face_pair_angle_histograms
    assert np.array_equal(encode(method="grid", seed=1), encode(method="grid", seed=1))
    assert not np.array_equal(encode(method="grid", seed=1), encode(method="grid", seed=2))


def test_file_attributes_are_the_samples_own_values():
    values = BrepEncoder(box(1, 2, 3, stated=Stated(volume=5.0, area=22.0))).push_file_attributes(check_validity=True)
    assert values["volume"] == pytest.approx(6.0)
    assert values["area"] == pytest.approx(22.0)
    assert values["volume_error"] == pytest.approx(0.2)
    assert values["area_error"] == pytest.approx(0.0)
    assert (values["is_closed"], values["is_valid"], values["nonmanifold_edges"]) == (True, True, 0)
    assert values["bounding_box"].tolist() == [0, 0, 0, 1, 2, 3]
    assert values["centroid"].tolist() == [0.5, 1.0, 1.5]


def test_validity_is_only_asked_for_on_demand():
    assert "is_valid" not in BrepEncoder(box()).push_file_attributes()


@pytest.mark.parametrize(("computed", "stated"), [(1.0, float("nan")), (1.0, 0.0), (1.0, float("inf"))])
def test_there_is_no_error_against_what_is_not_stated(computed, stated):
    assert np.isnan(relative_error(computed, stated))


def test_an_error_against_a_stated_value_is_relative_and_positive():
    assert relative_error(9.0, 10.0) == pytest.approx(0.1)
    assert relative_error(11.0, -10.0) == pytest.approx(2.1)
    assert np.isnan(relative_error(float("nan"), 10.0))


# Recipes.


@pytest.mark.parametrize(
    ("recipe", "keys"),
    [
        ("minimal", FACES + EDGES),
        ("uvnet", GRAPH + FACES + EDGES + GRIDS),
        (
            "brepmfr",
            GRAPH + FACES + EDGES + GRIDS + ["faces/face_neighborscount"] + [f"faceface/{name}" for name in PAIRS],
        ),
        ("brepnet", FACES + EDGES + [f"coedges/{name}" for name in COEDGES]),
    ],
)
def test_a_recipe_gives_its_arrays_in_the_stored_dtypes(recipe, keys):
    arrays = BrepEncoder(box()).encode(recipe)
    assert sorted(arrays) == sorted(keys)
    for key, array in arrays.items():
        spec = standard_array(*key.split("/"))
        assert spec is not None
        assert array.dtype == spec.dtype
        assert array.ndim == len(spec.dims)
        assert array.flags.c_contiguous


def test_recipes_have_the_sizes_of_their_papers():
    arrays = BrepEncoder(box()).encode("uvnet")
    assert arrays["faces/face_uv_grids"].shape == (6, 10, 10, 7)
    assert arrays["edges/edge_u_grids"].shape == (12, 10, 6)
    arrays = BrepEncoder(box()).encode("brepmfr")
    assert arrays["faces/face_uv_grids"].shape == (6, 5, 5, 7)
    assert arrays["edges/edge_u_grids"].shape == (12, 5, 6)
    assert arrays["faceface/extended_adjacency"].shape == (36,)
    assert arrays["faceface/face_pair_edges_path"].shape == (36, 32)
    assert arrays["faceface/d2_distance"].shape == arrays["faceface/a3_distance"].shape == (36, 64)


def test_pair_rows_are_the_matrix_row_by_row():
    encoder = BrepEncoder(box())
    rows = encoder.encode("brepmfr", path_length=16)
    for key, matrix in (
        ("faceface/extended_adjacency", encoder.push_extended_adjacency()),
        ("faceface/face_pair_edges_path", encoder.push_face_pair_edges_path()),
        ("faceface/d2_distance", encoder.push_average_face_pair_distance_histograms()),
        ("faceface/a3_distance", encoder.push_average_face_pair_angle_histograms()),
    ):
        assert np.array_equal(rows[key], matrix.reshape(36, *matrix.shape[2:]))


def test_overrides_change_what_they_name():
    arrays = BrepEncoder(box()).encode(
        "brepmfr", face_grid=(3, 4), curve_grid=2, bins=8, samples=100, path_length=2, collapse=True, seed=7
    )
    assert arrays["faces/face_uv_grids"].shape == (6, 3, 4, 7)
    assert arrays["edges/edge_u_grids"].shape == (12, 2, 6)
    assert arrays["faceface/d2_distance"].shape == (36, 8)
    assert arrays["faceface/face_pair_edges_path"].shape == (36, 2)
    # Off the diagonal a histogram of 100 distances has multiples of 1 / 100.
    counts = arrays["faceface/d2_distance"] * 100
    assert np.allclose(counts, np.rint(counts), atol=1e-3)


def test_encoding_is_the_same_every_time():
    one, other = (BrepEncoder(box()).encode("brepmfr") for _ in range(2))
    assert all(np.array_equal(one[key], other[key], equal_nan=True) for key in one)


def test_an_option_or_recipe_that_does_not_exist_is_refused_before_work():
    with pytest.raises(RecipeError, match="samples must be at least 1"):
        BrepEncoder(box()).encode("brepmfr", samples=0)
    with pytest.raises(RecipeError, match="no recipe 'uv-net'"):
        BrepEncoder(box()).encode("uv-net")


# Nothing there, and too much.


@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_a_shape_without_anything_gives_arrays_of_length_zero(recipe):
    for key, array in BrepEncoder(nothing()).encode(recipe).items():
        assert array.shape[0] == 0, key
        assert array.ndim == len(standard_array(*key.split("/")).dims)


def test_one_face_by_itself_is_encoded():
    arrays = BrepEncoder(box(faces=1)).encode("brepmfr")
    assert arrays["graph/arc_edge"].shape == (0,)
    assert arrays["faceface/extended_adjacency"].tolist() == [0.0]
    assert np.all(np.isnan(arrays["edges/edge_dihedral_angles"]))
    assert arrays["edges/edge_convexities"].tolist() == [0, 0, 0, 0]
    assert arrays["faceface/a3_distance"].sum() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(
    ("size", "recipe"), [(1e300, "minimal"), (float("nan"), "minimal"), (float("inf"), "minimal"), (1e150, "uvnet")]
)
def test_numbers_that_cannot_be_stored_are_refused_with_their_cause(size, recipe):
    with np.errstate(all="ignore"), pytest.raises(GeometryError, match="of 6 rows, the first is 0"):
        BrepEncoder(box(size, size, size)).encode(recipe)


def test_nan_is_kept_where_the_data_dictionary_knows_it():
    class Apex(Polyhedron):
        def face_samples(self, n_u: int, n_v: int) -> np.ndarray:
            samples = super().face_samples(n_u, n_v)
            samples[0, 0, 0, 3:6] = np.nan
            return samples

    grids = BrepEncoder(Apex(box().corners, box().faces)).push_facegrid()
    assert np.count_nonzero(np.isnan(grids)) == 3


class Large:
    """Says that it has many faces, and fails if one is asked for: nothing may be computed before the refusal."""

    n_faces = 100_000
    n_edges = 0

    def __getattr__(self, name: str):
        raise AssertionError(f"{name} was asked for")


@pytest.mark.parametrize("push", [name for name in PUSHES if "pair" in name or name == "push_extended_adjacency"])
def test_pair_arrays_beyond_the_limit_are_refused_before_anything_is_computed(push):
    with pytest.raises(TooBigError, match="100000 faces need") as caught:
        getattr(BrepEncoder(Large()), push)()
    assert caught.value.kind == "too_big"
    assert isinstance(caught.value, MemoryError)


def test_a_recipe_counts_its_pair_arrays_together_and_saves_nothing():
    storage = MemoryStorage()
    per_pair = 4 * (1 + 32 + 64 + 64)
    encoder = BrepEncoder(box(), storage)
    with pytest.raises(TooBigError):
        encoder.encode("brepmfr", max_pair_bytes=36 * per_pair - 1)
    assert storage.array_keys() == []
    assert len(encoder.encode("brepmfr", max_pair_bytes=36 * per_pair)) == 18


def test_the_limit_of_the_pair_arrays_follows_the_memory_of_the_storages_file():
    storage = MemoryStorage()
    storage.memory_bytes = 4 * 36 * 4 * (1 + 32 + 64 + 64) - 1
    with pytest.raises(TooBigError, match="that the file may take"):
        BrepEncoder(box(), storage).encode("brepmfr")
    storage.memory_bytes += 1
    assert len(BrepEncoder(box(), storage).encode("brepmfr")) == 18


def test_pair_arrays_that_are_too_big_can_be_left_out_and_the_rest_is_kept():
    storage = MemoryStorage()
    arrays = BrepEncoder(box(), storage).encode("brepmfr", max_pair_bytes=1, too_big="leave_out")
    assert len(arrays) == 14
    assert not [key for key in arrays if key.startswith("faceface/")]
    assert sorted(storage.array_keys()) == sorted(arrays)
    assert "faceface" not in storage.schema.groups
    whole = BrepEncoder(box()).encode("brepmfr", too_big="leave_out")
    assert len(whole) == 18
    for key, array in arrays.items():
        np.testing.assert_array_equal(array, whole[key])


# With a storage.


def test_every_push_returns_the_same_with_a_storage_and_saves_it(storage):
    for push in PUSHES:
        without, within = getattr(BrepEncoder(box()), push)(), getattr(BrepEncoder(box(), storage), push)()
        assert type(without) is type(within)
        if isinstance(without, np.ndarray):
            assert np.array_equal(without, within)
    networks = {key for network in NETWORKS.values() for key in network.recipe.keys}
    assert set(storage.array_keys()) >= set(ARRAY_KEYS) - networks - UNPUSHED
    for key in set(ARRAY_KEYS) & set(storage.array_keys()):
        spec = standard_array(*key.split("/"))
        stored = storage.load_data(key)
        assert (stored.dtype.name, stored.ndim) == (spec.dtype, len(spec.dims))
    assert storage.load_data("faceface/d2_distance").shape == (36, 64)


def test_the_standard_groups_are_declared_where_the_schema_lacks_them(storage):
    BrepEncoder(box(), storage).push_face_attributes()
    groups = storage.get_schema()["groups"]
    assert sorted(groups) == ["faces"]
    assert groups["faces"]["primary_dimension"] == "face"
    assert sorted(groups["faces"]["arrays"]) == ["face_areas", "face_centroids", "face_loops", "face_types"]


def test_what_the_users_schema_says_stays_and_decides_the_dtype(storage):
    builder = SchemaBuilder(domain="machining", version="2.0")
    group = builder.create_group("faces", "face", "my faces")
    group.create_array("face_areas", ["face"], "float64", "in my own words")
    group.create_array("labels", ["face"], "int32")
    storage.set_schema(builder.build())
    (_, areas, *_), _ = BrepEncoder(box(), storage).push_face_attributes()
    assert areas.dtype == np.float64
    schema = storage.get_schema()
    assert (schema["domain"], schema["version"]) == ("machining", "2.0")
    arrays = schema["groups"]["faces"]["arrays"]
    assert arrays["face_areas"]["description"] == "in my own words"
    assert set(arrays) == {"face_areas", "labels", "face_types", "face_centroids", "face_loops"}


def test_what_is_there_already_is_not_computed_again(storage):
    storage.save_data("faces/face_areas", np.arange(6, dtype=np.float32))
    arrays, _ = BrepEncoder(box(), storage).push_face_attributes()
    assert arrays[1].tolist() == [0, 1, 2, 3, 4, 5]
    assert storage.load_data("faces/face_areas").tolist() == [0, 1, 2, 3, 4, 5]


def test_pairs_that_are_there_already_come_back_as_a_matrix(storage):
    encoder = BrepEncoder(box(), storage)
    first = encoder.push_extended_adjacency()
    assert np.array_equal(first, encoder.push_extended_adjacency())
    paths = encoder.push_face_pair_edges_path()
    assert np.array_equal(paths, encoder.push_face_pair_edges_path())
    assert paths.shape == (6, 6, 16)


def test_encode_saves_what_it_returns_and_describes_the_codes(storage):
    arrays = BrepEncoder(box(), storage).encode("brepmfr")
    assert sorted(storage.array_keys()) == sorted(arrays)
    for key, array in arrays.items():
        assert np.array_equal(storage.load_data(key), array, equal_nan=True)
    tables = dict(describe(storage, "sample", "box.step").layout.tables)
    assert tables["face_types"][0] == (0, "Plane", "not set")
    assert [row[1] for row in tables["edge_types"]] == list(EDGE_TYPES.values())


def test_file_attributes_become_metadata_and_arrays_of_group_file(storage):
    BrepEncoder(box(1, 2, 3), storage).push_file_attributes()
    assert storage.load_metadata("volume") == pytest.approx(6.0)
    assert storage.load_metadata("is_closed") is True
    assert np.isnan(storage.load_metadata("stated_volume"))
    assert storage.load_data("file/bounding_box").tolist() == [0, 0, 0, 1, 2, 3]
    fields = storage.get_schema()["metadata"]["file_level"]
    assert fields["is_closed"]["dtype"] == "bool"
    assert fields["nonmanifold_edges"]["dtype"] == "int32"
    record = describe(storage, "sample", "box.step")
    assert record.value_map()["nonmanifold_edges"] == 0


def test_an_unconnected_shape_stores_its_infinite_distances(storage):
    two = box(faces=2)  # two opposite sides
    matrix = BrepEncoder(two, storage).push_extended_adjacency()
    assert np.isinf(matrix[0, 1])
    assert np.isinf(storage.load_data("faceface/extended_adjacency")[1])


def test_a_stored_sample_opens_again_and_can_be_extended(tmp_path):
    path = str(tmp_path / "sample")
    with OptStorage(path) as first:
        BrepEncoder(box(), first).push_face_attributes()
        first.compress_store()
    with OptStorage(path) as again:
        arrays = BrepEncoder(box(), again).encode("uvnet")
        again.compress_store()
    with OptStorage(path) as last:
        assert sorted(last.array_keys()) == sorted(arrays)


def test_options_say_each_default_once():
    options = EncodeOptions()
    signature = inspect.signature(BrepEncoder.push_average_face_pair_angle_histograms).parameters
    assert signature["samples"].default == options.samples
    assert signature["num_bins"].default == options.bins
    assert signature["method"].default == options.method
    assert signature["kind"].default == options.kind
    assert issubclass(TooBigError, DflowError)


def test_a_stored_graph_counts_the_edges_that_gave_no_arc():
    storage = MemoryStorage()
    BrepEncoder(box(), storage).push_face_adjacency_graph()
    assert storage.load_metadata("nonmanifold_edges") == 0
    assert storage.get_schema()["metadata"]["file_level"]["nonmanifold_edges"]["dtype"] == "int32"


def test_a_file_without_faces_has_file_attributes_too() -> None:
    storage = MemoryStorage()
    found = BrepEncoder(nothing(), storage).push_file_attributes()
    assert np.isnan(found["bounding_box"]).all()
    assert np.isnan(storage.load_data("file/bounding_box")).all()
