"""The `.data` files and metadata files that a merge by hand is given, as records."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dflow.errors import DatasetError, DflowError
from dflow.records import SampleRecord
from dflow.storage.memory import MemoryStorage
from dflow.storage.paths import DATA_SUFFIX, item_identity, resolve_identity
from dflow.storage.sample import describe, describe_file

AnyPath = str | os.PathLike[str]


def find_data_files(sources: AnyPath | Iterable[AnyPath], suffixes: Sequence[str] = (DATA_SUFFIX,)) -> list[Path]:
    """The files among `sources`, and those of the suffixes in folders among them, in sorted order, each once.

    Raises
    ------
    FileNotFoundError
        If a source is not there.
    """
    listed = [sources] if isinstance(sources, (str, os.PathLike)) else list(sources)
    found: set[Path] = set()
    for source in listed:
        path = Path(os.path.abspath(source))
        if path.is_dir():
            found |= {child for child in path.iterdir() if child.suffix in suffixes and not child.name.startswith(".")}
        elif path.exists():
            found.add(path)
        else:
            raise FileNotFoundError(f"{path} is not there: expected a {suffixes[0]} file or a folder of them")
    return sorted(found)


def read_records(
    files: Sequence[Path], folder: Path, schema: Mapping[str, Any] | None = None
) -> tuple[list[tuple[SampleRecord, Path]], tuple[tuple[str, str], ...]]:
    """The records of files from several runs, and (name, reason) of those that cannot be read.

    Sources become relative to `folder`. Of files with one stem (the same source, encoded by several runs) the first
    path's counts; the others are reported as if they were damaged, so that no drop is silent.
    """
    records: dict[str, tuple[SampleRecord, Path]] = {}
    lost: list[tuple[str, str]] = []
    for path in files:
        try:
            record = _describe_json(path, schema) if path.suffix == ".json" else describe_file(path)
        except (DflowError, OSError, ValueError) as error:
            lost.append((path.stem, f"{type(error).__name__}: {error}"))
            continue
        if path.stem in records:
            lost.append((path.stem, f"{path} is left out: {records[path.stem][1]} is the same sample"))
            continue
        records[path.stem] = (replace(record, source=_source(record, path, folder)), path)
    bodies = {name.rpartition("_")[0] for name in records if not name.endswith("_0")}
    return [(_with_body(record, bodies), path) for record, path in records.values()], tuple(lost)


def code_mapping(records: Iterable[SampleRecord]) -> dict[str, int]:
    """The id of each sample by name: its place in the order of (source, body)."""
    ordered = sorted(records, key=lambda record: (record.source, record.body, record.name))
    return {record.name: code for code, record in enumerate(ordered)}


def _describe_json(path: Path, schema: Mapping[str, Any] | None) -> SampleRecord:
    metadata = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(metadata, dict):
        raise DatasetError(f"{path} holds no JSON object of metadata")
    storage = MemoryStorage(nan_policy="allow")  # they were accepted when the sample was made
    if schema is not None:
        storage.set_schema(dict(schema))
    for key, value in metadata.items():
        storage.save_metadata(key, value)
    return describe(storage, path.stem, str(metadata.get("Item", "")))


def _source(record: SampleRecord, path: Path, folder: Path) -> str:
    """The record's source relative to `folder`, where it is a path relative to its own flow's; else as it is."""
    if not record.source:
        return item_identity(path, folder)
    own = resolve_identity(record.source, path.parent.parent)
    return item_identity(own, folder) if own.exists() else record.source


def _with_body(record: SampleRecord, bodies: set[str]) -> SampleRecord:
    """The body index behind a sample's name: ``…_0`` alone is a whole file, beside ``…_1`` it is the first body."""
    match = re.fullmatch(r"(.+)_(\d+)", record.name)
    return replace(record, body=int(match[2])) if match and match[1] in bodies else record
