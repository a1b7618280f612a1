"""`SchemaBuilder`: a schema, built call by call, with HOOPS AI's and the quick reference's argument names."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dflow.errors import SchemaError
from dflow.localpath import local_path
from dflow.records import Scalar
from dflow.schema.checks import check_field
from dflow.schema.combine import merge_schemas
from dflow.schema.document import ARRAY_ARGUMENTS, FIELD_ARGUMENTS, array_to_dict, parse_schema, schema_to_dict
from dflow.schema.model import FILE_GROUP, NanPolicy, Route, Schema
from dflow.schema.names import free_name, reserved_for
from dflow.schema.page import schema_page
from dflow.schema.routing import route
from dflow.schema.standard import standard_groups
from dflow.schema.templates import template


class Group:
    """A group under construction. Made by `SchemaBuilder.create_group`; every call is checked at once.

    Parameters
    ----------
    name : of the group
    primary_dimension : the dimension of its rows
    description : a sentence
    special_processing : "matrix_flattening", "nested_edges" or None
    """

    def __init__(
        self, name: str, primary_dimension: str, description: str | None = None, special_processing: str | None = None
    ) -> None:
        self.name = name
        self.primary_dimension = primary_dimension
        self.description = description or ""
        self.special_processing = special_processing
        self._arrays: dict[str, dict[str, Any]] = {}
        self._parsed()

    @property
    def base_dimension(self) -> str:
        """The quick reference's word for `primary_dimension`."""
        return self.primary_dimension

    def create_array(
        self,
        name: str,
        dimensions: Sequence[str] | None = None,
        dtype: str = "float32",
        description: str | None = None,
        *,
        dims: Sequence[str] | None = None,
        fill_value: Scalar | None = None,
        nan_policy: NanPolicy | None = None,
        refers_to: str | None = None,
        **validation_rules: Any,
    ) -> Group:
        """Declare an array; `dims` is the quick reference's word for `dimensions`. Returns the group, for chaining.

        Parameters
        ----------
        name
            without the group
        description
            a sentence, with the unit
        dimensions
            Names of its dimensions, the group's primary dimension first; only that one when left out.
        dtype
            One of `dflow.schema.DTYPES`.
        fill_value
            What the rows of samples without this array take; -1, NaN, False or "" when left out.
        nan_policy
            ``raise``, ``warn`` or ``allow`` NaN and inf.
        refers_to
            The group whose rows, within the sample, the values number from 0, e.g. ``"faces"`` (-1: none): batches
            shift them with the rows. Left out for values that are no row numbers.
        **validation_rules
            ``min_value``, ``max_value``, ``allowed_values`` are enforced when data is saved; ``unit`` is kept and
            enforces nothing.

        Raises
        ------
        SchemaError
            If the array is there already or contradicts its group, or an argument is unknown.
        """
        where = f"array '{self.name}/{name}'"
        _check_arguments(validation_rules, ARRAY_ARGUMENTS, where)
        _check_free(name, self.name, where)
        if name in self._arrays:
            raise SchemaError(f"{where} is declared already; remove_array({name!r}) first")
        if dimensions is not None and dims is not None and list(dimensions) != list(dims):
            raise SchemaError(f"{where}: dimensions and dims are both given and differ")
        named = dimensions if dimensions is not None else dims
        document: dict[str, Any] = {
            "dims": [self.primary_dimension] if named is None else named,
            "dtype": dtype,
            "description": description,
            "fill_value": fill_value,
            "nan_policy": nan_policy,
            "refers_to": refers_to,
            **validation_rules,
        }
        self._add(name, document)
        return self

    def get_array(self, name: str) -> dict[str, Any] | None:
        """The array's declaration, None where there is none.

        Parameters
        ----------
        name : without the group
        """
        found = self._arrays.get(name)
        return dict(found) if found is not None else None

    def get_arrays(self) -> dict[str, dict[str, Any]]:
        """All declarations by name."""
        return {name: dict(document) for name, document in self._arrays.items()}

    def list_arrays(self) -> list[str]:
        """Names in the order of declaration."""
        return list(self._arrays)

    def remove_array(self, name: str) -> bool:
        """Take a declaration back; False where there is none.

        Parameters
        ----------
        name : without the group
        """
        return self._arrays.pop(name, None) is not None

    def to_dict(self) -> dict[str, Any]:
        """The group's part of the built schema."""
        document: dict[str, Any] = {"primary_dimension": self.primary_dimension, "description": self.description}
        if self.special_processing:
            document["special_processing"] = self.special_processing
        return document | {"arrays": self.get_arrays()}

    def _add(self, name: str, document: dict[str, Any]) -> None:
        """Take an array's declaration over; annotations that files of other makers hold are kept."""
        self._arrays[name] = document
        try:
            self._arrays[name] = self._parsed()[name]
        except SchemaError:
            del self._arrays[name]
            raise

    def _parsed(self) -> dict[str, dict[str, Any]]:
        group = parse_schema({"groups": {self.name: self.to_dict()}}).groups[self.name]
        return {name: array_to_dict(spec) for name, spec in group.arrays.items()}


class SchemaBuilder:
    """Declares groups of arrays and metadata fields, and builds the schema dictionary that storages take.

    Parameters
    ----------
    domain : what the data is about, e.g. "machining"
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
        """Declare a group of arrays that share their rows; `base_dimension` is the quick reference's word.

        Parameters
        ----------
        name : of the group
        primary_dimension : the dimension of its rows, e.g. ``face``
        description : a sentence
        special_processing : "matrix_flattening", "nested_edges" or None

        Raises
        ------
        SchemaError
            If the group is there already, or has no or two row dimensions.
        """
        if name in self._groups:
            raise SchemaError(f"group {name!r} is declared already; remove_group({name!r}) first")
        if primary_dimension and base_dimension and primary_dimension != base_dimension:
            raise SchemaError(f"group {name!r}: primary_dimension and base_dimension are both given and differ")
        dimension = primary_dimension or base_dimension
        if not dimension:
            raise SchemaError(f"group {name!r} has no primary_dimension")
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
        """Take a group back; False where there is none.

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
        """Declare a number (or text) per sample: a column of the infoset and an array on dimension ``file``.

        Parameters
        ----------
        name : of the field
        dtype : one of `dflow.schema.DTYPES`
        description : a sentence, with the unit
        required : whether a sample without it is an error
        nan_policy : what happens to NaN and inf, as in arrays; in the dataset NaN is also what samples without it have
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
            raise SchemaError(f"metadata field {name!r} is declared already")
        _check_arguments(document, FIELD_ARGUMENTS, f"metadata field {name!r}")
        _check_free(name, FILE_GROUP, f"metadata field {name!r}")
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
        """Say where undeclared metadata goes: wildcard patterns first, then by type.

        Parameters
        ----------
        file_level_patterns : names that become file values
        categorical_patterns : names that become categories
        default_numeric, default_categorical, default_string : where the others go, by type
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
        """Where `field` goes: declared, or by pattern, or else where a number goes."""
        return route(self.schema(), field, 0)

    def list_metadata_fields(self) -> dict[str, list[str]]:
        """The declared fields: ``{"file_level": […], "categorical": […]}``."""
        return {"file_level": list(self._file_level), "categorical": list(self._categorical)}

    def validate_metadata_field(self, name: str, value: Any) -> bool:
        """Whether `value` fits the field's declaration; anything fits a field that is not declared.

        Parameters
        ----------
        name : of the field
        """
        try:
            check_field(self.schema(), name, value)
        except SchemaError:
            return False
        return True

    def validate_metadata_schema(self) -> list[str]:
        """What is wrong with the declared metadata, one sentence each; empty when nothing is.

        Contradictions raise where they are declared; this adds what is legal and yet suspicious.
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
        return _builder_of(parse_schema(template(name)))

    def extend_template(self, name: str) -> SchemaBuilder:
        """Add a template's groups and fields to this builder.

        Parameters
        ----------
        name : of a template

        Raises
        ------
        SchemaError
            If they contradict what is declared already.
        """
        self._take(merge_schemas(self.schema(), parse_schema(template(name))))
        return self

    def schema(self) -> Schema:
        """The checked internal form."""
        return parse_schema(self._document())

    def build(self) -> dict[str, Any]:
        """The schema dictionary, checked: what `DataStorage.set_schema` takes and what JSON can hold."""
        return schema_to_dict(self.schema())

    def to_json(self, indent: int | None = 2) -> str:
        """The built schema as JSON text.

        Parameters
        ----------
        indent : spaces a level; None for one line
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
        """A builder with the schema of a JSON file, HOOPS AI's doubled nesting included.

        Parameters
        ----------
        path : of a JSON file

        Raises
        ------
        SchemaError
            If the file is not JSON or the schema contradicts itself.
        """
        try:
            document = json.loads(Path(path).read_text(encoding="utf-8"))
        except ValueError as error:
            raise SchemaError(f"{path} is not a JSON schema: {error}") from error
        return _builder_of(parse_schema(document))

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

    def _take(self, schema: Schema) -> None:
        document = schema_to_dict(schema)
        self.domain, self.version, self.description = schema.domain, schema.version, schema.description
        self._groups = {}
        for name, group in document["groups"].items():
            taken = self.create_group(
                name, group["primary_dimension"], group["description"], group.get("special_processing")
            )
            for array, spec in group["arrays"].items():
                taken._add(array, spec)
        self._file_level = document["metadata"]["file_level"]
        self._categorical = document["metadata"]["categorical"]
        self._routing = document["metadata"]["routing_rules"]

    def __repr__(self) -> str:
        return f"SchemaBuilder(domain={self.domain!r}, version={self.version!r}, groups={self.list_groups()})"

    def _repr_html_(self) -> str:
        return schema_page(self.schema())


def _check_arguments(arguments: Mapping[str, Any], accepted: frozenset[str], where: str) -> None:
    """Refuse names that mean nothing: a misspelt rule would be no rule."""
    known = sorted(accepted)
    for name in (*arguments, *(arguments.get("validation_rules") or ())):
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
            raise SchemaError(f"{where}: unknown argument {name!r}; is {near!r} meant? Known are {', '.join(known)}")
    allowed = arguments.get("allowed_values")
    if allowed is not None and (not isinstance(allowed, (list, tuple)) or not allowed):
        raise SchemaError(f"{where}: allowed_values is {allowed!r}, a list of values was expected")


def _check_free(name: Any, group: str, where: str) -> None:
    if reason := reserved_for(str(name), group, standard_groups()):
        raise SchemaError(f"{where}: the name {name!r} is reserved: {reason}; take {free_name(str(name))!r}")


def _builder_of(schema: Schema) -> SchemaBuilder:
    builder = SchemaBuilder()
    builder._take(schema)
    return builder


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
