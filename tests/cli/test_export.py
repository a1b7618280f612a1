"""``dflow export``: formats, ids and columns."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dflow.cli.export import parse_ids
from tests.cli.programs import invoke


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
