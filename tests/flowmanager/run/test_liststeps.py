"""Steps over the list of items: extract tasks, and sequential tasks in this process."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

import dflow
from dflow.flowmanager import flowtask
from tests.flowmanager.flowparts import encode, gather, hidden, label, write_sources

CONTENTS = {"a": "1 2 3", "b": "4", "c": "", "d": "five", "e": "6 7"}


def make(tmp_path, tasks=(gather, encode, label), **arguments):
    return dflow.create_flow("lists", list(tasks), tmp_path / "out", export_visualization=False, **arguments)


def run(flow, sources, **arguments):
    return flow.process(inputs={"sources": [str(sources)]}, progress=False, **arguments)


def test_a_sequential_task_gets_the_whole_list_and_stops_the_flow_with_its_own_error(tmp_path, engine_arguments):
    seen = []

    @flowtask.custom(name="check", inputs=["encoded_files"], outputs=["summary"], parallel_execution=False)
    def check(encoded_files):
        seen.append(len(encoded_files))
        if len(encoded_files) > 1:
            raise LookupError("too many")
        return {"summary": encoded_files}

    flow = make(tmp_path, (gather, encode, check), **engine_arguments)
    output, _, _ = run(flow, write_sources(tmp_path / "one", {"a": "1", "c": ""}))
    assert seen == [1]
    assert len(output.task_instances[2].results) == 1
    sources = write_sources(tmp_path / "in", CONTENTS)
    with pytest.raises(LookupError, match="too many"):
        run(flow, sources)
    errors = json.loads(flow.settings.paths.error_summary.read_text())
    assert [error["kind"] for error in errors] == ["exception"]
    assert hidden(flow.settings.paths.root) == []


def test_extract_per_source_flattens_and_keeps_going_past_a_bad_source(tmp_path, engine_arguments):
    @flowtask.extract(inputs=["sources"])
    def one(source: str):
        if source == "bad":
            raise RuntimeError("no such source")
        yield from (f"{source}{n}" for n in range(2))

    @flowtask.transform(inputs=["part"])
    def same(part):
        return part

    flow = make(tmp_path, (one, same), **engine_arguments)
    output, _, _ = flow.process(inputs={"sources": ["x", "bad", "y"]}, progress=False)
    assert output.task_instances[1].results == ["x0", "x1", "y0", "y1"]
    assert [error.message for error in output.errors] == ["no such source"]


def results_of(tmp_path: Path, *tasks: Any, **inputs: Any) -> list[list[Any]]:
    """What each task of a flow in this process returned."""
    output, _, _ = make(tmp_path, tasks, debug=True).process(inputs=inputs, progress=False)
    return [task.results for task in output.task_instances]


def test_a_sequential_task_takes_further_inputs_and_keeps_its_defaults(tmp_path):
    @flowtask.custom(inputs=["parts", "scale"], parallel_execution=False)
    def total(parts, offset=100, scale=1):
        return scale * sum(parts) + offset

    assert results_of(tmp_path, total, parts=[1, 2], scale=10) == [[130]]


def test_declared_inputs_are_bound_in_their_order(tmp_path):
    @flowtask.custom(inputs=["parts", "scale"], parallel_execution=False)
    def total(parts, scale, offset=100):
        return scale * sum(parts) + offset

    assert results_of(tmp_path, total, parts=[1, 2], scale=10) == [[130]]


def test_a_sequential_task_runs_in_this_process(tmp_path):
    @flowtask.custom(parallel_execution=False)
    def where(parts):
        return os.getpid()

    assert results_of(tmp_path, where, parts=[1]) == [[os.getpid()]]


def test_an_extract_task_may_return_a_generator_an_array_or_one_value(tmp_path):
    @flowtask.transform(inputs=["part"])
    def same(part):
        return part

    for function in (lambda sources: (n for n in range(2)), lambda sources: (0, 1)):
        extract = flowtask.extract(name="listed", inputs=["sources"])(function)
        assert results_of(tmp_path, extract, same, sources=["x"])[1] == [0, 1]
    extract = flowtask.extract(name="listed", inputs=["sources"])(lambda sources: "one")
    assert results_of(tmp_path, extract, same, sources=["x"])[1] == ["one"]


def test_sources_that_are_not_paths_name_their_calls(tmp_path):
    @flowtask.extract(inputs=["queries"])
    def rows(query: str):
        raise RuntimeError(query)

    flow = make(tmp_path, (rows,), debug=True)
    output, _, _ = flow.process(inputs={"queries": ["SELECT 1", {"n": 2}]}, progress=False)
    assert [error.message for error in output.errors] == ["SELECT 1", "{'n': 2}"]
    assert output.errors[1].file == '{"n":2}'
