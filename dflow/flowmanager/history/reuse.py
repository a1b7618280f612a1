"""What of an earlier run still holds, and how to say so."""

from __future__ import annotations

import os
import struct
from collections import Counter
from dataclasses import dataclass, field

from isal import isal_zlib

from dflow.flowmanager.history.fingerprint import Fingerprint, changes
from dflow.flowmanager.history.journal import Entry, JournalState
from dflow.storage.paths import DATA_SUFFIX

_END = struct.Struct("<4s4H2LH")
_TAIL_BYTES = 8192
"""What is read of a store's end: the directory of twenty arrays and the end record, nearly always."""


@dataclass(slots=True)
class Reuse:
    """Counts of one stage: `hashes` are the contents that workers compare before doing an item again."""

    n_reused: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    hashes: dict[int, str] = field(default_factory=dict)

    def count(self, reason: str) -> None:
        """One more item has to be done again."""
        self.reasons[reason] += 1

    def lines(self, stage: str, state: JournalState, current: Fingerprint) -> list[str]:
        """The same for people: what is reused, what is not and why."""
        lines = [
            f"{stage}: {self.n_reused} items reused, {sum(self.reasons.values())} to do, {len(self.hashes)} to compare"
        ]
        lines += [f"{stage}: {count} items: {reason}" for reason, count in self.reasons.most_common()]
        if "the pipeline changed" in self.reasons:
            lines += [f"{stage}: since the last run, {change}" for change in _what_changed(state, current)]
        lines += [f"{stage}: not part of the fingerprint: {unknown}" for unknown in current.unknown]
        return lines


_STORE_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # no links, no pipes


def stores_are_whole(entry: Entry, folder: str) -> bool:
    """Whether every store that an entry speaks of is in `folder`, of its size, with its directory's checksum."""
    for record in entry.records:
        for sample in record.samples:
            path = f"{folder}/{sample.name}{DATA_SUFFIX}"
            if _size_and_directory_crc(path) != (sample.n_bytes, sample.data_crc):
                return False
    return True


def _size_and_directory_crc(path: str) -> tuple[int, int]:
    """A zip file's size in bytes and the CRC-32 of its directory, (0, 0) where there is none to read.

    Reads the directory without parsing it, twenty times cheaper than opening the store: a million samples are looked at
    on every run. The end record is the one of PKWARE's APPNOTE 4.3.16, without a comment, as dflow writes it.
    """
    try:
        descriptor = os.open(path, _STORE_FLAGS)
    except OSError:
        return 0, 0
    try:
        n_bytes = os.fstat(descriptor).st_size
        tail = os.pread(descriptor, _TAIL_BYTES, max(0, n_bytes - _TAIL_BYTES))
        magic, *_, length, offset, _ = _END.unpack_from(tail, len(tail) - _END.size)
        if magic != b"PK\5\6" or offset + length + _END.size != n_bytes:
            return 0, 0
        missing = length + _END.size - len(tail)
        if missing > 0:
            tail = os.pread(descriptor, missing, offset) + tail
        return n_bytes, isal_zlib.crc32(memoryview(tail)[-_END.size - length : -_END.size])
    except (OSError, struct.error):
        return 0, 0
    finally:
        os.close(descriptor)


def _what_changed(state: JournalState, current: Fingerprint) -> tuple[str, ...]:
    """Against the pipeline that most entries come from."""
    used = Counter(entry.fingerprint for entry in state.entries.values() if entry.fingerprint != current.digest)
    if not used:
        return ()
    latest = used.most_common(1)[0][0]
    return changes(state.pipelines.get(latest, {}), dict(current.parts))
