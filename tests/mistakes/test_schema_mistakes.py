"""Mistakes with declarations: what was declared and not saved, words and codes, lengths that differ from file to file.

Each error has three parts: what was found, what was expected, and what to do.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from dflow import create_flow
from dflow.errors import SchemaError
from dflow.flowmanager import flowtask
from dflow.flowmanager.reports.console import print_report
from dflow.insights.coloring import color_faces
from dflow.insights.explore.flow_data import FlowData
from dflow.insights.explore.part import part_data
from dflow.schema import SchemaBuilder
from dflow.storage import DataStorage, MemoryStorage, OptStorage, describe
from tests.contract.running import Run, save_each

Save = Callable[[int, DataStorage], Any]


def _schema(**kind: Any) -> SchemaBuilder:
    """Faces with the array `kind`, declared as given, and `wear`; a metadata field `mass`."""
    builder = SchemaBuilder("parts")
    group = builder.create_group("faces", "face")
    group.create_array("kind", ["face"], "int32", **kind)
    group.create_array("wear", ["face"], "float32")
    return builder


def _says(error: BaseException | str, found: str, expected: str, way_out: str) -> None:
    for part in (found, expected, way_out):
        assert re.search(part, str(error)), (part, str(error))


# Declared and not saved, saved and not declared


def _misspelt(n: int, storage: DataStorage) -> None:
    storage.save_data("faces/kinds", np.arange(n + 1))
    storage.save_data("faces/wear", np.ones(n + 1))


def test_a_required_array_that_a_file_does_not_save_fails_that_file_only(tmp_path: Path) -> None:
    def save(n: int, storage: DataStorage) -> None:
        storage.save_data("faces/kinds" if n == 1 else "faces/kind", np.arange(n + 1))

    run = save_each(tmp_path, save, range(3), _schema(required=True).build())
    (error,) = run.output.errors
    assert (error.kind, error.file) == ("schema", "1")
    _says(
        error.message,
        "the required array 'faces/kind' was not saved; faces/kinds were",
        r"\(is 'faces/kinds' meant\?\)",
        r"save_data\('faces/kind', array\) in every file, or declare it without required=True",
    )
    assert run.output.counts.succeeded == 2


def test_a_required_array_is_required_of_a_sample_in_memory_too(tmp_path: Path) -> None:
    storage = MemoryStorage()
    storage.set_schema(_schema(required=True))
    with pytest.raises(SchemaError) as caught:
        describe(storage, "s", "a.step")
    _says(caught.value, "'faces/kind' was not saved; none were", "required array", r"save_data\('faces/kind', array\)")


def test_a_declared_array_that_no_file_saved_is_named_with_what_was_saved_instead(tmp_path: Path) -> None:
    run = save_each(tmp_path, _misspelt, range(3), _schema().build())
    assert run.summary["declared_not_saved"] == [{"name": "faces/kind", "nearest": "faces/kinds"}]
    assert run.summary["saved_not_declared"] == [{"name": "faces/kinds", "nearest": "faces/kind"}]
    flow = json.loads(Path(run.flow_file).read_text())
    assert flow["declared_not_saved"] == run.summary["declared_not_saved"]
    console = Console(width=140, record=True, file=io.StringIO())
    print_report(run.output, console)
    _says(
        console.export_text(),
        "faces/kind .*declared, but no file saved it: all its rows are fill values",
        "faces/kinds .*saved, but not declared",
        "nearest name",
    )
    assert "declared, not saved: faces/kind" in run.output.summary()
    log = (run.root / "flow_log.log").read_text()
    _says(
        log, "declares faces/kind", "no file saved it: all its rows are fill values", "nearest saved name: faces/kinds"
    )


def test_a_run_that_saves_what_it_declares_shows_no_table(tmp_path: Path) -> None:
    def save(n: int, storage: DataStorage) -> None:
        storage.save_data("faces/kind", np.arange(n + 1))
        storage.save_data("faces/wear", np.ones(n + 1))
        storage.save_data("faces/face_areas", np.ones(n + 1))  # a standard array needs no declaration

    run = save_each(tmp_path, save, range(2), _schema().build())
    assert run.summary["declared_not_saved"] == run.summary["saved_not_declared"] == []
    console = Console(record=True, file=io.StringIO())
    print_report(run.output, console)
    assert "Declared against saved" not in console.export_text()


# Words and codes of rows


CLASSES = {"values": [2, 5, 9], "labels": ["hole", "slot", "pocket"]}


def test_a_word_that_is_no_label_is_refused_with_the_nearest(tmp_path: Path) -> None:
    storage = MemoryStorage()
    storage.set_schema(_schema(**CLASSES))
    with pytest.raises(SchemaError) as caught:
        storage.save_data("faces/kind", ["hole", "slott"])
    _says(
        caught.value,
        "'slott' is not one of",
        r"the declared labels \['hole', 'slot', 'pocket'\] \(is 'slot' meant\?\)",
        "save one of them or its code",
    )


@pytest.mark.parametrize(
    ("declared", "data", "found"),
    [
        (CLASSES, [2, 5, 4, 4], "2 of 4 values are none of the declared"),
        (CLASSES, [-1], "the first is -1"),
        ({"labels": ["hole", "slot"]}, [0, 2], "the first is 2"),
    ],
)
def test_a_code_without_a_name_is_refused(declared: dict[str, Any], data: Any, found: str) -> None:
    storage = MemoryStorage()
    storage.set_schema(_schema(**declared))
    with pytest.raises(SchemaError) as caught:
        storage.save_data("faces/kind", data)
    _says(caught.value, found, r"none of the declared \[", "save declared values, or declare this one")


@pytest.mark.parametrize(
    ("declared", "found", "way_out"),
    [
        ({"values": [1, 2], "labels": ["a"]}, "2 values but 1 labels", "give one label per value"),
        ({"values": [1, 1]}, r"values \[1, 1\] repeat", "give each code once"),
        ({"values": ["a"]}, "the value 'a' does not fit dtype int32", "change the value or the dtype"),
        ({"dtype": "float32", "labels": ["a"]}, "its dtype is float32", "use an integer dtype, bool or str"),
    ],
)
def test_classes_that_contradict_themselves_are_refused(declared: dict[str, Any], found: str, way_out: str) -> None:
    group = SchemaBuilder().create_group("faces", "face")
    with pytest.raises(SchemaError) as caught:
        group.create_array("kind", ["face"], **{"dtype": "int32", **declared})
    _says(caught.value, "array 'faces/kind'", found, way_out)
    assert group.list_arrays() == []


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two parts with classes of faces, saved as words and as codes, and other classes of edges under the same name."""
    builder = _schema(**CLASSES)
    builder.create_group("edges", "edge").create_array("kind", ["edge"], "int32", labels=["sharp", "round"])

    def save(n: int, storage: DataStorage) -> None:
        storage.save_data("faces/kind", ["hole", "pocket", "hole"] if n else [2, 5, 2])
        storage.save_data("faces/wear", np.ones(3))
        storage.save_data("edges/kind", [0, 1, -1])
        storage.save_data("mark/mark", ["left", "right"])

    builder.create_group("mark", "mark_row").create_array("mark", ["mark_row"], "str", values=["left", "mid", "right"])
    return save_each(tmp_path_factory.mktemp("classes"), save, range(2), builder.build())


def test_names_of_declared_codes_reach_the_attribset(classes: Run) -> None:
    assert classes.output.errors == []
    assert classes.table("faces/kind") == [(2, "hole", "not set"), (5, "slot", "not set"), (9, "pocket", "not set")]
    assert classes.table("edges/kind") == [(0, "sharp", "not set"), (1, "round", "not set")]
    assert classes.table("kind") == []
    assert classes.table("mark") == [(i, word, "not set") for i, word in enumerate(("left", "mid", "right"))]
    assert classes.group("faces")["kind"].values.tolist() == [2, 5, 2, 2, 9, 2]
    assert classes.group("mark")["mark"].values.tolist() == [0, 2, 0, 2]


def test_names_of_declared_codes_reach_descriptions_and_distributions(classes: Run) -> None:
    explorer = classes.explorer()
    assert explorer.get_descriptions("faces/kind", 5)["name"].tolist() == ["slot"]
    faces = explorer.create_distribution("kind", None, "faces")
    assert dict(zip(faces["categories"].tolist(), faces["labels"], strict=True)).items() >= {
        2: "hole", 5: "slot", 9: "pocket"
    }.items()  # fmt: skip
    edges = explorer.create_distribution("kind", None, "edges")
    assert edges["labels"] == ["-1", "sharp", "round"]


def test_names_of_declared_codes_reach_the_explorers_axis_and_a_parts_legend(classes: Run) -> None:
    data = FlowData(classes.flow_file)
    variable = data.variable("faces/kind")
    assert list(variable.labels or ()) == ["hole", "slot", "pocket"]
    (kind,) = [coloring for coloring in part_data(data, 1)["colorings"] if coloring["name"] == "kind"]
    assert kind["texts"] == ["hole", "pocket", "hole"]
    assert [text for _, text in kind["legend"]] == ["hole", "pocket"]


def test_names_of_declared_codes_reach_the_viewers_legend(classes: Run) -> None:
    coloring = color_faces([0, 1], "kind", source=classes.explorer(), palette=None)
    assert coloring.texts(0) == ["hole", "slot", "hole"]
    assert [text for _, text in coloring.legend()] == ["hole", "slot", "pocket"]


def test_one_vocabulary_of_two_groups_has_the_arrays_name(tmp_path: Path) -> None:
    builder = _schema(**CLASSES)
    builder.create_group("edges", "edge").create_array("kind", ["edge"], "int32", **CLASSES)

    def save(n: int, storage: DataStorage) -> None:
        storage.save_metadata("descriptions/kind", {2: {"name": "hole", "description": "drilled"}})
        storage.save_data("faces/kind", [2, 5])
        storage.save_data("edges/kind", [9])

    run = save_each(tmp_path, save, range(1), builder.build())
    assert run.table("kind") == [(2, "hole", "drilled"), (5, "slot", "not set"), (9, "pocket", "not set")]


# An array without a group whose length differs


def _stopped(folder: Path, save: Save, n_files: int, schema: Any = None) -> SchemaError:
    with pytest.raises(SchemaError) as caught:
        save_each(folder, save, range(n_files), schema)
    return caught.value


def test_an_array_without_a_group_of_another_length_in_each_file_stops_the_run_early(tmp_path: Path) -> None:
    tried = []

    def save(n: int, storage: DataStorage) -> None:
        tried.append(n)
        storage.save_data("scores", np.ones(n + 1))

    error = _stopped(tmp_path, save, 400)
    _says(
        error,
        r"the array 'scores', saved without a group, differs in shape from file to file \(\d+ in \d+, \d+ in ",
        "an array without a group has one shape in all files",
        r"Save it under a group, .*: save_data\('scores_rows/scores', array\)",
    )
    assert len(tried) < 400


def test_the_group_with_as_many_rows_is_named(tmp_path: Path) -> None:
    def save(n: int, storage: DataStorage) -> None:
        storage.save_data("faces/wear", np.ones(n + 1))
        storage.save_data("scores", np.ones((n + 1, 2)))

    _says(
        _stopped(tmp_path, save, 3),
        "1×2 in 0, 2×2 in 1, 3×2 in 2",
        "one shape in all files",
        r"one entry per row of group 'faces': save_data\('faces/scores', array\)",
    )


def test_a_single_file_of_another_length_is_rejected_with_the_group_to_name(tmp_path: Path) -> None:
    def save(n: int, storage: DataStorage) -> None:
        storage.save_data("scores", np.ones(5 if n == 3 else 4))

    run = save_each(tmp_path, save, range(5))
    (error,) = run.output.errors
    assert (error.kind, error.file) == ("schema", "3")
    _says(
        error.message,
        "file/scores: float64 of shape 5",
        "contradicts the majority of the samples: float64 of shape 4",
        "save it as 'scores_rows/scores' if its length differs from file to file",
    )


def test_samples_that_are_not_merged_may_differ(tmp_path: Path) -> None:
    def save(item: int, cad_loader: Any, storage: DataStorage) -> None:
        storage.save_data("scores", np.ones(item + 1))

    task = flowtask.transform(name="save", inputs=["item"])(save)
    flow = create_flow("flow", [task], tmp_path, debug=True, export_visualization=False, auto_dataset_export=False)
    output, _, _ = flow.process(inputs={"items": list(range(5))}, progress=False)
    assert output.counts.succeeded == 5


def test_two_lengths_and_rare_others_do_not_stop_a_run(tmp_path: Path) -> None:
    def save(n: int, storage: DataStorage) -> None:
        storage.save_data("scores", np.ones({38: 5, 39: 6}.get(n, 4)))

    run = save_each(tmp_path, save, range(40))
    assert run.output.counts.succeeded == 38


def test_a_store_keeps_classes_and_required_when_it_is_opened_again(tmp_path: Path) -> None:
    with OptStorage(tmp_path / "s") as storage:
        storage.set_schema(_schema(required=True, **CLASSES))
        storage.save_data("faces/kind", ["slot"])
    again = OptStorage(tmp_path / "s")
    assert again.load_data("faces/kind").tolist() == [5]
    kind = again.get_schema()["groups"]["faces"]["arrays"]["kind"]
    assert {key: kind[key] for key in ("required", "values", "labels")} == {"required": True, **CLASSES}
