"""The manifest: the list of a dataset's files, with size and CRC-32.

Zarr reads a missing chunk as fill values, so only a list shows that a dataset is complete. `manifest.json` is the last
file to be written.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from isal import isal_zlib

from dflow.dataset.format.layout import FORMAT, MANIFEST, json_bytes
from dflow.dataset.format.shards import WrittenFile
from dflow.errors import DamagedDatasetError, DatasetNotFoundError
from dflow.storage.paths import open_regular, read_regular

_READ_BYTES = 1024**2


@dataclass(frozen=True, slots=True)
class Manifest:
    """The files of a dataset: `files` maps each path in the dataset to its (bytes, CRC-32).

    `inputs` is the digest of all that was merged, `blocks` has that of each block of rows; they show which shards the
    next merge may reuse. They depend on the paths of the sources, so they are stored in `.infoset`, not in the dataset.
    """

    files: Mapping[str, tuple[int, int]]
    inputs: str = ""
    blocks: Mapping[str, str] = field(default_factory=dict)

    @property
    def build(self) -> str:
        """A digest of the content: equal datasets have equal builds. The tables hold it too."""
        listing = json_bytes({path: list(entry) for path, entry in self.files.items()})
        return hashlib.blake2b(listing, digest_size=16).hexdigest()

    @property
    def n_bytes(self) -> int:
        """Bytes of all files without the manifest."""
        return sum(size for size, _ in self.files.values())

    def to_bytes(self) -> bytes:
        """The content of `manifest.json`."""
        files = {path: list(entry) for path, entry in self.files.items()}
        return json_bytes({"build": self.build, "files": files, "format": FORMAT})


def make_manifest(files: Iterable[WrittenFile], inputs: str, blocks: Mapping[str, str]) -> Manifest:
    """The manifest of the files that were written."""
    return Manifest({file.path: (file.n_bytes, file.crc) for file in files}, inputs, blocks)


def write_file(root: str, path: str, content: bytes) -> WrittenFile:
    """Write one small file of a dataset that is not published yet."""
    with open(os.path.join(root, path), "xb") as file:
        file.write(content)
    return WrittenFile(path, len(content), isal_zlib.crc32(content))


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
        return _parse(json.loads(read_regular(path)), path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedDatasetError(
            f"{path} cannot be read ({type(error).__name__}: {error}); run the merge again"
        ) from error


def _parse(document: Mapping[str, Any], path: str) -> Manifest:
    if document["format"] > FORMAT:
        raise DamagedDatasetError(
            f"{path} is of format {document['format']}, this version of dflow reads up to {FORMAT}; use a newer dflow"
        )
    files = {str(name): (int(size), int(crc)) for name, (size, crc) in document["files"].items()}
    for name in files:
        if os.path.isabs(name) or os.pardir in name.split("/"):
            raise DamagedDatasetError(f"{path} lists {name!r}, which is outside of the dataset; run the merge again")
    manifest = Manifest(files)
    if manifest.build != document["build"]:
        raise DamagedDatasetError(f"{path}: its list of files does not match its digest; run the merge again")
    return manifest


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
