"""HOOPS AI's import paths of the schema builder and the merger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dflow.lazy import attach

if TYPE_CHECKING:
    from dflow.hoops.merger import DatasetInfo, DatasetMerger
    from dflow.schema.builder import (
        SchemaBuilder,
        create_cad_schema,
        create_custom_schema,
        create_manufacturing_schema,
        create_sensor_schema,
    )
    from dflow.schema.group import Group
    from dflow.schema.templates import SchemaTemplates
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "DatasetInfo": "dflow.hoops.merger",
            "DatasetMerger": "dflow.hoops.merger",
            "Group": "dflow.schema.group",
            "SchemaBuilder": "dflow.schema.builder",
            "SchemaTemplates": "dflow.schema.templates",
            "create_cad_schema": "dflow.schema.builder",
            "create_custom_schema": "dflow.schema.builder",
            "create_manufacturing_schema": "dflow.schema.builder",
            "create_sensor_schema": "dflow.schema.builder",
        },
    )

__all__ = [
    "DatasetInfo",
    "DatasetMerger",
    "Group",
    "SchemaBuilder",
    "SchemaTemplates",
    "create_cad_schema",
    "create_custom_schema",
    "create_manufacturing_schema",
    "create_sensor_schema",
]
