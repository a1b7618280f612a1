"""Where a metadata value goes: with the numbers per file, or with the classes."""

from __future__ import annotations

import numbers
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from dflow.schema.model import Route, Schema


def route(schema: Schema, field: str, value: Any) -> Route:
    """Where metadata `field` belongs: an explicit declaration beats a pattern, a pattern beats the type's default.

    Patterns are wildcards without regard to case; a field that file-level and categorical patterns both match is
    file-level. By type, numbers are file-level; text and bools are categorical.

    Parameters
    ----------
    schema : which may declare the field
    value : the field's, whose type counts
    """
    if field in schema.categorical:
        return "categorical"
    if field in schema.file_level:
        return "file_level"
    routing = schema.routing
    if _matches(field, routing.file_level_patterns):
        return "file_level"
    if _matches(field, routing.categorical_patterns):
        return "categorical"
    if isinstance(value, (bool, np.bool_)):
        return routing.default_categorical
    if isinstance(value, str):
        return routing.default_string
    return routing.default_numeric if isinstance(value, numbers.Number) else routing.default_categorical


def _matches(field: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(field.casefold(), pattern.casefold()) for pattern in patterns)
