"""``dflow run`` on a user's file."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import zarr

from tests.cli.programs import HOSTILE, invoke, parts_of
from tests.flowmanager.flowparts import hidden


def test_a_run_makes_the_dataset_and_prints_the_flow_file(pipeline):
    result = invoke("run", f"{pipeline}:flow", "--sources", parts_of(pipeline))
    assert result.exit_code == 0, result.output
    flow_file = pipeline.parent / "out" / "flows" / "parts" / "parts.flow"
    assert result.stdout == f"{flow_file}\n"
    assert "3 succeeded" in result.stderr
    values = zarr.open_group(str(flow_file.with_suffix(".dataset")), mode="r")["rows/values"][:]
    np.testing.assert_array_equal(values, [2, 4, 6, 8, 10, 12])


def test_a_second_run_needs_no_sources_and_reuses(pipeline):
    arguments = ("run", f"{pipeline}:flow", "--quiet", "--json")
    invoke(*arguments, "--sources", parts_of(pipeline))
    result = invoke(*arguments)
    summary = json.loads(result.stdout)
    assert (summary["submitted"], summary["failed"]) == (3, 0)
    assert summary["flow_file"].endswith("parts.flow")
    assert result.stderr == ""
    assert "3 reused" in invoke("run", f"{pipeline}:flow").stderr


def test_failed_files_are_exit_code_three_and_nothing_hostile_is_printed(pipeline):
    (parts_of(pipeline) / HOSTILE).write_text("\x1b[31mred")
    result = invoke("run", f"{pipeline}:flow", "--sources", parts_of(pipeline))
    assert result.exit_code == 3
    assert "1 files failed; see: dflow errors" in result.stderr
    assert "\x1b" not in result.output
    assert "3 succeeded, 0 skipped, 1 failed" in result.output
    log = (pipeline.parent / "out" / "flows" / "parts" / "flow_log.log").read_text()
    assert "\x1b" not in log
    assert "evil" in log


def test_a_list_of_tasks_takes_its_name_from_the_file(pipeline, tmp_path):
    out = tmp_path / "else where"
    result = invoke(
        "run", f"{pipeline}:tasks", "--sources", parts_of(pipeline), "--out", out, "--debug", "--no-previews"
    )
    assert result.exit_code == 0, result.output
    assert (out / "flows" / "pipeline" / "pipeline.dataset").is_dir()


def test_inputs_by_name_are_json_or_text(pipeline):
    source = json.dumps([str(parts_of(pipeline))])
    assert invoke("run", f"{pipeline}:flow", "--quiet", "--input", f"sources={source}").exit_code == 0
    assert invoke("run", f"{pipeline}:flow", "--quiet", "--input", f"sources={parts_of(pipeline)}").exit_code == 0
    result = invoke("run", f"{pipeline}:flow", "--input", "sources")
    assert result.exit_code == 2
    assert "NAME=VALUE" in result.output


def test_nothing_to_work_on_is_wrong_usage(pipeline):
    result = invoke("run", f"{pipeline}:flow")
    assert result.exit_code == 2
    assert "--sources" in result.output
    result = invoke("run", f"{pipeline}:flow", "--sources", "partz")
    assert result.exit_code == 2
    assert "there is no file or folder" in result.output


@pytest.mark.parametrize("limit", ["banana", "0", "-1GB", ""])
def test_a_memory_limit_that_is_no_size_is_wrong_usage(pipeline, limit):
    for command in ("run", "retry"):
        result = invoke(command, f"{pipeline}:flow", "--memory-limit", limit)
        assert result.exit_code == 2
        assert "2GB" in result.stderr


def test_a_module_is_found_in_the_current_folder(pipeline):
    package = pipeline.parent / "chosen_package"
    package.mkdir()
    (package / "__init__.py").touch()
    pipeline.rename(package / "pipeline.py")
    parts_of(pipeline).rename(package / "parts")
    program = [sys.executable, "-P", "-c", "from dflow.cli import main; main()"]  # -P: as for the installed `dflow`
    arguments = ["run", "chosen_package.pipeline:flow", "--sources", "chosen_package/parts"]
    done = subprocess.run([*program, *arguments], cwd=pipeline.parent, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert "3 succeeded" in done.stderr


def test_errors_of_the_flow_are_one_line(pipeline, tmp_path):
    (tmp_path / "empty").mkdir()
    result = invoke("run", f"{pipeline}:flow", "--sources", tmp_path / "empty", "--quiet")
    assert result.exit_code == 1
    assert result.stderr.startswith("dflow: Nothing to do for task 'encode'")
    assert len(result.stderr.splitlines()) == 1


def test_an_error_in_a_users_sequential_task_shows_its_traceback(pipeline):
    result = invoke(
        "run",
        f"{pipeline}:stopping",
        "--sources",
        parts_of(pipeline),
        "--debug",
        "--no-previews",
        "--quiet",
        "--out",
        pipeline.parent / "out",
    )
    assert result.exit_code == 1
    assert "a task of the flow raised" in result.stderr
    assert f'File "{pipeline}"' in result.stderr
    assert r"RuntimeError: stopped \x1b[31mhere" in result.stderr


def test_a_run_whose_first_files_fail_alike_stops_with_the_message_before_the_traceback(pipeline):
    for name in "abc":
        (parts_of(pipeline) / f"{name}.txt").unlink()
    for number in range(25):
        (parts_of(pipeline) / f"{number}.txt").write_text("word")
    arguments = ("run", f"{pipeline}:flow", "--sources", parts_of(pipeline), "--quiet")
    result = invoke(*arguments)
    assert result.exit_code == 1
    first, *rest = result.stderr.splitlines()
    assert first.startswith("dflow: The first 20 files failed alike and none succeeded: ValueError: could not convert")
    assert rest[0].startswith("Traceback")
    assert "pipeline.py" in rest[1]
    again = invoke(*arguments, "--max-failures", "99")
    assert again.exit_code == 3
    assert "No file succeeded: 25 failed" in again.stderr


def test_too_many_failures_are_an_error(pipeline):
    (parts_of(pipeline) / "bad.txt").write_text("word")
    result = invoke("run", f"{pipeline}:flow", "--sources", parts_of(pipeline), "--max-failures", "0", "--quiet")
    assert result.exit_code == 1
    assert "more than max_failures=0" in result.stderr


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_clean_and_goes_on(pipeline, end):
    slow = parts_of(pipeline) / "z.txt"
    slow.write_text("slow")
    command = [sys.executable, "-c", "from dflow.cli import main; main()", "run", str(pipeline), "--quiet"]
    process = subprocess.Popen(
        [*command, "--sources", str(parts_of(pipeline))], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    root = pipeline.parent / "out" / "flows" / "parts"
    deadline = time.monotonic() + 60
    while not (journals := list(root.rglob("journal.jsonl"))) or b".txt" not in journals[0].read_bytes():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(end)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err == "dflow: interrupted; the same command goes on from here\n"
    assert out == ""
    assert hidden(root) == []
    slow.write_text("1")
    result = invoke("run", f"{pipeline}:flow", "--json")
    assert json.loads(result.stdout)["file_count"] == 4
    assert re.search(r"\b[1-3] reused", result.stderr)


def test_a_run_on_fewer_files_says_that_it_replaces_the_larger_dataset(pipeline):
    invoke("run", f"{pipeline}:flow", "--sources", parts_of(pipeline))
    one = pipeline.parent / "one"
    one.mkdir()
    (one / "a.txt").write_text("1")
    kept = invoke("run", f"{pipeline}:flow", "--sources", one, "--debug", "--no-export")
    assert "is replaced" not in kept.stderr
    result = invoke("run", f"{pipeline}:flow", "--sources", one)
    assert "The dataset of 3 samples is replaced by one of 1: this run's sources hold no more" in result.stderr
    assert "auto_dataset_export=False" in result.stderr
    assert "is replaced" not in invoke("run", f"{pipeline}:flow", "--sources", parts_of(pipeline)).stderr
