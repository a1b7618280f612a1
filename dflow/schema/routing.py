"""Kinds of metadata values: numbers per file, or classes per file."""

from __future__ import annotations

import numbers
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from dflow.schema.model import Route, Schema


def route(schema: Schema, field: str, value: Any) -> Route:
    """Return the kind of metadata `field`: declared, else by pattern, else by the type of its value.

    Patterns are wildcards whose case is ignored; a field that both file-level and categorical patterns match is
    file-level. By type, numbers are file-level; text and bools are categorical, unless the schema sets other defaults.

    Parameters
    ----------
    schema : declares the field, or not
    field : its name
    value : of the field; only its type matters
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
