"""``dflow info``: the run, and what its dataset holds."""

from __future__ import annotations

import json
import shutil

import pytest

import dflow
from dflow.errors import TooManyFailuresError
from dflow.flowmanager import flowtask
from tests.cli.programs import SUMMARY, invoke


def test_info_shows_the_run_and_the_arrays(made):
    result = invoke("info", made.flow_file)
    assert result.exit_code == 0
    assert r"FLOW numbers \x1b[2J, finished 2026-01-02" in result.output
    assert "3 submitted, 2 succeeded, 0 skipped, 1 failed, 2 samples; 1.5 s" in result.output
    assert "GROUP faces: 5 rows (face)" in result.output
    assert "grid" in result.output
    assert "\x1b" not in result.output


def test_info_as_json_has_shapes(made):
    content = json.loads(invoke("info", made.root, "--json").output)
    assert content["flow"]["failed"] == 1
    assert content["run"]["tasks"][0]["task"] == "encode"
    dataset = content["dataset"]
    assert (dataset["n_samples"], dataset["groups"]["faces"]["n_rows"]) == (2, 5)
    array = dataset["groups"]["faces"]["arrays"]["grid"]
    assert (array["dims"][0], array["shape"], array["dtype"]) == ("face", [5, 2, 3], "float32")
    assert "word_label" in dataset["columns"]
    assert dataset["n_bytes"] > 1000


def test_a_flow_without_export_has_its_counts_only(paths):
    shutil.rmtree(paths.dataset)
    paths.flow_file.write_text(json.dumps({**SUMMARY, "flow_data": None, "flow_info": None, "flow_attributes": None}))
    result = invoke("info", paths.root)
    assert result.exit_code == 0
    assert "3 submitted" in result.output
    assert json.loads(invoke("info", paths.root, "--json").output)["dataset"] is None
    assert invoke("validate", paths.root).exit_code == 1


def test_a_damaged_run_file_leaves_the_dataset_readable(paths):
    paths.run_file.write_text("{")
    result = invoke("info", paths.root)
    assert result.exit_code == 0
    assert "FLOW numbers" in result.output
    assert "finished 2026" not in result.output
    assert "GROUP faces" in result.output


def test_failures_are_counted_with_the_command_that_explains_them(made):
    output = invoke("info", made.flow_file).output
    assert [line.split() for line in output.splitlines() if "ValueError" in line] == [["1", "ValueError"]]
    assert "dflow errors" in output


def test_a_flow_that_stopped_early_says_so_with_its_counts_and_what_to_do(tmp_path):
    @flowtask.transform(name="encode", inputs=["part"])
    def encode(part):
        raise KeyError(part)

    flow = dflow.create_flow("parts", [encode], tmp_path, debug=True)
    with pytest.raises(TooManyFailuresError):
        flow.process(inputs={"parts": list(range(50))}, progress=False)
    root = flow.settings.paths.root
    result = invoke("info", root)
    assert result.exit_code == 0
    for part in (
        "FLOW parts stopped before its end, failed 20",
        " failed\n",
        "TooManyFailuresError: The first 20 files",
    ):
        assert part in result.output
    assert f"dflow errors {root}" in result.output
    assert invoke("info", tmp_path).output == result.output
    (root / "run.json").unlink()
    assert invoke("info", root).output.startswith("FLOW parts stopped before its end\nwhat failed")
