"""Packages whose names load on first use."""

from __future__ import annotations

import sys
import types

import pytest

from dflow.lazy import attach


@pytest.fixture
def package(monkeypatch):
    module = types.ModuleType("faced")
    homes = {"sqrt": "math", "root": "math:sqrt", "mathematics": "math:"}
    module.__getattr__, module.__dir__ = attach("faced", homes)
    monkeypatch.setitem(sys.modules, "faced", module)
    return module


def test_a_name_is_loaded_from_its_module_under_its_own_or_another_name(package):
    import math

    assert package.sqrt is math.sqrt
    assert package.root is math.sqrt
    assert package.mathematics is math


def test_a_loaded_name_is_an_attribute_from_then_on(package):
    assert "sqrt" not in vars(package)
    loaded = package.sqrt
    assert vars(package)["sqrt"] is loaded


def test_dir_lists_the_names_whether_loaded_or_not(package):
    assert dir(package) == ["mathematics", "root", "sqrt"]
    assert package.sqrt(4) == 2
    assert dir(package) == ["mathematics", "root", "sqrt"]


def test_an_unknown_name_is_an_attribute_error(package):
    with pytest.raises(AttributeError, match="module 'faced' has no attribute 'cbrt'"):
        package.cbrt  # noqa: B018
