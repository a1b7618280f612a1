"""The contract of every storage: arrays under ``group/array``, nested metadata, one schema, a policy for NaN."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dflow.errors import BadKeyError, KeyNotFoundError, SchemaError, StorageError
from dflow.hoops.arguments import hoops_arguments
from dflow.hoops.names import hoops_names
from dflow.notebook import object_html
from dflow.plaintext import get_logger
from dflow.schema import (
    FILE_GROUP,
    NanPolicy,
    Schema,
    SchemaBuilder,
    canonical_json,
    check_field,
    dtype_name,
    merge_schemas,
    parse_schema,
    row_dimension,
    schema_to_dict,
    standard_groups,
)
from dflow.schema.names import free_name, reserved_for
from dflow.storage.fitting import check_finite, check_finite_value, fit_to_schema, sample_dimensions
from dflow.storage.keys import DESCRIPTIONS, METADATA_GROUP, group_of_name, locate
from dflow.storage.tree import MetadataTree
from dflow.storage.values import check_length, storable_array

logger = get_logger(__name__)

FILE_SIZES = "file_sizes_KB"
"""The metadata branch that holds the size of each array; it is computed, not stored."""

_METADATA_KEYS = f"{METADATA_GROUP}/"
"""What keys begin with that HOOPS AI's scripts save as data and that are metadata here."""

_hoops_name = hoops_names("dflow.hoops.storages:StorageNames")


class DataStorage(ABC):
    """Holds one sample: its arrays, its metadata and its schema.

    Guarantees: what `load_data` gives equals what `save_data` took, in the declared dtype, and is the caller's own
    copy; a failed call changes nothing. One process and one thread at a time. Use it as a context manager to close it;
    when the block raises, what is not written yet is dropped.

    Parameters
    ----------
    nan_policy
        What happens to NaN and inf in arrays and flat metadata values for which neither the schema nor the table of
        standard arrays has a policy: "raise", "warn" or "allow".
    """

    def __init__(self, *, nan_policy: NanPolicy = "raise") -> None:
        self.nan_policy: NanPolicy = nan_policy
        self.memory_bytes: int | None = None
        """The memory that the file of this sample may take in a flow; None where no limit was set."""
        self.refuses_names = True
        """Whether reserved names and long lists are refused; false where a store of another program is only read."""
        self._schema = Schema()
        self._has_schema = False
        self._schema_text: str | None = None
        self._metadata = MetadataTree()
        self._by_name: dict[str, str] = {}  # the key of each array that was saved without a group, in order of saving
        self._closed = False
        self._n_writes = 0

    if not TYPE_CHECKING:  # for a type checker a missing attribute stays an error

        def __getattr__(self, name: str) -> Any:
            """Find HOOPS AI's names; raise the error of a missing attribute, with advice for the CAD loader's."""
            if name in ("create_from_file", "get_model"):
                raise AttributeError(
                    f"the storage has no {name!r}, which is the CAD loader's: the loader is injected as the parameter "
                    "`cad_loader`, the storage as `storage`"
                )
            return _hoops_name(self, name)

    # Methods of an implementation.

    @abstractmethod
    def _put_array(self, key: str, array: NDArray[Any]) -> None:
        """Store a checked array under ``group/array``."""

    @abstractmethod
    def _get_array(self, key: str) -> NDArray[Any]:
        """The array under an existing ``group/array``; the caller copies it."""

    @abstractmethod
    def _drop_array(self, key: str) -> None:
        """Remove the array under an existing ``group/array``."""

    @abstractmethod
    def _has_array(self, key: str) -> bool:
        """Whether there is an array under ``group/array``."""

    @abstractmethod
    def array_keys(self) -> list[str]:
        """All keys ``group/array``, sorted."""

    @abstractmethod
    def get_file_path(self, key: str) -> str:
        """Path of the file with the data of `key`; ``""`` stands for the whole store."""

    @abstractmethod
    def format(self) -> str:
        """The format's name."""

    @abstractmethod
    def _compress(self) -> int:
        """Write pending changes and return the store's size in bytes, 0 where there is no file."""

    @abstractmethod
    def close(self) -> None:
        """Write pending changes and release everything. A second call does nothing."""

    def discard(self) -> None:
        """Release everything and drop pending changes."""
        self._closed = True

    @abstractmethod
    def _metadata_changed(self) -> None:
        """React to a change of the metadata or the schema."""

    # Writing.

    @property
    def is_closed(self) -> bool:
        """Whether `close` or `discard` was called."""
        return self._closed

    @property
    def n_writes(self) -> int:
        """How often `save_data`, `save_metadata` and `compress_store` have been called on this storage."""
        return self._n_writes

    def compress_store(self) -> int:
        """Write pending changes and return the store's size in bytes: 0 where there is no file.

        Raises
        ------
        SchemaError
            If arrays of one group disagree on their rows.
        OSError
            If the folder cannot be written or the disk is full; an earlier file stays unchanged.
        """
        self._check_open()
        self._n_writes += 1
        return self._compress()

    # Data.

    @hoops_arguments
    def save_data(self, key: str, data: Any) -> None:
        """Store an array, or a dictionary of arrays as a group, under a key; an earlier one is replaced.

        The array is cast to the declared dtype where that keeps the meaning (see `dflow.schema.fit_array`); without
        a declaration it is stored as it is. In groups with ``matrix_flattening``, (F, F, …) is stored as (F², …).

        An array without a group is stored in the group that declares it. Without a declaration its name decides: a
        standard array's name means that array's group, "face" in the name means ``faces``, "edge" means ``edges``. If
        its number of rows differs from the other arrays of that group, it becomes a group of its own, of the same
        name. Other names, and single numbers, are values of the sample in group ``file``, of one shape in all samples.
        What is saved under ``metadata/…`` is metadata (`save_metadata`).

        Parameters
        ----------
        key : ``group/array``, or a group's name for a dictionary, or an array's name
        data : an array, what numpy converts to one, or a dictionary of arrays

        Raises
        ------
        BadKeyError
            If the key is invalid or reserved, or an array and a group would have one name.
        UnsupportedDataError, StoreLimitError
            If no storage can hold the data.
        SchemaError
            If the schema declares another rank or dtype, or a rule is broken.
        NonFiniteError
            If it holds NaN or inf and the policy for it is ``raise``.
        """
        self._check_open()
        if str(key).startswith(_METADATA_KEYS):
            self.save_metadata(key, data)
            return
        self._n_writes += 1
        prepared = self._prepare(key, data)
        for name in prepared:
            if not self._has_array(name):
                self._check_clash(name, prepared)
        for name, array in prepared.items():
            self._put_array(name, array)
        if not isinstance(data, Mapping) and self._goes_by_name(key):
            self._note_by_name(key, *prepared)
        self._place_by_name()

    def copy_places(self, other: DataStorage) -> None:
        """Copy from `other` which of its arrays were saved without a group.

        Parameters
        ----------
        other : the storage that this one is a copy of
        """
        self._by_name = {name: place for name, place in other._by_name.items() if self._has_array(place)}

    @hoops_arguments
    def load_data(self, key: str) -> Any:
        """The array under a key; for a group's name the dictionary of its arrays, for one text or number the Python
        value; a copy. What ``graph/edges/source`` saved is found by that key, and in the dictionary of ``graph``.

        Parameters
        ----------
        key : ``group/array``, or a group's name

        Raises
        ------
        KeyNotFoundError
            If there is nothing under the key.
        """
        self._check_open()
        if str(key).startswith(_METADATA_KEYS):
            return self.load_metadata(key)
        located = self._located(key)
        if self._has_array(located):
            return _value(self._get_array(located))
        keys = self.array_keys()
        below = {k.partition("/")[2]: _value(self._get_array(k)) for k in keys if k.startswith(f"{key}/")}
        if not below or "/" in key:
            raise KeyNotFoundError(f"there is no data {key!r}; the keys here are: {', '.join(keys) or 'none'}")
        return below | (self._graph_entries() if key == "graph" else {})

    def _graph_entries(self) -> dict[str, Any]:
        """Return what HOOPS AI's dictionary of the graph has besides its arrays: ends by edge, number of faces."""
        ends = {
            end: _value(self._get_array(f"graph/edges_{end}"))
            for end in ("source", "destination")
            if self._has_array(f"graph/edges_{end}")
        }
        of_faces = [key for key in self.array_keys() if key.startswith("faces/")]
        if self._has_array(f"{FILE_GROUP}/num_nodes"):
            n_faces = _value(self._get_array(f"{FILE_GROUP}/num_nodes"))
        elif of_faces:
            n_faces = len(self._get_array(of_faces[0]))
        else:
            n_faces = max((int(rows.max()) + 1 for rows in ends.values() if rows.size), default=0)
        return ({"edges": ends} if ends else {}) | {"num_nodes": n_faces}

    def array(self, key: str) -> NDArray[Any]:
        """A copy of the array under an existing ``group/array``, in its stored dtype.

        Parameters
        ----------
        key : one of `array_keys`
        """
        self._check_open()
        return np.array(self._get_array(key))

    def has_data(self, key: str) -> bool:
        """Whether there is an array under the key.

        Parameters
        ----------
        key : ``group/array``
        """
        self._check_open()
        return self._has_array(self._located(key))

    def dimensions(self) -> dict[str, tuple[str, ...]]:
        """The dimension names of every array, by key.

        Raises
        ------
        SchemaError
            If arrays of one group disagree on their rows.
        """
        return sample_dimensions(self._schema, {key: shape for key, (_, shape) in self.array_types().items()})

    def array_types(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """The dtype (numpy's name, or ``str``) and shape of every array, by key."""
        self._check_open()
        arrays = {key: self._get_array(key) for key in self.array_keys()}
        return {key: (dtype_name(array.dtype), array.shape) for key, array in arrays.items()}

    def get_keys(self) -> list[str]:
        """Keys without a slash that `load_data` takes, sorted: the groups that hold data (``file`` for values of the
        sample), and the arrays that are found by their names alone.
        """
        self._check_open()
        return sorted(
            self._groups() | {name for key in self.array_keys() if self._is_found(name := key.partition("/")[2])}
        )

    def _is_found(self, name: str) -> bool:
        """Whether `load_data` finds an array by its name alone: not where several groups declare it."""
        try:
            return self._has_array(self._located(name))
        except BadKeyError:
            return False

    def _groups(self) -> set[str]:
        return {key.partition("/")[0] for key in self.array_keys()}

    # Metadata.

    def save_metadata(self, key: str, value: Any) -> None:
        """Store a value, or merge a dictionary, under a key that nests with slashes.

        A flat key with a scalar is a value of the sample: it becomes a column of the dataset's tables, and is
        checked against the schema's field of that name. None means missing. NaN and inf in such a value follow the
        policy for arrays; in lists and branches they are kept. numpy scalars, dates, paths and tuples are converted.

        A list, an array or a branch becomes JSON text in the dataset's `.infoset`, in a column named by the first part
        of the key (``json.loads`` inverts it); use `save_data` for numbers to compute with. The key ``descriptions``
        is an exception: it holds tables of names for codes, for the `.attribset`.

        Parameters
        ----------
        key : a name, or names joined by slashes
        value : what JSON can hold, or a value that is converted to it

        Raises
        ------
        BadKeyError
            If the key is invalid or reserved, data of that name exists, or a value and a branch would have one name.
        UnsupportedDataError
            If the value is of a type that JSON cannot hold and dflow does not convert, or a list or branch is longer
            than 64 KiB as JSON.
        SchemaError
            If it does not fit the declared field.
        NonFiniteError
            If it is NaN or inf and the policy for it is ``raise``, or a list mixes NaN or inf with other types.
        """
        self._check_open()
        top = str(key).partition("/")[0]
        self._check_free(FILE_GROUP, top)
        if self._has_array(f"{FILE_GROUP}/{top}"):
            raise BadKeyError(f"metadata {key!r}: data of that name exists; use save_data, or another name")
        self._n_writes += 1
        if "/" not in str(key):
            value = check_field(self._schema, key, value)
            check_finite_value(self._schema, key, value, policy=self.nan_policy)
        if top != DESCRIPTIONS and self.refuses_names:
            check_length(value, f"metadata {key!r}")
        self._metadata.put(key, value)
        self._metadata_changed()

    def load_metadata(self, key: str) -> Any:
        """The value under a key, or the branch as a dictionary; a copy.

        ``file_sizes_KB/<group>/<array>`` gives the size of an array's data in units of 1024 bytes.

        Parameters
        ----------
        key : a name, or names joined by slashes

        Raises
        ------
        KeyNotFoundError
            If there is nothing under the key.
        """
        self._check_open()
        if key.partition("/")[0] == FILE_SIZES:
            return self._sizes().get(key)
        return self._metadata.get(key)

    def get_metadata(self) -> dict[str, Any]:
        """All metadata as one nested dictionary; a copy, without the computed ``file_sizes_KB``."""
        self._check_open()
        return self._metadata.to_dict()

    def _sizes(self) -> MetadataTree:
        """Sizes of the arrays here, and stored sizes of other groups that were copied along."""
        stored = self._metadata.to_dict().get(FILE_SIZES)
        groups = self._groups()
        others = {k: v for k, v in stored.items() if k not in groups} if isinstance(stored, dict) else {}
        tree = MetadataTree({FILE_SIZES: others})
        for key in self.array_keys():
            tree.put(f"{FILE_SIZES}/{key}", self._get_array(key).nbytes / 1024)
        return tree

    # Schema.

    def set_schema(self, schema: Mapping[str, Any] | Schema | SchemaBuilder) -> None:
        """Set or replace the schema; existing data and metadata are cast to it.

        Parameters
        ----------
        schema : a builder, what it builds, or a parsed schema

        Raises
        ------
        SchemaError
            If the schema contradicts itself or what is stored; the storage stays unchanged.
        """
        self._check_open()
        parsed = _as_schema(schema)
        fitted = {}
        for key in self.array_keys():
            group, _, name = key.partition("/")
            if parsed.array(group, name) is not None:
                array = self._get_array(key)
                fit = fit_to_schema(parsed, group, name, array)
                if fit is not array:
                    fitted[key] = fit
        values = {
            name: check_field(parsed, name, value)
            for name, value in self._metadata.to_dict().items()
            if parsed.field(name) is not None
        }
        self._schema, self._has_schema, self._schema_text = parsed, True, None
        for key, array in fitted.items():
            self._put_array(key, array)
        for name, value in values.items():
            self._metadata.put(name, value)
        self._metadata_changed()

    def extend_schema(self, schema: Mapping[str, Any] | Schema | SchemaBuilder) -> None:
        """Add another schema's groups and fields to the schema.

        Parameters
        ----------
        schema : a builder, what it builds, or a parsed schema

        Raises
        ------
        SchemaError
            If the two contradict each other, or what is stored.
        """
        self.set_schema(merge_schemas(self._schema, _as_schema(schema)))

    def get_schema(self) -> dict[str, Any]:
        """The schema as its public dictionary; empty when none was set."""
        return schema_to_dict(self._schema) if self._has_schema else {}

    @property
    def has_schema(self) -> bool:
        """Whether a schema was set."""
        return self._has_schema

    @property
    def schema(self) -> Schema:
        """The schema in its internal form; an empty one when none was set."""
        return self._schema

    @property
    def schema_text(self) -> str:
        """The schema as canonical JSON; empty when none was set. Computed once per schema."""
        if self._schema_text is None:
            self._schema_text = canonical_json(self._schema) if self._has_schema else ""
        return self._schema_text

    def get_group_for_array(self, name: str) -> str | None:
        """The one group that declares an array of this name, else the one that holds it; None otherwise.

        Parameters
        ----------
        name : without a group
        """
        declared = self._schema.groups_with_array(name)
        if not declared:
            declared = tuple(key.partition("/")[0] for key in self.array_keys() if key.partition("/")[2] == name)
        return declared[0] if len(declared) == 1 else None

    def validate_data_against_schema(self, key: str, data: Any) -> bool:
        """Whether the data fits the schema; true where nothing is declared.

        Parameters
        ----------
        key, data : as `save_data` takes them
        """
        self._check_open()
        group, name = self._locate(key)
        try:
            fit_to_schema(self._schema, group, name, storable_array(data, key))
        except (SchemaError, StorageError):
            return False
        return True

    # Common parts.

    def _prepare(self, key: str, data: Any) -> dict[str, NDArray[Any]]:
        if isinstance(data, Mapping):
            prepared: dict[str, NDArray[Any]] = {}
            for name, below in data.items():
                prepared |= self._prepare(f"{key}/{name}", below)
            return prepared
        group, name = self._locate(key)
        array = storable_array(data, f"data {key!r}")
        if self._goes_by_name(key):
            group = group_of_name(name) if array.ndim else FILE_GROUP
        self._check_free(group, name)
        array = fit_to_schema(self._schema, group, name, array)
        if array.ndim > 1 and group != FILE_GROUP and name == row_dimension(self._schema, group):
            raise BadKeyError(
                f"data {key!r}: {name!r} is the dimension of the group's rows; use the name {free_name(name)!r}"
            )
        if array.ndim == 0 and (group, name) == ("graph", "num_nodes"):
            group = FILE_GROUP  # HOOPS AI keeps it beside the arcs
        if array.ndim == 0 and group != FILE_GROUP:
            raise SchemaError(
                f"data {key!r}: arrays of group {group!r} have rows; "
                f"save one value per sample under '{FILE_GROUP}/{name}' or with save_metadata"
            )
        check_finite(self._schema, group, name, array, policy=self.nan_policy)
        return {f"{group}/{name}": array}

    def _check_free(self, group: str, name: str) -> None:
        if not self.refuses_names:
            return
        groups = (*standard_groups(), *self._schema.groups, *self._groups()) if name.startswith("has_") else ()
        if reason := reserved_for(name, group, groups):
            raise BadKeyError(f"the name {name!r} is reserved: {reason}; use the name {free_name(name)!r}")

    def _goes_by_name(self, key: str) -> bool:
        return "/" not in key and not self._schema.groups_with_array(key) and group_of_name(key) != FILE_GROUP

    def _note_by_name(self, name: str, place: str) -> None:
        """Record the key of an array without a group; what was saved under its name before is removed."""
        for earlier in {self._by_name.pop(name, place), f"{FILE_GROUP}/{name}"} - {place}:
            if self._has_array(earlier):
                self._drop_array(earlier)
        if place != f"{FILE_GROUP}/{name}":
            self._by_name[name] = place

    def _place_by_name(self) -> None:
        """Move arrays without a group to the group that their names mean if the rows fit, else to one of their own."""
        for name, place in list(self._by_name.items()):
            group, array = group_of_name(name), self._get_array(place)
            fits = len(array) == self._n_rows_beside(group)
            wanted = f"{group}/{name}" if fits else f"{name}/{name}"
            if wanted == place or self._has_array(wanted):
                continue
            if not fits:
                logger.warning(
                    "array %r has another number of rows than group %r: it becomes a group of its own", name, group
                )
            self._put_array(wanted, array)
            self._drop_array(place)
            self._by_name[name] = wanted

    def _n_rows_beside(self, group: str) -> int:
        """Number of rows of a group: of its arrays that were saved by full key, else of the first by name."""
        by_name = [place for name, place in self._by_name.items() if group_of_name(name) == group]
        by_key = [key for key in self.array_keys() if key.startswith(f"{group}/") and key not in by_name]
        return len(self._get_array((by_key or by_name)[0]))

    def _check_clash(self, key: str, prepared: Mapping[str, Any]) -> None:
        """Refuse a new key that would make one name both an array (in group ``file``) and a group."""
        group, _, name = key.partition("/")
        if group == FILE_GROUP and any(other.startswith(f"{name}/") for other in (*self.array_keys(), *prepared)):
            raise BadKeyError(f"key {name!r}: a group of that name holds data; save to '{name}/…' or use another name")
        value = f"{FILE_GROUP}/{group}"
        if group != FILE_GROUP and (value in prepared or self._has_array(value)):
            raise BadKeyError(f"key {key!r}: {group!r} is an array already, not a group; use another group's name")

    def _locate(self, key: str) -> tuple[str, str]:
        """The group and array that a key means; an array saved before the schema gave its name a group is found too."""
        group, name = locate(key, self._schema)
        if key == "graph/num_nodes" and not self._has_array(key):
            return FILE_GROUP, name
        if "/" in key or self._has_array(f"{group}/{name}"):
            return group, name
        places = (self._by_name.get(key, ""), f"{FILE_GROUP}/{key}", f"{key}/{key}")
        found = next((place for place in places if place and self._has_array(place)), None)
        return (found.partition("/")[0], name) if found else (group, name)

    def _located(self, key: str) -> str:
        return "/".join(self._locate(key))

    def _check_open(self) -> None:
        if self._closed:
            raise StorageError(f"this {type(self).__name__} is closed; open it again to read or write it")

    def __enter__(self) -> DataStorage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{len(self.array_keys())} arrays"
        return f"{type(self).__name__}({state})"

    def _repr_html_(self) -> str:
        if self._closed:
            return object_html(repr(self), ())
        dimensions = self.dimensions()
        rows: list[tuple[object, ...]] = []
        for key, (dtype, shape) in self.array_types().items():
            sizes = (f"{dim}: {size}" for dim, size in zip(dimensions[key], shape, strict=True))
            rows.append((key, ", ".join(sizes) or "scalar", dtype))
        rows += [(key, "metadata", str(value)[:60]) for key, value in self.get_metadata().items()]
        return object_html(repr(self), rows, head=("key", "dimensions", "type, or value"))


def _value(array: NDArray[Any]) -> Any:
    """Return a copy of an array, or the Python value of a single number or text."""
    return array.item() if array.ndim == 0 else np.array(array)


def _as_schema(schema: Mapping[str, Any] | Schema | SchemaBuilder) -> Schema:
    if isinstance(schema, Schema):
        return schema
    return schema.schema() if isinstance(schema, SchemaBuilder) else parse_schema(schema)
