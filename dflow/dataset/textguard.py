"""Noticing that a condition compares numbers with text.

Datasets hold numbers only: categories are codes, their words lie in the tables. numpy's answer to ``codes == "steel"``
is False everywhere, without a word, so a condition is run once over arrays that speak up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dflow.errors import QueryError

Array = np.ndarray[Any, np.dtype[Any]]


class GuardedArray(np.ndarray[Any, np.dtype[Any]]):
    """Numbers of the column `column` that refuse text, also as what became of them by arithmetic."""

    column: str

    def __array_finalize__(self, origin: Any) -> None:
        self.column = getattr(origin, "column", "")

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        self._refuse_text(inputs)
        result = getattr(ufunc, method)(*map(_plain, inputs), **options)
        return guarded(result, self.column) if isinstance(result, np.ndarray) else result

    def __array_function__(self, func: Callable[..., Any], types: Any, args: Any, kwargs: Any) -> Any:
        self._refuse_text([*args, *kwargs.values()])
        return super().__array_function__(func, types, args, kwargs)

    def _refuse_text(self, operands: Any) -> None:
        for operand in operands:
            word = _first_word(operand)
            if word is not None:
                raise QueryError(
                    f"the condition compares {self.column!r}, which holds numbers, with the text {word!r}; compare "
                    f"codes, which explorer.get_descriptions({self.column!r}) lists, or ask for the word: "
                    f"explorer.filter_files_by_metadata({self.column}_label={word!r})"
                )


def guarded(values: Array, column: str) -> Array:
    """A view of the column's values that refuses text."""
    view = values.view(GuardedArray)
    view.column = column
    return view


def _plain(operand: Any) -> Any:
    return operand.view(np.ndarray) if isinstance(operand, GuardedArray) else operand


def _first_word(operand: Any) -> str | None:
    """The first text in an operand, None where it has none."""
    if isinstance(operand, (str, bytes)):
        return str(operand)
    if isinstance(operand, np.ndarray) and operand.dtype.kind in "USTO":
        operand = operand.ravel().tolist()
    if isinstance(operand, (list, tuple, set, frozenset)):
        return next((word for word in map(_first_word, operand) if word is not None), None)
    return None
