"""Fit arrays and values to their declarations: those of the schema, else those of the table of standard arrays."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dflow.errors import NonFiniteError, SchemaError
from dflow.plaintext import get_logger, plain
from dflow.schema import (
    FILE_GROUP,
    NanPolicy,
    Schema,
    cast_array,
    fit_array,
    resolve_array,
    resolve_group,
    row_dimension,
    value_nan_policy,
)

logger = get_logger(__name__)


def fit_to_schema(schema: Schema, group: str, name: str, array: NDArray[Any]) -> NDArray[Any]:
    """Return the array as declared: face matrices flattened, cast to the dtype, checked against the rules.

    A standard array that the schema does not declare may have any rank.

    Raises
    ------
    SchemaError
        If it contradicts its declaration, see `dflow.schema.fit_array`.
    """
    spec = resolve_array(schema, group, name)
    if spec is None:
        return array
    where = f"array '{group}/{name}'"
    owner = resolve_group(schema, group)
    flattens = owner is not None and owner.special_processing == "matrix_flattening"
    if flattens and array.ndim == len(spec.dims) + 1 and array.shape[0] == array.shape[1]:
        array = array.reshape(array.shape[0] ** 2, *array.shape[2:])
    if schema.array(group, name) is not None:
        return fit_array(array, spec, where)
    return cast_array(array, spec.dtype, where) if array.ndim == len(spec.dims) else array


def check_finite(schema: Schema, group: str, name: str, array: NDArray[Any], *, policy: NanPolicy) -> None:
    """Apply the array's policy for NaN and inf; `policy` if neither the schema nor the standard table has one.

    Raises
    ------
    NonFiniteError
        If there are any and the policy is ``raise``.
    """
    if array.dtype.kind not in "fc" or bool(np.isfinite(array).all()):
        return
    spec = resolve_array(schema, group, name)
    policy = (spec.nan_policy if spec else None) or policy
    if policy == "allow":
        return
    count = int(array.size - np.count_nonzero(np.isfinite(array)))
    fault = f"array '{group}/{name}' holds {count} NaN or inf of {array.size} values"
    _raise_or_warn(fault, "if they are intended, declare the array with nan_policy='allow'", policy)


def check_finite_value(schema: Schema, name: str, value: Any, *, policy: NanPolicy) -> None:
    """Apply the policy for NaN and inf to a flat metadata value, one number per sample.

    Lists and branches make no column and are kept as they are.

    Raises
    ------
    NonFiniteError
        If it is NaN or inf and the policy is ``raise``.
    """
    if not isinstance(value, (float, np.floating)) or math.isfinite(value):
        return
    policy = value_nan_policy(schema, name) or policy
    if policy != "allow":
        advice = "save None where the value is missing, or declare the field with nan_policy='allow'"
        _raise_or_warn(f"metadata {name!r} is {value}", advice, policy)


def _raise_or_warn(fault: str, advice: str, policy: NanPolicy) -> None:
    if policy == "raise":
        raise NonFiniteError(f"{fault}; {advice}")
    logger.warning("%s", fault)
    warnings.warn(plain(fault), RuntimeWarning, stacklevel=5)


def sample_dimensions(schema: Schema, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[str, ...]]:
    """The dimension names of every array of a sample, by key ``group/array``.

    Declared names, else those of the standard array, else the group's row dimension and ``<array>_dim_<i>``. Where
    standard arrays of one group give one trailing dimension several sizes, each gets its own name
    (``d2_distance_bin``), because a dimension of an xarray dataset has one size.

    Raises
    ------
    SchemaError
        If arrays of one group differ in their number of rows, or declared arrays give a dimension several sizes.
    """
    dims = {key: _array_dimensions(schema, key, len(shape)) for key, shape in shapes.items()}
    sizes: dict[tuple[str, str], dict[int, list[str]]] = {}
    for key, shape in shapes.items():
        for dim, size in zip(dims[key], shape, strict=True):
            sizes.setdefault((key.partition("/")[0], dim), {}).setdefault(size, []).append(key)
    for (group, dim), owners in sizes.items():
        if len(owners) > 1:
            _check_conflict(schema, group, dim, owners)
            for key in (key for keys in owners.values() for key in keys):
                name = key.partition("/")[2]
                dims[key] = tuple(f"{name}_{dim}" if own == dim else own for own in dims[key])
    return dims


def _array_dimensions(schema: Schema, key: str, ndim: int) -> tuple[str, ...]:
    group, _, name = key.partition("/")
    spec = resolve_array(schema, group, name)
    if spec is not None and len(spec.dims) == ndim:
        return spec.dims
    if group == FILE_GROUP:
        return tuple(f"{name}_dim_{i}" for i in range(ndim))
    return (row_dimension(schema, group), *(f"{name}_dim_{i}" for i in range(1, ndim)))


def _check_conflict(schema: Schema, group: str, dim: str, owners: Mapping[int, list[str]]) -> None:
    is_row = group != FILE_GROUP and dim == row_dimension(schema, group)
    declared = any(schema.array(group, key.partition("/")[2]) for keys in owners.values() for key in keys)
    if is_row or declared:
        found = "; ".join(f"{', '.join(keys)}: {size}" for size, keys in sorted(owners.items()))
        what = "rows" if is_row else "sizes"
        raise SchemaError(f"group {group!r}: its arrays disagree on their {what} along {dim!r}: {found}")
