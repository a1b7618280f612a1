"""How tasks are called: wiring, fan-out, injection, chains of transforms, skips, sequential tasks."""

from __future__ import annotations

import io
import os
import pdb
from pathlib import Path
from typing import Any, Optional, Sequence, Union  # noqa: UP035 -- as users write them

import numpy as np
import pytest

from dflow.errors import EmptySourceError, TaskDefinitionError, WiringError
from dflow.flowmanager import flowtask
from tests.contract.running import run_flow, save_each


@flowtask.transform(inputs=["part"])
def same(part):
    return part


SPELLINGS = [
    ("sources", True),
    ("source", False),
    ("sources: str", False),
    ("sources: 'str'", False),
    ("sources: Path", False),
    ("sources: Optional[str]", False),
    ("sources: 'str | Path'", False),
    ("sources: 'Union[str, Path]'", False),
    ("source: List[str]", True),
    ("source: 'List[str]'", True),
    ("source: Sequence[str]", True),
    ("source: Tuple[str, ...]", True),
    ("source: list", True),
    ("source: tuple", True),
    ("source: Optional[list[str]]", True),
    ("source: 'list[str] | None' = None", True),
    ("sources: Any", True),
    ("sources, more=3", True),
]


@pytest.mark.parametrize("future", [False, True], ids=["", "future"])
@pytest.mark.parametrize(("parameters", "whole"), SPELLINGS)
def test_an_extract_task_gets_the_list_or_one_source_by_its_first_parameter(tmp_path, parameters, whole, future):
    seen: list[Any] = []
    name = parameters.replace(":", ",").split(",")[0]
    code = f"def gather({parameters}):\n    seen.append({name})\n    return [f'{{len(seen)}}.step']\n"
    code = "from __future__ import annotations\n" * future + code
    names: dict[str, Any] = {"seen": seen, **{each.__name__: each for each in (Path,)}}
    names |= {"List": list, "Sequence": Sequence, "Tuple": tuple, "Union": Union, "Optional": Optional, "Any": Any}
    exec(compile(code, "tasks", "exec", dont_inherit=True), names)
    gather = flowtask.extract(name="gather", inputs=["sources"], outputs=["files"])(names["gather"])
    run_flow(tmp_path, [gather, same], {"sources": ["one", "two"]})
    assert seen == ([["one", "two"]] if whole else ["one", "two"])


@pytest.mark.parametrize("sources", ["one", Path("one"), ["one"], ("one",)])
def test_a_single_source_is_a_list_of_one(tmp_path, sources, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("one").mkdir()
    seen = []

    @flowtask.extract(inputs=["sources"])
    def gather(sources):
        seen.extend(sources)
        return ["a.step"]

    run_flow(tmp_path, [gather, same], {"sources": sources})
    assert [str(each) for each in seen] == ["one"]


def test_returned_lists_are_flattened_one_level(tmp_path):
    @flowtask.extract(inputs=["sources"])
    def gather(source):
        return [[1, 2], [3]] if source == "x" else (4, "f")

    run = run_flow(tmp_path, [gather, same], {"sources": ["x", "y"]})
    assert run.output.task_instances[1].results == [[1, 2], [3], 4, "f"]


def test_the_first_unknown_input_is_fed_and_a_further_one_is_an_error_that_names_it(tmp_path):
    @flowtask.extract(inputs=["folders"], outputs=["files"])
    def gather(folder):
        return [folder + "/a"]

    @flowtask.transform(inputs=["cad_file", "material"])
    def encode(cad_file, material):
        return cad_file, material

    with pytest.raises(WiringError, match="'material'"):
        run_flow(tmp_path, [gather, encode], {"folders": ["x"]})
    run = run_flow(tmp_path, [gather, encode], {"folders": ["x"], "material": "steel"})
    assert run.output.task_instances[1].results == [("x/a", "steel")]


@pytest.mark.parametrize(
    ("inputs", "parameters"),
    [
        (["cad_file", "cad_loader", "storage"], "a, b, c"),
        (["storage", "cad_file", "cad_loader"], "c, a, b"),
        (["cad_dataset"], "a, b, c"),
        (["cad_dataset"], "a, storage, cad_loader"),
        (None, "a, cad_loader, storage"),
    ],
)
def test_loader_and_storage_come_by_name_and_by_position(tmp_path, inputs, parameters):
    names: dict[str, Any] = {}
    exec(f"def encode({parameters}):\n    return {{k: type(v).__name__ for k, v in locals().items()}}", names)
    run = run_flow(tmp_path, [flowtask.transform(inputs=inputs)(names["encode"])], {"files": ["f"]})
    (kinds,) = run.output.task_instances[0].results
    assert kinds["a"] == "str"
    assert "Loader" in kinds.get("b", kinds.get("cad_loader"))
    assert "Storage" in kinds.get("c", kinds.get("storage"))


def test_transforms_share_a_samples_store_that_is_sealed_without_anybody_asking(tmp_path):
    @flowtask.transform(inputs=["n"])
    def write(n, cad_loader, storage):
        storage.save_data("rows/x", np.arange(n))
        return n

    @flowtask.transform(inputs=["written"])
    def extend(n, cad_loader, storage):
        storage.save_data("rows/y", storage.load_data("rows/x") * 2)
        if n == 3:
            raise ValueError("late")
        return n

    run = run_flow(tmp_path, [write, extend], {"n": [1, 2, 3]})
    assert (run.output.counts.succeeded, run.output.counts.failed) == (2, 1)
    assert sorted(run.group("rows")["y"].values) == [0, 0, 2]
    assert len(list((run.root / "encoded").iterdir())) == 2


def test_none_before_writing_is_a_skip_and_after_writing_is_not(tmp_path):
    @flowtask.transform(inputs=["n"])
    def write(n, cad_loader, storage):
        if n:
            storage.save_metadata("n", n)

    run = run_flow(tmp_path, [write], {"n": [0, 1, 2]})
    counts = run.output.counts
    assert (counts.succeeded, counts.skipped, counts.failed) == (2, 1, 0)
    assert sorted(run.group("file")["n"].values) == [1, 2]


def test_items_of_any_json_are_told_apart_by_it(tmp_path):
    run = run_flow(tmp_path, [same], {"parts": [1, 1.5, True, {"b": 1, "a": 2}, {"a": 2, "b": 1}, (1, 2), [1, 2]]})
    items = [record.item for record in run.output.task_instances[0].records]
    assert items == ["1", "1.5", "true", '{"a":2,"b":1}', "[1,2]"]
    with pytest.raises(WiringError, match="bytes"):
        run_flow(tmp_path, [same], {"parts": [b"x"]})


def test_a_sequential_tasks_error_stops_the_flow_as_it_is(tmp_path):
    class Refused(Exception):
        pass

    error = Refused("too few", 3)

    @flowtask.custom(inputs=["parts"], parallel_execution=False)
    def check(parts):
        assert parts == [1, 2]
        raise error

    with pytest.raises(Refused) as caught:
        run_flow(tmp_path, [same, check], {"part": [1, 2]})
    assert caught.value is error


def test_what_is_no_task_and_what_has_no_input_is_refused_before_anything_is_written(tmp_path):
    @flowtask.transform(inputs=["part"])
    def wants_more(part, cad_loader, storage, banana):
        return part

    for tasks, inputs, error, words in [
        ([], {"parts": [1]}, TaskDefinitionError, "empty"),
        ([len], {"parts": [1]}, TaskDefinitionError, "'len'"),
        ([same, same], {"parts": [1]}, WiringError, "both named 'same'"),
        ([wants_more], {"parts": [1]}, WiringError, "'banana'"),
        ([same], {}, WiringError, "no inputs"),
        ([same], None, WiringError, "no inputs"),
        ([same], ["x"], WiringError, "dictionary"),
        ([same], {"part": [1], "other": [2]}, WiringError, "'other'"),
        ([same], {"part": []}, EmptySourceError, "empty"),
        ([same], {"part": None}, EmptySourceError, "empty"),
    ]:
        with pytest.raises(error, match=words):
            run_flow(tmp_path, tasks, inputs)
    assert list(tmp_path.iterdir()) == []


def test_a_debugger_stops_in_a_task_of_a_debugged_flow(tmp_path):
    out = io.StringIO()

    @flowtask.transform(inputs=["part"])
    def stop(part, storage):
        pdb.Pdb(stdin=io.StringIO("p part * 100\nc\n"), stdout=out, nosigint=True).set_trace()
        return os.getpid()

    run = run_flow(tmp_path, [stop], {"part": [7]})
    assert run.output.task_instances[0].results == [os.getpid()]
    assert "700" in out.getvalue()


def test_arrays_without_a_group_cost_no_file_whatever_their_length(tmp_path):
    def save(item, storage):
        n_scores, n_faces = item
        storage.save_data("face_scores", np.arange(n_scores, dtype=np.float32))
        storage.save_data("edge_weights", np.full(n_scores, 2.0))
        storage.save_data("faces/face_areas", np.ones(n_faces, np.float32))
        storage.save_data("edges_source", np.zeros(n_faces, np.int32))

    run = save_each(tmp_path, save, [(0, 2), (3, 3), (4, 6), (5, 5)])
    assert not run.output.errors
    assert run.group("file")["row_count_faces"].values.tolist() == [2, 3, 6, 5]
    assert run.group("file")["row_count_edges"].values.tolist() == [0, 3, 4, 5]
    assert run.group("file")["row_count_graph"].values.tolist() == [2, 3, 6, 5]
    scores = run.group("faces")["face_scores"].values
    assert scores[[2, 3, 4, 11, 12, 13, 14, 15]].tolist() == [0, 1, 2, 0, 1, 2, 3, 4]
    assert np.isnan(scores[[0, 1, *range(5, 11)]]).all()
    assert run.group("face_scores")["face_scores"].values.tolist() == [0, 1, 2, 3]
    assert run.explorer().get_file_list("faces", lambda ds: ds["face_scores"] > 2).tolist() == [3]
