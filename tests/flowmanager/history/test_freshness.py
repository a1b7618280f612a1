"""When an item is done again, and when it is not."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from blake3 import blake3

from dflow.flowmanager.history.freshness import (
    Requirements,
    SourceState,
    content_hash,
    examine,
    judge,
    stores_are_whole,
    unread_hash,
)
from dflow.flowmanager.history.journal import Entry
from dflow.records import ErrorRecord, ItemRecord
from dflow.storage import OptStorage
from dflow.storage.sample import describe

WANTED = Requirements("f1", previews=False, timeout_seconds=120.0, memory_bytes=0)
OLD = SourceState(100, 1_000)


def entry(kind: str = "") -> Entry:
    error = ErrorRecord(kind, "no", "encode", "a", 0) if kind else None
    record = ItemRecord(0, "a", "failed" if kind else "succeeded", error=error)
    return Entry("encode", "a", "ff", 100, 1_000, "f1", False, 120.0, 0, (record,))


@pytest.mark.parametrize(
    ("found", "source", "wanted", "action", "reason"),
    [
        (None, OLD, WANTED, "redo", "new"),
        (entry(), OLD, WANTED, "reuse", ""),
        (entry(), replace(OLD, mtime_ns=2_000), WANTED, "hash", "touched"),
        (entry(), replace(OLD, mtime_ns=0), WANTED, "hash", "touched"),
        (entry(), replace(OLD, n_bytes=101), WANTED, "redo", "source changed"),
        (entry(), SourceState(), WANTED, "redo", "source changed"),
        (entry(), OLD, replace(WANTED, fingerprint="f2"), "redo", "pipeline"),
        (entry(), OLD, replace(WANTED, previews=True), "redo", "preview"),
        (replace(entry(), value_lost=True), OLD, replace(WANTED, needs_value=True), "redo", "value"),
        (replace(entry(), value_lost=True), OLD, WANTED, "reuse", ""),
        (entry("unreadable"), OLD, WANTED, "reuse", ""),
        (entry("exception"), OLD, WANTED, "redo", "failed before"),
        (entry("timeout"), OLD, WANTED, "reuse", ""),
        (entry("timeout"), OLD, replace(WANTED, timeout_seconds=600.0), "redo", "allowance"),
        (entry("too_big"), OLD, WANTED, "reuse", ""),
        (entry("too_big"), OLD, replace(WANTED, memory_bytes=8 << 30), "redo", "allowance"),
        (entry("out_of_memory"), OLD, replace(WANTED, memory_bytes=10**9), "redo", "allowance"),
    ],
)
def test_judgement(found, source, wanted, action, reason):
    verdict = judge(found, source, wanted)
    assert verdict.action == action
    assert reason in verdict.reason


def test_values_that_are_no_files_hold_without_a_time():
    nowhere = replace(entry(), n_bytes=-1, mtime_ns=0)
    assert judge(nowhere, SourceState(), WANTED).action == "reuse"
    assert examine({"part": 3}) == SourceState()
    assert examine("no such file") == SourceState()


def test_a_file_that_was_just_written_is_not_trusted_by_its_time(tmp_path):
    path = tmp_path / "a.step"
    path.write_text("x")
    assert examine(path) == SourceState(1, 0)
    past = time.time() - 60
    os.utime(path, (past, past))
    assert examine(path).mtime_ns == path.stat().st_mtime_ns


def test_content_hash_follows_bytes_not_times(tmp_path):
    path = tmp_path / "a.step"
    path.write_bytes(b"x" * 3_000_000)
    before = content_hash(path, "a")
    os.utime(path, (1, 1))
    assert content_hash(str(path), "a") == before
    path.write_bytes(b"x" * 2_999_999 + b"y")
    assert content_hash(path, "a") != before


def test_content_hash_is_what_b3sum_prints_of_it(tmp_path):
    """The published test vector of no bytes, and another of what is read in several pieces."""
    path = tmp_path / "a.step"
    path.write_bytes(b"")
    assert content_hash(path, "a") == "af1349b9f5f9a1a6a0404dea36dcc949"
    path.write_bytes(bytes(i % 251 for i in range(1_000_000)))
    assert content_hash(path, "a") == blake3(path.read_bytes()).hexdigest()[:32]


def test_a_hash_that_takes_too_long_is_given_up_and_stands_for_size_and_time(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    for source in (path, tmp_path):
        with pytest.raises(TimeoutError):
            content_hash(source, "a", seconds=-1.0)
    before = unread_hash(path)
    assert before == unread_hash(str(path))
    os.utime(path, (0, 0))
    assert unread_hash(path) != before
    os.truncate(path, 20_000_000_000)  # sparse; beyond the limit, at once
    assert content_hash(path, "a") == unread_hash(path)


def test_a_folder_is_its_listing_and_anything_else_its_name(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a").write_text("x")
    before = content_hash(tmp_path, "f")
    (tmp_path / "sub" / "b").write_text("x")
    assert content_hash(tmp_path, "f") != before
    assert content_hash(3, "3") == content_hash(4, "3") != content_hash(3, "4")


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
