"""A: building and running flows."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

import dflow
from dflow.dataset import DatasetExplorer
from dflow.errors import WiringError
from dflow.flowmanager import (
    Flow,
    FlowOutput,
    flowtask,
    list_registered_tasks,
    print_task_registry,
    validate_function_signature,
    validate_tasks,
)


@flowtask.transform(name="double", inputs=["number"], outputs=["doubled"])
def double(number, cad_loader, storage):
    storage.save_metadata("number", number)
    return 2 * number


def run(folder, given=(1, 2, 3), functions=(double,), **arguments):
    settings = {"debug": True, "export_visualization": False, **arguments}
    flow = dflow.create_flow("small", list(functions), folder, **settings)
    return flow.process(inputs={"number": list(given)}, progress=False)


def test_a01_create_flow_returns_a_flow(finished):
    assert isinstance(finished.flow, Flow)
    assert finished.flow.name == "parity"


def test_a02_process_returns_output_summary_and_flow_file(finished):
    assert isinstance(finished.output, FlowOutput)
    assert isinstance(finished.summary, dict)
    assert Path(finished.flow_file).name == "parity.flow"
    assert finished.output.counts.succeeded == 12


@pytest.mark.parametrize("spelling", ["clean_ouput_dir", "clean_output_dir"])
def test_a03_a_flow_is_wiped_only_when_asked(tmp_path, spelling):
    _, _, flow_file = run(tmp_path)
    mark = Path(flow_file).parent / "encoded" / "mark.txt"
    mark.write_text("x")
    run(tmp_path)
    assert mark.exists()
    flow = dflow.create_flow("small", [double], tmp_path, debug=True, export_visualization=False)
    flow.process(inputs={"number": [1]}, progress=False, **{spelling: True})
    assert not mark.exists()


def test_a04_encoded_stores_are_reused_and_counted(tmp_path):
    first, _, _ = run(tmp_path)
    second, _, _ = run(tmp_path, given=(1, 2, 3, 4))
    assert (first.counts.reused, second.counts.reused, second.counts.succeeded) == (0, 3, 4)


def test_a05_the_summary_has_the_documented_keys(finished):
    summary = finished.summary
    assert summary["file_count"] == 12
    assert Path(summary["flow_data"]).is_dir()
    assert Path(summary["flow_info"]).is_file()
    assert summary["Duration [seconds]"]["total"] > 0


def test_a06_the_summary_has_the_further_keys(finished):
    assert Path(finished.summary["flow_attributes"]).is_file()
    assert finished.summary["error_distribution"] == {}
    assert finished.summary["Flow Specifications"]["sequential_mode"] is True
    assert finished.summary["Flow Specifications"]["storage_type"] == "optimized"


def test_a07_durations_go_by_task_class_and_by_task(finished):
    seconds = finished.summary["Duration [seconds]"]
    assert {"total", "GatherCADFiles", "EncodingTask", "AutoDatasetExportTask", "gather", "encode"} <= set(seconds)
    assert 0 < seconds["EncodingTask"] <= seconds["total"]


def test_a08_the_flow_file_is_all_the_explorer_needs_even_when_moved(finished, tmp_path):
    moved = shutil.copytree(finished.root, tmp_path / "moved")
    assert not os.path.isabs(json.loads((moved / "parity.flow").read_text())["flow_data"])
    with DatasetExplorer(flow_output_file=moved / "parity.flow") as explorer:
        assert len(explorer) == 12
        assert explorer.location.dataset.is_relative_to(moved)


def test_a09_the_output_tells_of_its_tasks(finished, tmp_path):
    output = finished.output
    assert [task.name for task in output.task_instances][:2] == ["gather", "encode"]
    assert len(output.task_instances[0].results) == 12
    assert output.task_instances[1].errors == []
    assert output.flow_name == "parity"
    assert output.time_to_process > 0
    assert output.flow_spec["ml_task"] == "face classes"
    assert "12 succeeded" in output.summary()
    output.generate_flow_summary(tmp_path / "summary.json")
    assert json.loads((tmp_path / "summary.json").read_text())["file_count"] == 12


def test_a10_flows_are_chained_through_results(tmp_path):
    first, _, _ = run(tmp_path / "one")
    second, _, _ = run(tmp_path / "two", given=first.task_instances[0].results)
    assert second.task_instances[0].results == [4, 8, 12]


def test_a11_tasks_are_joined_by_keys_and_a_missing_input_stops_before_running(tmp_path):
    ran = []

    @flowtask.extract(inputs=["folders"], outputs=["names"])
    def list_names(folder):
        ran.append(folder)
        return [f"{folder}/a", f"{folder}/b"]

    @flowtask.transform(inputs=["names", "storage"], outputs=["lengths"])
    def measure(name, storage):
        storage.save_metadata("length", len(name))
        return len(name)

    @flowtask.transform(inputs=["lengths"], outputs=["squares"])
    def square(length):
        return length**2

    @flowtask.transform(inputs=["squares", "nowhere"])
    def wants_more(square, nowhere):
        return square

    flow = dflow.create_flow("chain", [list_names, measure, square, wants_more], tmp_path, debug=True)
    with pytest.raises(WiringError, match="nowhere"):
        flow.process(inputs={"folders": ["x"]}, progress=False)
    assert ran == []
    flow = dflow.create_flow("chain", [list_names, measure, square], tmp_path, debug=True, export_visualization=False)
    output, _, _ = flow.process(inputs={"folders": ["x", "yy"]}, progress=False)
    assert [task.results for task in output.task_instances[:3]] == [
        ["x/a", "x/b", "yy/a", "yy/b"],
        [3, 3, 4, 4],
        [9, 9, 16, 16],
    ]


def test_a12_a_dataset_is_exported_by_default(finished):
    assert finished.output.task_instances[-1].task_class == "AutoDatasetExportTask"
    assert (finished.root / "parity.dataset").is_dir()


def test_a13_without_export_only_encoded_stores_are_left(tmp_path):
    _, summary, flow_file = run(tmp_path, auto_dataset_export=False)
    assert summary["flow_data"] is None
    assert len(list(Path(flow_file).parent.glob("encoded/*.data"))) == 3
    assert list(Path(flow_file).parent.glob("*.dataset")) == []


def test_a14_debug_runs_in_this_process_one_after_the_other(tmp_path):
    seen = []

    @flowtask.transform(inputs=["number"])
    def note(number):
        seen.append((os.getpid(), number))
        return number

    run(tmp_path, functions=[note])
    assert seen == [(os.getpid(), 1), (os.getpid(), 2), (os.getpid(), 3)]


def test_a15_max_workers_may_be_left_to_dflow(tmp_path):
    flow = dflow.create_flow("automatic", [double], tmp_path, max_workers=None)
    assert flow.specifications["max_workers"] is None
    output, _, _ = run(tmp_path, max_workers=None)
    assert output.counts.succeeded == 3


def test_a16_previews_are_made_by_default(finished):
    cache = finished.root / "stream_cache"
    assert len(list(cache.rglob("*.png"))) == len(list(cache.rglob("*.glb"))) == 12


def test_a17_stores_are_optimized_json_or_memory(tmp_path):
    run(tmp_path / "json", storage_type="json")
    with pytest.warns(UserWarning, match="switched off"):
        output, summary, _ = run(tmp_path / "memory", storage_type="memory")
    assert output.counts.succeeded == 3
    assert summary["flow_data"] is None
    assert list((tmp_path / "json").rglob("encoded/*"))


def test_a18_parallel_task_kwargs_are_taken_and_the_time_limit_counts(tmp_path):
    options = {
        "time_limit_overall": 7,
        "time_limit_small": 1,
        "file_size_bucketing": True,
        "skip_heavy_files": True,
        "ram_check_interval_s": 1.0,
        "log_dir": str(tmp_path),
    }
    output, _, _ = run(tmp_path, parallel_task_kwargs=options)
    assert output.flow_spec["timeout_seconds"] == 7.0
    assert output.counts.succeeded == 3


def test_a20_the_registry_lists_and_checks_tasks(capsys):
    assert list_registered_tasks()["double"]["kind"] == "transform"
    print_task_registry([double])
    assert "double" in capsys.readouterr().out
    assert validate_function_signature(double) == []
    assert any("both named 'double'" in problem for problem in validate_tasks([double, double]))


def test_a21_a_flow_describes_itself(finished, caplog, capsys):
    with caplog.at_level("INFO", logger="dflow.flow"):
        finished.flow.log_flow_summary()
    assert "parity" in caplog.text
    finished.flow.print_flow_task_registry()
    assert "encode" in capsys.readouterr().out


def test_a22_ml_task_is_kept_in_the_flow_file(finished):
    assert json.loads(Path(finished.flow_file).read_text())["Flow Specifications"]["ml_task"] == "face classes"
