"""A schema as the public dictionary and as JSON text; HOOPS AI's doubly nested metadata is read too."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, get_args

import numpy as np

from dflow.errors import SchemaError
from dflow.records import Scalar
from dflow.schema.model import DTYPES, FILE_GROUP, ArraySpec, FieldSpec, GroupSpec, NanPolicy, Route, Routing, Schema
from dflow.schema.names import name_fault

SPECIAL_PROCESSING = ("matrix_flattening", "nested_edges")

_FIELD_KEYS = frozenset({"dtype", "description", "values", "labels", "required", "nan_policy", "validation_rules"})
_ARRAY_KEYS = _FIELD_KEYS | {"dims", "dimensions", "fill_value", "refers_to"}
_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}

_RULES = frozenset({"min_value", "max_value", "allowed_values", "unit", "units"})
ARRAY_ARGUMENTS = _ARRAY_KEYS | _RULES
FIELD_ARGUMENTS = _FIELD_KEYS | _RULES
"""Known arguments of an array and of a field. Others in a file are annotations, and are kept."""


def parse_schema(document: Mapping[str, Any]) -> Schema:
    """Return the checked schema of a public dictionary.

    HOOPS AI writes ``metadata`` nested twice; both forms are read.

    Parameters
    ----------
    document : as `SchemaBuilder.build` returns it, or a JSON file's content

    Raises
    ------
    SchemaError
        If the document contradicts itself; the message names the group, array or field.
    """
    document = _mapping(document, "the schema")
    metadata = _mapping(document.get("metadata") or {}, "metadata")
    if isinstance(metadata.get("metadata"), Mapping) and "dtype" not in metadata["metadata"]:
        metadata = {**metadata, **metadata["metadata"]}
    groups = {name: _parse_group(name, spec) for name, spec in _mapping(document.get("groups") or {}, "groups").items()}
    file_level = _parse_fields(metadata, "file_level")
    categorical = _parse_fields(metadata, "categorical")
    if twice := sorted(file_level.keys() & categorical.keys()):
        raise SchemaError(f"metadata field {twice[0]!r} is declared both file-level and categorical; choose one")
    return Schema(
        version=str(document.get("version") or "1.0"),
        domain=str(document.get("domain") or ""),
        description=str(document.get("description") or ""),
        groups=groups,
        file_level=file_level,
        categorical=categorical,
        routing=_parse_routing(_mapping(metadata.get("routing_rules") or {}, "routing_rules")),
    )


def schema_to_dict(schema: Schema) -> dict[str, Any]:
    """Return the public dictionary: the inverse of `parse_schema`, with flat metadata and JSON values only.

    Parameters
    ----------
    schema : any
    """
    routing = schema.routing
    return {
        "version": schema.version,
        "domain": schema.domain,
        "description": schema.description,
        "groups": {name: _group_to_dict(group) for name, group in schema.groups.items()},
        "metadata": {
            "file_level": {name: field_to_dict(spec) for name, spec in schema.file_level.items()},
            "categorical": {name: field_to_dict(spec) for name, spec in schema.categorical.items()},
            "routing_rules": {
                "file_level_patterns": list(routing.file_level_patterns),
                "categorical_patterns": list(routing.categorical_patterns),
                "default_numeric": routing.default_numeric,
                "default_categorical": routing.default_categorical,
                "default_string": routing.default_string,
            },
        },
    }


def canonical_json(schema: Schema) -> str:
    """The JSON text of a schema, the same for equal schemas: sorted keys, no white space, finite numbers.

    Parameters
    ----------
    schema : any

    Raises
    ------
    SchemaError
        If an annotation is of a type that JSON cannot hold.
    """
    try:
        return json.dumps(
            schema_to_dict(schema), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        )
    except (TypeError, ValueError) as error:
        raise SchemaError(f"the schema holds a value that JSON cannot hold: {error}; use text or numbers") from error


def array_to_dict(spec: ArraySpec) -> dict[str, Any]:
    """The public dictionary of an array; arguments that were not given are left out."""
    document: dict[str, Any] = {"dims": list(spec.dims), "dtype": spec.dtype, "description": spec.description}
    if spec.fill_value is not None:
        document["fill_value"] = _json_number(spec.fill_value)
    if spec.nan_policy is not None:
        document["nan_policy"] = spec.nan_policy
    if spec.refers_to:
        document["refers_to"] = spec.refers_to
    if spec.required:
        document["required"] = True
    return document | _classes_to_dict(spec) | dict(spec.rules)


def field_to_dict(spec: FieldSpec) -> dict[str, Any]:
    """The public dictionary of a metadata field."""
    document: dict[str, Any] = {"dtype": spec.dtype, "description": spec.description, "required": spec.required}
    document |= _classes_to_dict(spec)
    if spec.nan_policy is not None:
        document["nan_policy"] = spec.nan_policy
    return document | dict(spec.rules)


def _classes_to_dict(spec: ArraySpec | FieldSpec) -> dict[str, Any]:
    return {key: list(found) for key, found in (("values", spec.values), ("labels", spec.labels)) if found}


def _group_to_dict(group: GroupSpec) -> dict[str, Any]:
    document: dict[str, Any] = {"primary_dimension": group.dimension, "description": group.description}
    if group.special_processing:
        document["special_processing"] = group.special_processing
    document["arrays"] = {name: array_to_dict(spec) for name, spec in group.arrays.items()}
    return document


def _parse_group(name: Any, document: Any) -> GroupSpec:
    _check_name(name, "group")
    document = _mapping(document, f"group {name!r}")
    dimension = _one_of(document, "primary_dimension", "base_dimension", f"group {name!r}")
    if dimension is None:
        raise SchemaError(f"group {name!r} has no primary_dimension; name the dimension of its rows, e.g. 'face'")
    _check_name(dimension, f"primary dimension of group {name!r}")
    special = document.get("special_processing") or None
    if special is not None and special not in SPECIAL_PROCESSING:
        raise SchemaError(
            f"group {name!r}: special_processing {special!r} is not one of {', '.join(SPECIAL_PROCESSING)}"
        )
    arrays = _mapping(document.get("arrays") or {}, f"arrays of group {name!r}")
    return GroupSpec(
        name=name,
        dimension=dimension,
        arrays={a: _parse_array(name, dimension, special, a, spec) for a, spec in arrays.items()},
        description=str(document.get("description") or ""),
        special_processing=special,
    )


def _parse_array(group: str, dimension: str, special: str | None, name: Any, document: Any) -> ArraySpec:
    where = f"array '{group}/{name}'"
    _check_name(name, where)
    document = _mapping(document, where)
    dims = _parse_dims(_one_of(document, "dims", "dimensions", where), where)
    if special == "matrix_flattening" and len(dims) >= 2 and dims[0] != dimension:
        dims = (dimension, *dims[2:])
    if group == FILE_GROUP:
        dims = dims[1:] if dims[:1] == (dimension,) else dims
    elif group == "graph" and dims[:1] == ("edge",):  # HOOPS AI's guides declare its arrays so
        dims = (dimension, *dims[1:])
    elif dims[:1] != (dimension,):
        raise SchemaError(
            f"{where}: its dimensions {list(dims)} do not begin with {dimension!r}, its group's primary dimension; "
            "put that first"
        )
    if len(set(dims)) != len(dims):
        raise SchemaError(f"{where}: dimension names {list(dims)} repeat; give each its own name")
    if name in dims and len(dims) > 1:
        raise SchemaError(f"{where}: it has the name of one of its dimensions {list(dims)}; rename one of the two")
    dtype = _parse_dtype(document.get("dtype", "float32"), where)
    values, labels = _parse_classes(document, dtype, where)
    if (values or labels) and np.dtype(dtype).kind not in "biuU":
        raise SchemaError(
            f"{where}: values and labels name classes, but its dtype is {dtype}; use an integer dtype, bool or str"
        )
    return ArraySpec(
        name=name,
        dims=dims,
        dtype=dtype,
        description=str(document.get("description") or ""),
        fill_value=_parse_fill(document.get("fill_value"), dtype, where),
        nan_policy=_literal(document.get("nan_policy"), NanPolicy, "nan_policy", where),
        rules=_parse_rules(document, _ARRAY_KEYS, where),
        refers_to=_parse_target(document.get("refers_to"), dtype, where),
        values=values,
        labels=labels,
        required=bool(document.get("required", False)),
    )


def _parse_classes(document: Mapping[str, Any], dtype: str, where: str) -> tuple[tuple[Scalar, ...], tuple[str, ...]]:
    found = {key: document.get(key) or () for key in ("values", "labels")}
    for key, listed in found.items():
        if not isinstance(listed, (list, tuple)):
            raise SchemaError(f"{where}: {key} is {listed!r}; use a list")
    values, labels = tuple(found["values"]), tuple(str(label) for label in found["labels"])
    if len(set(values)) != len(values):
        raise SchemaError(f"{where}: values {list(values)} repeat; give each code once")
    if odd := [value for value in values if not _fits(value, dtype)]:
        raise SchemaError(f"{where}: the value {odd[0]!r} does not fit dtype {dtype}; change the value or the dtype")
    if labels and values and len(labels) != len(values):
        raise SchemaError(f"{where}: {len(values)} values but {len(labels)} labels; give one label per value")
    return values, labels


def _parse_target(target: Any, dtype: str, where: str) -> str:
    if target is None or target == "":
        return ""
    _check_name(target, f"refers_to of {where}")
    if not dtype.startswith("int"):
        raise SchemaError(
            f"{where}: refers_to={target!r} makes its values row numbers, but its dtype is {dtype}; use int32 or "
            "int64, where -1 means that there is no row"
        )
    if target == FILE_GROUP:
        raise SchemaError(f"{where}: refers_to={target!r} has one row per sample; name a group that has rows")
    return str(target)


def _parse_dims(dims: Any, where: str) -> tuple[str, ...]:
    if isinstance(dims, str):
        dims = [dims]
    if not isinstance(dims, (list, tuple)):
        raise SchemaError(f"{where}: dims is {dims!r}; use a list of names, e.g. ['face', 'dim']")
    for dim in dims:
        _check_name(dim, f"dimension of {where}")
    return tuple(dims)


def _parse_fields(metadata: Mapping[str, Any], kind: str) -> dict[str, FieldSpec]:
    fields = _mapping(metadata.get(kind) or {}, f"metadata {kind!r}")
    return {name: _parse_field(name, spec) for name, spec in fields.items()}


def _parse_field(name: Any, document: Any) -> FieldSpec:
    where = f"metadata field {name!r}"
    _check_name(name, where)
    document = _mapping(document, where)
    dtype = _parse_dtype(document.get("dtype", "float32"), where)
    values, labels = _parse_classes(document, dtype, where)
    return FieldSpec(
        name=name,
        dtype=dtype,
        description=str(document.get("description") or ""),
        values=values,
        labels=labels,
        required=bool(document.get("required", False)),
        nan_policy=_literal(document.get("nan_policy"), NanPolicy, "nan_policy", where),
        rules=_parse_rules(document, _FIELD_KEYS, where),
    )


def _parse_routing(document: Mapping[str, Any]) -> Routing:
    default = Routing()

    def patterns(key: str) -> tuple[str, ...]:
        found = document.get(key) or ()
        found = (found,) if isinstance(found, str) else tuple(found)
        if not all(isinstance(pattern, str) for pattern in found):
            raise SchemaError(f"routing rules: {key} is {found!r}; use a list of texts")
        return found

    def route(key: str, otherwise: Route) -> Route:
        return _literal(document.get(key), Route, key, "routing rules") or otherwise

    return Routing(
        file_level_patterns=patterns("file_level_patterns"),
        categorical_patterns=patterns("categorical_patterns"),
        default_numeric=route("default_numeric", default.default_numeric),
        default_categorical=route("default_categorical", default.default_categorical),
        default_string=route("default_string", default.default_string),
    )


def _parse_rules(document: Mapping[str, Any], known: frozenset[str], where: str) -> dict[str, Any]:
    nested = _mapping(document.get("validation_rules") or {}, f"validation_rules of {where}")
    rules = {**nested, **{key: value for key, value in document.items() if key not in known}}
    low, high = rules.get("min_value"), rules.get("max_value")
    for key, bound in (("min_value", low), ("max_value", high)):
        if bound is not None and (isinstance(bound, bool) or not isinstance(bound, (int, float)) or bound != bound):
            raise SchemaError(f"{where}: {key} is {bound!r}; use a number")
    if low is not None and high is not None and low > high:
        raise SchemaError(f"{where}: min_value {low} is above max_value {high}; exchange them")
    return rules


def _parse_dtype(dtype: Any, where: str) -> str:
    name = dtype if isinstance(dtype, str) else str(getattr(dtype, "__name__", None) or getattr(dtype, "name", dtype))
    name = {"float": "float64", "int": "int64", "string": "str", "boolean": "bool"}.get(name, name)
    if name not in DTYPES:
        raise SchemaError(f"{where}: dtype {dtype!r} is not one of {', '.join(DTYPES)}")
    return name


def _parse_fill(fill: Any, dtype: str, where: str) -> Scalar | None:
    if fill is None:
        return None
    if dtype.startswith("float") and isinstance(fill, str) and fill in _NON_FINITE:
        return _NON_FINITE[fill]
    if not _fits(fill, dtype):
        raise SchemaError(f"{where}: fill_value {fill!r} does not fit dtype {dtype}; change one of the two")
    return int(fill) if _is_integral(dtype) else fill


def _fits(value: Any, dtype: str) -> bool:
    """Whether a fill value or a code can be an element of the dtype."""
    if dtype in ("str", "bool"):
        return isinstance(value, str if dtype == "str" else bool)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    if not _is_integral(dtype):
        return True
    bits = int(dtype.lstrip("uint"))
    low, high = (0, 2**bits) if dtype.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1))
    return math.isfinite(value) and value == int(value) and low <= value < high


def _is_integral(dtype: str) -> bool:
    return dtype.lstrip("u").startswith("int")


def _json_number(value: Scalar) -> Scalar:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _one_of(document: Mapping[str, Any], first: str, second: str, where: str) -> Any:
    if first in document and second in document and document[first] != document[second]:
        raise SchemaError(f"{where}: {first} and {second} differ; give one of them")
    return document.get(first, document.get(second))


def _literal(value: Any, choices: Any, key: str, where: str) -> Any:
    if value is not None and value not in get_args(choices):
        raise SchemaError(f"{where}: {key} is {value!r}, not one of {', '.join(get_args(choices))}")
    return value


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise SchemaError(f"{where}: expected a dictionary, found {type(value).__name__}")
    return value


def _check_name(name: Any, where: str) -> None:
    if fault := name_fault(name):
        raise SchemaError(f"{where}: {name!r} is no name: {fault}; use letters, digits and underscores")
