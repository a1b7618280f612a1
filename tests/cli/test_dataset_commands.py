"""``dflow info``, ``validate``, ``export`` and ``explore``: what they find, print and exit with."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import urllib.request

import numpy as np
import pytest

from dflow.cli.export import parse_ids
from dflow.storage.paths import FlowPaths
from tests.cli.programs import HOSTILE, invoke
from tests.dataset.samples import grid, merge, write_sample

SUMMARY = {
    "flow_name": "numbers \x1b[2J",
    "flow_data": "numbers.dataset",
    "flow_info": "numbers.infoset",
    "flow_attributes": "numbers.attribset",
    "Duration [seconds]": {"total": 1.5},
    "file_count": 2,
    "submitted": 3,
    "skipped": 0,
    "failed": 1,
    "samples": 2,
    "error_distribution": {"ValueError": 1},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> FlowPaths:
    paths = FlowPaths.of(tmp_path_factory.mktemp("made"), "numbers")
    records = [
        write_sample(paths, HOSTILE, {"faces/grid": grid(3, 1)}, {"mass": 2.5, "word": "bolt\x1b[31m"}),
        write_sample(paths, "b.step", {"faces/grid": grid(2, 2)}, {"mass": 1.5, "word": "nut"}),
    ]
    merge(paths, records)
    paths.flow_file.write_text(json.dumps(SUMMARY))
    run = {
        "finished": "2026-01-02T03:04:05+00:00",
        "tasks": [{"task": "encode", "items": 3, "reused": 1, "seconds": 1}],
    }
    paths.run_file.write_text(json.dumps(run))
    return paths


@pytest.fixture
def paths(made, tmp_path) -> FlowPaths:
    shutil.copytree(made.root, tmp_path / "flows" / "numbers")
    return FlowPaths.of(tmp_path, "numbers")


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


@pytest.mark.parametrize("way", ["flow_file", "root", "dataset", "above", "out"])
def test_every_way_to_name_a_flow(made, way):
    target = {"above": made.root.parent, "out": made.root.parent.parent}.get(way) or getattr(made, way)
    assert "GROUP faces" in invoke("info", target).output


def test_a_dataset_alone_is_enough(paths, tmp_path):
    alone = tmp_path / "alone" / "x.dataset"
    shutil.copytree(paths.dataset, alone)
    result = invoke("info", alone)
    assert result.exit_code == 0
    assert "(no .infoset)" in result.output
    assert invoke("validate", alone.parent).exit_code == 0


def test_what_is_no_flow_is_wrong_usage(paths, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "holds no flow and no dataset" in invoke("info", tmp_path / "empty").output
    second = paths.root.parent / "second"
    second.mkdir()
    (second / "second.flow").write_text("{}")
    result = invoke("info", tmp_path)
    assert result.exit_code == 2
    assert "holds 2 flows" in result.output
    assert "flows/second/second.flow" in result.output
    assert "is neither a .flow file nor" in invoke("info", paths.infoset).output
    damaged = invoke("info", second)
    assert damaged.exit_code == 1
    assert "not a .flow file" in damaged.stderr


def test_a_flow_without_export_has_its_counts_only(paths):
    shutil.rmtree(paths.dataset)
    paths.flow_file.write_text(json.dumps({**SUMMARY, "flow_data": None, "flow_info": None, "flow_attributes": None}))
    result = invoke("info", paths.root)
    assert result.exit_code == 0
    assert "3 submitted" in result.output
    assert json.loads(invoke("info", paths.root, "--json").output)["dataset"] is None
    assert invoke("validate", paths.root).exit_code == 1


@pytest.mark.parametrize("command", [("validate",), ("export", "--to", "npz", "--out", "never")])
def test_a_flow_that_stopped_early_has_nothing_to_validate_or_export(tmp_path, command):
    root = tmp_path / "flows" / "numbers"
    root.mkdir(parents=True)
    (root / "error_summary.json").write_text("[]")
    result = invoke(command[0], root, *command[1:])
    assert result.exit_code == 2
    assert f"{root} holds no dataset yet; run the flow to its end." in result.output


def test_a_sound_dataset_is_valid_and_a_flipped_byte_is_found(paths):
    result = invoke("validate", paths.root)
    assert (result.exit_code, result.output) == (0, f"{paths.dataset}: sound\n")
    shard = max(paths.dataset.rglob("c.0*"), key=lambda path: path.stat().st_size)
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    result = invoke("validate", paths.flow_file)
    assert result.exit_code == 1
    assert str(shard.relative_to(paths.dataset)) in result.output
    answer = json.loads(invoke("validate", paths.dataset, "--json").output)
    assert answer["sound"] is False
    assert len(answer["problems"]) == 1


def test_an_export_says_what_it_wrote_and_does_not_overwrite(made, tmp_path):
    out = tmp_path / "arrays"
    arguments = ("export", made.flow_file, "--to", "npz", "--out", out, "--columns", "faces,file/mass", "--ids", "1")
    answer = json.loads(invoke(*arguments, "--json").output)
    assert (answer["path"], answer["n_samples"]) == (str(out), 1)
    with np.load(out / "1.npz", allow_pickle=False) as archive:
        assert sorted(archive.files) == ["faces/grid", "file/mass", "id"]
    again = invoke(*arguments)
    assert again.exit_code == 1
    assert "exists" in again.stderr
    assert invoke(*arguments, "--overwrite").output.startswith(f"{out}: 1 samples, ")
    assert invoke("export", made.flow_file, "--to", "csv", "--out", out).exit_code == 2
    unknown = invoke("export", made.flow_file, "--to", "npz", "--out", tmp_path / "b", "--columns", "x\x1b[2J")
    assert unknown.exit_code == 1
    assert "\x1b" not in unknown.stderr


def test_ids_are_numbers_ranges_and_files(tmp_path):
    assert [list(r) for r in parse_ids("5,0 2-4,3")] == [[5], [0], [2, 3, 4], [3]]
    (tmp_path / "ids").write_text("7\n9-10\n")
    assert [list(r) for r in parse_ids(f"@{tmp_path / 'ids'}")] == [[7], [9, 10]]
    for wrong in ("a", "1-", "-3", "1-b", "9-3", f"@{tmp_path / 'gone'}"):
        with pytest.raises(Exception, match=r"range|No such file"):
            parse_ids(wrong)
    (tmp_path / "none").write_text("\n")
    for nothing in ("", " ,", f"@{tmp_path / 'none'}"):
        with pytest.raises(Exception, match="no id is given"):
            parse_ids(nothing)


def test_a_range_far_past_the_end_is_refused_without_counting_it_out(made, tmp_path):
    result = invoke("export", made.flow_file, "--to", "npz", "--out", tmp_path / "a", "--ids", "0-999999999999999")
    assert result.exit_code == 1
    assert "no file id 999999999999999; the dataset has ids 0 to 1" in result.stderr


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
