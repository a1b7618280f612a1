"""Check a dataset and what lies beside it: every byte against a checksum, and all of it against each other."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow.parquet as pq
import zarr
from numpy.typing import NDArray

from dflow.checksums import MEMBER, is_sealed, line_content, parse_document
from dflow.dataset.format.layout import MANIFEST
from dflow.dataset.format.location import read_flow_file, table_beside
from dflow.dataset.format.manifest import Manifest, file_crc, missing_files, read_manifest, sums_file
from dflow.dataset.format.stored_split import read_split
from dflow.dataset.format.tables import ATTRIBSET_SCHEMA, INFOSET_COLUMNS, read_table, table_build, table_metadata
from dflow.dataset.merge.publish import Outputs
from dflow.dataset.merge.published import note_file, read_note
from dflow.errors import DatasetError, DatasetNotFoundError, DflowError
from dflow.localpath import home_path
from dflow.render.glb import read_glb
from dflow.render.png import is_whole_png
from dflow.schema import FILE_GROUP
from dflow.schema.names import NODE_DOCUMENT, id_array, row_count, row_start
from dflow.storage.paths import (
    ATTRIBSET_SUFFIX,
    DATA_SUFFIX,
    FLOW_SUFFIX,
    INFOSET_SUFFIX,
    TEMPORARY_PREFIX,
    Below,
    FlowPaths,
    read_regular,
)
from dflow.storage.zarrzip import check_zip_store

_ROWS = 4 * 1024**2

Kind = Literal["dataset", "table", "flow", "split", "note", "preview", "sample", "journal"]


@dataclass(frozen=True, slots=True)
class Fault:
    """A damaged, missing or contradicting file: its path, relative to its dataset or to the flow's folder."""

    kind: Kind
    file: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}: {self.text}" if self.file else self.text


@dataclass(frozen=True, slots=True)
class Examination:
    """The faults of a dataset and of what lies beside it, and the files that carry no checksum, so that damage in them
    need not be found: those of older versions.
    """

    faults: tuple[Fault, ...]
    uncovered: tuple[str, ...] = ()


def validate_dataset(
    path: str | os.PathLike[str],
    *,
    infoset: str | os.PathLike[str] | None = None,
    attribset: str | os.PathLike[str] | None = None,
    beside: bool = True,
) -> list[str]:
    """List every problem of a dataset, one sentence each; the list is empty if there is none.

    Reads every byte once, a few chunks at a time: the manifest's files and checksums, offsets against row counts, the
    ids of every row, the two tables; in a flow's folder also the `.flow`, the split, samples, previews and journals.
    Damage is a problem in the list, never an exception.

    Parameters
    ----------
    path : the `.dataset`
    infoset, attribset : its tables; searched for beside it if omitted, where a missing one is no problem
    beside : whether to check the other files of the flow's folder too
    """
    faults = examine(path, infoset=infoset, attribset=attribset).faults
    return [str(fault) for fault in faults if beside or fault.kind in ("dataset", "table")]


def examine(
    path: str | os.PathLike[str],
    *,
    infoset: str | os.PathLike[str] | None = None,
    attribset: str | os.PathLike[str] | None = None,
) -> Examination:
    """Examine a dataset and what lies beside it. Parameters as of `validate_dataset`; raises nothing on damage."""
    path = Path(home_path(path))
    faults: list[Fault] = []
    uncovered: list[str] = []
    manifest = _examine_manifest(path, faults)
    if path.is_dir():
        _guarded("dataset", path.name, faults, lambda: _examine_files(path, manifest, faults))
    # A dataset may be copied alone; one of its other parts beside it shows that a table is lost.
    accompanied = any(path.with_suffix(each).exists() for each in (INFOSET_SUFFIX, ATTRIBSET_SUFFIX, FLOW_SUFFIX))
    for table, suffix, check in (
        (infoset, INFOSET_SUFFIX, _check_infoset),
        (attribset, ATTRIBSET_SUFFIX, _check_attribset),
    ):
        file = Path(home_path(table)) if table is not None else table_beside(path, suffix)
        if file.exists() and not file.is_file():
            faults.append(Fault("table", file.name, "is not a regular file"))
        elif table is not None or file.exists() or (accompanied and _covered(manifest, suffix)):
            _guarded("table", file.name, faults, lambda check=check, file=file: check(file, path, manifest))  # type: ignore[misc]
    if manifest is not None and not manifest.tables:
        if accompanied and _is_covered(path / MANIFEST):
            faults.append(
                Fault("dataset", MANIFEST, f"has lost {sums_file(path).name}, the tables' checksums beside it")
            )
        else:
            uncovered.append("the tables .infoset and .attribset")
    if not _is_covered(path / NODE_DOCUMENT):
        uncovered.append(f"{path.name}/{NODE_DOCUMENT}, though the manifest has its CRC-32")
    _examine_flow_folder(path, manifest, faults, uncovered)
    return Examination(tuple(dict.fromkeys(faults)), tuple(uncovered))


def _guarded(kind: Kind, name: str, faults: list[Fault], check: Callable[[], Iterable[str] | None]) -> None:
    """Run a check of one file or folder; each text, and whatever it raises, is a fault of that."""
    try:
        for text in check() or ():
            faults.append(Fault(kind, name, text))
    except Exception as error:  # damage makes libraries raise anything from KeyError to ZeroDivisionError
        text = str(error) if isinstance(error, (DflowError, OSError)) else f"{type(error).__name__}: {error}"
        faults.append(Fault(kind, name, f"cannot be read: {text}"))


def _examine_manifest(path: Path, faults: list[Fault]) -> Manifest | None:
    """The manifest of a dataset; the one that the merge noted elsewhere if it is damaged."""
    try:
        manifest = read_manifest(path)
        if read_regular(path / MANIFEST) not in (manifest.to_bytes(), manifest.to_bytes(sealed=False)):
            faults.append(Fault("dataset", MANIFEST, "is not as it was written"))
        return manifest
    except DatasetNotFoundError as error:
        faults.append(Fault("dataset", "", str(error)))
        return None
    except (DatasetError, OSError) as error:
        faults.append(Fault("dataset", MANIFEST, str(error)))
    noted = read_note(Outputs.beside(path))
    return None if noted is None else noted.manifest


def _examine_files(path: Path, manifest: Manifest | None, faults: list[Fault]) -> None:
    outside = list(Below(path, top_links=False).links_out())
    odd = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if not (file.is_file() or file.is_dir()))
    found = [Fault("dataset", name, "a link that leads out of the dataset") for name in outside]
    found += [Fault("dataset", name, "is not a regular file") for name in odd if name not in outside]
    if not found and manifest is not None:  # reading a pipe would block, and a link out is not followed
        found += [Fault("dataset", *line.split(": ", 1)) for line in missing_files(path, manifest)]
        found += _wrong_checksums(path, manifest, {fault.file for fault in found})
        found += _unlisted_files(path, manifest)
    if not found:
        try:
            found += [Fault("dataset", "", text) for text in _check_rows(path)]
        except Exception as error:  # zarr raises anything from KeyError to RuntimeError on contradicting metadata
            found.append(Fault("dataset", "", f"the arrays cannot be read: {type(error).__name__}: {error}"))
    faults += found


def _wrong_checksums(path: Path, manifest: Manifest, skip: set[str]) -> Iterator[Fault]:
    for name, (_, expected) in sorted(manifest.files.items()):
        if name in skip:
            continue
        try:
            if file_crc(path / name) != expected:
                yield Fault("dataset", name, "its checksum does not match the manifest")
        except OSError as error:
            yield Fault("dataset", name, f"cannot be read: {error.strerror}")


def _unlisted_files(path: Path, manifest: Manifest) -> Iterator[Fault]:
    """Files that the manifest does not list: a chunk among them would be read as data."""
    for folder, _, names in os.walk(path):
        for name in sorted(names):
            relative = os.path.relpath(os.path.join(folder, name), path).replace(os.sep, "/")
            if relative not in manifest.files and relative != MANIFEST and not name.startswith(TEMPORARY_PREFIX):
                yield Fault("dataset", relative, "not in the manifest")


def _is_covered(document: Path) -> bool:
    try:
        return MEMBER.encode() in read_regular(document)
    except OSError:
        return True  # a fault of its own


def _check_rows(path: Path) -> Iterator[str]:
    root = zarr.open_group(str(path), mode="r")
    head: Any = root.attrs["dflow"]
    n_files = int(head["n_files"])
    for group, stated in head["groups"].items():
        arrays = dict(_group(root, group).arrays())
        n_rows = int(stated["n_rows"])
        for name, array in sorted(arrays.items()):
            if array.shape[0] != n_rows:
                yield f"{group}/{name}: {array.shape[0]} rows, the dataset's attributes state {n_rows}"
        if group != FILE_GROUP:
            yield from _check_offsets(root, group, n_files, n_rows, arrays[id_array(group)])


def _group(root: zarr.Group, name: str) -> zarr.Group:
    node = root[name]
    if not isinstance(node, zarr.Group):
        raise TypeError(f"{name} is an array")
    return node


def _check_offsets(root: zarr.Group, group: str, n_files: int, n_rows: int, ids: Any) -> Iterator[str]:
    file = _group(root, FILE_GROUP)
    starts, counts = (np.asarray(file[name][:]) for name in (row_start(group), row_count(group)))  # type: ignore[index]  # arrays
    if len(starts) != n_files:
        yield f"{row_start(group)}: {len(starts)} files, the dataset's attributes state {n_files}"
        return
    expected = np.concatenate([[0], np.cumsum(counts)])
    if (counts < 0).any() or not np.array_equal(starts, expected[:-1]) or expected[-1] != n_rows:
        yield f"{group}: row_start and row_count do not cover its {n_rows} rows without gap or overlap"
        return
    for begin in range(0, n_rows, _ROWS):
        found = np.asarray(ids[begin : begin + _ROWS])
        if not np.array_equal(found, _expected_ids(expected, begin, begin + len(found))):
            yield f"{group}/{id_array(group)}: ids contradict the offsets between rows {begin} and {begin + len(found)}"
            return


def _expected_ids(offsets: NDArray[np.int64], begin: int, end: int) -> NDArray[np.int64]:
    return np.searchsorted(offsets, np.arange(begin, end), side="right") - 1


def _n_files(path: Path) -> int | None:
    """The number of samples that the dataset states; None where it cannot be read."""
    try:
        return int(parse_document(read_regular(path / NODE_DOCUMENT))["attributes"]["dflow"]["n_files"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _check_infoset(file: Path, path: Path, manifest: Manifest | None) -> Iterator[str]:
    table = read_table(file, INFOSET_SUFFIX, columns=["id"])
    if not _covered(manifest, INFOSET_SUFFIX):
        _read_whole(file)
    n_files = _n_files(path)
    if n_files is not None and not np.array_equal(table["id"].to_numpy(), np.arange(n_files)):
        yield f"its ids are not 0 to {n_files - 1} in order"
    schema = table_metadata(file).schema.to_arrow_schema()
    for name, kind in INFOSET_COLUMNS:
        if name not in schema.names or schema.field(name).type != kind:
            yield f"its column {name!r} is missing or no longer {kind}"
    yield from _check_build(file, manifest)


def _check_attribset(file: Path, path: Path, manifest: Manifest | None) -> Iterator[str]:
    read_table(file, ATTRIBSET_SUFFIX, columns=[])
    if not _covered(manifest, ATTRIBSET_SUFFIX):
        _read_whole(file)
    found = table_metadata(file).schema.to_arrow_schema()
    if not found.equals(ATTRIBSET_SCHEMA):
        yield f"its columns are {found.names}, expected {ATTRIBSET_SCHEMA.names}"
    yield from _check_build(file, manifest)


def _covered(manifest: Manifest | None, suffix: str) -> bool:
    return manifest is not None and suffix in manifest.tables


def _read_whole(file: Path) -> None:
    """Check every page's checksum of a table that has no other, one row group at a time."""
    with pq.ParquetFile(file, page_checksum_verification=True) as table:
        n_rows = [table.read_row_group(group).num_rows for group in range(table.num_row_groups)]
        stated = [table.metadata.row_group(group).num_rows for group in range(table.num_row_groups)]
        if n_rows != stated or sum(n_rows) != table.metadata.num_rows:
            raise ValueError(f"its row groups hold {sum(n_rows)} rows, its footer states {table.metadata.num_rows}")


def _check_build(file: Path, manifest: Manifest | None) -> Iterator[str]:
    if manifest is not None and table_build(file) not in ("", manifest.build):
        yield "belongs to another build of the dataset"


# Beside the dataset, in a flow's folder


def flow_paths(path: Path) -> FlowPaths:
    """The paths of the flow that a dataset's name and folder state."""
    return FlowPaths(Path(os.path.abspath(path)).parent, path.stem)


def _examine_flow_folder(path: Path, manifest: Manifest | None, faults: list[Fault], uncovered: list[str]) -> None:
    paths = flow_paths(path)
    covered = manifest is not None and bool(manifest.tables)
    if paths.flow_file.exists():
        _guarded("flow", paths.flow_file.name, faults, lambda: _check_flow_file(paths.flow_file))
        if not _is_covered(paths.flow_file):
            if (paths.state / paths.flow_file.name).exists():  # its copy, which has one
                faults.append(Fault("flow", paths.flow_file.name, "has lost its checksum"))
            else:
                uncovered.append(paths.flow_file.name)
    elif (paths.state / "journal.jsonl").exists() and covered:
        faults.append(Fault("flow", f"{paths.name}{FLOW_SUFFIX}", "is missing"))
    split = path.with_suffix(".split")
    if split.exists():
        _guarded("split", split.name, faults, lambda: _check_split(split))
        if not _is_covered(split):
            uncovered.append(split.name)
    note = note_file(Outputs.beside(path))
    if note.exists() and read_note(Outputs.beside(path)) is None:
        faults.append(Fault("note", f".dflow/{note.name}", "is damaged; the next run makes it anew"))
    named = _named_files(path)
    for folder, kind, check in (
        (paths.encoded, "sample", _check_sample),
        (paths.stream_cache, "preview", _check_preview),
    ):
        _examine_folder(folder, kind, check, named, faults)  # type: ignore[arg-type]  # a literal in a tuple
    for journal in sorted(paths.state.glob("*.jsonl")):
        _guarded("journal", f".dflow/{journal.name}", faults, lambda journal=journal: _check_journal(journal))  # type: ignore[misc]


def _check_flow_file(file: Path) -> None:
    read_flow_file(file)


def _check_split(file: Path) -> None:
    read_split(file)


def _named_files(path: Path) -> Mapping[str, set[str]]:
    """The files that the `.infoset` names, by the name of their folder; none where it cannot be read."""
    wanted = ("name", "stream_cache_png", "stream_cache_3d")
    try:
        table = read_table(path.with_suffix(INFOSET_SUFFIX), INFOSET_SUFFIX, columns=wanted)
        names, *previews = (table[column].to_pylist() for column in wanted)
    except Exception:  # a fault of the table
        return {}
    found = {os.path.basename(name) for column in previews for name in column if name}
    return {"encoded": {f"{name}{DATA_SUFFIX}" for name in names}, "stream_cache": found}


def _examine_folder(
    folder: Path,
    kind: Kind,
    check: Callable[[Path], Iterable[str] | None],
    named: Mapping[str, set[str]],
    faults: list[Fault],
) -> None:
    """Check all files of a folder; one that is named and missing is a fault where the folder holds others."""
    try:
        present = {name for name in os.listdir(folder) if not name.startswith(TEMPORARY_PREFIX)}
    except OSError:
        return
    if present:
        missing = sorted(named.get(folder.name, set()) - present)
        faults += [Fault(kind, f"{folder.name}/{name}", "is missing") for name in missing]
    for name in sorted(present):
        _guarded(kind, f"{folder.name}/{name}", faults, lambda name=name: check(folder / name))  # type: ignore[misc]


def _check_sample(file: Path) -> None:
    if file.suffix == DATA_SUFFIX:
        check_zip_store(file)


def _check_preview(file: Path) -> Iterator[str]:
    if file.suffix == ".png" and not is_whole_png(read_regular(file)):
        yield "its checksums do not match, or it is no PNG"
    if file.suffix == ".glb" and not is_sealed(read_regular(file)):
        read_glb(file)


def _check_journal(file: Path) -> Iterator[str]:
    with open(file, "rb") as handle:
        lines = [line_content(line) is None for line in handle if line != b"\n"]
    if n_damaged := sum(lines):
        yield f"{n_damaged} of its {len(lines)} lines are damaged; the next run does their items again"
