"""Compare what the schema declares with what the files saved."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from dflow.errors import SchemaError
from dflow.records import SampleLayout, SampleRecord
from dflow.schema import Schema, merge_schemas, parse_schema, standard_array
from dflow.schema.checks import nearest_key


@dataclass(frozen=True, slots=True)
class Declarations:
    """Declarations that no sample used, and data without a declaration: (name, nearest name of the other kind or "").

    Arrays are named ``group/name``, metadata fields ``metadata <name>``. Standard arrays need no declaration; metadata
    without a declaration counts only where it is like a field that no sample saved.
    """

    not_saved: tuple[tuple[str, str], ...] = ()
    not_declared: tuple[tuple[str, str], ...] = ()


def compare_declarations(samples: Sequence[SampleRecord]) -> Declarations:
    """Compare the schemas of samples with their arrays and metadata; empty where no sample has a schema."""
    layouts = {id(sample.layout): sample.layout for sample in samples}.values()
    schema = _union(layouts)
    declared = {f"{group}/{name}" for group, spec in schema.groups.items() for name in spec.arrays}
    fields = {*schema.file_level, *schema.categorical}
    if not declared and not fields:
        return Declarations()
    saved = {array.key for layout in layouts for array in layout.arrays}
    arrays = {key for key in saved - declared if standard_array(*key.split("/")) is None}
    values = _saved_fields(samples, fields)
    similar = {value for value in values - fields if nearest_key(value, fields - values)}
    return Declarations(
        (*_pairs(declared - saved, arrays), *_pairs(fields - values, similar, "metadata ")),
        (*_pairs(arrays, declared - saved, others=declared), *_pairs(similar, fields - values, "metadata ")),
    )


def _pairs(
    names: Iterable[str], partners: Collection[str], prefix: str = "", *, others: Collection[str] = ()
) -> Iterator[tuple[str, str]]:
    """Each name with the nearest of its partners, else of the others."""
    for name in sorted(names):
        near = nearest_key(name, partners) or nearest_key(name, others)
        yield prefix + name, near and prefix + near


def _union(layouts: Iterable[SampleLayout]) -> Schema:
    union = Schema()
    for text in sorted({layout.schema for layout in layouts} - {""}):
        try:
            union = merge_schemas(union, parse_schema(json.loads(text)))
        except SchemaError:
            continue  # the merge rejects these samples with the reason
    return union


def _saved_fields(samples: Iterable[SampleRecord], fields: Collection[str]) -> set[str]:
    """The metadata that samples have; reads no further once all declared fields are found."""
    found: set[str] = set()
    for sample in samples:
        if found.issuperset(fields):
            break
        found.update(name for name, _ in sample.values)
    return found
