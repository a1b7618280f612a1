"""The union of two schemas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from dflow.errors import SchemaError
from dflow.schema.model import ArraySpec, FieldSpec, GroupSpec, Routing, Schema

_T = TypeVar("_T")


def merge_schemas(first: Schema, second: Schema) -> Schema:
    """Return the union of two schemas; of texts (version, domain, descriptions) the first schema's win.

    Parameters
    ----------
    first, second : schemas that do not contradict each other

    Raises
    ------
    SchemaError
        If the two contradict each other: in the row dimension of a group, the dimensions or dtype of an array, the
        dtype, codes or kind of a field, or the routing rules. The message names it.
    """
    if first is second:
        return first
    groups = dict(first.groups)
    for name, group in second.groups.items():
        groups[name] = _merge_groups(groups[name], group) if name in groups else group
    file_level = _merge_fields(first.file_level, second.file_level)
    categorical = _merge_fields(first.categorical, second.categorical)
    if both := sorted(file_level.keys() & categorical.keys()):
        raise SchemaError(
            f"metadata field {both[0]!r} is file-level in one schema and categorical in the other; declare both alike"
        )
    return Schema(
        version=first.version or second.version,
        domain=first.domain or second.domain,
        description=first.description or second.description,
        groups=groups,
        file_level=file_level,
        categorical=categorical,
        routing=_merge_routing(first.routing, second.routing),
    )


def _merge_groups(first: GroupSpec, second: GroupSpec) -> GroupSpec:
    _agree(f"group {first.name!r}: primary dimension", first.dimension, second.dimension)
    arrays = dict(first.arrays)
    for name, spec in second.arrays.items():
        arrays[name] = _merge_arrays(f"{first.name}/{name}", arrays[name], spec) if name in arrays else spec
    return replace(
        first,
        arrays=arrays,
        description=first.description or second.description,
        special_processing=first.special_processing or second.special_processing,
    )


def _merge_arrays(key: str, first: ArraySpec, second: ArraySpec) -> ArraySpec:
    _agree(f"array {key!r}: dims", first.dims, second.dims)
    _agree(f"array {key!r}: dtype", first.dtype, second.dtype)
    return replace(
        first,
        description=first.description or second.description,
        fill_value=_agree(f"array {key!r}: fill_value", first.fill_value, second.fill_value),
        nan_policy=_agree(f"array {key!r}: nan_policy", first.nan_policy, second.nan_policy),
        rules={**second.rules, **first.rules},
        refers_to=_agree(f"array {key!r}: refers_to", first.refers_to or None, second.refers_to or None) or "",
        values=_agree_listed(f"array {key!r}: values", first.values, second.values),
        labels=_agree_listed(f"array {key!r}: labels", first.labels, second.labels),
        required=first.required or second.required,
    )


def _merge_fields(first: Mapping[str, FieldSpec], second: Mapping[str, FieldSpec]) -> dict[str, FieldSpec]:
    fields = dict(first)
    for name, spec in second.items():
        fields[name] = _merge_field(fields[name], spec) if name in fields else spec
    return fields


def _merge_field(first: FieldSpec, second: FieldSpec) -> FieldSpec:
    where = f"metadata field {first.name!r}"
    _agree(f"{where}: dtype", first.dtype, second.dtype)
    return replace(
        first,
        description=first.description or second.description,
        values=_agree_listed(f"{where}: values", first.values, second.values),
        labels=_agree_listed(f"{where}: labels", first.labels, second.labels),
        required=first.required or second.required,
        nan_policy=_agree(f"{where}: nan_policy", first.nan_policy, second.nan_policy),
        rules={**second.rules, **first.rules},
    )


def _merge_routing(first: Routing, second: Routing) -> Routing:
    if first == Routing():
        return second
    return first if second == Routing() else _agree("routing rules", first, second)


def _agree_listed(what: str, first: tuple[_T, ...], second: tuple[_T, ...]) -> tuple[_T, ...]:
    return _agree(what, first, second) if first and second else first or second


def _agree(what: str, first: _T, second: _T) -> _T:
    """The value that is not None; an error if both are given and differ."""
    if first is None:
        return second
    if second is None or repr(first) == repr(second):  # repr: NaN fill values are equal
        return first
    raise SchemaError(f"{what} is {first!r} in one schema and {second!r} in the other; declare both alike")
