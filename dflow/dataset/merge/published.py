"""What the published files of a dataset looked like when they were last known to be whole.

A run that has nothing to merge must notice a file that was damaged, changed or lost since, without reading them all. So
size, modification time and inode of each file are noted in ``.dflow/<dataset>.published`` beside the dataset, together
with the manifest and the digests of what was merged. A file that differs from the note is compared with its checksum.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from dflow.checksums import BLANK, MEMBER, parse_document, seal
from dflow.dataset.format.layout import MANIFEST, json_bytes
from dflow.dataset.format.manifest import (
    Manifest,
    file_crc,
    parse_manifest,
    read_manifest,
    read_sums,
    sums_document,
    sums_file,
    table_sums,
)
from dflow.dataset.format.tables import with_memory
from dflow.dataset.merge.publish import Outputs
from dflow.dataset.merge.settings import MergeSettings
from dflow.errors import DatasetError
from dflow.plaintext import get_logger
from dflow.storage.atomic import write_whole
from dflow.storage.paths import ATTRIBSET_SUFFIX, INFOSET_SUFFIX, SUMS_SUFFIX, read_regular

logger = get_logger(__name__)

State = tuple[int, int, int]
"""Size in bytes, modification time in ns, inode."""


@dataclass(frozen=True, slots=True)
class Noted:
    """A note: the manifest with its digests, the flow's name and the settings that the merge had, and the state of each
    file by its path; tables by their suffix.
    """

    manifest: Manifest
    flow_name: str
    settings: MergeSettings
    states: Mapping[str, State] = field(default_factory=dict)


def note_file(outputs: Outputs) -> Path:
    """The file of the note."""
    return outputs.dataset.parent / ".dflow" / f"{outputs.dataset.name}.published"


def note_published(outputs: Outputs, manifest: Manifest, flow_name: str, settings: MergeSettings) -> None:
    """Write the note of a dataset that was just published."""
    states = {key: _state(path) for key, path in _places(outputs, manifest)}
    known = {key: state for key, state in states.items() if state is not None}
    write_note(outputs, Noted(manifest, flow_name, settings, known))


def write_note(outputs: Outputs, noted: Noted) -> None:
    """Write the note of whole files. Where it cannot be written, the next run compares all checksums."""
    manifest = noted.manifest
    document = {
        "blocks": dict(manifest.blocks),
        "flow_name": noted.flow_name,
        "settings": asdict(noted.settings),
        "inputs": manifest.inputs,
        "manifest": manifest.to_bytes().decode("utf-8", "surrogatepass"),
        "tables": sums_document(manifest.tables),
        "states": {key: list(state) for key, state in noted.states.items()},
        MEMBER: BLANK,
    }
    file = note_file(outputs)
    try:
        write_whole(file, [seal(json_bytes(document))])
    except OSError as error:
        logger.debug("%s cannot be written: %s", file, error)


def read_note(outputs: Outputs) -> Noted | None:
    """The note; None if there is none or it is damaged."""
    try:
        document: Any = parse_document(read_regular(note_file(outputs)))
        manifest = parse_manifest(document["manifest"].encode("utf-8", "surrogatepass"))
        states = {
            str(key): (int(size), int(time), int(inode)) for key, (size, time, inode) in document["states"].items()
        }
        blocks = {str(key): str(digest) for key, digest in document["blocks"].items()}
        settings = MergeSettings(**{key: _tupled(value) for key, value in document["settings"].items()})
        sums = table_sums(document)
        manifest = replace(manifest, inputs=str(document["inputs"]), blocks=blocks, tables=sums)
        return Noted(manifest, str(document["flow_name"]), settings, states)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def note_tables(outputs: Outputs) -> None:
    """Note the manifest again after a table was exchanged, so that a lost manifest comes back with its checksum."""
    noted = read_note(outputs)
    if noted is not None:
        known = noted.manifest
        manifest = replace(read_manifest(outputs.dataset), inputs=known.inputs, blocks=known.blocks)
        if manifest.build == known.build:
            write_note(outputs, replace(noted, manifest=manifest))


def forget_published(outputs: Outputs) -> None:
    """Remove the states from the note, so that the next run compares all checksums: a file is damaged unseen."""
    noted = read_note(outputs)
    if noted is not None:
        write_note(outputs, replace(noted, states={}))


def published(outputs: Outputs) -> tuple[Manifest, Noted | None]:
    """The manifest of the published dataset, with the digests of what was merged, and the note of it.

    A damaged or lost `manifest.json` is replaced by the noted one: its checksums show which files are whole.

    Raises
    ------
    DatasetError
        If there is no dataset, or neither its manifest nor the note is whole.
    """
    noted = read_note(outputs)
    try:
        manifest = read_manifest(outputs.dataset)
    except DatasetError:
        if noted is None or not outputs.dataset.is_dir():
            raise
        return noted.manifest, noted
    if noted is not None and noted.manifest.build == manifest.build:
        return replace(manifest, inputs=noted.manifest.inputs, blocks=noted.manifest.blocks), noted
    return with_memory(manifest, outputs.infoset), None


def damaged_files(outputs: Outputs, manifest: Manifest, noted: Noted | None) -> tuple[list[str], dict[str, State]]:
    """The files that are missing or differ from their checksums, and the states of the others.

    Only files that differ from the note are read.
    """
    known = noted.states if noted is not None else {}
    damaged, states = [], dict[str, State]()
    for key, path in _places(outputs, manifest):
        state = _state(path)
        if state is None or (known.get(key) != state and not _is_whole(key, path, manifest)):
            damaged.append(path.name if key.startswith(".") else key)
        else:
            states[key] = state
    return damaged, states


def _tupled(value: Any) -> Any:
    return tuple(map(_tupled, value)) if isinstance(value, list) else value


def _places(outputs: Outputs, manifest: Manifest) -> list[tuple[str, Path]]:
    folder = outputs.dataset
    files = [(key, folder / key) for key in (*sorted(manifest.files), MANIFEST)]
    tables = [(INFOSET_SUFFIX, outputs.infoset), (ATTRIBSET_SUFFIX, outputs.attribset)]
    return [*files, *tables, (SUMS_SUFFIX, sums_file(folder))]


def _state(path: Path) -> State | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ino


def _is_whole(key: str, path: Path, manifest: Manifest) -> bool:
    try:
        if key == MANIFEST:
            return read_manifest(path.parent).files == manifest.files
        if key == SUMS_SUFFIX:
            return read_sums(path) == manifest.tables
        size, crc = path.stat().st_size, file_crc(path)
    except (OSError, DatasetError):
        return False
    if key in manifest.tables:
        return any((size, crc) == (each.n_bytes, each.crc) for each in manifest.tables[key])
    return (size, crc) == manifest.files.get(key)
