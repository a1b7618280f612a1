"""Which dimensions a sample's arrays have, and whether they agree on their rows."""

from __future__ import annotations

from collections.abc import Mapping

from dflow.errors import SchemaError
from dflow.schema import FILE_GROUP, Schema, resolve_array, row_dimension


def sample_dimensions(schema: Schema, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[str, ...]]:
    """The dimension names of every array of a sample, by key ``group/array``.

    Declared names, else the standard array's, else the group's row dimension and ``<array>_dim_<i>``. Where standard
    arrays of one group would give one trailing dimension several sizes, they get names of their own
    (``d2_distance_bin``), because a dimension of an xarray dataset has one size.

    Raises
    ------
    SchemaError
        If arrays of one group differ in their number of rows, or declared arrays give one dimension several sizes.
    """
    dims = {key: _array_dimensions(schema, key, len(shape)) for key, shape in shapes.items()}
    sizes: dict[tuple[str, str], dict[int, list[str]]] = {}
    for key, shape in shapes.items():
        for dim, size in zip(dims[key], shape, strict=True):
            sizes.setdefault((key.partition("/")[0], dim), {}).setdefault(size, []).append(key)
    for (group, dim), owners in sizes.items():
        if len(owners) > 1:
            _check_conflict(schema, group, dim, owners)
            for key in (key for keys in owners.values() for key in keys):
                name = key.partition("/")[2]
                dims[key] = tuple(f"{name}_{dim}" if own == dim else own for own in dims[key])
    return dims


def _array_dimensions(schema: Schema, key: str, ndim: int) -> tuple[str, ...]:
    group, _, name = key.partition("/")
    spec = resolve_array(schema, group, name)
    if spec is not None and len(spec.dims) == ndim:
        return spec.dims
    if group == FILE_GROUP:
        return tuple(f"{name}_dim_{i}" for i in range(ndim))
    return (row_dimension(schema, group), *(f"{name}_dim_{i}" for i in range(1, ndim)))


def _check_conflict(schema: Schema, group: str, dim: str, owners: Mapping[int, list[str]]) -> None:
    is_row = group != FILE_GROUP and dim == row_dimension(schema, group)
    declared = any(schema.array(group, key.partition("/")[2]) for keys in owners.values() for key in keys)
    if is_row or declared:
        found = "; ".join(f"{', '.join(keys)}: {size}" for size, keys in sorted(owners.items()))
        what = "rows" if is_row else "sizes"
        raise SchemaError(f"group {group!r}: its arrays disagree on their {what} along {dim!r}: {found}")
