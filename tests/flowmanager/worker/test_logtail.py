"""The log of an item: beginning and end, bounded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dflow.flowmanager.worker.logtail import LogTail


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
