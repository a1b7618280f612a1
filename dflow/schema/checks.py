"""Check values against their declarations, and cast them where no value changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dflow.errors import SchemaError
from dflow.records import Scalar
from dflow.schema.model import ArraySpec, FieldSpec, Schema
from dflow.schema.names import nearest

_ADVICE = "convert the data, or change the declared dtype"


@lru_cache(maxsize=64)
def dtype_name(dtype: np.dtype[Any]) -> str:
    """The dtype's name in schemas: numpy's, and ``str`` for text of any kind.

    Parameters
    ----------
    dtype : numpy's
    """
    return "str" if dtype.kind in "UT" else dtype.name  # numpy composes the name at every call


def is_text(array: NDArray[Any]) -> bool:
    """Whether the array's elements are text."""
    return array.dtype.kind in "UT"


def fit_array(array: NDArray[Any], spec: ArraySpec, where: str) -> NDArray[Any]:
    """Return the array in the declared dtype after checking its rank and rules.

    Casts are made from numbers and bools to a float (integers beyond 2**24 lose digits in float32), between floats,
    from integers and bools to an integer that holds all values, and from whole floats to an integer.

    Parameters
    ----------
    array : of any dtype
    spec : its declaration
    where : what error messages begin with: the array's key

    Raises
    ------
    SchemaError
        If the rank differs, the dtype cannot be cast without changing values (text, fractions to integers, overflow,
        numbers to bool or text), a value breaks a rule, or it is none of the declared values and labels.
    """
    if array.ndim != len(spec.dims):
        raise SchemaError(
            f"{where}: the schema declares the dimensions {list(spec.dims)}, the data has shape {array.shape}; "
            "save data of that many dimensions, or change the declaration"
        )
    if spec.labels and is_text(array) and spec.dtype != "str":
        array = _codes_of(array, spec, where)
    array = cast_array(array, spec.dtype, where)
    check_rules(array, spec.rules, where)
    if spec.values or spec.labels:
        _check_classes(array, spec, where)
    return array


def _codes_of(array: NDArray[Any], spec: ArraySpec, where: str) -> NDArray[Any]:
    """Encode names of classes as their codes."""
    codes = {name: code for code, name in spec.class_names.items()}
    words = array.ravel().tolist()
    for word in words:
        if word not in codes:
            raise SchemaError(
                f"{where}: {word!r} is not one of the declared labels {list(spec.labels)}{hint(word, spec.labels)}; "
                "save one of them or its code"
            )
    return np.array([codes[word] for word in words], spec.dtype).reshape(array.shape)


def _check_classes(array: NDArray[Any], spec: ArraySpec, where: str) -> None:
    names = spec.class_names
    if spec.values or spec.dtype == "str":
        broken = ~np.isin(array, np.array(list(names), array.dtype))
    else:
        broken = array.astype(np.int64) >= len(names)
    if count := int(np.count_nonzero(broken)):
        first = array[broken].ravel()[0]
        raise SchemaError(
            f"{where}: {count} of {array.size} values are none of the declared {list(names)}; the first is {first!s}"
            f"{hint(first, names)}; save declared values, or declare this one"
        )


def nearest_key(key: str, others: Iterable[str]) -> str:
    """The key ``group/array`` of some others that has the same array name, else the most similar one; "" if none is."""
    by_name: dict[str, str] = {}
    for other in sorted(others):
        by_name.setdefault(other.rpartition("/")[2], other)
    found = nearest(key.rpartition("/")[2], by_name)
    return by_name[found] if found else ""


def hint(word: Any, known: Iterable[Any]) -> str:
    """A hint at the text in `known` that is most like `word`, to put into a message; "" if none is."""
    texts = [text for text in known if isinstance(text, str)]
    found = nearest(word, texts) if isinstance(word, str) else ""
    return f" (is {found!r} meant?)" if found else ""


def cast_array(array: NDArray[Any], dtype: str, where: str) -> NDArray[Any]:
    """Return the array in the declared dtype; see `fit_array` for the casts that are made.

    Parameters
    ----------
    array : of any dtype
    dtype : the declared one
    where : what error messages begin with: the array's key

    Raises
    ------
    SchemaError
        If the cast would change values.
    """
    if dtype_name(array.dtype) == dtype:
        return array
    target = np.dtype(np.str_ if dtype == "str" else dtype)
    if target.kind in "Ub" or is_text(array) or (array.dtype.kind == "c" and target.kind != "c"):
        raise SchemaError(f"{where}: the schema declares {dtype}, the data is {array.dtype}; {_ADVICE}")
    with np.errstate(over="ignore", invalid="ignore"):
        cast = array.astype(target)
    if target.kind in "iu":
        _check_integers(array, cast, dtype, where)
    elif target.kind == "f" and bool(np.any(np.isinf(cast) & np.isfinite(array))):
        raise SchemaError(f"{where}: values are too large for the declared {dtype}; {_ADVICE}")
    return cast


def _check_integers(array: NDArray[Any], cast: NDArray[Any], dtype: str, where: str) -> None:
    if array.dtype.kind == "f":
        limits = np.iinfo(dtype)
        same = bool(np.all((array >= limits.min) & (array < float(limits.max) + 1) & (array == np.trunc(array))))
    else:
        same = bool(np.all(cast == array))  # numpy compares integers of any two types exactly
    if not same:
        raise SchemaError(
            f"{where}: the schema declares {dtype}, which cannot hold all values of the {array.dtype} data; {_ADVICE}"
        )


def check_rules(array: NDArray[Any], rules: Mapping[str, Any], where: str) -> None:
    """Check ``min_value``, ``max_value`` and ``allowed_values``; NaN breaks neither bound.

    Raises
    ------
    SchemaError
        If values break a rule; the message has their number and the first of them.
    """
    if not rules or not array.size:
        return
    numeric = array.dtype.kind in "biuf"
    for key, broken in (("min_value", np.less), ("max_value", np.greater)):
        if numeric and rules.get(key) is not None:
            _refuse(array, broken(array, rules[key]), f"{key} {rules[key]}", where)
    if allowed := rules.get("allowed_values"):
        _refuse(array, ~np.isin(array, np.asarray(list(allowed))), f"allowed_values {list(allowed)}", where)


def _refuse(array: NDArray[Any], broken: NDArray[np.bool_], rule: str, where: str) -> None:
    if count := int(np.count_nonzero(broken)):
        first = array[broken].ravel()[0]
        raise SchemaError(
            f"{where}: {count} of {array.size} values break {rule}; the first is {first}; "
            "correct the values, or change the declaration"
        )


def check_field(schema: Schema, name: str, value: Any) -> Any:
    """Return a metadata value as declared; a value of an undeclared field is returned unchanged.

    A categorical field of integers also takes text: a declared label becomes its code; if neither labels nor values
    are declared, text is kept and gets its code at the merge. None means a missing value and always passes.

    Parameters
    ----------
    schema : declares the field, or not
    name : of the field
    value : to be saved

    Raises
    ------
    SchemaError
        If the value does not fit the declared dtype, values or rules.
    """
    spec = schema.field(name)
    if spec is None or value is None:
        return value
    where = f"metadata {name!r}"
    if isinstance(value, (dict, list, tuple)) or (isinstance(value, np.ndarray) and value.ndim):
        raise SchemaError(
            f"{where}: the schema declares one {spec.dtype} per sample, found {type(value).__name__}; "
            "save one value, or an array with save_data"
        )
    if isinstance(value, str) and spec.dtype != "str" and name in schema.categorical:
        return _label_code(spec, value, where)
    return _check_scalar(spec, value, where)


def _label_code(spec: FieldSpec, value: str, where: str) -> Scalar:
    if value in spec.labels:
        index = spec.labels.index(value)
        return spec.values[index] if spec.values else index
    if spec.labels or spec.values:
        raise SchemaError(
            f"{where}: {value!r} is not one of the declared labels {list(spec.labels)}{hint(value, spec.labels)}; "
            "save one of them or its code"
        )
    return value


def _check_scalar(spec: FieldSpec, value: Any, where: str) -> Any:
    array = np.asarray(value)
    if array.dtype.kind not in "biufcU":
        raise SchemaError(f"{where}: the schema declares {spec.dtype}, found {type(value).__name__}; {_ADVICE}")
    cast = cast_array(array, spec.dtype, where)
    if spec.values and cast.item() not in spec.values:
        raise SchemaError(
            f"{where}: {value!r} is not one of the declared values {list(spec.values)}{hint(value, spec.values)}; "
            "save one of them"
        )
    check_rules(cast, spec.rules, where)
    if spec.dtype.startswith("float"):
        return float(array)  # the declared width is applied by the merge, which stores arrays; JSON keeps all digits
    return cast.item()
