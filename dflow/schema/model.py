"""A schema as frozen values: groups of arrays, metadata fields, and where undeclared metadata goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from dflow.records import Scalar

NanPolicy = Literal["raise", "warn", "allow"]
"""What happens to NaN and inf in an array or a metadata value: refused, stored with a warning, or stored."""

Route = Literal["file_level", "categorical"]
"""Where a metadata value belongs: a number per file, or a class per file."""

DTYPES: tuple[str, ...] = (
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float16",
    "float32",
    "float64",
    "complex64",
    "complex128",
    "str",
)
"""Element types of stored arrays: numpy's names, and ``str`` for text of any length."""

FILE_GROUP = "file"
"""The group whose arrays are one value per sample and have no row dimension."""


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """One declared array.

    `dims` begins with its group's row dimension (in group ``file`` there is none); `fill_value` is what the rows of
    samples without this array take (None: -1 for integers, NaN for floats, False, ""); `nan_policy` None leaves the
    decision to the standard array of that name, else to the storage; `refers_to` is the group whose rows, within the
    sample, the integers number (negative ones: none), "" for values that are no row numbers; `rules` holds
    ``min_value``, ``max_value``, ``allowed_values``, which are enforced, and any other keyword as an annotation.

    Parameters
    ----------
    name : without its group
    dtype : one of `DTYPES`
    description : a sentence, with the unit
    """

    name: str
    dims: tuple[str, ...]
    dtype: str = "float32"
    description: str = ""
    fill_value: Scalar | None = None
    nan_policy: NanPolicy | None = None
    rules: Mapping[str, Any] = field(default_factory=dict)
    refers_to: str = ""


@dataclass(frozen=True, slots=True)
class GroupSpec:
    """Arrays that share their rows. `special_processing` is ``matrix_flattening``, ``nested_edges`` or None.

    ``matrix_flattening``: arrays of shape (F, F, …) are stored as (F², …), row-major. ``nested_edges``: a nested
    dictionary ``{"edges": {"source": …}}`` is stored as ``edges_source`` (which holds for every group).

    Parameters
    ----------
    name : of the group
    dimension : of its rows
    arrays : by name
    description : a sentence
    """

    name: str
    dimension: str
    arrays: Mapping[str, ArraySpec] = field(default_factory=dict)
    description: str = ""
    special_processing: str | None = None


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """One declared metadata value per sample. `values` and `labels` are a categorical field's codes and their names.

    Parameters
    ----------
    name : of the value
    dtype : one of `DTYPES`
    description : a sentence, with the unit
    required : whether a sample without it is an error
    nan_policy : None leaves the decision to the standard file value of that name, else to the storage
    rules : ``min_value``, ``max_value``, ``allowed_values``, which are enforced, and annotations
    """

    name: str
    dtype: str
    description: str = ""
    values: tuple[Scalar, ...] = ()
    labels: tuple[str, ...] = ()
    required: bool = False
    nan_policy: NanPolicy | None = None
    rules: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Routing:
    """Where metadata goes that is not declared. Patterns are shell wildcards, matched without regard to case.

    Parameters
    ----------
    file_level_patterns : names that become file values
    categorical_patterns : names that become categories
    default_numeric, default_categorical, default_string : where the others go, by type
    """

    file_level_patterns: tuple[str, ...] = ()
    categorical_patterns: tuple[str, ...] = ()
    default_numeric: Route = "file_level"
    default_categorical: Route = "categorical"
    default_string: Route = "categorical"


@dataclass(frozen=True, slots=True)
class Schema:
    """A whole schema: what `parse_schema` makes of the public dictionary. Never contradicts itself.

    Parameters
    ----------
    version, domain, description : texts, as the builder took them
    groups : by name
    file_level, categorical : fields by name
    routing : of fields that are not declared
    """

    version: str = "1.0"
    domain: str = ""
    description: str = ""
    groups: Mapping[str, GroupSpec] = field(default_factory=dict)
    file_level: Mapping[str, FieldSpec] = field(default_factory=dict)
    categorical: Mapping[str, FieldSpec] = field(default_factory=dict)
    routing: Routing = field(default_factory=Routing)

    def array(self, group: str, name: str) -> ArraySpec | None:
        """The declaration of ``group/name``, None where there is none.

        Parameters
        ----------
        group, name : of the array
        """
        spec = self.groups.get(group)
        return spec.arrays.get(name) if spec else None

    def field(self, name: str) -> FieldSpec | None:
        """The declaration of a metadata field, of either kind.

        Parameters
        ----------
        name : of the field
        """
        return self.categorical.get(name) or self.file_level.get(name)

    def groups_with_array(self, name: str) -> tuple[str, ...]:
        """The groups that declare an array of this name, sorted.

        Parameters
        ----------
        name : without a group
        """
        return tuple(sorted(group for group, spec in self.groups.items() if name in spec.arrays))
