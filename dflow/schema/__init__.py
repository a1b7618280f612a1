"""What the arrays are: the schema model, its public dictionary, the builder, the standard arrays, metadata routing."""

from __future__ import annotations

from dflow.schema.builder import (
    SchemaBuilder,
    create_cad_schema,
    create_custom_schema,
    create_manufacturing_schema,
    create_sensor_schema,
)
from dflow.schema.checks import cast_array, check_field, dtype_name, fit_array
from dflow.schema.combine import merge_schemas
from dflow.schema.document import canonical_json, parse_schema, schema_to_dict
from dflow.schema.group import Group
from dflow.schema.model import DTYPES, FILE_GROUP, ArraySpec, FieldSpec, GroupSpec, NanPolicy, Route, Routing, Schema
from dflow.schema.routing import route
from dflow.schema.standard import (
    references,
    resolve_array,
    resolve_group,
    row_dimension,
    standard_array,
    standard_group,
    standard_groups,
    value_nan_policy,
)
from dflow.schema.templates import SchemaTemplates

__all__ = [
    "ArraySpec",
    "DTYPES",
    "FILE_GROUP",
    "FieldSpec",
    "Group",
    "GroupSpec",
    "NanPolicy",
    "Route",
    "Routing",
    "Schema",
    "SchemaBuilder",
    "SchemaTemplates",
    "canonical_json",
    "cast_array",
    "check_field",
    "create_cad_schema",
    "create_custom_schema",
    "create_manufacturing_schema",
    "create_sensor_schema",
    "dtype_name",
    "fit_array",
    "merge_schemas",
    "parse_schema",
    "references",
    "resolve_array",
    "resolve_group",
    "route",
    "row_dimension",
    "schema_to_dict",
    "standard_array",
    "standard_group",
    "standard_groups",
    "value_nan_policy",
]
