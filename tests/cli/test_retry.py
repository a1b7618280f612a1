"""``dflow retry``: failures of the last run, by kind."""

from __future__ import annotations

import json

from tests.cli.programs import invoke, parts_of, shell


def test_retry_takes_up_a_kind_and_leaves_the_others(pipeline):
    bad = parts_of(pipeline) / "bad.txt"
    bad.write_text("word")
    assert invoke("run", f"{pipeline}:flow", "--sources", parts_of(pipeline), "--quiet").exit_code == 3
    result = invoke("retry", f"{pipeline}:flow", "--kinds", "timeout,crash")
    assert result.exit_code == 0
    assert "the last run has no failure of timeout, crash (it has: 1 exception)" in result.output
    result = invoke("retry", f"{pipeline}:flow", "--kinds", "timeou")
    assert result.exit_code == 2
    assert "is 'timeout' meant?" in result.stderr
    assert invoke("retry", f"{pipeline}:flow", "--kinds", "exception", "--quiet").exit_code == 3
    bad.write_text("7")
    result = invoke("retry", f"{pipeline}:flow", "--kinds", "exception", "--quiet", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["file_count"] == 4
    result = invoke("retry", f"{pipeline}:flow")
    assert "no failure of any kind" in result.output


def test_retry_before_any_run_says_so(pipeline):
    result = invoke("retry", f"{pipeline}:make")
    assert result.exit_code == 1
    assert "this flow has not run here yet" in result.stderr


def test_on_workers_of_its_own_a_slow_file_times_out_and_retry_gives_it_more(pipeline):
    """In a process of its own, on a local cluster, with the file's neighbour imported by the workers."""
    slow = parts_of(pipeline) / "slow.txt"
    slow.write_text("slow")
    options = ("--no-debug", "--workers", "1", "--max-retries", "0")
    done = shell(
        "run", "pipeline.py:flow", "--sources", "parts", *options, "--timeout-seconds", "5", cwd=pipeline.parent
    )
    assert done.returncode == 3, done.stderr
    assert "3 succeeded, 0 skipped, 1 failed" in done.stderr
    told = shell("errors", "out", "--files", "--kind", "timeout", cwd=pipeline.parent)
    assert told.stdout.split() == [str(slow)]
    slow.write_text("8 9")
    done = shell(
        "retry",
        "pipeline.py:flow",
        "--kinds",
        "timeout",
        "--timeout-seconds",
        "60",
        *options,
        "--json",
        cwd=pipeline.parent,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["file_count"] == 4
