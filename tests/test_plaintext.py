"""Text from outside never reaches a terminal raw."""

from __future__ import annotations

import inspect
import logging
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dflow.errors
from dflow.errors import DflowError, TooManyFailuresError
from dflow.plaintext import get_logger, html_text, plain, plain_lines

HOSTILE = "part\x1b]0;owned\x07\u202egnp.step\nERROR: forged\x9b2J"
"""A file's name with terminal escapes, a mark of the writing direction and a second line."""


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


@pytest.mark.parametrize(
    "kind", [each for _, each in inspect.getmembers(dflow.errors, inspect.isclass) if issubclass(each, DflowError)]
)
def test_every_error_shows_names_escaped_and_keeps_them_raw(kind):
    error = kind(f"{HOSTILE} cannot be read")
    assert all(line.isprintable() for line in str(error).split("\n"))
    assert str(error).startswith(r"part\x1b]0;owned\x07\u202egnp.step")
    assert ("\n" in str(error)) == (kind is TooManyFailuresError)  # it has a traceback
    copy = pickle.loads(pickle.dumps(error))
    assert copy.args == error.args == (f"{HOSTILE} cannot be read",)


def test_logs_show_texts_paths_and_errors_escaped(caplog):
    logger = get_logger("dflow.test_plaintext")
    assert get_logger("dflow.test_plaintext").filters == logger.filters  # once, however often it is asked for
    with caplog.at_level(logging.INFO):
        logger.info("%s of %d: %s, %r", HOSTILE, 3, Path(HOSTILE), ValueError(HOSTILE))
        logger.info("%(name)s", {"name": HOSTILE})
        logger.info("two\nlines \x1b")
    assert [record.getMessage().isprintable() for record in caplog.records] == [True, True, False]
    assert caplog.records[2].getMessage() == "two\nlines \\x1b"
    assert " of 3: " in caplog.records[0].getMessage()


def test_every_logger_of_the_package_escapes():
    sources = Path(dflow.errors.__file__).parent.rglob("*.py")
    raw = [path.name for path in sources if "= logging.getLogger(" in path.read_text("utf-8")]
    assert sorted(raw) == ["main.py", "plaintext.py"]  # the first only sets the level


def test_html_is_escaped_and_shows_what_a_browser_would_obey():
    assert html_text("<b>\u202e&") == r"&lt;b&gt;\u202e&amp;"
