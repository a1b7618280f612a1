"""Packages of extras, in test modules: collecting the tests imports none of them."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest


class Extra:
    """A module that is imported when it is first used; a test module that makes one is skipped without its package.

    Parameters
    ----------
    name : str
        The module's name.
    package : str, optional
        The package that an extra installs, where it is not the module's own.

    """

    def __init__(self, name: str, package: str = "") -> None:
        self._name = name
        package = package or name.partition(".")[0]
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed", allow_module_level=True)

    def __getattr__(self, name: str) -> Any:
        if name.startswith(("_", "pytest")):  # what pytest asks of everything in a test module
            raise AttributeError(name)
        return getattr(import_module(self._name), name)
