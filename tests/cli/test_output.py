"""What commands print is safe for a terminal and for scripts."""

from __future__ import annotations

import json

import pytest

from dflow.cli.output import echo, echo_json, echo_table


def test_a_line_holds_no_escape_sequence_and_no_line_break(capsys):
    echo("a\x1b[2Jb\nc")
    assert capsys.readouterr().out == "a\\x1b[2Jb\\nc\n"
    echo("to scripts", err=True)
    assert capsys.readouterr() == ("", "to scripts\n")


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_json_lacks_are_null_at_any_depth(capsys, number):
    echo_json({"a": [number, (1.5, {"b": number})], 3: None})
    assert json.loads(capsys.readouterr().out) == {"a": [None, [1.5, {"b": None}]], "3": None}


def test_json_is_ascii(capsys):
    echo_json({"n\u00fct\u202e": "\x1b"})
    text = capsys.readouterr().out
    assert text.isascii()
    assert "\x1b" not in text
    assert json.loads(text) == {"n\u00fct\u202e": "\x1b"}


def test_columns_are_as_wide_as_their_widest_entry(capsys):
    echo_table(("files", "kind"), [(3, "crash"), (12000, "a\tb")], numbers=1)
    assert capsys.readouterr().out.splitlines() == ["files  kind", "    3  crash", r"12000  a\tb"]


def test_a_table_without_rows_is_its_head(capsys):
    echo_table(("task", "items"), [])
    assert capsys.readouterr().out == "task  items\n"
