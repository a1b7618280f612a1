"""`SchemaBuilder` builds a schema call by call; its argument names are HOOPS AI's and its quick reference's."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from dflow.errors import SchemaError
from dflow.localpath import home_path, local_path
from dflow.records import Scalar
from dflow.schema.checks import check_field
from dflow.schema.combine import merge_schemas
from dflow.schema.document import FIELD_ARGUMENTS, parse_schema, schema_to_dict
from dflow.schema.group import Group, check_arguments, check_free
from dflow.schema.model import FILE_GROUP, NanPolicy, Route, Schema
from dflow.schema.page import schema_page
from dflow.schema.routing import route
from dflow.schema.templates import template


class SchemaBuilder:
    """Declares groups of arrays and metadata fields, and builds the schema dictionary for storages and flows.

    Parameters
    ----------
    domain : subject of the data, e.g. "machining"
    version : of the schema
    description : a sentence

    Examples
    --------
    >>> from dflow.schema import SchemaBuilder
    >>> builder = SchemaBuilder(domain="machining")
    >>> faces = builder.create_group("faces", "face")
    >>> _ = faces.create_array("wear", ["face"], "float32", "share of the area that is worn", min_value=0, max_value=1)
    >>> builder.build()["groups"]["faces"]["primary_dimension"]
    'face'
    """

    def __init__(self, domain: str = "", version: str = "1.0", description: str | None = None) -> None:
        self.domain = domain
        self.version = version
        self.description = description or ""
        self._groups: dict[str, Group] = {}
        self._file_level: dict[str, dict[str, Any]] = {}
        self._categorical: dict[str, dict[str, Any]] = {}
        self._routing: dict[str, Any] = {}

    def create_group(
        self,
        name: str,
        primary_dimension: str | None = None,
        description: str | None = None,
        special_processing: str | None = None,
        *,
        base_dimension: str | None = None,
    ) -> Group:
        """Declare a group of arrays that share their rows.

        Parameters
        ----------
        name : of the group
        primary_dimension, base_dimension : the dimension of its rows, e.g. ``face``; give one of the two
        description : a sentence
        special_processing : "matrix_flattening", "nested_edges" or None

        Raises
        ------
        SchemaError
            If the group is declared already, or has no or two row dimensions.
        """
        if name in self._groups:
            raise SchemaError(f"group {name!r} is declared already; remove_group({name!r}) first")
        if primary_dimension and base_dimension and primary_dimension != base_dimension:
            raise SchemaError(f"group {name!r}: primary_dimension and base_dimension differ; give one of them")
        dimension = primary_dimension or base_dimension
        if not dimension:
            raise SchemaError(f"group {name!r} has no primary_dimension; name the dimension of its rows, e.g. 'face'")
        self._groups[name] = group = Group(name, dimension, description, special_processing)
        return group

    def get_group(self, name: str) -> Group | None:
        """The group under construction, None where there is none.

        Parameters
        ----------
        name : of the group
        """
        return self._groups.get(name)

    def remove_group(self, name: str) -> bool:
        """Remove a group; False where there is none.

        Parameters
        ----------
        name : of the group
        """
        return self._groups.pop(name, None) is not None

    def list_groups(self) -> list[str]:
        """Names in the order of declaration."""
        return list(self._groups)

    def define_file_metadata(
        self,
        name: str,
        dtype: str,
        description: str | None = None,
        required: bool = False,
        *,
        nan_policy: NanPolicy | None = None,
        **validation_rules: Any,
    ) -> SchemaBuilder:
        """Declare a number or text per sample: a column of the infoset and an array on dimension ``file``.

        Parameters
        ----------
        name : of the field
        dtype : one of `dflow.schema.DTYPES`
        description : a sentence, with the unit
        required : whether a sample without it is an error
        nan_policy : "raise", "warn" or "allow" NaN and inf; in the dataset, samples without the field have NaN too
        **validation_rules : as in `Group.create_array`
        """
        document = {
            "dtype": dtype,
            "description": description,
            "required": required,
            "nan_policy": nan_policy,
            **validation_rules,
        }
        return self._define(self._file_level, name, document)

    def define_categorical_metadata(
        self,
        name: str,
        dtype: str,
        description: str | None = None,
        values: Iterable[Scalar] | None = None,
        labels: Iterable[str] | None = None,
        required: bool = False,
        **validation_rules: Any,
    ) -> SchemaBuilder:
        """Declare a class per sample; its vocabulary (`values` and their `labels`) goes to the attribset.

        Parameters
        ----------
        name : of the field
        dtype : of its codes, or ``str``
        description : a sentence
        values : the codes, all of `dtype`
        labels : their names, as many as `values`
        required : whether a sample without it is an error
        **validation_rules : as in `Group.create_array`
        """
        document = {
            "dtype": dtype,
            "description": description,
            "required": required,
            "values": list(values or ()),
            "labels": list(labels or ()),
            **validation_rules,
        }
        return self._define(self._categorical, name, document)

    def _define(self, kind: dict[str, dict[str, Any]], name: str, document: dict[str, Any]) -> SchemaBuilder:
        if name in self._file_level or name in self._categorical:
            raise SchemaError(f"metadata field {name!r} is declared already; declare it once, or use another name")
        check_arguments(document, FIELD_ARGUMENTS, f"metadata field {name!r}")
        check_free(name, FILE_GROUP, f"metadata field {name!r}")
        parse_schema({"metadata": {"file_level": {name: document}}})
        kind[name] = document
        return self

    def set_metadata_routing_rules(
        self,
        file_level_patterns: Sequence[str] = (),
        categorical_patterns: Sequence[str] = (),
        default_numeric: Route = "file_level",
        default_categorical: Route = "categorical",
        default_string: Route = "categorical",
    ) -> SchemaBuilder:
        """Set the kinds of undeclared metadata fields: by wildcard patterns of their names, else by type.

        Parameters
        ----------
        file_level_patterns : names of numbers per file
        categorical_patterns : names of classes per file
        default_numeric, default_categorical, default_string : the kinds of all others, by type
        """
        routing = {
            "file_level_patterns": list(file_level_patterns),
            "categorical_patterns": list(categorical_patterns),
            "default_numeric": default_numeric,
            "default_categorical": default_categorical,
            "default_string": default_string,
        }
        parse_schema({"metadata": {"routing_rules": routing}})
        self._routing = routing
        return self

    def get_metadata_routing(self, field: str) -> Route:
        """The kind of metadata `field`: declared, or by pattern, or else that of a number."""
        return route(self.schema(), field, 0)

    def list_metadata_fields(self) -> dict[str, list[str]]:
        """The declared fields: ``{"file_level": […], "categorical": […]}``."""
        return {"file_level": list(self._file_level), "categorical": list(self._categorical)}

    def validate_metadata_field(self, name: str, value: Any) -> bool:
        """Whether `value` fits the field's declaration; anything fits a field that is not declared.

        Parameters
        ----------
        name : of the field
        value : to be saved
        """
        try:
            check_field(self.schema(), name, value)
        except SchemaError:
            return False
        return True

    def validate_metadata_schema(self) -> list[str]:
        """Faults of the declared metadata, one sentence each; empty if there are none.

        Contradictions raise in the calls that declare them; these are legal but suspicious declarations.
        """
        schema = self.schema()
        faults = [
            f"categorical field {name!r} has labels but no values"
            for name, f in schema.categorical.items()
            if f.labels and not f.values
        ]
        for pattern in sorted(set(schema.routing.file_level_patterns) & set(schema.routing.categorical_patterns)):
            faults.append(f"pattern {pattern!r} is both file-level and categorical; file-level wins")
        return faults

    @staticmethod
    def from_template(name: str) -> SchemaBuilder:
        """A builder that starts with a template of `SchemaTemplates`.

        Parameters
        ----------
        name : of a template
        """
        return SchemaBuilder()._replaced_by(parse_schema(template(name)))

    def extend_template(self, name: str) -> SchemaBuilder:
        """Add a template's groups and fields to this builder.

        Parameters
        ----------
        name : of a template

        Raises
        ------
        SchemaError
            If the two contradict each other.
        """
        self._replaced_by(merge_schemas(self.schema(), parse_schema(template(name))))
        return self

    def schema(self) -> Schema:
        """The checked `Schema`."""
        return parse_schema(self._document())

    def build(self) -> dict[str, Any]:
        """The checked schema as a dictionary of JSON values, for `DataStorage.set_schema`."""
        return schema_to_dict(self.schema())

    def to_json(self, indent: int | None = 2) -> str:
        """The built schema as JSON text.

        Parameters
        ----------
        indent : spaces per level; None for one line
        """
        return json.dumps(self.build(), indent=indent, ensure_ascii=False, allow_nan=False)

    def save_to_file(self, path: str | os.PathLike[str]) -> None:
        """Write the built schema to a JSON file.

        Parameters
        ----------
        path : of the new file
        """
        Path(local_path(path)).write_text(self.to_json() + "\n", encoding="utf-8")

    @staticmethod
    def load_from_file(path: str | os.PathLike[str]) -> SchemaBuilder:
        """A builder with the schema of a JSON file, also of one that HOOPS AI wrote.

        Parameters
        ----------
        path : of a JSON file

        Raises
        ------
        SchemaError
            If the file is not JSON or the schema contradicts itself.
        """
        try:
            document = json.loads(Path(home_path(path)).read_text(encoding="utf-8"))
        except ValueError as error:
            raise SchemaError(f"{path} is not JSON: {error}; use a file of SchemaBuilder.save_to_file") from error
        return SchemaBuilder()._replaced_by(parse_schema(document))

    def _document(self) -> dict[str, Any]:
        return {
            "version": self.version,
            "domain": self.domain,
            "description": self.description,
            "groups": {name: group.to_dict() for name, group in self._groups.items()},
            "metadata": {
                "file_level": self._file_level,
                "categorical": self._categorical,
                "routing_rules": self._routing,
            },
        }

    def _replaced_by(self, schema: Schema) -> SchemaBuilder:
        """Replace all declarations by those of `schema`; return the builder."""
        document = schema_to_dict(schema)
        self.domain, self.version, self.description = schema.domain, schema.version, schema.description
        self._groups = {}
        for name, group in document["groups"].items():
            created = self.create_group(
                name, group["primary_dimension"], group["description"], group.get("special_processing")
            )
            for array, spec in group["arrays"].items():
                created.add(array, spec)
        self._file_level = document["metadata"]["file_level"]
        self._categorical = document["metadata"]["categorical"]
        self._routing = document["metadata"]["routing_rules"]
        return self

    def __repr__(self) -> str:
        return f"SchemaBuilder(domain={self.domain!r}, version={self.version!r}, groups={self.list_groups()})"

    def _repr_html_(self) -> str:
        return schema_page(self.schema())


def create_cad_schema() -> SchemaBuilder:
    """A builder with template ``cad_advanced``."""
    return SchemaBuilder.from_template("cad_advanced")


def create_manufacturing_schema() -> SchemaBuilder:
    """A builder with template ``manufacturing_basic``."""
    return SchemaBuilder.from_template("manufacturing_basic")


def create_sensor_schema() -> SchemaBuilder:
    """A builder with template ``sensor_basic``."""
    return SchemaBuilder.from_template("sensor_basic")


def create_custom_schema(domain: str) -> SchemaBuilder:
    """An empty builder for `domain`."""
    return SchemaBuilder(domain=domain)
