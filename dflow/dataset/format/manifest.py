"""The manifest: the list of a dataset's files, with size and CRC-32, and the checksums of its two tables.

Zarr reads a missing chunk as fill values, so only a list shows that a dataset is complete. `manifest.json` is the last
file to be written. It carries its own checksum (`dflow.checksums`).

The tables lie beside the dataset, and a split rewrites one of them, so they are not among `files`, of which the build
is the digest. Their checksums lie in a file of their own beside them (``.checksums``). While a table is exchanged it
lists the old and the new one, so that a reader at any moment, and after a kill at any moment, finds one of them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path
from typing import Any

from isal import isal_zlib

from dflow.checksums import BLANK, MEMBER, is_sealed, parse_document, seal
from dflow.dataset.format.layout import FORMAT, MANIFEST, how_to_mend, json_bytes
from dflow.dataset.format.shards import WrittenFile
from dflow.errors import DamagedDatasetError, DatasetNotFoundError
from dflow.storage.atomic import write_whole
from dflow.storage.paths import SUMS_SUFFIX, open_regular, read_regular

_READ_BYTES = 1024**2
_FOOTER_END = 8
"""Bytes after a Parquet footer: its length, and the magic number."""


@dataclass(frozen=True, slots=True)
class TableSum:
    """A table's size in bytes, the CRC-32 of the whole file, and that of its footer with the eight bytes behind it."""

    n_bytes: int
    crc: int
    footer_crc: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """The files of a dataset: `files` maps each path in the dataset to its (bytes, CRC-32).

    `tables` has the checksums of each table by its suffix, of which the file has one; empty in datasets of older
    versions, whose tables are not covered.

    `inputs` is the digest of all that was merged, `blocks` has that of each block of rows; they show which shards the
    next merge may reuse. They depend on the paths of the sources, so they are stored in `.infoset`, not in the dataset.
    """

    files: Mapping[str, tuple[int, int]]
    inputs: str = ""
    blocks: Mapping[str, str] = field(default_factory=dict)
    tables: Mapping[str, tuple[TableSum, ...]] = field(default_factory=dict)

    @property
    def build(self) -> str:
        """A digest of the content: equal datasets have equal builds. The tables hold it too."""
        listing = json_bytes({path: list(entry) for path, entry in self.files.items()})
        return hashlib.blake2b(listing, digest_size=16).hexdigest()

    @property
    def n_bytes(self) -> int:
        """Bytes of all files without the manifest."""
        return sum(size for size, _ in self.files.values())

    def to_bytes(self, *, sealed: bool = True) -> bytes:
        """The content of `manifest.json`; not `sealed`, that which older versions wrote."""
        files = {path: list(entry) for path, entry in self.files.items()}
        document = {"build": self.build, "files": files, "format": FORMAT}
        return seal(json_bytes({**document, MEMBER: BLANK})) if sealed else json_bytes(document)


def make_manifest(files: Iterable[WrittenFile], inputs: str, blocks: Mapping[str, str]) -> Manifest:
    """The manifest of the files that were written."""
    return Manifest({file.path: (file.n_bytes, file.crc) for file in files}, inputs, blocks)


def write_file(root: str, path: str, content: bytes) -> WrittenFile:
    """Write one small file of a dataset that is not published yet."""
    with open(os.path.join(root, path), "xb") as file:
        file.write(content)
    return WrittenFile(path, len(content), isal_zlib.crc32(content))


def table_sum(content: bytes) -> TableSum:
    """The checksums of a Parquet file."""
    return TableSum(len(content), isal_zlib.crc32(content), isal_zlib.crc32(table_footer(content)))


def table_footer(content: bytes) -> bytes:
    """The footer of a Parquet file with the eight bytes behind it, from the file's last bytes; all of them if short."""
    n_footer = int.from_bytes(content[-_FOOTER_END:-4], "little")
    return content[-(n_footer + _FOOTER_END) :]


def file_crc(path: str | os.PathLike[str]) -> int:
    """The CRC-32 of a file, as in the manifest."""
    crc = 0
    with os.fdopen(open_regular(path), "rb") as file:
        while block := file.read(_READ_BYTES):
            crc = isal_zlib.crc32(block, crc)
    return crc


def read_manifest(dataset: str | os.PathLike[str]) -> Manifest:
    """Read the manifest of a dataset.

    Raises
    ------
    DatasetNotFoundError
        If there is no folder at the path.
    DamagedDatasetError
        If the folder has no manifest, or the manifest is damaged or of a later format.
    """
    path = os.path.join(dataset, MANIFEST)
    if not os.path.isdir(dataset):
        raise DatasetNotFoundError(
            f"there is no dataset at {os.fspath(dataset)!r}; pass the path of a merged .dataset folder"
        )
    try:
        return replace(parse_manifest(read_regular(path)), tables=read_sums(dataset))
    except DamagedDatasetError as error:
        raise DamagedDatasetError(f"{path} {error}; {how_to_mend(dataset)}") from error
    except OSError as error:
        raise DamagedDatasetError(f"{path} cannot be read ({error.strerror}); {how_to_mend(dataset)}") from error


def parse_manifest(content: bytes) -> Manifest:
    """The manifest of its bytes.

    Raises
    ------
    DamagedDatasetError
        If they are damaged, or of a later format; the message goes on after the file's path.
    """
    try:
        return _parse(parse_document(content))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        if isinstance(error, DamagedDatasetError):
            raise
        raise DamagedDatasetError(f"is damaged ({type(error).__name__}: {error})") from error


def _parse(document: Mapping[str, Any]) -> Manifest:
    if document["format"] > FORMAT:
        raise DamagedDatasetError(
            f"is of format {document['format']}, this version of dflow reads up to {FORMAT}; use a newer dflow"
        )
    files = {str(name): (int(size), int(crc)) for name, (size, crc) in document["files"].items()}
    for name in files:
        if os.path.isabs(name) or os.pardir in name.split("/"):
            raise DamagedDatasetError(f"lists {name!r}, which is outside of the dataset")
    manifest = Manifest(files)
    if manifest.build != document["build"]:
        raise DamagedDatasetError("is damaged: its list of files does not match its digest")
    return manifest


def table_sums(document: Mapping[str, Any]) -> dict[str, tuple[TableSum, ...]]:
    """The checksums of the tables in a parsed document.

    Raises
    ------
    ValueError, TypeError, AttributeError
        If they are none.
    """
    sums = document.get("tables", {}).items()
    return {str(suffix): tuple(TableSum(*map(int, each)) for each in listed) for suffix, listed in sums}


def sums_file(part: str | os.PathLike[str]) -> Path:
    """The file with the checksums of the tables beside a dataset or table.

    It lies outside of the dataset, whose bytes depend on the samples alone: the tables also say where these were made.
    """
    return Path(part).with_suffix(SUMS_SUFFIX)


def read_sums(part: str | os.PathLike[str]) -> dict[str, tuple[TableSum, ...]]:
    """The checksums of the tables beside a dataset or table, by their suffix; none where an older version wrote them.

    Raises
    ------
    DamagedDatasetError
        If the file with the checksums is damaged; the message goes on after the dataset's path.
    """
    file = sums_file(part)
    try:
        content = read_regular(file)
        if not is_sealed(content):
            raise ValueError("it has lost its own checksum")
        return table_sums(parse_document(content))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise DamagedDatasetError(f"has beside it {file}, which is damaged: {error}") from error


def write_sums(part: str | os.PathLike[str], sums: Mapping[str, tuple[TableSum, ...]]) -> None:
    """Write the checksums of the tables beside a dataset or table.

    Raises
    ------
    OSError
        If the folder cannot be written; the old ones then stay.
    """
    write_whole(sums_file(part), [seal(json_bytes({"tables": sums_document(sums), MEMBER: BLANK}))], synced=True)


def sums_document(sums: Mapping[str, tuple[TableSum, ...]]) -> dict[str, list[tuple[int, ...]]]:
    """The checksums as `table_sums` reads them."""
    return {suffix: [astuple(each) for each in listed] for suffix, listed in sums.items()}


def renew_manifest(dataset: str | os.PathLike[str], manifest: Manifest) -> None:
    """Replace the manifest of a published dataset, and the checksums of its tables.

    Raises
    ------
    OSError
        If the folder cannot be written; the old one then stays.
    """
    write_whole(os.path.join(dataset, MANIFEST), [manifest.to_bytes()], synced=True)
    if manifest.tables:
        write_sums(dataset, manifest.tables)


def missing_files(dataset: str | os.PathLike[str], manifest: Manifest) -> list[str]:
    """One line per listed file that is missing or has another size; contents are not read."""
    faults = []
    for path, (size, _) in sorted(manifest.files.items()):
        try:
            found = os.stat(os.path.join(dataset, path)).st_size
        except OSError as error:
            faults.append(f"{path}: {error.strerror}")
            continue
        if found != size:
            faults.append(f"{path}: {found:,} bytes, the manifest lists {size:,}")
    return faults
