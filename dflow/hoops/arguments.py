"""Keyword arguments that only scripts written for HOOPS AI pass."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def hoops_arguments(*, unused: Collection[str] = (), **renamed: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator that accepts HOOPS AI's keywords beside a function's own.

    Parameters
    ----------
    unused : keywords that dflow has no use for; their values are dropped
    renamed : HOOPS AI's keyword to dflow's, as ``clean_ouput_dir="clean_output_dir"``; None counts as not passed

    Notes
    -----
    The signature that is shown stays the function's own.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            for name in unused:
                kwargs.pop(name, None)
            for theirs, ours in renamed.items():
                value = kwargs.pop(theirs, None)
                if value is not None:
                    kwargs[ours] = value
            return function(*args, **kwargs)

        return call

    return decorate
