"""A merged dataset of HOOPS AI's, opened as it is: Zarr v2 that we write to the published description of it."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pandas as pd
import pytest

from dflow.dataset import DatasetExplorer, DatasetLoader
from dflow.errors import DamagedDatasetError, DatasetNotFoundError
from tests.hoops.test_convert import encode, hoops_store, write_folder, write_zip

COUNTS = np.array([3, 0, 5, 2, 4])
CODES = np.repeat(np.arange(5), COUNTS)
AREAS = np.linspace(1, 14, 14).astype(np.float32)
TYPES = np.arange(14, dtype=np.int32) % 3
GRIDS = np.arange(14 * 2 * 2 * 7, dtype=np.float32).reshape(14, 2, 2, 7)
LABELS = np.array([0, 1, 0, 1, 1], np.int32)
SOURCES = np.arange(10, dtype=np.int32) % 2
SOURCE_CODES = np.repeat([0, 2, 3, 4], [3, 4, 2, 1])
SCHEMA = {"version": "1.0", "domain": "parts", "groups": {"faces": {"primary_dimension": "face", "arrays": {}}}}


def members(**changes: np.ndarray) -> dict[str, bytes]:
    arrays = {
        "faces/face_areas": encode(AREAS, (4,)),
        "faces/face_types": {
            **encode(TYPES, (5,), filters=[numcodecs.Delta(dtype="<i4")]),
            ".zattrs": b'{"_ARRAY_DIMENSIONS": ["face_types_dim_0"]}',
        },
        "faces/face_uv_grids": encode(GRIDS, (3, 2, 2, 7)),
        "faces/file_id_code_faces": encode(CODES, (6,)),
        "graph/edges/source": encode(SOURCES, (3,), numcodecs.Blosc()),
        "graph/num_nodes": encode(COUNTS, (5,)),
        "graph/file_id": encode(SOURCE_CODES, (10,)),
        "labels/file_label": encode(LABELS, (2,)),
        "words/texts": encode(np.array(["a", "b"], object), (2,), filters=[numcodecs.VLenUTF8()]),
    }
    arrays |= {key: encode(array, (4,)) for key, array in changes.items()}
    return hoops_store(arrays, SCHEMA)


def write_tables(folder: Path) -> None:
    names = [f"{i}a_0" for i in range(5)]
    table = pd.DataFrame({"id": range(5), "name": names, "description": [f"C:\\{n}.step" for n in names]})
    table.to_parquet(folder / "old.infoset")


@pytest.fixture(params=["zip", "folder"])
def dataset(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    write_tables(tmp_path)
    return (write_zip if request.param == "zip" else write_folder)(tmp_path / "old.dataset", members())


def test_the_explorer_answers(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with DatasetExplorer(merged_store_path=dataset) as explorer:
        assert len(explorer) == 5
        assert explorer.available_groups() == ["faces", "graph", "file"]
        assert {"face_areas", "face_types", "face_uv_grids"} <= set(explorer.available_arrays("faces"))
        np.testing.assert_array_equal(explorer.get_array_data("faces", "face_uv_grids").values, GRIDS)
        for code in range(5):
            rows = explorer.file_dataset(code, "faces")
            np.testing.assert_array_equal(rows["face_areas"], AREAS[code == CODES])
            np.testing.assert_array_equal(rows["face_uv_grids"], GRIDS[code == CODES])
        assert explorer.get_file_list("faces", lambda ds: ds["face_areas"] > 12.5).tolist() == [4]
        both = explorer.get_file_list("faces", lambda ds: (ds["face_types"] == 1) & (ds["face_areas"] < 3))
        assert both.tolist() == [0]  # the arrays' own names of their rows differ
        assert explorer.get_file_list("graph", lambda ds: ds["edges_source"] == 1).tolist() == [0, 2, 3, 4]
        found = explorer.create_distribution("face_types", bins=None, group="faces")
        assert found["hist"].tolist() == np.bincount(TYPES).tolist()
        assert explorer.reduce("faces", "face_areas", "count").values.tolist() == COUNTS.tolist()
        assert explorer.get_array_statistics("faces", "face_areas")["mean"] == pytest.approx(AREAS.mean())
        assert explorer.get_array_data("file", "num_nodes").values.tolist() == COUNTS.tolist()
        assert explorer.decode_file_id_code(2) == "2a_0"
        explorer.print_table_of_contents()
    assert "face_uv_grids" in capsys.readouterr().out


def test_the_loader_splits_and_reads(dataset: Path) -> None:
    with DatasetLoader(merged_store_path=dataset) as loader:
        assert sum(loader.split("file_label", train=0.6, validation=0.2, test=0.2)) == 5
        seen = {}
        for subset in ("train", "validation", "test"):
            part = loader.get_dataset(subset)
            seen |= {part[i]["id"]: part[i]["faces/face_areas"].tolist() for i in range(len(part))}
    assert seen == {code: AREAS[code == CODES].tolist() for code in range(5)}


def test_without_tables_the_ids_count_the_samples(tmp_path: Path) -> None:
    with DatasetExplorer(merged_store_path=write_zip(tmp_path / "old.dataset", members())) as explorer:
        assert len(explorer) == 5


def test_a_copy_for_a_worker_reads_the_same(dataset: Path) -> None:
    with DatasetExplorer(merged_store_path=dataset) as explorer:
        copy = pickle.loads(pickle.dumps(explorer._store))
        np.testing.assert_array_equal(copy.read("faces", "face_areas", 3, 9), AREAS[3:9])
        copy.close()


def test_a_copy_of_a_dataset_that_was_replaced_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "old.dataset", members())
    with DatasetExplorer(merged_store_path=path) as explorer:
        data = pickle.dumps(explorer._store)
        path.unlink()
        write_zip(path, members(**{"faces/face_areas": AREAS[::-1].copy()}))
        with pytest.raises(DamagedDatasetError, match="replaced"):
            pickle.loads(data)


@pytest.mark.parametrize("low", range(0, 14, 3))
@pytest.mark.parametrize("size", [0, 1, 4, 14])
def test_any_rows_are_read_alone(dataset: Path, low: int, size: int) -> None:
    high = min(low + size, 14)
    with DatasetExplorer(merged_store_path=dataset) as explorer:
        for name, array in (("face_areas", AREAS), ("face_types", TYPES), ("face_uv_grids", GRIDS)):
            np.testing.assert_array_equal(explorer._store.read("faces", name, low, high), array[low:high])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"faces/file_id_code_faces": CODES[::-1].copy()}, "do not ascend"),
        ({"faces/file_id_code_faces": CODES - 1}, "do not ascend"),
        ({"faces/file_id_code_faces": CODES + 2**40}, "holds the id"),
    ],
)
def test_ids_that_make_no_sense_are_damage(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DamagedDatasetError, match=message):
        DatasetExplorer(merged_store_path=write_zip(tmp_path / "old.dataset", members(**changes)))


def test_an_array_of_another_length_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_zip(tmp_path / "old.dataset", members(**{"faces/odd": np.arange(9)}))
    with DatasetExplorer(merged_store_path=path) as explorer:
        assert "odd" not in explorer.available_arrays("faces")
    assert "faces/odd" in caplog.text


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\5\6" + bytes(18)])
def test_what_is_no_dataset_is_damage(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "old.dataset"
    path.write_bytes(content)
    with pytest.raises(DamagedDatasetError):
        DatasetExplorer(merged_store_path=path)


def test_a_damaged_chunk_is_named_when_it_is_read(tmp_path: Path) -> None:
    damaged = members()
    damaged["faces/face_areas/1"] = b"garbage"
    with DatasetExplorer(merged_store_path=write_folder(tmp_path / "old.dataset", damaged)) as explorer:
        np.testing.assert_array_equal(explorer._store.read("faces", "face_areas", 0, 4), AREAS[:4])
        with pytest.raises(DamagedDatasetError, match="faces/face_areas"):
            explorer.get_file_list("faces", lambda ds: ds["face_areas"] > 3)


@pytest.mark.parametrize("changes", [{"chunks": [0]}, {"shape": [-3]}, {"shape": None}, {"dtype": "<f99"}])
def test_a_description_that_makes_no_sense_is_damage(tmp_path: Path, changes: dict[str, Any]) -> None:
    damaged = members()
    key = "faces/file_id_code_faces/.zarray"
    damaged[key] = json.dumps(json.loads(damaged[key]) | changes).encode()
    with pytest.raises(DamagedDatasetError):
        DatasetExplorer(merged_store_path=write_zip(tmp_path / "old.dataset", damaged))


def test_a_closed_dataset_says_so(dataset: Path) -> None:
    explorer = DatasetExplorer(merged_store_path=dataset)
    explorer.close()
    with pytest.raises(DamagedDatasetError, match="was closed"):
        explorer._store.read("faces", "face_areas")


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError):
        DatasetExplorer(merged_store_path=tmp_path / "old.dataset")
