"""DatasetExplorer on datasets that the merge made: what is there, names behind codes, lazy arrays, bad input."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from dflow.dataset import DatasetExplorer
from dflow.dataset.merge.settings import MergeSettings
from dflow.errors import (
    DamagedDatasetError,
    DatasetError,
    DatasetNotFoundError,
    FlowFileError,
    QueryError,
    UnknownKeyError,
)
from dflow.schema import SchemaBuilder
from dflow.storage.paths import FlowPaths
from tests.dataset.samples import merge, write_sample
from tests.dataset.synthetic import Parts, random_parts, write_parts

N_FILES = 12


def schema() -> dict[str, Any]:
    builder = SchemaBuilder(domain="parts", version="1.0")
    builder.create_group("faces", "face", "Faces").create_array("face_areas", ["face"], "float32", "mm²")
    builder.define_categorical_metadata("category", "int32", "Kind", values=[0, 1, 2], labels=["bolt", "nut", "plate"])
    return builder.build()


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory) -> FlowPaths:
    """Twelve samples, stored and merged as a flow does it, with the `.flow` file."""
    paths = FlowPaths.of(tmp_path_factory.mktemp("explorer"), "parts")
    records = []
    for i in range(N_FILES):
        arrays = {
            "faces/face_areas": np.arange(i, dtype=np.float32) + 10 * i,
            "faces/face_types": (np.arange(i) % 3).astype(np.int32),
            "edges/edge_lengths": np.arange(2 * i, dtype=np.float32),
        }
        values = {"category": i % 3, "maker": ("acme", "bolts & co")[i % 2], "face_count": i, "volume": float(i)}
        records.append(write_sample(paths, f"cad/{i:02d}.step", arrays, values, schema=schema()))
    merge(paths, records)
    flow = {
        "flow_name": "parts",
        "flow_data": "parts.dataset",
        "flow_info": "parts.infoset",
        "flow_attributes": "parts.attribset",
    }
    paths.flow_file.write_text(json.dumps(flow))
    return paths


@pytest.fixture(scope="module")
def explorer(merged: FlowPaths) -> DatasetExplorer:
    return DatasetExplorer(flow_output_file=str(merged.flow_file))


def test_groups_are_a_sorted_list_with_file_last(explorer: DatasetExplorer) -> None:
    assert explorer.available_groups() == ["edges", "faces", "file"]
    assert explorer.available_arrays("faces") == ["face_areas", "face_types", "file_id_code_faces"]
    assert explorer.available_arrays("labels") == ["category", "maker"]
    assert len(explorer) == N_FILES


def test_the_quick_references_questions(explorer: DatasetExplorer) -> None:
    assert explorer.get_file_list(group="faces", where=lambda ds: ds["face_count"] > 8).tolist() == [9, 10, 11]
    found = explorer.get_file_list(group="labels", where=lambda ds: (ds["face_count"] > 3) & (ds["category"] == 2))
    assert found.tolist() == [5, 8, 11]
    dist = explorer.create_distribution(key="category", group="labels", bins=10)
    assert dist["hist"].sum() == N_FILES
    assert explorer.create_distribution(key="category", group="labels", bins=None)["labels"] == ["bolt", "nut", "plate"]


def test_words_became_codes_with_a_vocabulary(explorer: DatasetExplorer) -> None:
    dist = explorer.create_distribution("maker", None, "labels")
    assert dist["labels"] == ["acme", "bolts & co"]
    assert dist["file_id_codes_in_bins"][1].tolist() == [1, 3, 5, 7, 9, 11]


def test_table_of_contents_names_everything(explorer: DatasetExplorer, capsys: pytest.CaptureFixture[str]) -> None:
    explorer.print_table_of_contents()
    text = capsys.readouterr().out
    for line in (
        "DATASET parts.dataset: 12 samples, 132 edges, 66 faces",
        "GROUP faces: 66 rows (face)",
        "face_areas  (face: 66)  float32  264 B",
        "GROUP file: 12 samples, one value each",
        "TABLE file_info: 12 rows",
    ):
        assert line in text
    assert "stream_cache_png" in text
    assert repr(explorer) == "<DatasetExplorer parts.dataset: 12 samples, 132 edges, 66 faces>"
    html = explorer._repr_html_()
    assert "<td>face_areas</td><td>face: 66</td>" in html


def test_arrays_are_lazy_xarray(explorer: DatasetExplorer) -> None:
    areas = explorer.get_array_data("faces", "face_areas")
    assert areas.chunks is not None
    assert areas.dims == ("face",)
    assert float(areas.max()) == 120
    dataset = explorer.get_group_data("faces")
    assert isinstance(dataset, xr.Dataset)
    assert set(dataset) == {"face_areas", "face_types", "file_id_code_faces"}
    assert set(explorer.get_group_data("labels")) == {"category", "maker"}
    assert isinstance(explorer.xr, xr.DataTree)
    assert explorer.xr["edges/edge_lengths"].sizes["edge"] == 132


def test_lazy_arrays_equal_plain_xarrays(explorer: DatasetExplorer, merged: FlowPaths) -> None:
    for group in explorer.available_groups():
        plain = xr.open_zarr(str(merged.dataset), group=group)
        xr.testing.assert_equal(explorer.get_group_data(group).compute().drop_attrs(), plain.compute().drop_attrs())


def test_one_files_rows(explorer: DatasetExplorer) -> None:
    rows = explorer.file_dataset(5, "faces")
    np.testing.assert_array_equal(rows["face_areas"], np.arange(5) + 50)
    assert rows.file_id_code_faces.values.tolist() == [5] * 5
    assert explorer.file_dataset(0, "faces").sizes["face"] == 0
    assert explorer.file_dataset(7, "labels")["category"].values.tolist() == [1]
    with pytest.raises(UnknownKeyError, match="no file id 12; the dataset has ids 0 to 11"):
        explorer.file_dataset(12, "faces")


def test_statistics(explorer: DatasetExplorer) -> None:
    found = explorer.get_array_statistics("faces", "face_areas")
    assert set(found) == {"mean", "std", "min", "max", "median", "q25", "q75"}
    assert (found["min"], found["max"]) == (10.0, 120.0)


def test_names_behind_codes(explorer: DatasetExplorer, merged: FlowPaths) -> None:
    assert explorer.get_parquet_info_by_code(3)["description"].tolist() == [str(merged.root / "cad/03.step")]
    assert explorer.decode_file_id_code(3) == explorer.files["name"][3]
    assert explorer.get_descriptions("category")["name"].tolist() == ["bolt", "nut", "plate"]
    assert explorer.get_descriptions("category", 1)["name"].tolist() == ["nut"]
    assert explorer.get_descriptions("category", "*t", use_wildchar=True)["id"].tolist() == [0, 1]
    assert len(explorer.get_descriptions("cat*", use_wildchar=True)) == 3
    assert explorer.get_descriptions("colour").empty
    with pytest.raises(UnknownKeyError, match="is 'nut' meant"):
        explorer.get_descriptions("category", "nutt")
    info = explorer.get_file_info_all()
    info["name"] = ""
    assert explorer.files["name"][0]


def test_preview_paths_are_absolute_or_none(tmp_path: Path) -> None:
    paths = write_parts(random_parts(4), tmp_path)
    found = DatasetExplorer(paths.flow_file).get_stream_cache_paths([2, 1])
    assert found["id"].tolist() == [2, 1]
    assert found["stream_cache_png"][0] == str(paths.root / "stream_cache" / f"{found['name'][0]}.png")
    assert found["stream_cache_3d"].tolist() == [None, None]
    assert len(DatasetExplorer(paths.flow_file).get_stream_cache_paths()) == 4
    with pytest.raises(UnknownKeyError):
        DatasetExplorer(paths.flow_file).get_stream_cache_paths(4)


def test_filter_by_the_table(explorer: DatasetExplorer) -> None:
    assert explorer.filter_files_by_metadata(maker_label="acme", category=[0, 2]).tolist() == [0, 2, 6, 8]
    assert explorer.filter_files_by_metadata(lambda t: t["volume"] > 9).tolist() == [10, 11]
    with pytest.raises(UnknownKeyError, match=r"'colour' is not a column of the \.infoset; is"):
        explorer.filter_files_by_metadata(colour="red")


def test_cross_group(explorer: DatasetExplorer) -> None:
    found = explorer.query_cross_group("faces", "edges")
    assert found["file"].values.tolist() == list(range(1, N_FILES))
    assert found["row_count_edges"].values.tolist() == [2 * i for i in range(1, N_FILES)]
    with pytest.raises(QueryError, match="file_id_code"):
        explorer.query_cross_group("faces", "edges", join_strategy="name")


def test_sql_over_tables_and_reductions(explorer: DatasetExplorer) -> None:
    pytest.importorskip("duckdb")
    found = explorer.sql(
        "select a.name, count(*) n, max(faces_face_areas_max) top from files join attribset a "
        "on a.table_name = 'category' and a.id = files.category group by 1 order by 1"
    )
    assert found["name"].tolist() == ["bolt", "nut", "plate"]
    assert found["n"].tolist() == [4, 4, 4]
    assert found["top"].tolist() == [9 * 11 - 1, 10 * 11 - 1, 11 * 11 - 1]
    with pytest.raises(QueryError, match="SQL statement failed"):
        explorer.sql("select nope from files")
    with pytest.raises(QueryError):
        explorer.sql("select * from read_csv('/etc/passwd')")


def test_it_opens_from_the_paths_alone_and_as_a_context(merged: FlowPaths) -> None:
    with DatasetExplorer(merged_store_path=merged.dataset, parquet_file_path=str(merged.infoset)) as explorer:
        assert len(explorer.files) == N_FILES
        assert explorer.get_descriptions("maker")["name"].tolist() == ["acme", "bolts & co"]
    with pytest.raises(DamagedDatasetError, match="closed"):
        explorer.get_file_list("faces", lambda ds: ds["face_areas"] > 1)


def test_a_moved_folder_still_opens(tmp_path: Path) -> None:
    paths = write_parts(random_parts(5), tmp_path)
    flow = json.loads(paths.flow_file.read_text())
    flow |= {k: str(paths.root / v) for k, v in flow.items() if k != "flow_name"}  # absolute, as HOOPS AI writes them
    paths.flow_file.write_text(json.dumps(flow))
    assert len(DatasetExplorer(paths.flow_file)) == 5
    moved = tmp_path / "elsewhere"
    paths.root.rename(moved)
    explorer = DatasetExplorer(moved / "flow.flow")
    assert len(explorer.files) == 5
    assert explorer.get_stream_cache_paths(0)["stream_cache_png"][0].startswith(str(moved))


def test_nothing_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="pass flow_output_file"):
        DatasetExplorer()
    with pytest.raises(FlowFileError, match="does not exist"):
        DatasetExplorer(tmp_path / "no.flow")
    with pytest.raises(DatasetNotFoundError, match="does not exist"):
        DatasetExplorer(merged_store_path=tmp_path / "no.dataset")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "damaged, it is not JSON"),
        ("[1]", "not a .flow file"),
        ('{"flow_name": "x"}', "names no dataset"),
        ('{"flow_name": "x", "flow_data": 3}', "a path was expected"),
    ],
)
def test_damaged_flow_files(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "x.flow").write_text(content)
    with pytest.raises(FlowFileError, match=message):
        DatasetExplorer(tmp_path / "x.flow")
    with pytest.raises(FlowFileError, match="is a folder"):
        DatasetExplorer(tmp_path)


def test_damaged_and_missing_tables(tmp_path: Path) -> None:
    paths = write_parts(random_parts(5), tmp_path)
    paths.infoset.write_bytes(b"no parquet")
    explorer = DatasetExplorer(paths.flow_file)
    assert explorer.get_file_list(where=lambda ds: ds["face_count"] > 0).size  # the arrays need no table
    with pytest.raises(DamagedDatasetError, match="not a Parquet table"):
        explorer.get_file_info_all()
    pd.DataFrame({"id": [0], "name": ["a"], "description": ["b"]}).to_parquet(paths.infoset)
    with pytest.raises(DamagedDatasetError, match="do not belong together"):
        DatasetExplorer(paths.flow_file).get_file_info_all()
    pd.DataFrame({"id": range(5)}).to_parquet(paths.infoset)
    with pytest.raises(DamagedDatasetError, match=r"lacks the column.*name, description"):
        DatasetExplorer(paths.flow_file).get_file_info_all()
    paths.attribset.unlink()
    with pytest.raises(DatasetNotFoundError, match=r"\.attribset does not exist"):
        DatasetExplorer(paths.flow_file)
    without = DatasetExplorer(merged_store_path=paths.dataset)
    with pytest.raises(DatasetNotFoundError, match=r"no \.attribset beside"):
        without.get_descriptions("category")


def test_a_table_of_another_build_is_refused(tmp_path: Path, merged: FlowPaths) -> None:
    paths = FlowPaths.of(tmp_path, "parts")
    merge(paths, [write_sample(paths, f"{i}.step", {"faces/face_areas": np.ones(1, "f4")}) for i in range(N_FILES)])
    explorer = DatasetExplorer(merged_store_path=paths.dataset, parquet_file_path=merged.infoset)
    with pytest.raises(DamagedDatasetError, match="another build"):
        explorer.get_file_info_all()


def test_a_dataset_of_nothing(tmp_path: Path) -> None:
    paths = FlowPaths.of(tmp_path, "empty")
    paths.root.mkdir(parents=True)
    merge(paths, [write_sample(paths, "a.step", {}, schema=schema())])
    explorer = DatasetExplorer(merged_store_path=paths.dataset)
    assert explorer.available_groups() == ["faces", "file"]
    assert explorer.get_file_list("faces", lambda ds: ds["face_areas"] > 1).size == 0
    assert explorer.create_distribution("face_areas", 10)["hist"].tolist() == [0] * 10
    assert explorer.create_distribution("face_areas", None)["hist"].sum() == 0


def test_opening_is_quick_and_starts_nothing(tmp_path: Path) -> None:
    paths = write_parts(random_parts(300), tmp_path, settings=MergeSettings())
    taken = []
    for _ in range(4):
        start = time.perf_counter()
        DatasetExplorer(paths.flow_file).close()
        taken.append(time.perf_counter() - start)
    assert min(taken) < 0.1  # some 0.01 s
    code = (
        "import sys, threading\n"
        "from dflow.dataset import DatasetExplorer, DatasetLoader\n"
        f"e = DatasetExplorer({str(paths.flow_file)!r})\n"
        "e.get_file_list('faces', lambda ds: ds['face_areas'] > 1)\n"
        f"DatasetLoader({str(paths.dataset)!r}).split('category')\n"
        "assert threading.active_count() == 1, threading.enumerate()\n"
        "loaded = {'distributed', 'torch', 'OCP', 'vtk', 'bokeh', 'matplotlib'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=120)


def test_an_active_client_does_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    distributed = pytest.importorskip("distributed")
    parts: Parts = random_parts(60)
    paths = write_parts(parts, tmp_path)
    for module in ("distribution", "xarrays"):
        monkeypatch.setattr(f"dflow.dataset.query.{module}.EAGER_BYTES", 0)
    explorer = DatasetExplorer(paths.flow_file)
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
    ):
        found = explorer.create_distribution("face_areas")
        keys = [str(event["key"]) for _, event in _transitions(client)]
    assert found["hist"].sum() == len(parts.rows["faces"]["face_areas"])
    assert any("_apply" in key for key in keys)


def _transitions(client: Any) -> list[tuple[int, dict[str, Any]]]:
    log = client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.transition_log))
    return [(i, {"key": entry[0]}) for i, entry in enumerate(log)]


def test_a_closed_explorer_still_says_what_it_is(merged: FlowPaths) -> None:
    explorer = DatasetExplorer(merged.flow_file)
    explorer.close()
    assert repr(explorer).startswith("<DatasetExplorer parts.dataset")
    assert "was closed" in repr(explorer)
    assert "<DatasetExplorer" not in explorer._repr_html_()
    assert "was closed" in explorer._repr_html_()
