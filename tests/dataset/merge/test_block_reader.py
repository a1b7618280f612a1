"""The samples of a block: every row range equals the samples' own rows, whichever way each of them is read."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dflow.dataset.merge.block_reader import InFolder, Listed, encode_words, read_block
from dflow.dataset.merge.plan import MergePlan, plan_merge
from dflow.errors import DamagedStoreError
from dflow.records import SampleRecord
from dflow.storage.paths import FlowPaths
from tests.dataset.samples import SMALL, make_samples, write_sample

SIZES = [(3, 2), (0, 1), (4, 3), (2, 0), (5, 2)]
TYPES = np.repeat(np.arange(len(SIZES)), [n for n, _ in SIZES])


@pytest.fixture
def paths(tmp_path: Path) -> FlowPaths:
    return FlowPaths.of(tmp_path, "parts")


def _read(plan: MergePlan, paths: FlowPaths, name: str, start: int, stop: int) -> tuple[np.ndarray, np.ndarray, list]:
    damaged: list[tuple[str, str]] = []
    runs = list(read_block(plan.block_of_rows("faces", start, stop), (name,), InFolder(str(paths.encoded)), damaged))
    pieces = [piece for run in runs for piece in run.pieces[name]]
    assert sum(count for _, count in pieces) == sum(run.n_rows for run in runs)
    rows = [np.full(count, -9, object) if piece is None else piece.astype(object) for piece, count in pieces]
    return np.concatenate(rows), np.concatenate([run.sample_ids() for run in runs]), damaged


@pytest.mark.parametrize("start", [0, 1, 3, 6])
@pytest.mark.parametrize("stop", [7, 9, 13, 14])
def test_any_range_of_rows_is_that_of_the_samples(paths: FlowPaths, start: int, stop: int) -> None:
    plan = plan_merge(make_samples(paths, SIZES), SMALL)
    rows, ids, damaged = _read(plan, paths, "face_types", start, stop)
    assert rows.tolist() == ids.tolist() == TYPES[start:stop].tolist()
    assert damaged == []


def test_samples_without_an_array_have_absent_rows(paths: FlowPaths) -> None:
    plan = plan_merge(make_samples(paths, SIZES), SMALL)
    colours, _, _ = _read(plan, paths, "colour", 1, 13)
    words = [["red", "blue", "grün"][j % 3] if i % 3 == 0 else -9 for i, (n, _) in enumerate(SIZES) for j in range(n)]
    assert colours.tolist() == words[1:13]


def test_a_sample_of_a_narrower_dtype_is_read_as_it_is_stored(paths: FlowPaths) -> None:
    records = [
        write_sample(paths, f"{i}.step", {"faces/n": np.full(3, i, dtype)})
        for i, dtype in enumerate(("int32", "int16", "int32"))
    ]
    rows, ids, _ = _read(plan_merge(records, SMALL), paths, "n", 0, 9)
    assert rows.tolist() == ids.tolist() == [0] * 3 + [1] * 3 + [2] * 3


def _cut(path: Path, _: list[SampleRecord]) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def _swap(path: Path, records: list[SampleRecord]) -> None:
    path.write_bytes((path.parent / f"{records[4].name}.data").read_bytes())


def _lead_out(path: Path, _: list[SampleRecord]) -> None:
    outside = path.parents[3] / path.name
    os.replace(path, outside)
    path.symlink_to(outside)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda path, _: path.unlink(), "FileNotFoundError"),
        (_cut, "DamagedStoreError"),
        (_swap, "another checksum; run the flow again"),
        (_lead_out, "is a link out of the flow's folder; put the file itself there"),
    ],
)
def test_a_damaged_sample_is_named_and_the_others_are_read(
    paths: FlowPaths, harm: Callable[[Path, list[SampleRecord]], Any], reason: str
) -> None:
    records = make_samples(paths, SIZES)
    plan = plan_merge(records, SMALL)
    harm(paths.data_file(records[2].name), records)
    rows, _, damaged = _read(plan, paths, "face_types", 0, 14)
    assert rows.tolist() == TYPES[TYPES != 2].tolist()
    assert [name for name, _ in damaged] == [records[2].name]
    assert reason in damaged[0][1]


def test_an_error_that_is_not_the_files_own_is_raised(paths: FlowPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_merge(make_samples(paths, SIZES), SMALL)

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("dflow.dataset.merge.block_reader.ChunkReader.read", refuse)
    with pytest.raises(OSError, match="Too many open files"):
        _read(plan, paths, "face_types", 0, 14)


def test_locators_give_paths_and_pickle(tmp_path: Path) -> None:
    inside = pickle.loads(pickle.dumps(InFolder(str(tmp_path))))
    assert inside("a") == str(tmp_path / "a.data")
    listed = pickle.loads(pickle.dumps(Listed({"a": "/x/a.data"})))
    assert listed("a") == "/x/a.data"
    (tmp_path / "flow" / "encoded").mkdir(parents=True)
    link = tmp_path / "flow" / "encoded" / "a.data"
    link.symlink_to(tmp_path / "outside")
    with pytest.raises(DamagedStoreError, match="link out of the flow's folder"):
        InFolder(str(link.parent)).check(str(link))


def test_words_become_their_codes_in_the_arrays_shape() -> None:
    words = np.array([["b", "a"], ["", "b"]], dtype=np.dtypes.StringDType())
    codes = encode_words(words, {"": 0, "a": 1, "b": 2})
    assert codes.dtype == np.int32
    assert codes.tolist() == [[2, 1], [0, 2]]
