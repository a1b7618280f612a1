"""HOOPS AI's names of methods and properties, found on first use and absent from dflow's own listings."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any


def hoops_names(home: str) -> Callable[[Any, str], Any]:
    """Return a ``__getattr__`` that finds HOOPS AI's names of a class: its objects then also have these.

    Parameters
    ----------
    home : ``"module:Class"``, whose members are the methods and properties; imported when one is asked for

    Notes
    -----
    A name that is not there raises the AttributeError that Python raises without it. ``dir()`` and ``help()`` do not
    list the names.
    """
    module, _, names = home.partition(":")

    def find(self: Any, name: str) -> Any:
        if not name.startswith("_"):
            member = vars(getattr(import_module(module), names)).get(name)
            if member is not None:
                return member.__get__(self, type(self))
        return object.__getattribute__(self, name)

    return find
