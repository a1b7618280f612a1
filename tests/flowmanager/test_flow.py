"""Whole flows, on both engines: results, counts, files, and what is reused."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from pathlib import Path

import pytest

import dflow
from dflow.dataset.format.location import read_flow_file
from dflow.dataset.merge import publish
from dflow.errors import (
    DatasetError,
    EmptySourceError,
    FlowFileError,
    OutputFolderError,
    SourceNotFoundError,
)
from dflow.flowmanager import flowtask
from dflow.flowmanager.history import folder
from tests.flowmanager import flowparts
from tests.flowmanager.flowparts import encode, gather, hidden, label, tree_bytes, write_sources

CONTENTS = {"a": "1 2 3", "b": "4", "c": "", "d": "five", "e": "6 7"}


def make(tmp_path, tasks=(gather, encode, label), **arguments):
    arguments = {"export_visualization": False, **arguments}
    return dflow.create_flow("numbers", list(tasks), tmp_path / "out", **arguments)


def run(flow, sources, **arguments):
    return flow.process(inputs={"sources": [str(sources)]}, progress=False, **arguments)


def test_chained_transforms_to_a_dataset_on_both_engines(tmp_path, engine_arguments):
    sources = write_sources(tmp_path / "in", CONTENTS)
    flow = make(tmp_path, **engine_arguments)
    output, summary, flow_file = run(flow, sources)
    assert (output.counts.submitted, output.counts.succeeded) == (5, 3)
    assert (output.counts.skipped, output.counts.failed) == (1, 1)
    assert summary["file_count"] == 3
    assert Path(summary["flow_data"]).is_dir()
    root = Path(flow_file).parent
    stored = json.loads(Path(flow_file).read_text())
    assert stored["flow_data"] == "numbers.dataset"
    assert (stored["submitted"], stored["skipped"], stored["failed"]) == (5, 1, 1)
    assert {"total", "gather", "encode", "label", "EncodingTask", "GatherCADFiles", "AutoDatasetExportTask"} <= set(
        stored["Duration [seconds]"]
    )
    assert stored["error_distribution"] == {"ValueError": 1}
    (error,) = json.loads((root / "error_summary.json").read_text())
    assert (error["file"], error["item"]) == (os.path.relpath(sources / "d.txt", root), str(sources / "d.txt"))
    assert "five" in error["message"]
    assert error["message"] == error["error"]
    assert "Traceback" in error["traceback"]
    assert {"task", "kind", "seconds", "item_index", "worker_pid", "logs"} <= set(error)
    log = (root / "flow_log.log").read_text().splitlines()
    assert sum(" encode " in line and ".txt" in line for line in log) == 5
    assert hidden(root) == []
    assert [os.path.basename(v) for v in output.task_instances[2].results] == sorted(
        (path.name for path in (root / "encoded").glob("*.data")),
        key=[os.path.basename(v) for v in output.task_instances[2].results].index,
    )


def test_a_second_run_reuses_and_a_touched_file_is_compared(tmp_path, engine_arguments):
    sources = write_sources(tmp_path / "in", {**CONTENTS, "d": "5"})
    flow = make(tmp_path, **engine_arguments)
    run(flow, sources)
    root = tmp_path / "out" / "flows" / "numbers"
    before = tree_bytes(root / "encoded"), tree_bytes(root / "numbers.dataset")
    output, _, _ = run(flow, sources)
    assert (output.counts.reused, output.counts.succeeded, output.counts.skipped) == (5, 4, 1)
    os.utime(sources / "a.txt")
    (sources / "b.txt").write_text("44")
    output, _, _ = run(flow, sources)
    assert output.counts.reused == 4
    assert (tree_bytes(root / "encoded"), tree_bytes(root / "numbers.dataset")) != before
    (sources / "b.txt").write_text("4")
    run(flow, sources)
    assert (tree_bytes(root / "encoded"), tree_bytes(root / "numbers.dataset")) == before
    log = (root / "flow_log.log").read_text()
    assert "4 items reused" in log or "3 items reused" in log


def test_new_sources_encode_only_what_is_new(tmp_path):
    sources = write_sources(tmp_path / "in", {"a": "1", "b": "2"})
    flow = make(tmp_path, debug=True)
    run(flow, sources)
    write_sources(sources, {"c": "3"})
    output, _, _ = run(flow, sources)
    assert (output.counts.submitted, output.counts.reused, output.counts.samples) == (3, 2, 3)


@pytest.mark.parametrize("harm", ["missing", "truncated", "swapped", "flipped"])
def test_a_damaged_store_is_made_again(tmp_path, harm):
    sources = write_sources(tmp_path / "in", {"a": "1 2", "b": "3 4"})
    flow = make(tmp_path, debug=True)
    run(flow, sources)
    root = tmp_path / "out" / "flows" / "numbers"
    before = tree_bytes(root / "encoded"), tree_bytes(root / "numbers.dataset")
    one, other = sorted((root / "encoded").glob("*.data"))
    if harm == "missing":
        one.unlink()
    elif harm == "truncated":
        one.write_bytes(one.read_bytes()[:-100])
    elif harm == "swapped":
        one.write_bytes(other.read_bytes())
    else:  # a byte of an array: only the merge reads it
        data = bytearray(one.read_bytes())
        data[46] ^= 0xFF
        one.write_bytes(bytes(data))
        shutil.rmtree(flow.settings.paths.dataset)  # so that it is read
    output, _, _ = run(flow, sources)
    assert output.counts.samples == 2
    assert output.counts.failed == 0
    assert (tree_bytes(root / "encoded"), tree_bytes(root / "numbers.dataset")) == before


def test_a_changed_constant_of_the_tasks_module_encodes_again_and_says_so(tmp_path, monkeypatch):
    sources = write_sources(tmp_path / "in", {"a": "1"})
    flow = make(tmp_path, debug=True)
    run(flow, sources)
    monkeypatch.setitem(flowparts.SCHEMA, "description", "another")
    output, _, _ = run(flow, sources)
    assert output.counts.reused == 0
    log = (flow.settings.paths.root / "flow_log.log").read_text()
    assert "the pipeline changed" in log
    assert "SCHEMA changed" in log


def test_worker_count_and_engine_do_not_matter_for_reuse(tmp_path, shared_client):
    sources = write_sources(tmp_path / "in", {"a": "1", "b": "2"})
    run(make(tmp_path, debug=True), sources)
    output, _, _ = run(make(tmp_path, cluster=shared_client, max_workers=7), sources)
    assert output.counts.reused == 2


def test_cleaning_starts_afresh(tmp_path):
    sources = write_sources(tmp_path / "in", {"a": "1"})
    flow = make(tmp_path, debug=True)
    run(flow, sources)
    (flow.settings.paths.encoded / "stranger.data").write_text("x")
    output, _, _ = run(flow, sources, clean_ouput_dir=True)
    assert output.counts.reused == 0
    assert len(list(flow.settings.paths.encoded.iterdir())) == 1


@pytest.mark.parametrize("sources", ["an empty folder", "no folder"])
def test_cleaning_deletes_nothing_while_there_is_nothing_to_do(tmp_path, sources):
    full = write_sources(tmp_path / "in", {"a": "1"})
    flow = make(tmp_path, debug=True)
    run(flow, full)
    root = flow.settings.paths.root
    before = content_of(root)
    if sources == "an empty folder":
        (tmp_path / sources).mkdir()
    for _ in range(2):
        with pytest.raises((EmptySourceError, SourceNotFoundError)):
            run(flow, str(tmp_path / sources), clean_output_dir=True)
        assert content_of(root) == before
        assert hidden(root) == []
        if sources == "an empty folder":  # the other is found before the run begins
            assert "EmptySourceError" in (root / "flow_log.log").read_text()
    output, _, _ = run(flow, full)
    assert output.counts.reused == 1


def test_cleaning_refuses_to_delete_its_own_sources(tmp_path):
    flow = make(tmp_path, debug=True)
    root = flow.settings.paths.root
    root.mkdir(parents=True)
    inside = write_sources(root / "in", {"a": "1"})
    for source in (inside, os.path.relpath(inside), tmp_path / "out" / ".." / inside):
        with pytest.raises(OutputFolderError, match=r"would delete the source .*move it"):
            run(flow, source, clean_output_dir=True)
    assert (inside / "a.txt").read_text() == "1"
    output, _, _ = run(flow, inside)
    assert output.counts.succeeded == 1
    beside = write_sources(tmp_path / "out" / "flows" / "numbers2", {"a": "1"})  # a name that begins alike
    output, _, _ = run(flow, beside, clean_output_dir=True)
    assert output.counts.succeeded == 1


def test_what_a_killed_clean_run_put_away_comes_back(tmp_path):
    sources = write_sources(tmp_path / "in", {"a": "1"})
    flow = make(tmp_path, debug=True)
    run(flow, sources)
    folder.set_aside(flow.settings.paths)
    (flow.settings.paths.encoded / "half.data").write_text("x")
    output, _, _ = run(flow, sources)
    assert output.counts.reused == 1
    assert len(list(flow.settings.paths.encoded.iterdir())) == 1


def content_of(root):
    """All files of a flow's folder but what a run says of itself and the lock."""
    told = {"flow_log.log", "error_summary.json", "lock.guard"}
    return {
        path.relative_to(root): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.name not in told
    }


def test_leftovers_of_a_killed_run_are_swept(tmp_path):
    sources = write_sources(tmp_path / "in", {"a": "1"})
    flow = make(tmp_path, debug=True)
    run(flow, sources)
    paths = flow.settings.paths
    (paths.state / "work").mkdir()
    (paths.state / "work" / "x.0.data").write_text("x")
    (paths.encoded / ".tmp-x.data").write_text("x")
    (paths.root / ".tmp-numbers.dataset").mkdir()
    run(flow, sources)
    assert hidden(paths.root) == []


def test_a_parallel_custom_task_is_called_once_an_item(tmp_path, engine_arguments):
    @flowtask.custom(inputs=["encoded", "offset"])
    def size(encoded, offset):
        return os.path.getsize(encoded) + offset

    flow = make(tmp_path, (gather, encode, size), **engine_arguments)
    sources = write_sources(tmp_path / "in", {"a": "1", "b": "2"})
    output, _, _ = flow.process(inputs={"sources": str(sources), "offset": 10**6}, progress=False)
    assert all(value > 10**6 for value in output.task_instances[2].results)
    assert len(output.task_instances[2].results) == 2


def test_items_that_are_no_paths_flow_too(tmp_path, engine_arguments):
    @flowtask.transform(inputs=["part"], outputs=["double"])
    def double(part):
        return {"n": part["n"] * 2}

    flow = make(tmp_path, (double,), **engine_arguments)
    output, _, _ = flow.process(inputs={"parts": [{"n": 1}, {"n": 2}, {"n": 1}]}, progress=False)
    assert output.task_instances[0].results == [{"n": 2}, {"n": 4}]
    assert output.counts.submitted == 2
    assert output.counts.reused == 0
    assert "given more than once" in flow.settings.paths.log.read_text()
    output, _, _ = flow.process(inputs={"parts": [{"n": 1}, {"n": 3}]}, progress=False)
    assert output.task_instances[0].results == [{"n": 2}, {"n": 6}]
    assert output.counts.reused == 1


def test_another_value_of_a_further_input_does_the_items_again(tmp_path):
    @flowtask.transform(inputs=["part", "factor"])
    def scaled(part, factor):
        return part * factor["by"]

    flow = make(tmp_path, (scaled,), debug=True)

    def results(factor):
        output, _, _ = flow.process(inputs={"part": [1, 2], "factor": {"by": factor}}, progress=False)
        return output.task_instances[0].results, output.counts.reused

    assert results(2) == ([2, 4], 0)
    assert results(2) == ([2, 4], 2)
    assert results(3) == ([3, 6], 0)
    assert "input factor changed" in flow.settings.paths.log.read_text()


def test_several_outputs_are_split_by_name_or_place(tmp_path):
    @flowtask.transform(inputs=["part"], outputs=["half", "rest"])
    def cut(part):
        return (part // 2, part - part // 2) if part % 2 else {"rest": 0, "half": part}

    @flowtask.custom(inputs=["rest", "half"], parallel_execution=False)
    def join(rest, half):
        return [rest, half]

    output, _, _ = make(tmp_path, (cut, join), debug=True).process(inputs={"parts": [5, 4]}, progress=False)
    assert output.task_instances[1].results == [[3, 0], [2, 4]]


def test_bad_input_is_refused_before_the_start(tmp_path):
    flow = make(tmp_path, debug=True)
    with pytest.raises(SourceNotFoundError, match="nowhere"):
        flow.process(inputs={"sources": [str(tmp_path / "nowhere")]}, progress=False)
    with pytest.raises(EmptySourceError, match="is empty"):
        flow.process(inputs={"sources": []}, progress=False)
    assert not (tmp_path / "out").exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(EmptySourceError, match="no items came from sources"):
        run(flow, tmp_path / "empty")


def test_a_dataset_that_may_not_be_replaced_is_kept_and_the_message_names_only_what_is_there(tmp_path, monkeypatch):
    sources = write_sources(tmp_path / "in", {"a": "1 2"})
    run(make(tmp_path), sources)
    write_sources(sources, {"b": "3"})

    def refuse(first, second):
        raise PermissionError(errno.EACCES, "Permission denied", str(second))

    monkeypatch.setattr(publish, "_exchange", refuse)
    flow = make(tmp_path)
    dataset = flow.settings.paths.root / f"{flow.name}.dataset"
    before = tree_bytes(dataset)
    with pytest.raises(DatasetError, match=r"cannot be replaced .* Permit writing .* run again") as caught:
        run(flow, sources)
    assert tree_bytes(dataset) == before
    named = re.findall(rf"{re.escape(str(tmp_path))}[^' )]*", str(caught.value))
    assert named
    assert all(os.path.exists(path.rstrip(".;,")) for path in named)
    monkeypatch.undo()
    assert run(make(tmp_path), sources)[0].counts.samples == 2


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputFolderError, match="out"):
        run(make(tmp_path, debug=True), write_sources(tmp_path / "in", {"a": "1"}))


def test_flow_files_that_are_none(tmp_path):
    with pytest.raises(FlowFileError, match="does not exist"):
        read_flow_file(tmp_path / "x.flow")
    (tmp_path / "x.flow").write_text("{")
    with pytest.raises(FlowFileError, match="damaged, it is not JSON"):
        read_flow_file(tmp_path / "x.flow")
    (tmp_path / "x.flow").write_text("[]")
    with pytest.raises(FlowFileError, match="flow_name"):
        read_flow_file(tmp_path / "x.flow")


def test_debug_runs_in_this_process_where_a_debugger_works(tmp_path):
    pids = []

    @flowtask.transform(inputs=["part"])
    def where(part):
        pids.append(os.getpid())
        if part == 1:
            raise ValueError("recorded")
        if part == 2:
            raise KeyboardInterrupt
        return part

    flow = make(tmp_path, (where,), debug=True)
    output, _, _ = flow.process(inputs={"parts": [0, 1]}, progress=False)
    assert set(pids) == {os.getpid()}
    assert output.counts.failed == 1
    with pytest.raises(KeyboardInterrupt):
        flow.process(inputs={"parts": [2]}, progress=False)
    assert hidden(flow.settings.paths.root) == []
