"""Shards of the published dataset that a new merge would write again byte by byte: linked instead.

When a source is touched or some are appended, most blocks read the same rows of the same files as before. A block's
digest says so; the old file counts only if its checksum is the manifest's. So adding to a dataset costs a read of the
old one, not a merge of it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dflow.dataset.layout import CODECS, FORMAT, ArrayTarget
from dflow.dataset.manifest import Manifest, file_crc
from dflow.dataset.plan import Block
from dflow.dataset.shards import WrittenFile


@dataclass(frozen=True, slots=True)
class OldShard:
    """One shard of every array of a group, as the published dataset has it. `digest` says which block made it."""

    root: str
    digest: str
    files: tuple[WrittenFile, ...]


def block_name(group: str, index: int) -> str:
    """What a block is called in the manifest."""
    return f"{group}/{index:06d}"


def block_digest(block: Block, targets: Sequence[ArrayTarget], codes: Mapping[str, Mapping[str, int]]) -> str:
    """Everything that a block's shard files depend on; the dataset's size is not among it."""
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
    """The published shard at a block's place, None where there is none of these arrays."""
    digest = manifest.blocks.get(block_name(block.group, block.index))
    keys = [target.shard_key(block.index) for target in targets]
    if digest is None or any(key not in manifest.files for key in keys):
        return None
    return OldShard(root, digest, tuple(WrittenFile(key, *manifest.files[key]) for key in keys))


def link_shard(old: OldShard, root: str) -> list[WrittenFile] | None:
    """Link the old files into a new dataset; None, and perhaps some links, where one is not what its manifest says.

    Files are linked after their checksum was verified, so a shard that rotted on the disk is written anew. A link
    that is there already is a repeated task's.
    """
    for file in old.files:
        source = os.path.join(old.root, file.path)
        try:
            if file_crc(source) != file.crc:
                return None
            os.link(source, os.path.join(root, file.path))
        except FileExistsError:
            continue
        except OSError:  # no hard links on this file system, or the file is gone: it is written instead
            return None
    return list(old.files)
