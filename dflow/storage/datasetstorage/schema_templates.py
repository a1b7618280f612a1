"""HOOPS AI's import path of `SchemaTemplates`."""

from dflow.schema.templates import SchemaTemplates

__all__ = ["SchemaTemplates"]
