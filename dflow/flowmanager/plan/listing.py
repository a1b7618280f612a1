"""What a task returned, as a list of items. Children import this with an extract task: nothing heavy belongs here."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any


def listed(value: Any) -> list[Any]:
    """A value as a list of items: sequences and iterators spread, texts, paths and mappings alone, None empty."""
    if value is None:
        return []
    if isinstance(value, (str, bytes, os.PathLike, Mapping)) or not hasattr(value, "__iter__"):
        return [value]
    return list(value)


class Gathering:
    """An extract function whose result is made a list where it runs, so that generators and arrays travel too."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any, **keywords: Any) -> list[Any]:
        """Call the user's function."""
        return listed(self._function(*arguments, **keywords))
