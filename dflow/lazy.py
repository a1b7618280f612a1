"""Lazy packages: a name loads the module that defines it on first use.

``import dflow`` takes milliseconds that way; the CAD kernel, xarray, Bokeh and matplotlib are imported when needed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def attach(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` of a package (PEP 562).

    Parameters
    ----------
    package : the package's ``__name__``
    homes : maps each public name to the module that defines it, ``"dflow.dataset.loader"``; to ``"module:name"`` where
        it has another name there, to ``"module:"`` for the module itself

    Notes
    -----
    ``dir()`` and ``help()`` list exactly these names. Each is looked up once, and is then an attribute of the package.
    """

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, separator, attribute = homes[name].partition(":")
        loaded = import_module(module)
        value = loaded if separator and not attribute else getattr(loaded, attribute or name)
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted(homes)

    return load, names
