"""C: running in parallel, surviving, and telling of it."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys

import pytest
from rich.console import Console

import dflow
from dflow.dataset import DatasetExplorer
from dflow.flowmanager import flowtask
from dflow.flowmanager.plan.batching import Batcher, Sized
from dflow.flowmanager.reports.console import print_report


def test_c01_files_are_worked_on_by_several_processes(faulty):
    with DatasetExplorer(flow_output_file=faulty.flow_file) as explorer:
        processes = set(explorer.get_file_info_all()["process"])
    assert len(processes) >= 2
    assert os.getpid() not in processes


def test_c02_a_failing_file_costs_only_itself(faulty):
    counts = faulty.output.counts
    assert (counts.submitted, counts.succeeded, counts.skipped, counts.failed) == (17, 12, 1, 4)
    assert len(faulty.output.task_instances[0].results) == 12


def test_c03_a_sequential_tasks_error_ends_the_flow(tmp_path):
    @flowtask.custom(inputs=["numbers"], parallel_execution=False)
    def refuse(numbers):
        raise KeyError("refused")

    flow = dflow.create_flow("refusing", [refuse], tmp_path, debug=True)
    with pytest.raises(KeyError, match="refused") as caught:
        flow.process(inputs={"numbers": [1]}, progress=False)
    assert caught.traceback[-1].name == "refuse"


def test_c04_a_file_that_takes_too_long_is_stopped(faulty):
    error = faulty.errors["hang"]
    assert error["kind"] == "timeout"
    assert 5 < error["seconds"] < 60


def test_c05_a_file_that_takes_too_much_memory_is_stopped(faulty):
    assert faulty.errors["hog"]["kind"] == "out_of_memory"


def test_c06_heavy_files_are_tried_again_and_named(faulty):
    assert [path.rpartition("/")[2] for path in faulty.output.too_slow] == ["hang"]
    assert [path.rpartition("/")[2] for path in faulty.output.too_big] == ["hog"]
    assert faulty.errors["hog"]["attempts"] == 2


def test_c07_large_files_go_first_and_batches_go_by_size():
    batcher = Batcher([Sized(0, 10), Sized(1, 50_000_000), Sized(2, 1_000), *(Sized(i, 5) for i in range(3, 40))], 2)
    batches = []
    while len(batcher):
        batches.append(list(batcher.take()))
    assert batches[0][0] == 1
    assert sorted(index for batch in batches for index in batch) == list(range(40))


def test_c08_what_may_be_the_machines_fault_is_tried_again(faulty, tmp_path):
    assert faulty.errors["crash"]["attempts"] == 2
    assert faulty.errors["raise"]["attempts"] == 1
    flow = dflow.create_flow("once", [_identity], tmp_path, max_retries=0)
    assert flow.specifications["max_retries"] == 0


@flowtask.transform(inputs=["item"])
def _identity(item):
    return item


def test_c09_a_native_crash_is_blamed_on_its_file_alone(faulty):
    error = faulty.errors["crash"]
    assert (error["kind"], error["signal"]) == ("crash", 11)
    assert sorted(faulty.errors) == ["crash", "hang", "hog", "raise"]


def test_c10_progress_is_told_by_phase_with_errors(faulty, finished):
    last = [event for event in faulty.events if event.task == "check"][-1]
    assert (last.phase, last.done, last.failed, last.total) == ("finished", 17, 4, 17)
    assert sum(len(event.errors) for event in faulty.events) == 4
    assert [event.task for event in finished.events if event.phase == "started"] == ["gather", "encode", "merge"]


def test_c11_a_flow_keeps_a_log(finished):
    text = (finished.root / "flow_log.log").read_text()
    assert re.search(r"INFO", text)
    assert "encode" in text


def test_c12_error_summary_lists_each_failure_with_its_reason(faulty):
    error = faulty.errors["raise"]
    assert error["error"] == error["message"]
    assert "a wrong turn" in error["message"]
    assert error["item"] == error["file"]
    assert isinstance(error["item_index"], int)
    assert error["worker_pid"] > 0
    assert "ValueError" in error["traceback"]
    assert any("starts raise" in line for line in error["logs"])


def test_c13_reasons_are_grouped_on_the_console_with_their_share(faulty):
    text = io.StringIO()
    print_report(faulty.output, Console(file=text, width=160))
    assert "4 failed (23.53%)" in text.getvalue()
    assert "a wrong turn" in text.getvalue()


def test_c14_tasks_of_the_main_module_reach_the_workers(tmp_path):
    """No module of their own, no guard by ``__name__``: the program is fed to the interpreter like notebook cells."""
    program = """
import dflow
from dflow.flowmanager import flowtask

FACTOR = 3

@flowtask.transform(inputs=["number"])
def triple(number):
    return FACTOR * number

flow = dflow.create_flow("cells", [triple], "out", max_workers=1, export_visualization=False)
print(flow.process(inputs={"number": [1, 2]}, progress=False)[0].task_instances[0].results)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.strip() == "[3, 6]", done.stderr[-2000:]


def test_c17_the_licence_calls_are_answered():
    assert dflow.set_license("any key", validate=True, silent=True) is True
    assert dflow.use_test_license() is True
    assert dflow.get_license_info()["valid"] is True
