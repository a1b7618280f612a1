"""Validation names every damaged, missing, unlisted and contradicting part of a dataset."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import zarr

from dflow.dataset.validate import validate_dataset
from dflow.storage.paths import FlowPaths
from tests.dataset.samples import forget_checksums, merge, merge_three, write_sample


@pytest.fixture
def paths(tmp_path: Path) -> FlowPaths:
    return merge_three(tmp_path)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[3] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("name", "harm", "sign"),
    [
        ("faces/areas/c.0", Path.unlink, "No such file"),
        ("faces/areas/c.0", _truncate, "bytes, the manifest lists"),
        ("faces/areas/c.0", _flip, "checksum"),
        ("file/mass/zarr.json", _flip, "checksum"),
        ("manifest.json", Path.unlink, "cannot be read"),
        ("manifest.json", _truncate, "is damaged"),
    ],
)
def test_validation_names_the_damaged_file(
    paths: FlowPaths, name: str, harm: Callable[[Path], None], sign: str
) -> None:
    assert validate_dataset(paths.dataset) == []
    harm(paths.dataset / name)
    problems = validate_dataset(paths.dataset)
    assert any(name in problem and sign in problem for problem in problems), problems


def test_validation_finds_files_that_nobody_listed(paths: FlowPaths) -> None:
    shutil.copy(paths.dataset / "faces/areas/c.0", paths.dataset / "faces/areas/c.99")
    assert validate_dataset(paths.dataset) == ["faces/areas/c.99: not in the manifest"]


def test_validation_finds_tables_of_another_build(paths: FlowPaths) -> None:
    old = paths.infoset.read_bytes()
    merge(paths, [write_sample(paths, "new", {"faces/areas": np.ones(2, "f4")}, {"mass": 1})])
    paths.infoset.write_bytes(old)
    assert any("infoset" in problem and "another build" in problem for problem in validate_dataset(paths.dataset))
    forget_checksums(paths.dataset)
    problems = validate_dataset(paths.dataset)
    assert any("ids are not 0 to 0" in problem for problem in problems)
    assert any("another build" in problem for problem in problems)


@pytest.mark.parametrize("table", ["infoset", "attribset"])
def test_validation_finds_a_flipped_bit_in_a_tables_values(paths: FlowPaths, table: str) -> None:
    """Without checksums, statistics and repetitions may flip unseen; nothing is raised, no other value."""
    words = [write_sample(paths, f"{i}.step", {"faces/areas": np.ones(2, "f4")}, {"word": f"w{i}"}) for i in range(9)]
    merge(paths, words)
    forget_checksums(paths.dataset)
    harmless = validate_dataset(paths.dataset)  # the root metadata was edited
    file: Path = getattr(paths, table)
    sound, values = file.read_bytes(), pq.read_table(file)
    footer = len(sound) - 8 - int.from_bytes(sound[-8:-4], "little")
    places = range(0, len(sound), max(1, len(sound) // 120))
    unseen = 0
    for place in places:
        content = bytearray(sound)
        content[place] ^= 1 << (place % 8)
        file.write_bytes(content)
        if not any(file.name in problem for problem in validate_dataset(paths.dataset)) and place < footer:
            assert pq.read_table(file).equals(values), place
            unseen += 1
    file.write_bytes(sound)
    assert validate_dataset(paths.dataset) == harmless
    assert unseen < 0.5 * sum(place < footer for place in places)  # headers and statistics


def test_validation_finds_offsets_and_ids_that_contradict(paths: FlowPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    """With checksums that match: what a broken writer would leave."""
    root = zarr.open_group(str(paths.dataset), mode="r+")
    root["faces/file_id_code_faces"][30] = 0  # type: ignore[index]
    monkeypatch.setattr("dflow.dataset.validate.missing_files", lambda path, manifest: [])
    monkeypatch.setattr("dflow.dataset.validate._wrong_checksums", lambda path, manifest, skip: [])
    assert any("contradict the offsets" in problem for problem in validate_dataset(paths.dataset))
    root["file/row_count_faces"][1] = 19  # type: ignore[index]
    assert any("gap or overlap" in problem for problem in validate_dataset(paths.dataset))


def test_a_path_without_a_dataset_is_one_problem(tmp_path: Path) -> None:
    (problem,) = validate_dataset(tmp_path / "none.dataset")
    assert "no dataset" in problem


def test_a_missing_table_is_a_problem_only_when_it_is_named(paths: FlowPaths) -> None:
    paths.infoset.unlink()
    paths.attribset.unlink()
    assert validate_dataset(paths.dataset) == []
    (problem,) = validate_dataset(paths.dataset, infoset=paths.infoset)
    assert problem.startswith(f"{paths.infoset.name}: cannot be read")


def test_tables_of_another_form_are_described(paths: FlowPaths) -> None:
    forget_checksums(paths.dataset)
    table = pq.read_table(paths.infoset)
    pq.write_table(table.drop_columns(["description"]), paths.infoset)
    pq.write_table(table, paths.attribset)
    problems = validate_dataset(paths.dataset)
    assert any(p.startswith(f"{paths.infoset.name}: its column 'description' is missing") for p in problems)
    assert any(p.startswith(f"{paths.attribset.name}: its columns are") for p in problems)


def test_arrays_of_other_lengths_than_stated_are_named(paths: FlowPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    document = json.loads((paths.dataset / "zarr.json").read_text())
    document["attributes"]["dflow"]["n_files"] = 4
    document["attributes"]["dflow"]["groups"]["faces"]["n_rows"] = 61
    (paths.dataset / "zarr.json").write_text(json.dumps(document))
    monkeypatch.setattr("dflow.dataset.validate.missing_files", lambda path, manifest: [])
    monkeypatch.setattr("dflow.dataset.validate._wrong_checksums", lambda path, manifest, skip: [])
    problems = validate_dataset(paths.dataset)
    assert "faces/areas: 60 rows, the dataset's attributes state 61" in problems
    assert "row_start_faces: 3 files, the dataset's attributes state 4" in problems
