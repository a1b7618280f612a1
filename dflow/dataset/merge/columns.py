"""Columns of the merged dataset with one value per sample, from the samples' metadata. Pure functions.

Numbers become arrays of group ``file``. Categorical values become int32 codes with a vocabulary: numbers keep their
code, text gets codes 0.. in sorted order. Text of kind ``file_level``, and the JSON of lists and branches, stays text
and is stored in `.infoset` only: Zarr stays numeric.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dflow.dataset.format.layout import fill_scalar
from dflow.errors import SchemaError
from dflow.records import SampleRecord, Scalar, ShardRecord
from dflow.schema import FieldSpec, Schema, route, standard_array
from dflow.storage.sample import NOT_SET

_INT32 = np.iinfo(np.int32)
_TYPES = {"str": str, "bool": bool, "int": int, "float": float}
"""Python's types by `ResolvedField.kind`."""

Vocabulary = tuple[tuple[int, str, str], ...]
"""(id, name, description), ascending by id: one table of `.attribset`."""


@dataclass(frozen=True, slots=True)
class ResolvedField:
    """A metadata field of the dataset: `dtype` as stored ("str": only in `.infoset`), `kind` of its values."""

    name: str
    dtype: str
    kind: str
    categorical: bool
    spec: FieldSpec | None = None


@dataclass(frozen=True, slots=True, eq=False)
class FileColumn:
    """One value per sample, in id order.

    `values` is (n_samples,) of the stored dtype, or object of `str` and None for text; `present` is (n_samples,)
    bool, None if all samples have the value; `vocabulary` has the names of the codes of a categorical column (None for
    others); `derived` columns are added by the merge and are not in `.infoset`.
    """

    name: str
    values: NDArray[Any]
    present: NDArray[np.bool_] | None = None
    vocabulary: Vocabulary | None = None
    derived: bool = False

    @property
    def is_text(self) -> bool:
        """Whether the column is text, which is not in Zarr."""
        return self.values.dtype == object


def gather_values(records: Sequence[SampleRecord]) -> dict[str, dict[int, Scalar]]:
    """The samples' metadata by field, then by index of the sample. Fields are sorted by name."""
    fields: dict[str, dict[int, Scalar]] = {}
    for index, record in enumerate(records):
        for name, value in record.values:
            fields.setdefault(name, {})[index] = value
    return dict(sorted(fields.items()))


def resolve_fields(
    fields: Mapping[str, Mapping[int, Scalar]], schema: Schema
) -> tuple[dict[str, ResolvedField], dict[int, list[str]]]:
    """The fields of the dataset, and the reasons by indices of rejected samples.

    Declared fields are as in the schema; others are text or numbers by majority. Integers among floats become floats,
    bools among numbers become 0 and 1: neither is a contradiction.
    """
    resolved: dict[str, ResolvedField] = {}
    faults: dict[int, list[str]] = {}
    for name in sorted(fields.keys() | schema.file_level.keys() | schema.categorical.keys()):
        values = fields.get(name, {})
        field = resolved[name] = _resolve_field(name, values, schema)
        for index, value in values.items() if not _surely_fit(field, values.values()) else ():
            if fault := _fault(field, value):
                faults.setdefault(index, []).append(f"metadata {name!r}: {fault}")
    return resolved, faults


def _resolve_field(name: str, values: Mapping[int, Scalar], schema: Schema) -> ResolvedField:
    spec = schema.field(name)
    kind = _majority_kind(values.values()) if values else ""
    if spec is not None:
        declared_kind = _kind_of_dtype(spec.dtype)
        categorical = name in schema.categorical
        # A categorical integer without declared codes may also be text, which gets its codes at the merge.
        if not (categorical and kind == "str" and not spec.values and not spec.labels):
            kind = declared_kind
        return ResolvedField(name, "int32" if categorical else spec.dtype, kind, categorical, spec)
    if (standard := standard_array("file", name)) is not None and kind != "str":
        return ResolvedField(name, standard.dtype, _kind_of_dtype(standard.dtype), False)
    if kind == "str" and all(_is_json(value) for value in values.values()):
        return ResolvedField(name, "str", "str", False)
    categorical = route(schema, name, {"str": "", "bool": False}.get(kind, 0)) == "categorical"
    dtype = {"str": "str", "bool": "bool", "int": "int64"}.get(kind, "float64")
    return ResolvedField(name, "int32" if categorical else dtype, kind, categorical)


def _is_json(value: Scalar) -> bool:
    """Whether a text is a list or a branch of metadata, which is no category."""
    if not isinstance(value, str) or value[:1] not in ("[", "{"):
        return False
    try:
        return isinstance(json.loads(value), (list, dict))
    except ValueError:
        return False


def _majority_kind(values: Iterable[Scalar]) -> str:
    """The kind "str" by majority, else the widest kind of numbers."""
    counts = Counter(map(type, values))
    if 2 * counts[str] > counts.total():
        return "str"
    return next(kind.__name__ for kind in (float, int, bool) if kind in counts)


def _kind_of_dtype(dtype: str) -> str:
    return "str" if dtype == "str" else {"b": "bool", "i": "int", "u": "int"}.get(np.dtype(dtype).kind, "float")


def _surely_fit(field: ResolvedField, values: Collection[Scalar]) -> bool:
    """Whether one check of all values shows that none has a fault: most fields have values of one kind."""
    if set(map(type, values)) != {_TYPES.get(field.kind)}:
        return False
    if field.kind != "int" or field.categorical:
        return True
    low, high = _limits(field.dtype)
    return low <= int(min(values)) and int(max(values)) <= high


def _fault(field: ResolvedField, value: Scalar) -> str | None:
    """Why the value does not fit its field; None if it does."""
    if (field.kind == "str") != isinstance(value, str):
        return f"{value!r} contradicts {_authority(field)}: {field.kind}"
    if field.kind == "int" and isinstance(value, float) and not value.is_integer():
        return f"{value!r} is no integer, which {_authority(field)} requires"
    if field.kind == "int" and not field.categorical:
        low, high = _limits(field.dtype)
        if not low <= int(value) <= high:
            return f"{value!r} does not fit into {field.dtype}"
    if field.kind == "bool" and not isinstance(value, bool) and value not in (0, 1):
        return f"{value!r} is no bool, which {_authority(field)} requires"
    return None


@cache
def _limits(dtype: str) -> tuple[int, int]:
    limits = np.iinfo(dtype)
    return int(limits.min), int(limits.max)


def _authority(field: ResolvedField) -> str:
    return "the schema" if field.spec is not None else "the majority of the samples"


def build_columns(
    fields: Mapping[str, Mapping[int, Scalar]], resolved: Mapping[str, ResolvedField], order: NDArray[np.intp]
) -> list[FileColumn]:
    """The columns, sorted by name, of the samples `order`: indices into the records, in id order."""
    columns, indices = [], order.tolist()
    for name in sorted(resolved):
        values = fields.get(name, {})
        found = [values.get(index) for index in indices]
        columns.append(
            _categorical(resolved[name], found) if resolved[name].categorical else _plain(resolved[name], found)
        )
    return columns


def _plain(field: ResolvedField, found: Sequence[Scalar | None]) -> FileColumn:
    present = _present(found)
    if field.dtype == "str":
        return FileColumn(field.name, np.array([*found, None], object)[:-1], present)
    if present is None:
        return FileColumn(field.name, np.fromiter(found, field.dtype, len(found)), present)
    fill = fill_scalar(field.dtype, None, what=f"metadata {field.name!r}")
    values = np.full(len(found), fill, field.dtype)
    for index, value in enumerate(found):
        if value is not None:
            values[index] = value
    return FileColumn(field.name, values, present)


def _present(found: Sequence[Scalar | None]) -> NDArray[np.bool_] | None:
    if None not in found:
        return None
    return np.fromiter((value is not None for value in found), bool, len(found))


def _categorical(field: ResolvedField, found: Sequence[Scalar | None]) -> FileColumn:
    known = [None if isinstance(value, float) and math.isnan(value) else value for value in found]
    codes, vocabulary = _encode(field, {value for value in known if value is not None})
    values = np.fromiter((-1 if value is None else codes[value] for value in known), np.int32, len(known))
    return FileColumn(field.name, values, _present(known), vocabulary)


def _encode(field: ResolvedField, seen: set[Scalar]) -> tuple[dict[Scalar, int], Vocabulary]:
    """The code of each value, and the table that inverts it. Equal numbers (1, 1.0, True) have one code."""
    if field.kind == "str":
        return _encode_text(field, {str(value) for value in seen})
    declared = _declared_labels(field)
    numbers = sorted(seen | set(declared))
    keep = all(_is_whole(number) and _INT32.min <= int(number) <= _INT32.max for number in numbers)
    codes: dict[Scalar, int] = {number: int(number) if keep else i for i, number in enumerate(numbers)}
    rows = tuple((codes[n], declared.get(n) or _number_name(field, n), NOT_SET) for n in numbers)
    return codes, rows


def _encode_text(field: ResolvedField, seen: set[str]) -> tuple[dict[Scalar, int], Vocabulary]:
    spec = field.spec
    declared: dict[str, str] = {}
    if spec is not None:
        words, labels = map(str, spec.values or spec.labels), spec.labels or map(str, spec.values)
        declared = dict(zip(words, labels, strict=False))
    codes: dict[Scalar, int] = {word: code for code, word in enumerate(sorted(seen | set(declared)))}
    rows = [(code, str(word), declared.get(str(word), "")) for word, code in codes.items()]
    return codes, tuple((code, word, label if label not in ("", word) else NOT_SET) for code, word, label in rows)


def _declared_labels(field: ResolvedField) -> dict[Scalar, str]:
    """The declared codes of a numeric categorical field and their names; labels alone are numbered from 0."""
    if field.spec is None:
        return {}
    values, labels = field.spec.values, field.spec.labels
    codes: Sequence[Scalar] = values or range(len(labels))
    if any(isinstance(code, str) for code in codes):
        raise SchemaError(
            f"categorical field {field.name!r}: values {values!r} are no {field.spec.dtype}; declare dtype 'str'"
        )
    return dict(zip(codes, [*labels, *("" for _ in codes[len(labels) :])], strict=False))


def _is_whole(number: Scalar) -> bool:
    return isinstance(number, int) or float(number).is_integer()


def _number_name(field: ResolvedField, number: Scalar) -> str:
    if field.kind == "bool":
        return str(bool(number))
    return str(int(number)) if _is_whole(number) else repr(number)


@dataclass(frozen=True, slots=True, eq=False)
class Vocabularies:
    """The sorted words of each text array, by ``group/name``, and those of each block, by (group, index).

    A word's code is its index in the sorted vocabulary, so codes do not depend on the order of work. A node gets the
    codes of its block's words only: names that are unique per face would otherwise all be sent to every node.
    """

    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    in_blocks: Mapping[tuple[str, int], Mapping[str, tuple[str, ...]]] = field(default_factory=dict)

    def codes(self, group: str, index: int) -> dict[str, dict[str, int]]:
        """The codes of the words of one block, by text array."""
        found = self.in_blocks.get((group, index), {})
        return {key: {word: bisect_left(self.words[key], word) for word in words} for key, words in found.items()}


def unite(declared: Mapping[str, Iterable[str]], records: Iterable[ShardRecord]) -> Vocabularies:
    """Unite the declared words of each text array, by ``group/name``, and those that nodes gathered per block."""
    words: dict[str, set[str]] = {key: set(known) for key, known in declared.items()}
    in_blocks = {}
    for record in records:
        in_blocks[record.group, record.shard_index] = record.words
        for key, found in record.words.items():
            words[key].update(found)
    return Vocabularies({key: tuple(sorted(found)) for key, found in words.items()}, in_blocks)
