"""Lists of names that also take part in the arithmetic of sets, as HOOPS AI's results do."""

from __future__ import annotations

from collections.abc import Set
from typing import Any


class Names(list[str]):
    """A list of names whose operators with a set (``-``, ``&``, ``|``, ``^``, ``==``, ``<=``) are those of sets."""

    __hash__ = None

    def __eq__(self, other: object) -> bool:
        return set(self) == other if isinstance(other, Set) else super().__eq__(other)

    def __le__(self, other: Any) -> bool:
        return set(self) <= other if isinstance(other, Set) else super().__le__(other)

    def __ge__(self, other: Any) -> bool:
        return set(self) >= other if isinstance(other, Set) else super().__ge__(other)

    def __sub__(self, other: Any) -> set[str]:
        return set(self) - set(other)

    def __rsub__(self, other: Any) -> set[str]:
        return set(other) - set(self)

    def __and__(self, other: Any) -> set[str]:
        return set(self) & set(other)

    def __or__(self, other: Any) -> set[str]:
        return set(self) | set(other)

    def __xor__(self, other: Any) -> set[str]:
        return set(self) ^ set(other)

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__
