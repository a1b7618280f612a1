"""The keywords of HOOPS AI's scripts: accepted where its scripts pass them, written down in one module."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import dflow.cadencoder
import dflow.dataset
import dflow.flowmanager
import dflow.insights
import dflow.storage
from dflow.hoops import arguments
from dflow.hoops.arguments import hoops_arguments

ROOT = Path(__file__).resolve().parents[2]

OWNERS = {
    "BrepEncoder": dflow.cadencoder.BrepEncoder,
    "DataStorage": dflow.storage.DataStorage,
    "Flow": dflow.flowmanager.Flow,
    "CADViewer": dflow.insights.CADViewer,
    "DatasetExplorer": dflow.dataset.DatasetExplorer,
    "DatasetViewer": dflow.insights.DatasetViewer,
}

SPELLINGS = {"ouput", "desription", "exportOBJ", "exportSTEP", "adapt_brep", "adapt_tessellation"}
"""What HOOPS AI spells otherwise than dflow, or what does nothing here."""


class Part:
    def turn(self, angle: float = 0.0, *, axis: str = "z") -> tuple[float, str]:
        """Turn it."""
        return angle, axis


@pytest.fixture
def turn(monkeypatch):
    monkeypatch.setattr(arguments, "RENAMED", {"Part.turn": {"angel": "angle"}})
    monkeypatch.setattr(arguments, "UNUSED", {"Part.turn": ("speed",)})
    monkeypatch.setattr(arguments, "POSITIONAL", {"Part.turn": ("angle", "speed", "axis")})
    return hoops_arguments(Part.turn)


def test_a_misspelt_keyword_is_passed_under_the_functions_own_name(turn):
    assert turn(Part(), angel=90.0) == (90.0, "z")
    assert turn(Part(), 30.0, angel=None, axis="x") == (30.0, "x")


def test_an_unused_keyword_is_dropped(turn):
    assert turn(Part(), 30.0, speed=3) == (30.0, "z")


def test_positional_arguments_come_in_hoops_ais_order(turn):
    assert turn(Part(), 30.0, 3, "x") == (30.0, "x")
    assert turn(Part(), 30.0, 3) == (30.0, "z")
    with pytest.raises(TypeError, match="multiple values for argument 'angle'"):
        turn(Part(), 30.0, angle=1.0)
    with pytest.raises(TypeError, match="positional argument"):
        turn(Part(), 30.0, 3, "x", "too many")


def test_any_other_keyword_is_an_error(turn):
    with pytest.raises(TypeError, match="angl"):
        turn(Part(), angl=1.0)


def test_the_signature_that_is_shown_is_the_functions_own(turn):
    assert inspect.signature(turn) == inspect.signature(Part.turn)
    assert turn.__doc__ == "Turn it."


@pytest.mark.parametrize("name", sorted(arguments.POSITIONAL))
def test_every_positional_argument_of_hoops_ai_is_the_functions_own_or_unused(name):
    owner, method = name.split(".")
    own = inspect.signature(vars(OWNERS[owner])[method].__wrapped__).parameters
    assert set(arguments.POSITIONAL[name]) <= {*own, *arguments.UNUSED[name]}


@pytest.mark.parametrize("name", sorted({*arguments.RENAMED, *arguments.UNUSED}))
def test_every_function_of_the_tables_is_there_decorated_and_has_not_the_keyword_itself(name):
    owner, _, method = name.rpartition(".")
    function = vars(OWNERS[owner])[method] if owner else getattr(dflow.insights, name)
    own = inspect.signature(function.__wrapped__).parameters
    renamed = arguments.RENAMED.get(name, {})
    assert set(renamed.values()) <= set(own)
    assert not {*renamed, *arguments.UNUSED.get(name, ())} & set(own)


def test_hoops_ais_spellings_stand_in_one_package():
    distinctive = {word for words in arguments.UNUSED.values() for word in words if "_" in word} - {"display_mode"}
    words = re.compile("|".join(sorted({*SPELLINGS, *distinctive, *arguments.RENAMED["Flow.process"]})))
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sorted((ROOT / "dflow").rglob("*.py"))
        if "hoops" not in path.parts
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if words.search(line)
    ]
    assert found == []
