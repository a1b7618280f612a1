"""One group of arrays while a `SchemaBuilder` builds a schema."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dflow.errors import SchemaError
from dflow.records import Scalar
from dflow.schema.document import ARRAY_ARGUMENTS, array_to_dict, parse_schema
from dflow.schema.model import NanPolicy
from dflow.schema.names import free_name, reserved_for
from dflow.schema.standard_arrays import standard_groups


class Group:
    """A group of arrays under construction, made by `SchemaBuilder.create_group`. Every call is checked at once.

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
        """Another name of `primary_dimension`, from HOOPS AI's quick reference."""
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
        values: Iterable[Scalar] | None = None,
        labels: Iterable[str] | None = None,
        required: bool = False,
        **validation_rules: Any,
    ) -> Group:
        """Declare an array and return the group, for chaining.

        Parameters
        ----------
        name
            without the group
        description
            a sentence, with the unit
        dimensions, dims
            Names of its dimensions, the group's primary dimension first; only that one by default.
        dtype
            One of `dflow.schema.DTYPES`.
        fill_value
            Value in the rows of samples without this array; by default -1, NaN, False or "".
        nan_policy
            ``raise``, ``warn`` or ``allow`` NaN and inf.
        refers_to
            The group, e.g. ``"faces"``, whose rows within the sample the values number from 0 (-1: none): batches
            shift the values with the rows. None for values that are no row numbers.
        values, labels
            The codes of classes and their names, for integers, bools or text; labels alone are the names of 0, 1, ….
            Names of integer codes may also be saved instead of the codes. Other values are refused, except negative
            ones where there are labels alone: rows without a class.
        required
            Whether a file that does not save the array fails.
        **validation_rules
            ``min_value``, ``max_value``, ``allowed_values`` are enforced when data is saved; ``units`` (or ``unit``)
            becomes the array's attribute ``units``, which xarray shows.

        Raises
        ------
        SchemaError
            If the array is declared already or contradicts its group, or an argument is unknown.
        """
        where = f"array '{self.name}/{name}'"
        check_arguments(validation_rules, ARRAY_ARGUMENTS, where)
        check_free(name, self.name, where)
        if name in self._arrays:
            raise SchemaError(f"{where} is declared already; remove_array({name!r}) first")
        if dimensions is not None and dims is not None and list(dimensions) != list(dims):
            raise SchemaError(f"{where}: dimensions and dims differ; give one of them")
        named = dimensions if dimensions is not None else dims
        document: dict[str, Any] = {
            "dims": [self.primary_dimension] if named is None else named,
            "dtype": dtype,
            "description": description,
            "fill_value": fill_value,
            "nan_policy": nan_policy,
            "refers_to": refers_to,
            "values": list(values or ()),
            "labels": list(labels or ()),
            "required": required,
            **validation_rules,
        }
        self.add(name, document)
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
        """Remove a declaration; False where there is none.

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

    def add(self, name: str, document: dict[str, Any]) -> None:
        """Add an array under `name`, declared by a `document` as `get_arrays` returns it; unknown keys are kept."""
        self._arrays[name] = document
        try:
            self._arrays[name] = self._parsed()[name]
        except SchemaError:
            del self._arrays[name]
            raise

    def _parsed(self) -> dict[str, dict[str, Any]]:
        group = parse_schema({"groups": {self.name: self.to_dict()}}).groups[self.name]
        return {name: array_to_dict(spec) for name, spec in group.arrays.items()}


def check_arguments(arguments: Mapping[str, Any], accepted: frozenset[str], where: str) -> None:
    """Refuse unknown arguments, because a misspelt rule would enforce nothing."""
    known = sorted(accepted)
    for name in (*arguments, *(arguments.get("validation_rules") or ())):
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
            raise SchemaError(f"{where}: unknown argument {name!r}; is {near!r} meant? Known are {', '.join(known)}")
    allowed = arguments.get("allowed_values")
    if allowed is not None and (not isinstance(allowed, (list, tuple)) or not allowed):
        raise SchemaError(f"{where}: allowed_values is {allowed!r}, a list of values was expected")


def check_free(name: Any, group: str, where: str) -> None:
    """Refuse a reserved name."""
    if reason := reserved_for(str(name), group, standard_groups()):
        raise SchemaError(f"{where}: the name {name!r} is reserved: {reason}; use the name {free_name(str(name))!r}")
