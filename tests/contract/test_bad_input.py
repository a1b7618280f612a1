"""Bad input gets its own error, early, and never costs what was written before."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

import dflow
from dflow.dataset import DatasetExplorer, DatasetLoader
from dflow.errors import (
    DamagedDatasetError,
    DatasetNotFoundError,
    EmptySourceError,
    FlowFileError,
    OutputFolderError,
    SchemaError,
    SourceNotFoundError,
    WiringError,
)
from dflow.flowmanager import flowtask
from dflow.schema import SchemaBuilder
from tests.contract.running import run_flow, save_each


def tree(root):
    return {p.relative_to(root): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@flowtask.extract(name="gather", inputs=["sources"])
def gather(sources):
    return [os.path.join(source, name) for source in sources for name in sorted(os.listdir(source))]


@flowtask.transform(name="encode", inputs=["file"])
def encode(file, cad_loader, storage):
    model = cad_loader.create_from_file(file)
    storage.save_data("rows/x", np.arange(model.get_face_count()))


@pytest.mark.parametrize(
    ("inputs", "error", "words"),
    [
        ({"sources": []}, EmptySourceError, "empty"),
        ({"sources": [""]}, EmptySourceError, "empty"),
        ({"sources": ["/nowhere/at/all"]}, SourceNotFoundError, "/nowhere/at/all"),
        ({"sources": ["{parts}", "parst"]}, SourceNotFoundError, "parst"),
        ({"sources": ["{parts}"], "banana": 3}, WiringError, "'banana'"),
        ({}, WiringError, "no inputs"),
    ],
)
def test_bad_inputs_after_a_good_run_change_nothing(tmp_path, generated_parts, inputs, error, words):
    folder = str(generated_parts / "plate")
    flow = dflow.create_flow("good", [gather, encode], tmp_path, debug=True, export_visualization=False)
    flow.process(inputs={"sources": [folder]}, progress=False)
    before = tree(tmp_path)
    given = {
        key: [each.replace("{parts}", folder) for each in value] if isinstance(value, list) else value
        for key, value in inputs.items()
    }
    with pytest.raises(error, match=words):
        flow.process(inputs=given, progress=False)
    assert tree(tmp_path) == before


def test_an_unwritable_output_folder_is_named_before_any_work(tmp_path, generated_parts):
    (tmp_path / "file").write_text("no folder")
    called = []

    @flowtask.transform(inputs=["file"])
    def work(file):
        called.append(file)

    for folder in (tmp_path / "file", "/proc/dflow"):
        with pytest.raises(OutputFolderError, match=str(folder)):
            run_flow(folder, [work], {"files": ["a"]})
    assert called == []


@pytest.mark.parametrize(
    ("declare", "words"),
    [
        (lambda b: [b.create_group("f", "face"), b.create_group("f", "edge")], "'f' is declared already"),
        (lambda b: b.create_group("f", "face").create_array("a", ["edge"]), "do not begin with 'face'"),
        (lambda b: b.create_group("f", "face").create_array("a", ["face"], "float31"), "float31"),
        (lambda b: b.create_group("f", base_dimension="face", primary_dimension="edge"), "differ"),
        (lambda b: b.define_categorical_metadata("c", "int32", values=[1, 1]), "repeat"),
        (lambda b: b.define_categorical_metadata("c", "int32", values=[1, 2], labels=["a"]), "2 values but 1 labels"),
        (lambda b: b.define_categorical_metadata("c", "int32", values=["x"]), "does not fit"),
        (lambda b: b.define_file_metadata("c", "int32", min_value=3, max_value=1), "above max_value"),
        (
            lambda b: [b.define_file_metadata("c", "int32"), b.define_categorical_metadata("c", "int32")],
            "declared already",
        ),
    ],
)
def test_a_schema_that_contradicts_itself_says_where(declare, words):
    with pytest.raises(SchemaError, match=words):
        built(declare)


def built(declare):
    builder = SchemaBuilder(domain="parts")
    declare(builder)
    return builder.build()


def test_cad_files_that_are_none_are_rows_with_their_cause_and_the_flow_goes_on(tmp_path, generated_parts):
    sources = tmp_path / "in"
    sources.mkdir()
    (good,) = (generated_parts / "plate").glob("*.step")
    content = good.read_bytes()
    nothing = content[: content.index(b"DATA;")] + b"DATA;\nENDSEC;\nEND-ISO-10303-21;\n"
    for name, data in {
        "good.step": content,
        "empty.step": b"",
        "text.step": b"not CAD at all",
        "truncated.step": content[: len(content) // 2],
        "nothing.step": nothing,
    }.items():
        (sources / name).write_bytes(data)
    (sources / "folder.step").mkdir()
    (sources / "link.step").symlink_to("nowhere.step")
    run = run_flow(tmp_path / "out", [gather, encode], {"sources": [str(sources)]})
    assert (run.output.counts.succeeded, run.output.counts.failed) == (1, 6)
    entries = {os.path.basename(e["file"]): e for e in json.loads((run.root / "error_summary.json").read_text())}
    causes = {
        "empty.step": ("unreadable", "empty"),
        "text.step": ("unreadable", "not CAD"),
        "truncated.step": ("unreadable", "truncated"),
        "nothing.step": ("no_geometry", "nothing in it became a shape"),
        "folder.step": ("unreadable", "directory"),
        "link.step": ("unreadable", "no such file"),
    }
    assert entries.keys() == causes.keys()
    for name, (kind, words) in causes.items():
        entry = entries[name]
        assert entry["kind"] == kind
        assert words in entry["message"]
        assert entry["task"] == "encode"
        assert {"traceback", "seconds", "item_index", "item", "error", "worker_pid", "logs"} <= entry.keys()
    log = (run.root / "flow_log.log").read_text().splitlines()
    assert all(sum(name in line for line in log) == 1 for name in [*causes, "good.step"])


def test_a_file_that_contradicts_the_schema_or_the_majority_is_its_own_error(tmp_path):
    builder = SchemaBuilder(domain="parts")
    group = builder.create_group("declared", "row")
    group.create_array("xyz", ["row", "dim"], "float32")
    group.create_array("n", ["row"], "int32")

    def save(item, storage):
        storage.save_data("declared/xyz", np.zeros((2, 4 if item == 1 else 3)) if item != 2 else np.zeros(2))
        if item != 5:
            storage.save_data("declared/n", np.array([0.5, 1]) if item == 3 else np.arange(2))
        storage.save_data("free/z", np.zeros((2, 2)) if item == 4 else np.zeros(2))

    run = save_each(tmp_path, save, range(8), builder.build())
    assert sorted((int(e.file), e.kind) for e in run.output.errors) == [(n, "schema") for n in (1, 2, 3, 4)]
    declared, file = run.group("declared"), run.group("file")
    assert declared["n"].dtype == np.dtype("int32")
    assert declared["n"].values.tolist() == [0, 1, -1, -1, 0, 1, 0, 1]
    assert file["has_declared_n"].values.tolist() == [True, False, True, True]
    assert declared["xyz"].shape == (8, 3)


def test_nan_is_an_error_where_nobody_declared_it(tmp_path):
    builder = SchemaBuilder(domain="parts")
    builder.create_group("rows", "row").create_array("gaps", ["row"], "float32", nan_policy="allow")

    def save(item, storage):
        storage.save_data("rows/gaps", np.array([np.nan, 1]))
        storage.save_data("rows/whole", np.array([np.inf if item == 1 else 0.0, 1]))

        storage.save_metadata("cost", np.nan if item == 2 else 1.0)

    run = save_each(tmp_path, save, [0, 1, 2], builder.build())
    assert [(error.file, error.kind) for error in run.output.errors] == [("1", "non_finite"), ("2", "non_finite")]
    assert np.isnan(run.group("rows")["gaps"].values).tolist() == [True, False]


def test_missing_and_damaged_outputs_are_told_apart(tmp_path):
    run = save_each(tmp_path, lambda item, storage: storage.save_data("rows/x", np.arange(item + 1)), range(3))
    with pytest.raises(FlowFileError, match="does not exist"):
        DatasetExplorer(flow_output_file=str(tmp_path / "no.flow"))
    for content in (b"{", b"[]", b"{}", b"\xff\xfe\x00"):
        (tmp_path / "bad.flow").write_bytes(content)
        with pytest.raises(FlowFileError, match=r"bad\.flow"):
            DatasetExplorer(flow_output_file=str(tmp_path / "bad.flow"))
    with pytest.raises(DatasetNotFoundError, match=r"no\.dataset"):
        DatasetExplorer(merged_store_path=str(tmp_path / "no.dataset"))
    with pytest.raises(DatasetNotFoundError, match=r"no\.infoset"):
        DatasetLoader(merged_store_path=str(run.dataset), parquet_file_path=str(tmp_path / "no.infoset"))
    shard = run.dataset / "rows" / "x" / "c.0"
    whole = shard.read_bytes()
    for damage in (whole[:-3], bytes([whole[0] ^ 255]) + whole[1:], None):
        shard.unlink() if damage is None else shard.write_bytes(damage)
        with pytest.raises(DamagedDatasetError, match=r"rows/x/c\.0"):
            run.explorer().get_file_list(group="rows", where=lambda ds: ds["x"] > 0)
    (run.dataset / "zarr.json").write_text("{")
    with pytest.raises(DamagedDatasetError, match=r"zarr\.json"):
        run.explorer()


def test_sources_given_again_are_done_once_and_told_in_one_line(tmp_path):
    items = [*range(50), *range(50)]
    run = save_each(tmp_path, lambda item, storage: storage.save_metadata("n", item), items)
    assert run.output.counts.submitted == 50
    lines = [line for line in (run.root / "flow_log.log").read_text().splitlines() if "more than once" in line]
    assert len(lines) == 1
    assert lines[0].endswith("0, 1, 2 and 47 more")


def test_a_run_whose_files_all_fail_keeps_the_dataset_and_says_so(tmp_path):
    def flow_of(function):
        task = flowtask.transform(name="save", inputs=["item"])(function)
        return dflow.create_flow("kept", [task], tmp_path, debug=True, export_visualization=False)

    def good(item, cad_loader, storage):
        storage.save_metadata("n", item)

    def bad(item, cad_loader, storage):
        raise ValueError("not today")

    _, _, flow_file = flow_of(good).process(inputs={"items": [1, 2]}, progress=False)
    output, again, _ = flow_of(bad).process(inputs={"items": [1, 2]}, progress=False)
    assert (output.counts.failed, again["file_count"]) == (2, 0)
    assert DatasetExplorer(flow_output_file=flow_file).get_file_list(where=lambda ds: ds["n"] > 0).tolist() == [0, 1]
    log = (tmp_path / "flows" / "kept" / "flow_log.log").read_text()
    assert "The one of an earlier run is kept" in log
