"""A store on disk is the one that a record speaks of: there, of its size, its directory intact."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dflow.flowmanager.history.journal import Entry
from dflow.flowmanager.history.reuse import stores_are_whole
from dflow.records import ItemRecord
from dflow.storage import OptStorage
from dflow.storage.sample import describe


def entry_of(folder: Path, n_arrays: int) -> tuple[Entry, Path]:
    """A sealed store and the journal's entry about it."""
    storage = OptStorage(str(folder / "ab_0"))
    for number in range(n_arrays):
        storage.save_data(f"faces/array_{number}", np.arange(7, dtype=np.float32))
    storage.compress_store()
    sample = describe(storage, "ab_0", "a.step", -1)
    storage.close()
    record = ItemRecord(0, "a.step", "succeeded", (sample,))
    return Entry("encode", "a.step", "ff", 1, 1, "f", False, 1.0, 0, (record,)), folder / "ab_0.data"


@pytest.mark.parametrize("n_arrays", [1, 13, 300])  # the last one's directory is longer than what is read at first
def test_a_store_as_it_was_written_is_whole(tmp_path, n_arrays):
    entry, _ = entry_of(tmp_path, n_arrays)
    assert stores_are_whole(entry, str(tmp_path))


@pytest.mark.parametrize("n_arrays", [1, 300])
@pytest.mark.parametrize("where", ["first of the directory", "last of the directory"])
def test_a_change_in_the_directory_is_seen(tmp_path, n_arrays, where):
    entry, file = entry_of(tmp_path, n_arrays)
    data = bytearray(file.read_bytes())
    begin = int.from_bytes(data[-6:-2], "little")
    at = begin + 10 if where.startswith("first") else len(data) - 22 - 1
    data[at] ^= 1
    file.write_bytes(data)
    assert not stores_are_whole(entry, str(tmp_path))


@pytest.mark.parametrize("length", [0, 1, 21, 22, 500, -1])
def test_a_truncated_store_is_not_whole(tmp_path, length):
    entry, file = entry_of(tmp_path, 3)
    file.write_bytes(file.read_bytes()[:length])
    assert not stores_are_whole(entry, str(tmp_path))


def test_a_longer_store_a_folder_and_nothing_are_not_whole(tmp_path):
    entry, file = entry_of(tmp_path, 3)
    file.write_bytes(file.read_bytes() + b"\0")
    assert not stores_are_whole(entry, str(tmp_path))
    file.unlink()
    assert not stores_are_whole(entry, str(tmp_path))
    file.mkdir()
    assert not stores_are_whole(entry, str(tmp_path))
