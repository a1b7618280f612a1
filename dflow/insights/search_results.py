"""Read results of similarity searches in any of the forms that searches return."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_ID_NAMES = ("file_id", "id", "file_id_code", "index")
_SCORE_NAMES = ("score", "similarity", "distance")


@dataclass(frozen=True, slots=True)
class SearchResult:
    """One result: a file id and its score, if the search returned one."""

    file_id: int
    score: float | None = None


def read_results(hits: Iterable[Any]) -> list[SearchResult]:
    """Read file ids, (id, score) pairs, mappings or objects with ids and scores, in their order.

    Raises
    ------
    TypeError
        If a result has no file id.
    """
    return [_read_result(hit) for hit in hits]


def _read_result(hit: Any) -> SearchResult:
    if isinstance(hit, (tuple, list)) and len(hit) == 2:
        return SearchResult(int(hit[0]), float(hit[1]))
    if isinstance(hit, Mapping):
        file_id, score = _first(hit.get, _ID_NAMES), _first(hit.get, _SCORE_NAMES)
    elif hasattr(hit, "__index__"):
        return SearchResult(int(hit))
    else:
        file_id, score = (_first(lambda name: getattr(hit, name, None), names) for names in (_ID_NAMES, _SCORE_NAMES))
    if file_id is None:
        raise TypeError(f"{hit!r} has no file id; expected one of {', '.join(_ID_NAMES)}")
    return SearchResult(int(file_id), None if score is None else float(score))


def _first(get: Any, names: tuple[str, ...]) -> Any:
    return next((value for value in map(get, names) if value is not None and not callable(value)), None)
