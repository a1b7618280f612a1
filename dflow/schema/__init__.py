"""Declarations of arrays and metadata: schema, builder, JSON form, standard arrays, routing of metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dflow.lazy import attach

if TYPE_CHECKING:
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
    from dflow.schema.model import (
        DTYPES,
        FILE_GROUP,
        ArraySpec,
        FieldSpec,
        GroupSpec,
        NanPolicy,
        Route,
        Routing,
        Schema,
    )
    from dflow.schema.routing import route
    from dflow.schema.standard_arrays import (
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
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "ArraySpec": "dflow.schema.model",
            "DTYPES": "dflow.schema.model",
            "FILE_GROUP": "dflow.schema.model",
            "FieldSpec": "dflow.schema.model",
            "Group": "dflow.schema.group",
            "GroupSpec": "dflow.schema.model",
            "NanPolicy": "dflow.schema.model",
            "Route": "dflow.schema.model",
            "Routing": "dflow.schema.model",
            "Schema": "dflow.schema.model",
            "SchemaBuilder": "dflow.schema.builder",
            "SchemaTemplates": "dflow.schema.templates",
            "canonical_json": "dflow.schema.document",
            "cast_array": "dflow.schema.checks",
            "check_field": "dflow.schema.checks",
            "create_cad_schema": "dflow.schema.builder",
            "create_custom_schema": "dflow.schema.builder",
            "create_manufacturing_schema": "dflow.schema.builder",
            "create_sensor_schema": "dflow.schema.builder",
            "dtype_name": "dflow.schema.checks",
            "fit_array": "dflow.schema.checks",
            "merge_schemas": "dflow.schema.combine",
            "parse_schema": "dflow.schema.document",
            "references": "dflow.schema.standard_arrays",
            "resolve_array": "dflow.schema.standard_arrays",
            "resolve_group": "dflow.schema.standard_arrays",
            "route": "dflow.schema.routing",
            "row_dimension": "dflow.schema.standard_arrays",
            "schema_to_dict": "dflow.schema.document",
            "standard_array": "dflow.schema.standard_arrays",
            "standard_group": "dflow.schema.standard_arrays",
            "standard_groups": "dflow.schema.standard_arrays",
            "value_nan_policy": "dflow.schema.standard_arrays",
        },
    )

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
