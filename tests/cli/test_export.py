"""``dflow export``: formats, ids and columns."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from dflow.cadencoder import BrepEncoder
from dflow.cli.export import parse_ids
from dflow.dataset import DatasetLoader
from dflow.storage.paths import FlowPaths
from tests.cadencoder.polyhedra import box
from tests.cli.programs import SUMMARY, invoke
from tests.dataset.samples import merge, write_sample


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


def test_a_network_gets_the_files_names_labels_and_the_stored_split(tmp_path):
    paths = FlowPaths.of(tmp_path / "made", "numbers")
    labelled = {**BrepEncoder(box(1, 2, 3)).encode(network="uvnet"), "faces/label": np.arange(6, dtype=np.int32)}
    samples = [("a/one.step", -1), ("a/two.step", 0), ("a/two.step", 1)]
    merge(paths, [write_sample(paths, source, labelled, body=body) for source, body in samples])
    paths.flow_file.write_text(json.dumps(SUMMARY))
    names = ["one", "two", "two_1"]
    arguments = ("export", paths.flow_file, "--to", "uvnet", "--labels", "faces/label")
    whole = invoke(*arguments, "--out", tmp_path / "whole")
    assert whole.exit_code == 0, whole.stderr
    assert "All samples are the test set: no split file" in whole.stderr
    assert json.loads((tmp_path / "whole/split.json").read_text())["test"] == names
    assert sorted(path.stem for path in (tmp_path / "whole/graph").iterdir()) == names
    with DatasetLoader(paths.dataset, paths.infoset) as loader:
        loader.split(key="random", train=1 / 3, validation=1 / 3, test=1 / 3)
        wanted = {s: [names[i] for i in loader.get_dataset(s).file_codes] for s in ("train", "validation", "test")}
    assert invoke(*arguments, "--out", tmp_path / "split").exit_code == 0
    assert json.loads((tmp_path / "split/split.json").read_text()) == wanted
    again = invoke(*arguments, "--out", tmp_path / "other", "--columns", "faces")
    assert (again.exit_code, "arrays of its own" in again.stderr) == (2, True)
    wrong = invoke("export", paths.flow_file, "--to", "npz", "--out", tmp_path / "other", "--labels", "faces/label")
    assert (wrong.exit_code, "only uvnet, brepnet, aagnet have them" in wrong.stderr) == (2, True)
    lacking = invoke("export", paths.flow_file, "--to", "brepnet", "--out", tmp_path / "other")
    assert (lacking.exit_code, "face_types" in lacking.stderr) == (1, True)


def test_a_subset_of_the_stored_split(made, tmp_path):
    paths = FlowPaths.of(tmp_path, made.name)
    shutil.copytree(made.root, paths.root)
    arguments = ("export", paths.flow_file, "--to", "npz", "--subset", "train")
    lacking = invoke(*arguments, "--out", tmp_path / "none")
    assert (lacking.exit_code, "no split file" in lacking.stderr) == (1, True)
    with DatasetLoader(paths.dataset, paths.infoset) as loader:
        loader.split(train=0.5, validation=0, test=0.5)
        members = loader.get_dataset("train").file_codes.tolist()
    answer = json.loads(invoke(*arguments, "--out", tmp_path / "train", "--json").output)
    assert answer["n_samples"] == len(members)
    assert sorted(int(path.stem) for path in (tmp_path / "train").glob("*.npz")) == members
    invoke(*arguments, "--out", tmp_path / "some", "--ids", f"{members[0]}-{members[0]}")
    assert [int(path.stem) for path in (tmp_path / "some").glob("*.npz")] == members[:1]


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
