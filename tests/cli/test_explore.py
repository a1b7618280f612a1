"""``dflow explore``: the page is served until it is interrupted."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import urllib.request

import pytest

from tests.cli.programs import invoke


def test_explore_serves_the_page_until_it_is_interrupted(made):
    pytest.importorskip("bokeh")
    program = "from dflow.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "explore", str(made.root), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("dflow explore: http://127.0.0.1:"), process.communicate()
        with urllib.request.urlopen(line.split()[2], timeout=30) as answer:
            assert b"numbers" in answer.read()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    finally:
        process.kill()
        process.communicate()


def test_explore_needs_a_flow_file(paths, tmp_path):
    alone = tmp_path / "alone" / "x.dataset"
    shutil.copytree(paths.dataset, alone)
    result = invoke("explore", alone)
    assert result.exit_code == 2
    assert "no .flow file" in result.output
