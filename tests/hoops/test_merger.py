"""Merging by hand: folders of several runs, discovery, the tables alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import xarray as xr

from dflow.dataset import DatasetInfo, DatasetMerger, validate_dataset
from dflow.errors import DatasetError, SchemaError, UnknownKeyError
from dflow.schema import SchemaBuilder
from dflow.storage.paths import FlowPaths
from tests.dataset.samples import write_sample


@pytest.fixture
def runs(tmp_path: Path) -> tuple[FlowPaths, FlowPaths]:
    """Two runs over different parts; the second has an array more."""
    first, second = FlowPaths.of(tmp_path / "1", "first"), FlowPaths.of(tmp_path / "2", "second")
    for i in range(3):
        write_sample(first, f"cad/{i}.step", {"faces/areas": np.full(i + 1, i, "f4")}, {"Item": f"cad/{i}.step"})
    for i in range(3, 5):
        arrays = {"faces/areas": np.full(2, i, "f4"), "faces/tag": np.full(2, i, "i4")}
        write_sample(second, f"cad/{i}.step", arrays, {"Item": f"cad/{i}.step", "family": "x"})
    return first, second


def test_stores_of_two_runs_become_one_dataset(runs: tuple[FlowPaths, FlowPaths], tmp_path: Path) -> None:
    merger = DatasetMerger([run.encoded for run in runs], tmp_path / "both.dataset")
    assert merger.discover_groups_from_files() == {"faces": ["areas", "tag"]}
    report = merger.merge_data()
    merger.close_dask_resources()
    assert (report.n_samples, report.rejected, report.damaged) == (5, (), ())
    faces = xr.open_zarr(str(tmp_path / "both.dataset"), group="faces")
    assert faces["areas"].values.tolist() == [0, 1, 1, 2, 2, 2, 3, 3, 4, 4]
    assert faces["tag"].values.tolist() == [-1] * 6 + [3, 3, 4, 4]
    info = pq.read_table(tmp_path / "both.infoset").to_pylist()
    assert [row["description"] for row in info] == [f"cad/{i}.step" for i in range(5)]
    assert validate_dataset(tmp_path / "both.dataset") == []


def test_sources_that_exist_become_relative_to_the_new_dataset(
    runs: tuple[FlowPaths, FlowPaths], tmp_path: Path
) -> None:
    part = runs[0].root / "cad" / "0.step"
    part.parent.mkdir()
    part.write_text("ISO-10303-21;")
    DatasetMerger(runs[0].encoded, tmp_path / "x.dataset").merge_data()
    sources = pq.read_table(tmp_path / "x.infoset")["description"].to_pylist()
    assert "1/flows/first/cad/0.step" in sources


def test_every_drop_is_reported(runs: tuple[FlowPaths, FlowPaths], tmp_path: Path) -> None:
    twice = runs[1].encoded / next(runs[0].encoded.iterdir()).name
    twice.write_bytes((runs[0].encoded / twice.name).read_bytes())
    (runs[1].encoded / "broken_0.data").write_bytes(b"PK")
    report = DatasetMerger([run.encoded for run in runs], tmp_path / "both.dataset").merge_data()
    assert report.n_samples == 5
    assert {name for name, _ in report.damaged} == {twice.stem, "broken_0"}
    assert any("is the same sample" in reason for _, reason in report.damaged)


def test_source_files_go_only_when_asked_and_merged(runs: tuple[FlowPaths, FlowPaths], tmp_path: Path) -> None:
    DatasetMerger(runs[0].encoded, tmp_path / "kept.dataset").merge_data()
    assert len(list(runs[0].encoded.iterdir())) == 3
    odd = write_sample(runs[0], "cad/odd.step", {"faces/areas": np.zeros((2, 2), "f4")})
    report = DatasetMerger(runs[0].encoded, tmp_path / "x.dataset", delete_source_files=True).merge_data()
    assert [name for name, *_ in report.rejected] == [odd.name]
    assert [path.stem for path in runs[0].encoded.iterdir()] == [odd.name]


def test_file_ids_are_the_mapping_that_info_builds(runs: tuple[FlowPaths, FlowPaths], tmp_path: Path) -> None:
    folders = [run.encoded for run in runs]
    info = DatasetInfo(folders, tmp_path / "x.infoset", tmp_path / "x.attribset")
    codes = info.build_code_mappings(folders)
    assert sorted(codes.values()) == [0, 1, 2, 3, 4]
    DatasetMerger(folders, tmp_path / "x.dataset", file_id_codes=codes).merge_data()
    names = pq.read_table(tmp_path / "x.infoset")["name"].to_pylist()
    assert {name: i for i, name in enumerate(names)} == codes
    wrong = {name: 4 - code for name, code in codes.items()}
    with pytest.raises(DatasetError, match="the ids of 4 samples in file_id_codes differ"):
        DatasetMerger(folders, tmp_path / "x.dataset", file_id_codes=wrong).merge_data()


def test_a_schema_set_by_hand_declares_more(runs: tuple[FlowPaths, FlowPaths], tmp_path: Path) -> None:
    builder = SchemaBuilder(domain="CAD")
    builder.create_group("holes", "hole").create_array("depth", ["hole"], "float32")
    merger = DatasetMerger(runs[0].encoded, tmp_path / "x.dataset")
    merger.set_schema(builder.build())
    merger.merge_data()
    assert xr.open_zarr(str(tmp_path / "x.dataset"), group="holes")["depth"].shape == (0,)
    with pytest.raises(SchemaError):
        merger.set_schema({"groups": {"a": {"arrays": 3}}})


def test_info_alone_writes_both_tables(runs: tuple[FlowPaths, FlowPaths], tmp_path: Path) -> None:
    (runs[0].encoded / "by_hand.json").write_text(json.dumps({"Item": "z.step", "family": "y"}))
    info = DatasetInfo([run.encoded for run in runs], tmp_path / "x.infoset", tmp_path / "x.attribset")
    assert info.parse_info_files() == 6
    info.set_attributes({0: "plane", 1: {"name": "cone", "description": "pointed"}}, "face_types")
    info.store_info_to_parquet("my_table")
    rows = pq.read_table(tmp_path / "x.infoset").to_pylist()
    assert {row["table_name"] for row in rows} == {"my_table"}
    assert [row["family_label"] for row in rows] == [None, None, None, "x", "x", "y"]
    words = [tuple(row.values()) for row in pq.read_table(tmp_path / "x.attribset").to_pylist()]
    assert words == [
        ("face_types", 0, "plane", "not set"),
        ("face_types", 1, "cone", "pointed"),
        ("family", 0, "x", "not set"),
        ("family", 1, "y", "not set"),
    ]


def test_a_group_can_be_looked_at_before_it_is_merged(runs: tuple[FlowPaths, FlowPaths], tmp_path: Path) -> None:
    arrays = {"faces/areas": np.ones(2, "f4"), "faces/name": np.array(["b", "a"])}
    write_sample(runs[0], "cad/9.step", arrays, {"Item": "cad/9.step"})
    merger = DatasetMerger([run.encoded for run in runs], tmp_path / "both.dataset")
    lazy = merger.open_unmerged("faces")
    assert lazy["areas"].chunks is not None
    assert lazy["name"].values.tolist() == [-1] * 10 + [1, 0]
    merger.merge_data()
    merged = xr.open_zarr(str(tmp_path / "both.dataset"), group="faces")
    xr.testing.assert_equal(lazy.compute(), merged.compute())
    with pytest.raises(UnknownKeyError, match="'holes'"):
        merger.open_unmerged("holes")


def test_nothing_to_merge_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="zip_files"):
        DatasetMerger([], tmp_path / "x.dataset").merge_data()
    with pytest.raises(FileNotFoundError, match="does not exist; expected"):
        DatasetMerger(tmp_path / "gone", tmp_path / "x.dataset")
