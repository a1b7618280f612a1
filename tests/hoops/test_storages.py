"""HOOPS AI's calls on storages."""

from __future__ import annotations

import numpy as np
import pytest

from dflow.hoops.storages import generate_unique_id_from_path
from dflow.storage import JsonStorageHandler, LabelStorage, MemoryStorage, OptStorage


def test_the_path_of_a_store_has_no_suffix(tmp_path):
    with OptStorage(tmp_path / "part") as storage:
        assert storage.store_path == str(tmp_path / "part")
        assert storage.get_file_path("") == f"{storage.store_path}.data"


def test_the_group_of_a_store_holds_its_arrays_and_metadata():
    storage = MemoryStorage()
    storage.save_data("faces/face_areas", np.arange(3.0))
    storage.save_metadata("source", "drawing")
    group = storage.get_store_group()
    assert group["faces/face_areas"][:].tolist() == [0, 1, 2]
    assert group.attrs["source"] == "drawing"


def test_the_kinds_of_labels_are_keys_beside_a_group_graph():
    storage = MemoryStorage()
    storage.save_data("graph/edges_source", np.array([0, 1]))
    storage.save_data("faces/face_areas", np.ones(3))
    storage.save_data(LabelStorage.GRAPH_CADENTITY, np.array([4]))
    storage.save_data(LabelStorage.FACE_CADENTITY, np.array([1, 0, 1]))
    assert LabelStorage.GRAPH_CADENTITY in storage.get_keys()
    assert storage.load_data(LabelStorage.GRAPH_CADENTITY).tolist() == [4]
    assert storage.load_data("faces/face_labels").tolist() == [1, 0, 1]


def test_every_key_can_be_copied_to_another_storage(tmp_path):
    """As a script of HOOPS AI's users does: the keys, and what is loaded by each."""
    storage = OptStorage(tmp_path / "part")
    storage.save_data("face_areas", np.ones(3))
    storage.save_data("edges_source", np.array([0, 1]))
    storage.save_data("graph/num_nodes", 3)
    storage.save_data("labels/task", np.array([7]))
    copy = JsonStorageHandler(tmp_path / "copy")
    for key in storage.get_keys():
        copy.save_data(key, storage.load_data(key))
    assert copy.array_keys() == storage.array_keys()
    storage.close()


def test_unique_ids_follow_the_path_as_it_is_written():
    first = generate_unique_id_from_path("/cad/a.step")
    assert len(first) == 32
    assert first == generate_unique_id_from_path("/cad/a.step") != generate_unique_id_from_path("/cad/b.step")


def test_labels_are_saved_and_loaded_by_kind(tmp_path):
    with LabelStorage(tmp_path / "labels", total_faces=3, total_edges=2) as labels:
        labels.save_graph_label(5)
        labels.save_graph_node_label([0, 1, 2])
        labels.save_graph_edge_label_sparse([1], [8])
        assert labels.load_cadentity(LabelStorage.GRAPH_CADENTITY).tolist() == 5
        assert labels.load_graph_node_label().tolist() == [0, 1, 2]
        assert labels.load_graph_edge_label().tolist() == [-1, 8]
    with pytest.raises(ValueError, match="'graph', 'node', 'edge'"):
        labels.save("body", 1)
