"""The journal: what was finished survives, whatever is torn off its end."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dflow.flowmanager.history.journal import JOURNAL_NAME, Entry, Journal, read_journal
from dflow.flowmanager.plan.batch import BodyValues, pack_value
from dflow.records import ArrayLayout, ErrorRecord, ItemRecord, SampleLayout, SampleRecord

LAYOUT = SampleLayout(
    (ArrayLayout("faces", "face_areas", "float32", ("face",), ()),), '{"version":"1.0"}', (("t", ((0, "a", "b"),)),)
)


def entry(item: str = "a.step", value=None, **changes) -> Entry:
    sample = SampleRecord("ab_0", item, -1, LAYOUT, (6,), (("face_count", 6), ("name", "é")), 1234, 99)
    record = ItemRecord(0, item, "succeeded", (sample,), value=value, seconds=0.5, content_hash="ff", reused=True)
    fields = {
        "chain": "encode",
        "item": item,
        "content_hash": "ff",
        "n_bytes": 10,
        "mtime_ns": 5,
        "fingerprint": "f1",
        "previews": True,
        "timeout_seconds": 120.0,
        "memory_bytes": 0,
        "records": (record,),
    }
    return Entry(**{**fields, **changes})


def test_entries_come_back_equal(tmp_path):
    error = ErrorRecord("timeout", "too slow", "encode", "b.step", 3, logs=("x",), traceback="line 1\nline 2")
    failed = entry("b.step", records=(ItemRecord(3, "b.step", "failed", error=error, notes=("n",)),))
    journal = Journal(tmp_path)
    journal.append([entry(value="/x/y.data"), failed])
    journal.note_pipeline("f1", {"task encode": "aa"})
    journal.close()
    state = read_journal(tmp_path / JOURNAL_NAME)
    (record,) = state.entries["encode", "a.step"].records
    assert record.samples == entry().records[0].samples
    assert record.value == "/x/y.data"
    assert record.reused
    assert state.entries["encode", "b.step"].records[0].error == error
    assert state.pipelines == {"f1": {"task encode": "aa"}}
    assert state.n_damaged == 0


@pytest.mark.parametrize(
    "value",
    [None, 3, 2.5, True, "x", (3, 4), [1, (2, "a")], {"a": [None]}, Path("/a/b"), BodyValues(((0, 1), (1, "b")))],
)
def test_returned_values_come_back_equal(tmp_path, value):
    journal = Journal(tmp_path)
    journal.append([entry(value=pack_value(value))])
    journal.close()
    found = read_journal(journal.path).entries["encode", "a.step"]
    assert found.records[0].value == value
    assert not found.value_lost


def nested(depth: int) -> list[object]:
    found: list[object] = []
    for _ in range(depth):
        found = [found]
    return found


@pytest.mark.parametrize("value", [{1, 2}, 10**5000, [{"a": -(10**5000)}]], ids=["set", "large", "larger"])
def test_a_value_that_json_cannot_hold_is_marked_as_lost(tmp_path, value):
    journal = Journal(tmp_path)
    journal.append([entry(value=pack_value(value))])
    journal.close()
    found = read_journal(journal.path)
    assert found.entries["encode", "a.step"].value_lost
    assert found.n_damaged == 0


def test_a_deep_value_is_kept_or_marked_as_lost(tmp_path):
    """From 3.12 on Python counts its own calls and C's apart: the same value may be too deep for one and not for the
    other.
    """
    journal = Journal(tmp_path)
    value = nested(400)
    data = pack_value(value)
    within(300, lambda: journal.append([entry(value=data)]))
    journal.close()
    found = read_journal(journal.path)
    kept = found.entries["encode", "a.step"]
    assert kept.value_lost if sys.version_info < (3, 12) else kept.value_lost or kept.records[0].value == value
    assert found.n_damaged == 0


def within(depth: int, act: Callable[[], None]) -> None:
    """Do something so many calls deep, as from a notebook."""
    within(depth - 1, act) if depth else act()


@given(cut=st.integers(min_value=0, max_value=4000), flip=st.integers(min_value=-1, max_value=4000))
def test_any_torn_or_flipped_byte_costs_only_its_own_line(tmp_path_factory, cut, flip):
    folder = tmp_path_factory.mktemp("journal")
    journal = Journal(folder)
    for number in range(4):
        journal.append([entry(f"{number}.step")])
    journal.close()
    data = bytearray(journal.path.read_bytes())
    if 0 <= flip < len(data):
        data[flip] ^= 0x40
    journal.path.write_bytes(bytes(data[: len(data) - min(cut, len(data))]))
    for found in read_journal(journal.path).entries.values():
        assert found.records[0].samples[0].rows == (6,)
        assert found == entry(found.item, records=found.records)


def test_writing_goes_on_behind_a_torn_line(tmp_path):
    first = Journal(tmp_path)
    first.append([entry("a.step"), entry("b.step")])
    first.close()
    first.path.write_bytes(first.path.read_bytes()[:-7])
    second = Journal(tmp_path)
    assert second.state.n_damaged == 1
    second.append([entry("c.step")])
    second.close()
    assert sorted(item for _, item in read_journal(first.path).entries) == ["a.step", "c.step"]


def test_rewriting_keeps_the_latest_entries_only(tmp_path):
    journal = Journal(tmp_path)
    for n_bytes in range(50):
        journal.append([entry(n_bytes=n_bytes)])
    journal.note_pipeline("f1", {"x": "y"})
    journal.note_pipeline("old", {"x": "z"})
    journal.close()
    fresh = Journal(tmp_path)
    size = journal.path.stat().st_size
    fresh.rewrite(fresh.state.entries.values())
    state = read_journal(journal.path)
    assert journal.path.stat().st_size < size / 10
    assert state.entries["encode", "a.step"].n_bytes == 49
    assert set(state.pipelines) == {"f1"}


def test_damage_anywhere_in_a_long_journal_costs_the_damaged_lines(tmp_path):
    journal = Journal(tmp_path)
    journal.append([entry(f"{number}.step") for number in range(1200)])
    journal.close()
    lines = journal.path.read_bytes().splitlines(keepends=True)
    items = [line for line in lines if b'"records"' in line]
    lines[lines.index(items[0])] = items[0][:-9] + b"\n"
    lines[lines.index(items[700])] = items[700].replace(b"succeeded", b"suXceeded")
    no_json, foreign = b"{not: json", b'["an", "array"]'
    lines[600:600] = [b"%08x %s\n" % (zlib.crc32(text), text) for text in (no_json, foreign)]
    journal.path.write_bytes(b"".join(lines))
    state = read_journal(journal.path)
    assert state.n_damaged == 4
    assert {item for _, item in state.entries} == {f"{number}.step" for number in range(1200)} - {"0.step", "700.step"}


def test_an_absent_journal_is_empty(tmp_path):
    assert read_journal(tmp_path / "none").entries == {}


def test_what_is_written_at_once_is_not_taken_for_what_was_there(tmp_path):
    first = Journal(tmp_path)
    first.append([entry(f"{number}.step") for number in range(3000)])
    first.close()
    second = Journal(tmp_path)
    second.append([entry("new.step")])  # while it may still be read
    second.close()
    assert len(second.state.entries) == 3000


def test_a_journal_that_cannot_be_read_says_so_when_it_is_asked(tmp_path):
    (tmp_path / JOURNAL_NAME).mkdir()
    journal = Journal(tmp_path)
    with pytest.raises(IsADirectoryError):
        _ = journal.state
    journal.close()
