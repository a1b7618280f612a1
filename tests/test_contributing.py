"""The page for newcomers: what it names is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PLACES = sorted(set(re.findall(r"`(dflow/[\w/]+\.py)(?:::([\w.]+))?`", PAGE)))
FILES = sorted(set(re.findall(r"`((?:\w+/)+\w+\.(?:py|yaml))`", PAGE)))


def defined(body: list[ast.stmt], name: str) -> list[ast.stmt]:
    """The body of the class or function of that name."""
    found = [node for node in body if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name]
    assert len(found) == 1, name
    return found[0].body


@pytest.mark.parametrize(("file", "name"), PLACES)
def test_a_stop_names_a_file_and_a_function_or_class_in_it(file, name):
    body = ast.parse((ROOT / file).read_text(encoding="utf-8")).body
    for word in filter(None, name.split(".")):
        body = defined(body, word)


@pytest.mark.parametrize("file", FILES)
def test_a_file_that_the_page_names_is_there(file):
    assert (ROOT / file).is_file() or (ROOT / "dflow" / file).is_file()


def test_the_way_of_a_file_has_ten_stops_with_a_file_each():
    way = PAGE.partition("## One STEP file, in ten stops")[2].partition("\n## ")[0]
    stops = re.split(r"^\d+\. ", way, flags=re.MULTILINE)[1:]
    assert len(stops) == 10
    assert [stop for stop in stops if not re.search(r"`dflow/[\w/]+\.py::", stop)] == []


def test_a_word_has_one_meaning():
    table = PAGE.partition("## Words")[2].partition("\n## ")[0]
    words = re.findall(r"^\| ([\w ,]+?) \|", table, re.MULTILINE)[1:]
    single = [word for entry in words for word in entry.split(", ")]
    assert len(single) > 25
    assert len(single) == len(set(single))
