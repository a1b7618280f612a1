"""Text from outside never reaches a terminal raw."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dflow.plaintext import plain, plain_lines


def test_what_a_terminal_obeys_is_shown_instead():
    assert plain("a\x1b[31mred\x1b]0;title\x07b") == r"a\x1b[31mred\x1b]0;title\x07b"
    assert plain("two\nlines\r\tand a tab") == r"two\nlines\r\tand a tab"
    assert plain("\x9b2J \u202egnp.exe \u2028") == r"\x9b2J \u202egnp.exe \u2028"
    assert plain(b"caf\xe9".decode("utf-8", "surrogateescape")) == r"caf\udce9"


def test_printable_text_is_unchanged():
    text = "Gehäuse 部品 №5 [bold]x[/bold] <b> \\n"
    assert plain(text) == text
    assert plain_lines("one\ntwo\x1b") == "one\ntwo\\x1b"


@given(st.text(st.characters()))
def test_every_text_becomes_printable_and_encodable(text):
    shown = plain(text)
    assert shown.isprintable()
    shown.encode("utf-8")
    assert plain(shown) == shown
