"""A run from lock to report: final records, early ends, and what stays in the folder."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import dflow
from dflow.errors import EmptySourceError, FlowBusyError
from dflow.flowmanager import flowtask
from dflow.flowmanager.history.journal import JOURNAL_NAME
from dflow.flowmanager.history.lock import FolderLock
from dflow.flowmanager.plan.tasks import spec_of
from dflow.flowmanager.plan.wiring import plan
from dflow.flowmanager.run.flowrun import StepResult
from dflow.flowmanager.run.session import final_records, pipeline_fingerprint
from dflow.records import ErrorRecord, ItemRecord, SampleLayout, SampleRecord
from tests.flowmanager.flowparts import encode, gather, hidden, label, write_sources


def test_two_flows_in_one_folder_are_refused(tmp_path):
    sources = write_sources(tmp_path / "in", {"a": "1"})
    flow = make(tmp_path)
    with FolderLock(flow.settings.paths.state), pytest.raises(FlowBusyError):
        run(flow, sources)
    run(flow, sources)


def sample(name: str) -> SampleRecord:
    return SampleRecord(name, "a", -1, SampleLayout(), ())


def run_of(*records_by_step: list[ItemRecord]) -> Any:
    """A run whose steps after the extract ended with these records."""
    wired = plan([spec_of(task) for task in (gather, encode, label)][: 1 + len(records_by_step)], ["sources"])
    results = {n + 1: StepResult(wired.steps[n + 1], records=each) for n, each in enumerate(records_by_step)}
    return SimpleNamespace(plan=wired, results=results)


def test_an_item_ends_as_its_last_task_left_it_with_the_samples_of_the_last_store():
    error = ErrorRecord("exception", "m", "label", "b", 1)
    first = [ItemRecord(n, name, "succeeded", (sample(name),)) for n, name in enumerate("abc")]
    second = [ItemRecord(0, "a", "succeeded"), ItemRecord(1, "b", "failed", error=error)]
    final = final_records(run_of(first, second))
    assert [(r.item, r.status, [s.name for s in r.samples]) for r in final] == [
        ("a", "succeeded", ["a"]),
        ("b", "failed", ["b"]),
        ("c", "succeeded", ["c"]),
    ]


def test_new_samples_replace_those_of_the_task_before():
    first = [ItemRecord(0, "a", "succeeded", (sample("old"),))]
    second = [ItemRecord(0, "a", "succeeded", (sample("new"),))]
    assert [s.name for s in final_records(run_of(first, second))[0].samples] == ["new"]


def test_a_run_that_ended_early_has_the_records_that_there_are():
    run = run_of([ItemRecord(0, "a", "succeeded")], [])
    del run.results[2]
    assert [record.item for record in final_records(run)] == ["a"]


def make(folder: Path, *tasks: Any, **arguments: Any) -> Any:
    arguments = {"export_visualization": False, "debug": True, **arguments}
    return dflow.create_flow("numbers", list(tasks or (gather, encode, label)), folder / "out", **arguments)


def run(flow: Any, sources: Path, **arguments: Any) -> Any:
    return flow.process(inputs={"sources": [str(sources)]}, progress=False, **arguments)


def test_only_what_shapes_a_sample_is_part_of_the_fingerprint(tmp_path):
    @flowtask.custom(name="after", parallel_execution=False)
    def after(labelled):
        return len(labelled)

    digest = pipeline_fingerprint(make(tmp_path).settings).digest
    same = make(tmp_path, gather, encode, label, after, ml_task="x", max_retries=3, timeout_seconds=5)
    assert pipeline_fingerprint(same.settings).digest == digest
    for other in (make(tmp_path, sample="body"), make(tmp_path, storage_type="json"), make(tmp_path, gather, encode)):
        assert pipeline_fingerprint(other.settings).digest != digest


def test_no_items_are_an_error_that_names_sources_and_the_first_failure(tmp_path):
    @flowtask.extract(inputs=["sources"])
    def broken(source: str):
        raise RuntimeError("no such table")

    (tmp_path / "in").mkdir()
    with pytest.raises(
        EmptySourceError, match=r"no items came from sources=.*in'\].* 1 calls failed, the first: no such"
    ):
        run(make(tmp_path, broken, encode), tmp_path / "in")


def test_a_run_that_ends_early_keeps_the_flow_file_of_the_last_one_and_its_failures(tmp_path):
    @flowtask.custom(name="stop", inputs=["encoded"], parallel_execution=False)
    def stop(encoded):
        raise LookupError("not today")

    sources = write_sources(tmp_path / "in", {"a": "1", "b": "word"})
    flow = make(tmp_path, gather, encode)
    run(flow, sources)
    before = flow.settings.paths.flow_file.read_bytes()
    with pytest.raises(LookupError):
        run(make(tmp_path, gather, encode, stop), sources)
    paths = flow.settings.paths
    assert paths.flow_file.read_bytes() == before
    facts = json.loads(paths.run_file.read_text())
    assert (facts["status"], facts["error"]) == ("failed", "LookupError: not today")
    assert [entry["kind"] for entry in json.loads(paths.error_summary.read_text())] == ["exception"]
    assert "ERROR FLOW Stopped by LookupError: not today" in paths.log.read_text()
    assert hidden(paths.root) == []


def test_a_torn_journal_is_rewritten_by_the_next_run(tmp_path):
    sources = write_sources(tmp_path / "in", {"a": "1", "b": "2"})
    flow = make(tmp_path)
    run(flow, sources)
    journal = flow.settings.paths.state / JOURNAL_NAME
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-20])
    output, _, _ = run(flow, sources)
    assert output.counts.succeeded == 2
    assert "1 torn records of an earlier run were left out" in flow.settings.paths.log.read_text()
    output, _, _ = run(flow, sources)
    assert output.counts.reused == 2
    assert "torn" not in flow.settings.paths.log.read_text()


def test_without_an_export_samples_are_counted_and_no_dataset_is_written(tmp_path):
    flow = make(tmp_path, auto_dataset_export=False)
    output, summary, _ = run(flow, write_sources(tmp_path / "in", {"a": "1", "b": "2", "c": ""}))
    assert (output.counts.samples, summary["flow_data"]) == (2, None)
    assert [task.name for task in output.task_instances] == ["gather", "encode", "label"]
    assert not flow.settings.paths.dataset.exists()
