"""A schema as frozen values: groups of arrays, metadata fields, and the kinds of undeclared metadata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from dflow.records import Scalar

NanPolicy = Literal["raise", "warn", "allow"]
"""Policy for NaN and inf in an array or a metadata value: an error, stored with a warning, or stored."""

Route = Literal["file_level", "categorical"]
"""The kind of a metadata value: a number (or text) per file, or a class per file."""

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
"""The group of values per sample, which have no row dimension."""


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """The declaration of an array.

    Parameters
    ----------
    name : without its group
    dims : its dimensions; the first is its group's row dimension, except in group ``file``, which has none
    dtype : one of `DTYPES`
    description : a sentence, with the unit
    fill_value : value in the rows of samples without this array; None for -1 (integers), NaN (floats), False or ""
    nan_policy : None for that of the standard array of this name, else for the storage's
    rules : ``min_value``, ``max_value``, ``allowed_values``, which are enforced, and annotations
    refers_to : the group whose rows within the sample the integers number (negative: none); "" for other values
    values, labels : the codes of classes and their names; labels alone are the names of the codes 0, 1, …
    required : whether a sample without it is an error
    """

    name: str
    dims: tuple[str, ...]
    dtype: str = "float32"
    description: str = ""
    fill_value: Scalar | None = None
    nan_policy: NanPolicy | None = None
    rules: Mapping[str, Any] = field(default_factory=dict)
    refers_to: str = ""
    values: tuple[Scalar, ...] = ()
    labels: tuple[str, ...] = ()
    required: bool = False

    @property
    def class_names(self) -> dict[Scalar, str]:
        """The names of the declared codes, or of the declared texts of an array of text; empty without classes."""
        codes = self.values or (self.labels if self.dtype == "str" else range(len(self.labels)))
        return dict(zip(codes, self.labels or map(str, codes), strict=True))


@dataclass(frozen=True, slots=True)
class GroupSpec:
    """The declaration of a group: arrays that share their rows.

    With ``matrix_flattening``, arrays of shape (F, F, …) are stored as (F², …), row-major. ``nested_edges`` means that
    a nested dictionary ``{"edges": {"source": …}}`` is stored as ``edges_source``, as in every group.

    Parameters
    ----------
    name : of the group
    dimension : of its rows
    arrays : by name
    description : a sentence
    special_processing : ``matrix_flattening``, ``nested_edges`` or None
    """

    name: str
    dimension: str
    arrays: Mapping[str, ArraySpec] = field(default_factory=dict)
    description: str = ""
    special_processing: str | None = None


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """The declaration of a metadata field: one value per sample.

    Parameters
    ----------
    name : of the value
    dtype : one of `DTYPES`
    description : a sentence, with the unit
    values, labels : the codes of a categorical field and their names
    required : whether a sample without it is an error
    nan_policy : None for that of the standard file value of this name, else for the storage's
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
    """The kinds of metadata fields that are not declared. Patterns are shell wildcards; their case is ignored.

    Parameters
    ----------
    file_level_patterns : names of numbers per file
    categorical_patterns : names of classes per file
    default_numeric, default_categorical, default_string : the kinds of all others, by type
    """

    file_level_patterns: tuple[str, ...] = ()
    categorical_patterns: tuple[str, ...] = ()
    default_numeric: Route = "file_level"
    default_categorical: Route = "categorical"
    default_string: Route = "categorical"


@dataclass(frozen=True, slots=True)
class Schema:
    """A whole schema, as `parse_schema` returns it. Guarantees that it does not contradict itself.

    Parameters
    ----------
    version, domain, description : texts, as given to the builder
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
