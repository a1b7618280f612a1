"""An array against what is known of it: the schema's declaration or the table of standard arrays."""

from __future__ import annotations

import logging
import math
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dflow.errors import NonFiniteError
from dflow.schema import NanPolicy, Schema, cast_array, fit_array, resolve_array, resolve_group, value_nan_policy

logger = logging.getLogger(__name__)


def fit_to_schema(schema: Schema, group: str, name: str, array: NDArray[Any]) -> NDArray[Any]:
    """The array as declared: face matrices flattened, cast, checked. A standard array may have any rank if undeclared.

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
    """Apply the array's policy for NaN and inf; `policy` where neither the schema nor the standard table says one.

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
    _raise_or_warn(fault, "where they are meant, declare the array with nan_policy='allow'", policy)


def check_finite_value(schema: Schema, name: str, value: Any, *, policy: NanPolicy) -> None:
    """The same for a flat metadata value, one number per sample. Lists and branches are nobody's column: kept as given.

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
    warnings.warn(fault, RuntimeWarning, stacklevel=5)
