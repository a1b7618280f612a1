"""Read results of similarity searches in any of the forms that searches return."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

_ID_NAMES = ("file_id", "id", "file_id_code", "index", "name", "file")
_SCORE_NAMES = ("score", "similarity", "distance")


@dataclass(frozen=True, slots=True)
class SearchResult:
    """One result: a file id or a file's name or path, and its score, if the search returned one."""

    file_id: int | str
    score: float | None = None


def read_results(hits: Iterable[Any]) -> list[SearchResult]:
    """Read file ids or names, (id, score) pairs, mappings or objects with ids and scores, in their order; of a list of
    lists, which has one per query, the first.

    Raises
    ------
    TypeError
        If a result has no file id.
    """
    found = list(hits)
    if (
        found
        and isinstance(found[0], list)
        and not (len(found[0]) == 2 and isinstance(found[0][1], (float, np.floating)))
    ):
        found = found[0]
    return [_read_result(hit) for hit in found]


def _read_result(hit: Any) -> SearchResult:
    if isinstance(hit, (tuple, list)) and len(hit) == 2:
        return SearchResult(_id(hit[0]), float(hit[1]))
    if isinstance(hit, Mapping):
        file_id, score = _first(hit.get, _ID_NAMES), _first(hit.get, _SCORE_NAMES)
    elif hasattr(hit, "__index__") or isinstance(hit, (str, os.PathLike)):
        return SearchResult(_id(hit))
    else:
        file_id, score = (_first(lambda name: getattr(hit, name, None), names) for names in (_ID_NAMES, _SCORE_NAMES))
    if file_id is None:
        raise TypeError(f"{hit!r} has no file id; expected one of {', '.join(_ID_NAMES)}")
    return SearchResult(_id(file_id), None if score is None else float(score))


def _id(found: Any) -> int | str:
    return os.fspath(found) if isinstance(found, (str, os.PathLike)) else int(found)


def _first(get: Any, names: tuple[str, ...]) -> Any:
    return next((value for value in map(get, names) if value is not None and not callable(value)), None)
