"""N: what public scripts call, in the spellings that they use."""

from __future__ import annotations

import importlib
import json

import numpy as np
import pytest

import dflow
from dflow.cadaccess import HOOPSLoader, HOOPSTools
from dflow.cadencoder import BrepEncoder
from dflow.errors import VendorOnlyError
from dflow.flowmanager import flowtask
from dflow.insights import CADViewer, ColorPalette, DatasetViewer, quick_view
from dflow.storage import DGLGraphStoreHandler, LabelStorage, MemoryStorage, OptStorage, PyGGraphStoreHandler

IMPORTS = {
    "dflow.cadaccess": ("CADLoader", "HOOPSBrep", "HOOPSLoader", "HOOPSMesh", "HOOPSModel", "HOOPSTools"),
    "dflow.cadencoder.encode_cad_data": ("encode_cad_data",),
    "dflow.storage": ("DGLGraphStoreHandler", "LabelStorage", "MLStorage", "PyGGraphStoreHandler"),
    "dflow.storage.datasetstorage": ("DatasetInfo", "DatasetMerger", "SchemaBuilder", "create_cad_schema"),
    "dflow.storage.datasetstorage.schema_templates": ("SchemaTemplates",),
    "dflow.storage.datastorage": ("DataStorage", "JsonStorageHandler", "MemoryStorage", "OptStorage"),
    "dflow.storage.helpers": ("generate_unique_id_from_path",),
    "dflow.storage.label_storage": ("LabelStorage",),
}


@pytest.fixture(scope="module")
def viewer(explorer):
    return DatasetViewer.from_explorer(explorer)


@pytest.mark.parametrize("module", IMPORTS)
def test_n01_the_import_paths_exist(module):
    found = importlib.import_module(module)
    assert all(hasattr(found, name) for name in IMPORTS[module])


def test_n02_loader_model_and_brep_have_the_calls(part):
    loader = HOOPSLoader()
    options = loader.get_general_options()
    options["read_feature"] = True
    loader.set_general_options(options)
    before = HOOPSLoader.get_load_count()
    model = loader.create_from_file(str(part))
    assert HOOPSLoader.get_load_count() == before + 1
    assert model.get_body(0).get_brep().get_face_indices() == list(range(model.get_face_count()))
    assert len(model.get_brep().get_bounding_box()) == 6
    HOOPSLoader.reinitialize()
    with pytest.raises(VendorOnlyError, match="feature trees"):
        HOOPSTools().extract_holes(model)


def test_n03_the_stream_cache_is_a_picture_and_a_mesh(model, tmp_path):
    png, scs = HOOPSTools().exportStreamCache(model, str(tmp_path / "part.scs"), is_white_background=True)
    assert png == str(tmp_path / "part_white.png")
    assert scs == str(tmp_path / "part.scs")
    with CADViewer(display_mode="none") as viewer:
        assert viewer.load_scs_file(scs) is True
        assert viewer.get_status()["n_faces"] == model.get_face_count()
    with pytest.raises(FileExistsError, match="overwrite=True"):
        HOOPSTools().exportStreamCache(model, str(tmp_path / "part.scs"))
    HOOPSTools().exportStreamCache(model, str(tmp_path / "part.scs"), overwrite=True)


def test_n04_labels_have_a_key_beside_the_graph(model, tmp_path):
    with OptStorage(tmp_path / "part") as storage:
        BrepEncoder(model.get_brep(), storage).push_face_adjacency_graph()
        storage.save_data(LabelStorage.GRAPH_CADENTITY, np.array([3]))
        assert LabelStorage.GRAPH_CADENTITY in storage.get_keys()
        assert storage.load_data(LabelStorage.GRAPH_CADENTITY).tolist() == [3]
    labels = LabelStorage(str(tmp_path / "labels"), total_faces=2)
    labels.save_graph_label(3)
    labels.save_graph_node_label([0, 1])
    assert labels.load_cadentity(LabelStorage.FACE_CADENTITY).tolist() == [0, 1]
    labels.close()


def test_n05_nested_data_and_python_values_come_back():
    storage = MemoryStorage()
    ends = {"source": np.array([0, 1]), "destination": np.array([1, 2])}
    storage.save_data(data_key="graph", data={"edges": ends, "num_nodes": 3})
    storage.save_data("metadata/description", "a part")
    storage.save_data("size", 4.5)
    graph = storage.load_data("graph")
    assert graph["edges"]["source"].tolist() == [0, 1]
    assert type(graph["num_nodes"]) is int
    assert storage.load_data("graph/edges/destination").tolist() == [1, 2]
    assert storage.load_data("metadata/description") == "a part"
    assert type(storage.load_data(data_key="size")) is float
    assert {"edges_source", "graph", "num_nodes", "size"} <= set(storage.get_keys())


def test_n06_a_store_has_a_path_and_a_group(tmp_path):
    with OptStorage(tmp_path / "part") as storage:
        storage.save_data("face_areas", np.ones(2))
        assert storage.store_path == str(tmp_path / "part")
        assert storage.get_store_group()["faces/face_areas"].shape == (2,)


def test_n07_graphs_are_written_for_pytorch_geometric(model, tmp_path):
    torch = pytest.importorskip("torch")
    with pytest.raises(VendorOnlyError, match="PyGGraphStoreHandler"):
        DGLGraphStoreHandler()
    storage = MemoryStorage()
    encoder = BrepEncoder(model.get_brep(), storage)
    encoder.push_face_adjacency_graph()
    encoder.push_facegrid(5, 5)
    graph = storage.load_data("graph")
    handler = PyGGraphStoreHandler()
    handler.setup_graph(
        source_nodes=graph["edges"]["source"], target_nodes=graph["edges"]["destination"], num_nodes=graph["num_nodes"]
    )
    handler.append_ndata(storage.load_data("face_uv_grids"), feature_name="x", torch_type=torch.float32)
    handler.append_extra_data(np.array([1]), feature_name="task", torch_type=torch.long)
    handler.save_graph(str(tmp_path / "graph.pt"))
    found = torch.load(tmp_path / "graph.pt", weights_only=True)
    assert found["data"]["x"].shape == (model.get_face_count(), 5, 5, 7)
    assert found["extra"]["task"].tolist() == [1]


def test_n08_the_encoder_takes_the_keywords(model, part):
    from dflow.cadencoder.encode_cad_data import encode_cad_data

    storage = MemoryStorage()
    BrepEncoder(brep_access=model.get_brep(), storage_handler=storage).push_face_indices()
    assert storage.has_data("face_indices")
    counts = encode_cad_data({"recipe": "minimal"}, str(part), HOOPSLoader(), MemoryStorage())
    assert counts == (model.get_face_count(), model.get_edge_count())


def test_n09_a_graph_may_be_declared_over_its_edges():
    builder = dflow.SchemaBuilder(domain="parts")
    builder.create_group("graph", "graphitem").create_array("edges_source", ["edge"], "int32")
    assert builder.build()["groups"]["graph"]["arrays"]["edges_source"]["dims"] == ["graphitem"]


def test_n10_groups_and_arrays_are_named_by_keyword(explorer):
    areas = explorer.get_array_data(group_name="faces", array_name="face_areas")
    assert explorer.get_array_statistics(group_name="faces", array_name="face_areas")["max"] == areas.max()
    assert "face_areas" in explorer.available_arrays(group_name="faces")
    assert "face_areas" in explorer.get_group_data(group_name="faces")


def test_n11_names_combine_with_sets(explorer):
    assert {"faces", "sensors"} - explorer.available_groups() == {"sensors"}
    assert {"face_areas"} & explorer.available_arrays("faces") == {"face_areas"}


def test_n12_the_number_of_nodes_is_that_of_the_faces(explorer):
    counts = explorer.get_array_data("file", "face_count").values
    found = explorer.create_distribution(key="num_nodes", bins=5, group="graph")
    assert found["hist"].sum() == len(counts)
    complex_parts = explorer.get_file_list(group="graph", where=lambda ds: ds["num_nodes"] > 8)
    assert complex_parts.tolist() == np.flatnonzero(counts > 8).tolist()
    both = explorer.get_file_list(group="faces", where=lambda ds: (ds["num_nodes"] > 8) & (ds["face_types"] == 1))
    assert set(both) <= set(complex_parts)


def test_n13_one_files_rows_compute(explorer):
    rows = explorer.file_dataset(2, "faces")["face_areas"]
    assert type(rows.data.compute()) is np.ndarray
    assert rows.data.compute().tolist() == rows.values.tolist() == rows.compute().values.tolist()


def test_n14_descriptions_may_be_missing_and_paths_are_absolute(explorer, finished, faulty, caplog):
    assert len(explorer.get_descriptions("part_label_description")) == 0
    assert "no description table" in caplog.text
    for source in explorer.get_file_info_all()["description"]:
        assert HOOPSLoader().create_from_file(source)
    assert explorer.get_parquet_info_by_code(0)["description"][0] == explorer.get_file_info_all()["description"][0]


def test_n14_an_error_names_its_file_by_its_absolute_path(tmp_path):
    bad = tmp_path / "parts" / "bad.step"
    bad.parent.mkdir()
    bad.write_text("not a part")

    @flowtask.transform(inputs=["cad_file", "cad_loader", "storage"])
    def encode(cad_file, cad_loader, storage):
        cad_loader.create_from_file(cad_file)

    flow = dflow.create_flow("bad", [encode], tmp_path / "out", debug=True, auto_dataset_export=False)
    flow.process(inputs={"cad_file": [str(bad)]})
    (entry,) = json.loads((tmp_path / "out" / "flows" / "bad" / "error_summary.json").read_text())
    assert entry["item"] == str(bad)


def test_n15_rows_are_numbered_without_a_push(explorer):
    counts = explorer.get_array_data("file", "row_count_edges").values
    expected = np.concatenate([np.arange(n) for n in counts])
    assert explorer.get_array_data("edges", "edge_indices").values.tolist() == expected.tolist()
    joined = explorer.query_cross_group("faces", "edges", join_strategy="file_id_code")
    assert joined["file_id_code_faces"].values.tolist() == list(range(12))


def test_n16_a_subset_has_its_indices_and_parent(loader):
    loader.split("family", "file", train=0.5, validation=0.25, test=0.25)
    train = loader.get_dataset("train")
    assert train.indices.tolist() == train.get_file_codes().tolist()
    assert train.parent_dataset is not None


def test_n17_a_viewer_answers_as_scripts_expect(part, capsys):
    with quick_view(str(part), display_mode="none", static_folder=None, port=None) as viewer:
        assert viewer.load_cad_file(str(part), auto_convert=True, white_background=True) is True
        viewer.color_faces_by_groups([([0, 1], (255, 0, 0), "hole")], delay=0.1, clear_first=True, verbose=True)
        viewer.set_face_color([2])
        viewer.show(width=300, height=200, display_mode="none")
        assert viewer.get_status()["n_colored_faces"] == 3
        status = viewer.get_status()
        assert (status["active"], status["model_loaded"], status["viewer_url"]) == (True, True, None)
        assert viewer.get_viewer_url() == viewer.get_status()["viewer_url"]
        assert viewer.get_status()["port"] >= 8000
        assert viewer.get_status()["model_url"]
    assert viewer.is_active is False
    assert CADViewer.validate_color([255, 0, 0]) is True
    assert [CADViewer.validate_color(color) for color in ([255, 0, 256], [255, 0])] == [False, False]


def test_n18_a_palette_gives_colours_and_descriptions():
    palette = ColorPalette.from_labels({0: "plane", 1: "hole"}, reserved_colors={1: (255, 0, 0)})
    assert dict(palette.items())[1] == ((255, 0, 0), "hole")
    assert palette.get_label(0) == "plane"
    assert palette.get_all_colors()[1] == (255, 0, 0)
    assert palette.get_all_descriptions() == {0: "plane", 1: "hole"}


def test_n19_two_parts_are_compared_in_3d(viewer):
    a, b = viewer.create_comparison_view(file_id_a=0, file_id_b=3, display_mode="none")
    a.set_face_color([0], [255, 0, 0])
    assert (a.get_status()["n_colored_faces"], b.get_status()["model_loaded"]) == (1, True)
    assert viewer.get_file_info(0)["stream_cache_path"].endswith(".glb")
    assert viewer.get_statistics()["png_percentage"] == viewer.get_statistics()["3d_percentage"] == 100


class Hit:
    def __init__(self, id: str, score: float) -> None:
        self.id, self.score = id, score


def test_n19_search_results_are_shown_by_the_names_of_files(viewer, finished, explorer, tmp_path, part):
    sources = explorer.get_file_info_all()["description"].tolist()
    hits = [Hit(sources[1], 0.9), Hit("elsewhere/unknown.step", 0.5)]
    pictures = tmp_path / "pictures"
    HOOPSTools().exportStreamCache(HOOPSLoader().create_from_file(sources[0]), str(pictures / "unknown.scs"))
    for found in (hits, [hits]):  # one list, or one per query
        figure = viewer.show_search_results(found, query_file=sources[0], grid_cols=3, reference_dir=pictures)
        assert len(figure.axes[0].images) == 3
    alone = DatasetViewer([], [], [], reference_dir=pictures)
    assert len(alone.show_search_results(hits[1:], query_file=str(part)).axes[0].images) == 2
