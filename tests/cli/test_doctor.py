"""``dflow doctor``: findings on lines or as JSON, and exit codes."""

from __future__ import annotations

import json

import pytest

from dflow.flowmanager.cluster.findings import Finding, Report
from tests.cli.programs import invoke


def test_a_sound_machine_is_exit_code_zero(tmp_path):
    result = invoke("doctor", "--no-kernel", "--out", tmp_path, "--sources", tmp_path)
    assert result.exit_code == 0, result.output
    assert f"ok      output       {tmp_path} is written by this host" in result.output


def test_a_missing_source_is_a_problem_with_host_and_path(tmp_path):
    result = invoke("doctor", "--no-kernel", "--sources", tmp_path / "gone", "--json")
    assert result.exit_code == 1
    answer = json.loads(result.output)
    assert answer["sound"] is False
    first = answer["findings"][0]
    assert (first["check"], first["path"]) == ("sources", str(tmp_path / "gone"))
    assert first["host"]
    assert first["advice"]


def test_a_source_is_a_path_however_it_looks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = invoke("doctor", "--no-kernel", "--sources", "gone")
    assert result.exit_code == 1
    assert str(tmp_path / "gone") in result.output


def test_nothing_hostile_reaches_the_terminal(monkeypatch):
    hostile = Finding("warning", "disk", "is\nfull \x1b[2J", "node\x07", "/data/\x1b]0;x", "make room")
    monkeypatch.setattr("dflow.flowmanager.cluster.doctor.examine", lambda *_, **__: Report((hostile,)))
    for options in ([], ["--json"]):
        result = invoke("doctor", *options)
        assert result.exit_code == 0
        assert not set(result.output) & {"\x1b", "\x07"}


def test_no_scheduler_is_one_line(monkeypatch):
    monkeypatch.setattr("dflow.flowmanager.cluster.clusters.CONNECT_SECONDS", 1.0)
    result = invoke("doctor", "--cluster", "tcp://127.0.0.1:1")
    assert result.exit_code == 1
    assert result.stderr.startswith("dflow: No Dask scheduler answers at tcp://127.0.0.1:1")
    assert len(result.stderr.splitlines()) == 1


def test_a_cluster_is_looked_at_and_closed(tmp_path):
    result = invoke("doctor", "--cluster", "local", "--workers", "1", "--out", tmp_path, "--no-kernel")
    assert result.exit_code == 0, result.output
    assert "is written by the client and 1 workers" in result.output
    assert "client and 1 workers run the same versions" in result.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_kernel_loads_on_every_host(tmp_path):
    result = invoke("doctor", "--cluster", "local", "--workers", "1", "--out", tmp_path, "--json")
    assert result.exit_code == 0, result.output
    checks = {finding["check"]: finding for finding in json.loads(result.output)["findings"]}
    assert checks["CAD kernel"]["level"] == "ok"
    assert checks["CAD kernel"]["host"]
