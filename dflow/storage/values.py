"""Convert users' data to storable values: arrays of numbers, bools or text; metadata that JSON can hold."""

from __future__ import annotations

import datetime
import enum
import json
import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dflow.config import MAX_STORE_BYTES
from dflow.errors import StoreLimitError, UnsupportedDataError

_MAX_DEPTH = 32
_MAX_ITEMS = 100_000
_MAX_TEXT = 64 * 1024
_TEXT = np.dtypes.StringDType()
_NUMERIC_BYTES = {"b": (1,), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "f": (2, 4, 8), "c": (8, 16)}


def storable_array(data: Any, where: str) -> NDArray[Any]:
    """Return a copy of `data`: C-contiguous, native byte order, a numeric dtype, bool, or numpy's `StringDType`.

    Parameters
    ----------
    where : what the error messages begin with: the key

    Raises
    ------
    UnsupportedDataError
        If it holds objects, bytes, dates, records, missing values, or lists of different lengths.
    StoreLimitError
        If it is larger than the limit of a store.
    """
    if isinstance(data, np.ma.MaskedArray) and np.ma.is_masked(data):
        raise UnsupportedDataError(f"{where}: a masked array would lose its mask; use .filled(value)")
    try:
        array = np.asarray(data)
    except (ValueError, TypeError) as error:
        raise UnsupportedDataError(f"{where}: {type(data).__name__} is no array: {error}; {_advice('O')}") from error
    if array.nbytes > MAX_STORE_BYTES:
        raise StoreLimitError(
            f"{where}: {array.nbytes:,} bytes, a store's limit is {MAX_STORE_BYTES:,}; split the sample"
        )
    kind = array.dtype.kind
    if array.dtype.itemsize in _NUMERIC_BYTES.get(kind, ()):
        return np.array(array, dtype=array.dtype.newbyteorder("="), order="C", copy=True, subok=False)
    if kind in "UTO" and array.size and all(isinstance(text, str) for text in array.ravel().tolist()):
        return _text_array(array, where)
    if kind in "UT":
        return np.empty(array.shape, dtype=_TEXT)
    raise UnsupportedDataError(f"{where}: arrays of {_kind_name(array)} cannot be stored; {_advice(kind)}")


def _text_array(array: NDArray[Any], where: str) -> NDArray[Any]:
    try:
        return np.array(array.ravel().tolist(), dtype=_TEXT).reshape(array.shape)
    except UnicodeEncodeError as error:
        raise UnsupportedDataError(f"{where}: the text is not valid Unicode: {error}; decode it again") from error


def _kind_name(array: NDArray[Any]) -> str:
    if array.dtype.kind != "O":
        return str(array.dtype)
    others = {type(value).__name__ for value in array.ravel().tolist()[:1000]}
    return f"objects ({', '.join(sorted(others)[:3]) or 'none'})"


def _advice(kind: str) -> str:
    if kind in "mM":
        return (
            "convert dates and durations to int64 with .astype('int64') and state the unit in the schema's description"
        )
    if kind == "S":
        return "decode bytes to text first"
    return "use numbers, bools or text of equal lengths in every row"


def storable_metadata(value: Any, where: str, *, _depth: int = 0) -> Any:
    """Return a copy of `value` of types that JSON can hold; NaN and inf stay floats.

    numpy scalars and arrays become numbers and lists, dates ISO 8601 text, paths text, enums their values, tuples
    lists, dictionary keys text.

    Raises
    ------
    UnsupportedDataError
        If it is of another type, nested too deeply, too long, or an integer beyond 64 bits.
    """
    if value is None or isinstance(value, (bool, np.bool_)):
        return None if value is None else bool(value)
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (int, np.integer)):
        return _storable_int(int(value), where)
    if isinstance(value, (float, np.floating)):
        return float(value)
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else str(value)
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if _depth >= _MAX_DEPTH:
        raise UnsupportedDataError(f"{where}: nested more than {_MAX_DEPTH} deep; save fewer levels")
    return _storable_container(value, where, _depth + 1)


def json_words(value: Any) -> str:
    """The JSON text of a list or a branch of metadata, as in a cell of the `.infoset`."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def check_length(value: Any, where: str) -> None:
    """Refuse a list, an array or a branch that is too long for a cell of the `.infoset`.

    Raises
    ------
    UnsupportedDataError
        If it is longer than 64 KiB as JSON.
    """
    if not isinstance(value, (Mapping, list, tuple, np.ndarray)):
        return
    length = len(json_words(storable_metadata(value, where)))
    if length > _MAX_TEXT:
        raise UnsupportedDataError(
            f"{where}: {length:,} characters as JSON, at most {_MAX_TEXT:,} fit; save numbers with save_data"
        )


def _storable_int(value: int, where: str) -> int:
    if not -(2**63) <= value < 2**64:
        raise UnsupportedDataError(f"{where}: {value} does not fit 64 bits; save it as text")
    return value


def _storable_container(value: Any, where: str, depth: int) -> Any:
    if isinstance(value, np.ndarray):
        value = value.item() if value.ndim == 0 else value.tolist()
        return storable_metadata(value, where, _depth=depth)
    if isinstance(value, (Mapping, list, tuple)) and len(value) > _MAX_ITEMS:
        raise UnsupportedDataError(f"{where}: {len(value):,} values, at most {_MAX_ITEMS:,} fit; use save_data")
    if isinstance(value, Mapping):
        return {_key_text(k, where): storable_metadata(v, f"{where}[{k!r}]", _depth=depth) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [storable_metadata(item, where, _depth=depth) for item in value]
    raise UnsupportedDataError(
        f"{where}: metadata of type {type(value).__name__} cannot be stored; use text or numbers"
    )


def _key_text(key: Any, where: str) -> str:
    if isinstance(key, (bool, np.bool_)) or not isinstance(key, (str, int, np.integer)):
        raise UnsupportedDataError(f"{where}: a key is {type(key).__name__}; use text or integers as keys")
    return str(key)


def is_finite(value: Any) -> bool:
    """Whether storable metadata holds no NaN or inf anywhere."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(map(is_finite, value.values()))
    return all(map(is_finite, value)) if isinstance(value, list) else True
