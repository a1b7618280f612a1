"""E: storages of one sample."""

from __future__ import annotations

import numcodecs
import numpy as np
import pytest

from dflow.errors import NonFiniteError, StorageError
from dflow.schema import SchemaBuilder
from dflow.storage import (
    CADFileRetriever,
    JsonStorageHandler,
    LabelStorage,
    LocalStorageProvider,
    MemoryStorage,
    OptStorage,
    convert_storage,
)

FACES = np.arange(6, dtype=np.float32)


@pytest.fixture
def storage(tmp_path) -> OptStorage:
    storage = OptStorage(str(tmp_path / "sample"))
    storage.save_data("faces/areas", FACES)
    return storage


def test_e01_arrays_are_kept_by_group_and_name(storage):
    assert storage.load_data("faces/areas").tolist() == FACES.tolist()
    storage.save_data("faces/areas", FACES[:2])
    assert storage.load_data("faces/areas").shape == (2,)
    with pytest.raises(KeyError):
        storage.load_data("faces/none")


def test_e02_metadata_is_kept_as_a_tree(storage):
    storage.save_metadata("times/read", 1.5)
    storage.save_metadata("times/mesh", 2)
    assert storage.load_metadata("times") == {"read": 1.5, "mesh": 2}
    assert storage.load_metadata("times/mesh") == 2
    with pytest.raises(KeyError):
        storage.load_metadata("none")


def test_e03_a_schema_is_set_got_and_held(storage):
    assert MemoryStorage().get_schema() == {}
    builder = SchemaBuilder(domain="parts")
    builder.create_group("machining", "face").create_array("classes", ["face"], "int32")
    storage.set_schema(builder.build())
    assert storage.get_schema()["groups"]["machining"]["arrays"]["classes"]["dtype"] == "int32"
    assert storage.get_group_for_array("classes") == "machining"
    assert storage.get_group_for_array("none") is None
    assert storage.validate_data_against_schema("machining/classes", np.zeros(3, np.int32))
    assert not storage.validate_data_against_schema("machining/classes", np.zeros((3, 2), np.int32))


def test_e04_a_store_becomes_one_file(storage, tmp_path):
    n_bytes = storage.compress_store()
    assert n_bytes == (tmp_path / "sample.data").stat().st_size > 0


def test_e05_a_store_tells_its_path(storage, tmp_path):
    assert storage.get_file_path("") == str(tmp_path / "sample.data")


def test_e06_keys_format_and_close(storage, tmp_path):
    assert storage.get_keys() == ["faces"]
    assert isinstance(storage.format(), str)
    storage.close()
    assert OptStorage(str(tmp_path / "sample")).load_data("faces/areas").tolist() == FACES.tolist()


def test_e07_stores_are_compressed(tmp_path):
    with OptStorage(tmp_path / "big") as storage:
        storage.save_data("faces/indices", np.arange(1_000_000, dtype=np.int64))
    assert (tmp_path / "big.data").stat().st_size < 8_000_000 / 4
    assert OptStorage(tmp_path / "big").load_data("faces/indices")[-1] == 999_999


def test_e08_nan_is_refused_unless_allowed(storage):
    with pytest.raises(NonFiniteError, match="faces/bad"):
        storage.save_data("faces/bad", np.array([1.0, np.nan]))
    tolerant = MemoryStorage(nan_policy="allow")
    tolerant.save_data("faces/bad", np.array([1.0, np.nan]))
    assert np.isnan(tolerant.load_data("faces/bad")[1])


def test_e09_a_storage_in_memory():
    storage = MemoryStorage()
    storage.save_data("faces/areas", FACES)
    assert storage.compress_store() == 0
    assert storage.load_data("faces/areas").tolist() == FACES.tolist()
    storage.close()
    with pytest.raises(StorageError, match="closed"):
        storage.load_data("faces/areas")


def test_e10_a_storage_of_json_files(tmp_path):
    with JsonStorageHandler(str(tmp_path / "json")) as storage:
        storage.save_data("faces/areas", FACES)
    assert JsonStorageHandler(str(tmp_path / "json")).load_data("faces/areas").tolist() == FACES.tolist()
    assert list((tmp_path / "json").glob("*.json"))


def test_e11_sizes_are_metadata(storage):
    assert storage.load_metadata("file_sizes_KB/faces/areas") == pytest.approx(24 / 1024)


def test_e12_reserved_metadata_reach_the_tables(explorer, parts):
    table = explorer.get_file_info_all()
    assert set(table["flow_name"]) == {"parity"}
    sources = {path.name for path in parts.rglob("*.step")}
    assert {description.rpartition("/")[2] for description in table["description"]} == sources
    assert (table["size_cadfile"] > 0).all()
    assert explorer.get_descriptions("face_classes")["name"].tolist() == ["turned", "milled"]


def test_e13_stores_are_converted_and_zarr_2_is_read(storage, tmp_path):
    target = JsonStorageHandler(tmp_path / "json")
    convert_storage(storage, target)
    assert target.load_data("faces/areas").tolist() == FACES.tolist()
    folder = tmp_path / "hoops.data"
    (folder / "faces" / "areas").mkdir(parents=True)
    compressor = numcodecs.Zstd(level=12)
    description = (
        '{"zarr_format": 2, "shape": [6], "chunks": [6], "dtype": "<f4", "fill_value": 0.0, "order": "C", '
        '"filters": null, "compressor": {"id": "zstd", "level": 12}}'
    )
    for path in (folder, folder / "faces"):
        (path / ".zgroup").write_text('{"zarr_format": 2}')
    (folder / "metadata.json").write_text('{"Item": "C:\\\\parts\\\\a.step"}')
    (folder / "faces" / "areas" / ".zarray").write_text(description)
    (folder / "faces" / "areas" / "0").write_bytes(compressor.encode(FACES))
    ours = MemoryStorage()
    convert_storage(folder, ours)
    assert ours.load_data("faces/areas").tolist() == FACES.tolist()
    assert ours.load_metadata("Item") == "C:\\parts\\a.step"


def test_e14_files_are_found_by_format_and_pattern(parts):
    provider = LocalStorageProvider(str(parts))
    assert len(CADFileRetriever(provider, formats=[".step"]).get_file_list()) == 12
    assert CADFileRetriever(provider, formats=["iges"]).get_file_list() == []
    some = CADFileRetriever(provider, filter_pattern="*1.step").get_file_list()
    same = CADFileRetriever(provider, filter_pattern=r"1\.step$", use_regex=True).get_file_list()
    assert some == same
    assert 0 < len(some) < 12


def test_e15_labels_of_part_faces_and_edges(tmp_path):
    with LabelStorage(tmp_path / "labels", total_faces=4, total_edges=3) as labels:
        labels.save(LabelStorage.GRAPH_CADENTITY, 7)
        labels.save(LabelStorage.FACE_CADENTITY, [0, 1, 2, 3])
        labels.save_sparse(LabelStorage.EDGE_CADENTITY, [1], [5])
    again = LabelStorage(tmp_path / "labels")
    assert again.load(LabelStorage.GRAPH_CADENTITY) == 7
    assert again.load(LabelStorage.FACE_CADENTITY).tolist() == [0, 1, 2, 3]
    assert again.load(LabelStorage.EDGE_CADENTITY).tolist() == [-1, 5, -1]
