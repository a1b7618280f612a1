"""Attributes of the dataset's arrays, as the CF conventions have them (sections 2.6, 3.1, 3.3 and 3.5)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from dflow.dataset.format.layout import ArrayTarget
from dflow.dataset.format.tables import table_of
from dflow.dataset.merge.columns import Vocabulary
from dflow.schema import FILE_GROUP, Schema
from dflow.schema.standard_arrays import resolve_array, standard_units

MAX_FLAGS = 256
"""Classes up to which an array's metadata lists them; longer vocabularies stand in the `.attribset` alone."""


ROW_SAMPLE = dict.fromkeys(("description", "long_name"), "the row's sample")


def described(schema: Schema, group: str, name: str) -> dict[str, str]:
    """Return ``description``, the same as ``long_name``, and ``units`` of an array or file value, as far as they are
    known: declared (units by the annotation ``units`` or ``unit``), else those of the standard array of that name.
    """
    field = schema.field(name) if group == FILE_GROUP else None
    known = field or resolve_array(schema, group, name)
    found: dict[str, str] = {}
    if known is not None and known.description:
        found = {"description": known.description, "long_name": known.description}
    declared = {} if known is None else known.rules
    units = declared.get("units") or declared.get("unit") or standard_units(group, name)
    return {**found, "units": str(units)} if units else found


def with_flags(target: ArrayTarget, tables: Mapping[str, Vocabulary]) -> ArrayTarget:
    """Return an array of codes with ``flag_values`` and ``flag_meanings``, from its table in `.attribset`; others as
    they are.
    """
    rows = table_of(tables, target.group, target.name)
    if not rows or len(rows) > MAX_FLAGS or np.dtype(target.dtype).kind not in "iu":
        return target
    flags = {"flag_values": [code for code, _, _ in rows], "flag_meanings": " ".join(meaning(n) for _, n, _ in rows)}
    return replace(target, attributes=(*target.attributes, *flags.items()))


def meaning(word: Any) -> str:
    """Return a class's name as one word, which blanks separate from others: letters, digits and ``_ - . + @``."""
    return re.sub(r"[^\w.+@-]+", "_", str(word)).strip("_") or "_"
