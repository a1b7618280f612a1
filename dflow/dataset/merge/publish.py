"""Publish a finished build as the dataset, in steps that a crash may interrupt anywhere.

A merge builds in ``.tmp-<dataset>-<token>/`` beside the dataset: ``dataset/``, ``infoset``, ``attribset``. When all
is written and verified, ``ready.json`` is written. From then on the build is rolled forward: each part is exchanged
with the published one in one system call. A merge that finds a ready build of a dead process finishes it; any other
build is removed.

A power cut loses what was not flushed to the disk, in any order. So all files and folders of a build are flushed before
`ready.json` is written, that before the exchange, the exchange before the tables are replaced, and all of it before the
old dataset is removed.

At every moment there is a complete dataset under the name, the old one or the new one. A reader with the old folder
open, such as `DatasetExplorer`, reads old files or gets an error, never a mixture.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dflow.dataset.format.layout import CODECS, FORMAT, ArrayTarget
from dflow.dataset.format.location import READY
from dflow.dataset.format.manifest import Manifest, file_crc, read_manifest
from dflow.dataset.format.shards import WrittenFile
from dflow.dataset.merge.plan import Block
from dflow.errors import DatasetError
from dflow.plaintext import get_logger
from dflow.storage.atomic import sync, sync_tree, write_whole
from dflow.storage.paths import ATTRIBSET_SUFFIX, INFOSET_SUFFIX, TEMPORARY_PREFIX, FlowPaths

logger = get_logger(__name__)

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


@dataclass(frozen=True, slots=True)
class Outputs:
    """Paths that a merge publishes: the dataset and its two tables, in one folder."""

    dataset: Path
    infoset: Path
    attribset: Path

    @classmethod
    def of(cls, paths: FlowPaths) -> Outputs:
        """The outputs of a flow."""
        return cls(paths.dataset, paths.infoset, paths.attribset)

    @classmethod
    def beside(cls, dataset: Path) -> Outputs:
        """A dataset with the tables that lie beside it."""
        return cls(dataset, dataset.with_suffix(INFOSET_SUFFIX), dataset.with_suffix(ATTRIBSET_SUFFIX))

    @property
    def prefix(self) -> str:
        """The first part of the names of this dataset's builds."""
        return f"{TEMPORARY_PREFIX}{self.dataset.name}-"


@dataclass(frozen=True, slots=True)
class Build:
    """A dataset that is not published yet. `folder` is new for every attempt, so that late nodes of a dead run cannot
    write into it.
    """

    folder: Path
    outputs: Outputs

    @classmethod
    def begin(cls, outputs: Outputs) -> Build:
        """Make the folder of a new build.

        Raises
        ------
        OSError
            If the folder of the outputs cannot be written.
        """
        folder = outputs.dataset.parent / f"{outputs.prefix}{os.urandom(6).hex()}"
        os.makedirs(folder / "dataset")
        return cls(folder, outputs)

    @property
    def dataset(self) -> Path:
        return self.folder / "dataset"

    @property
    def infoset(self) -> Path:
        return self.folder / "infoset"

    @property
    def attribset(self) -> Path:
        return self.folder / "attribset"

    def publish(self) -> None:
        """Flush all files to the disk, mark the build as ready, and roll it forward."""
        sync_tree(self.folder)
        ready = json.dumps({"build": read_manifest(self.dataset).build}).encode()
        write_whole(self.folder / READY, [ready], synced=True)
        self.roll_forward()

    def is_ready(self) -> bool:
        """Whether the build is complete and verified."""
        return (self.folder / READY).is_file()

    def roll_forward(self) -> None:
        """Move the parts to their published names; may be repeated after an interruption at any point."""
        build = json.loads((self.folder / READY).read_text(encoding="utf-8"))["build"]
        if _is_build(self.dataset, build):
            _put_in_place(self.dataset, self.outputs.dataset)
            self._sync_names()
        for part, place in ((self.infoset, self.outputs.infoset), (self.attribset, self.outputs.attribset)):
            if part.exists():
                os.replace(part, place)
        self._sync_names()
        os.unlink(self.folder / READY)
        self.discard()

    def _sync_names(self) -> None:
        """Flush what was renamed between the build and the outputs."""
        sync(self.outputs.dataset.parent)
        sync(self.folder)

    def discard(self) -> None:
        """Remove the build and, after an exchange, the dataset that it replaced."""
        for _ in range(3):  # a late node of a dead run may add a file meanwhile
            shutil.rmtree(self.folder, ignore_errors=True)
            if not self.folder.exists():
                return
        logger.warning("%s could not be removed; the next run tries again", self.folder)


def recover(outputs: Outputs) -> None:
    """Finish the build that a dead process left ready, and remove all others. The caller holds the folder's lock."""
    folder = outputs.dataset.parent
    if not folder.is_dir():
        return
    for name in sorted(os.listdir(folder)):
        if not name.startswith(outputs.prefix):
            continue
        build = Build(folder / name, outputs)
        if build.is_ready():
            logger.info("publishing the finished dataset of an interrupted run from %s", name)
            build.roll_forward()
        else:
            build.discard()


def _is_build(dataset: Path, build: str) -> bool:
    """Whether the folder holds this build; after an exchange it holds the old dataset, which may have no manifest."""
    try:
        return read_manifest(dataset).build == build
    except DatasetError:
        return False


def _put_in_place(new: Path, place: Path) -> None:
    """Rename `new` to `place`; what had that name gets the name of `new`, or one beside it."""
    try:
        if not os.path.lexists(place):
            os.rename(new, place)
        elif not _exchange(new, place):
            # No exchange on this file system: for a moment no dataset has the name; `roll_forward` finishes it.
            os.rename(place, new.with_name("replaced"))
            os.rename(new, place)
    except OSError as error:
        raise DatasetError(
            f"{place} cannot be replaced ({error}); it is unchanged. Permit writing in it and in its parent folder, "
            "which renaming needs, and run again: the encoded samples are kept"
        ) from error


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two names in one step (Linux's ``renameat2``); False if that is not supported."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    renameat2.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    if renameat2(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(code, os.strerror(code), os.fspath(second))


@dataclass(frozen=True, slots=True)
class OldShard:
    """One published shard of every array of a group; `digest` is that of its block."""

    root: str
    digest: str
    files: tuple[WrittenFile, ...]


def block_name(group: str, index: int) -> str:
    """The name of a block in the manifest."""
    return f"{group}/{index:06d}"


def block_digest(block: Block, targets: Sequence[ArrayTarget], codes: Mapping[str, Mapping[str, int]]) -> str:
    """A digest of everything that a block's shard files depend on, which excludes the size of the dataset."""
    digest = hashlib.blake2b(digest_size=16)
    forms = [(t.name, t.dtype, t.trailing, t.chunk_rows, t.shard_rows, t.fill, t.level) for t in targets]
    place = (block.group, block.start, block.stop)
    digest.update(repr((FORMAT, CODECS, *place, forms, sorted(block.forms.items()))).encode())
    for column in (block.ids, block.first_rows, block.counts, block.n_bytes, block.crcs, block.odd):
        digest.update(column.tobytes())
    for name in sorted(block.absent):
        digest.update(name.encode() + block.absent[name].tobytes())
    text = repr((block.names, [(key, sorted(codes[key].items())) for key in sorted(codes)]))
    digest.update(text.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def old_shard(manifest: Manifest, root: str, block: Block, targets: Sequence[ArrayTarget]) -> OldShard | None:
    """The published shard of a block's index, None if it lacks one of the arrays."""
    digest = manifest.blocks.get(block_name(block.group, block.index))
    keys = [target.shard_key(block.index) for target in targets]
    if digest is None or any(key not in manifest.files for key in keys):
        return None
    return OldShard(root, digest, tuple(WrittenFile(key, *manifest.files[key]) for key in keys))


def link_shard(old: OldShard, root: str) -> list[WrittenFile]:
    """Link the old files into a new dataset, and return those that equal their manifest.

    Files are linked after their checksum was verified, so that a damaged one is written anew. An existing link is
    that of a repeated node.
    """
    linked = []
    for file in old.files:
        source = os.path.join(old.root, file.path)
        try:
            if file_crc(source) != file.crc:
                continue
            os.link(source, os.path.join(root, file.path))
        except FileExistsError:
            pass
        except OSError:  # no hard links on this file system, or the file is missing: it is written instead
            continue
        linked.append(file)
    return linked
