"""The log of an item: its own, beginning and end, bounded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dflow.flowmanager.worker.logtail import LogTail, RequestLog, end_mark


@given(st.lists(st.binary(max_size=50), max_size=20))
def test_a_short_log_is_kept_whole(pieces):
    log = LogTail(4000)
    for piece in pieces:
        log.feed(piece)
    assert log.text() == b"".join(pieces).decode("utf-8", "backslashreplace")


@given(st.lists(st.integers(1, 300), min_size=1, max_size=30))
def test_a_long_log_keeps_both_ends_and_says_what_is_missing(sizes):
    whole = b"".join(b"%d," % number for number in range(2000))
    log, at = LogTail(100), 0
    while at < len(whole):
        size = sizes[at % len(sizes)]
        log.feed(whole[at : at + size])
        at += size
    text = log.text()
    assert text.startswith("0,1,2,3,")
    assert text.endswith("1998,1999,")
    assert f"... {len(whole) - 100} bytes left out ..." in text


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=8), st.integers(1, 90))
def test_output_is_cut_where_requests_end_however_it_arrives(printed, step):
    stream = b"".join(text + end_mark(number) for number, text in enumerate(printed)) + b"behind"
    log = RequestLog(4000)
    for at in range(0, len(stream), step):
        log.feed(stream[at : at + step])
    assert [log.take() for _ in printed] == [text.decode("utf-8", "backslashreplace") for text in printed]
    assert log.text() == "behind"


def test_a_flood_without_a_mark_is_bounded():
    log = RequestLog(100)
    for _ in range(1000):
        log.feed(b"x" * 1000)
    log.feed(end_mark(0))
    assert log.take().startswith("x" * 50 + "\n... 999900 bytes left out")


def test_a_mark_of_another_request_is_text():
    log = RequestLog(4000)
    log.feed(b"a" + end_mark(7) + b"b" + end_mark(0))
    assert log.take() == f"a{end_mark(7).decode()}b"


def test_a_lost_mark_costs_no_other_request_its_output():
    log = RequestLog(4000)
    log.feed(b"first")
    assert log.take() == "first"
    log.feed(b"second" + end_mark(1))
    assert log.take() == "second"
    assert log.text() == ""
