"""Whether an item must be done again: a pure decision from its journal entry, its source and the pipeline.

`examine` reads the source's state (one ``stat``); `judge` decides; `content_hash` reads the bytes, and is only needed
where size and time do not decide.
"""

from __future__ import annotations

import errno
import math
import os
import stat
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from blake3 import blake3

from dflow.flowmanager.history.fingerprint import Fingerprint, changes
from dflow.flowmanager.history.journal import Entry, JournalState
from dflow.storage.container import size_and_directory_crc
from dflow.storage.paths import DATA_SUFFIX

FRESH_SECONDS = 2.0
"""Age below which a file's modification time is not trusted: it may change again with the same time."""

MAX_HASHED_BYTES = 4 * 1024**3
"""The largest file whose bytes are hashed: no part is larger (`dflow.cadaccess.files.formats`)."""

_READ_BYTES = 256 * 1024
"""Bytes read at once: most CAD files in one piece, which stays in the processor's cache."""

LASTING_KINDS = frozenset({"unreadable", "no_geometry", "geometry", "kernel_error", "schema", "non_finite"})
"""Failures that the same file and the same pipeline repeat: not tried again."""

LIMIT_KINDS = frozenset({"crash", "timeout", "out_of_memory", "too_big"})
"""Failures that a larger allowance may cure: tried again when one is given."""


@dataclass(frozen=True, slots=True)
class SourceState:
    """An item's source as found: size in bytes and modification time in ns; -1 and 0 for what is not a file."""

    n_bytes: int = -1
    mtime_ns: int = 0

    @property
    def is_file(self) -> bool:
        """Whether there is something on disk to hash."""
        return self.n_bytes >= 0


@dataclass(frozen=True, slots=True)
class Requirements:
    """What this run requires of an entry to reuse it. `retry_kinds`, where given, are the only failures tried again.

    `seconds_per_byte` is added to `timeout_seconds` for each byte of the file.
    """

    fingerprint: str
    previews: bool
    timeout_seconds: float
    memory_bytes: int
    needs_value: bool = False
    retry_kinds: frozenset[str] | None = None
    seconds_per_byte: float = 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision: "reuse" the entry, do the item again ("redo"), or "hash" its source first; and the reason."""

    action: Literal["reuse", "redo", "hash"]
    reason: str = ""


_REUSE = Verdict("reuse")


def examine(item: Any) -> SourceState:
    """Return the state of an item's source: a file, a folder (its whole listing counts) or nothing on disk."""
    if not isinstance(item, (str, os.PathLike)):
        return SourceState()
    try:
        found = os.stat(item)
    except (OSError, ValueError):
        return SourceState()
    too_fresh = abs(time.time() - found.st_mtime) < FRESH_SECONDS or stat.S_ISDIR(found.st_mode)
    return SourceState(found.st_size, 0 if too_fresh else found.st_mtime_ns)


def judge(entry: Entry | None, source: SourceState, required: Requirements) -> Verdict:
    """Decide without reading the source; ``hash`` means: compare its `content_hash` with the entry's."""
    if entry is None:
        return Verdict("redo", "new")
    if entry.fingerprint != required.fingerprint:
        return Verdict("redo", "the pipeline changed")
    if required.previews and not entry.previews:
        return Verdict("redo", "a preview is wanted")
    if entry.value_lost and required.needs_value:
        return Verdict("redo", "its returned value cannot be kept between runs")
    error = entry.records[-1].error
    if error is not None:
        verdict = _judge_failure(entry, error.kind, required)
        if verdict is not None:
            return verdict
    if source.n_bytes != entry.n_bytes:
        return Verdict("redo", "the source changed")
    if not source.is_file or (source.mtime_ns and source.mtime_ns == entry.mtime_ns):
        return _REUSE
    return Verdict("hash", "the source was touched")


def _judge_failure(entry: Entry, kind: str, required: Requirements) -> Verdict | None:
    if required.retry_kinds is not None:
        return Verdict("redo", f"it failed as {kind!r} before") if kind in required.retry_kinds else None
    if kind in LASTING_KINDS:
        return None
    if kind not in LIMIT_KINDS:
        return Verdict("redo", "it failed before")
    seconds = required.timeout_seconds + required.seconds_per_byte * max(0, entry.n_bytes)
    more_time = seconds > entry.timeout_seconds
    more_memory = required.memory_bytes != entry.memory_bytes
    return Verdict("redo", "it failed before with a smaller allowance") if more_time or more_memory else None


def content_hash(item: Any, identity: str, *, seconds: float = math.inf) -> str:
    """Return BLAKE3 (32 hexadecimal digits) of a file's bytes, a folder's listing, or the identity of anything else.

    A file beyond `MAX_HASHED_BYTES` is known by its size and time, `unread_hash`.

    Raises
    ------
    TimeoutError
        If that takes more than `seconds`.
    OSError
        If the file cannot be read.
    """
    deadline = time.monotonic() + seconds
    digest = blake3()  # a fifth of the time of hashlib's BLAKE2b
    path = os.fspath(item) if isinstance(item, (str, os.PathLike)) else None
    if path is not None and os.path.isfile(path):
        if os.path.getsize(path) > MAX_HASHED_BYTES:
            return unread_hash(path)
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        try:
            while block := os.read(handle, _READ_BYTES):
                digest.update(block)
                _check(deadline)
        finally:
            os.close(handle)
    elif path is not None and os.path.isdir(path):
        for found in sorted(Path(path).rglob("*")):
            state = found.stat()
            digest.update(f"{found.relative_to(path)}\0{state.st_size}\0{state.st_mtime_ns}\n".encode())
            _check(deadline)
    else:
        digest.update(identity.encode("utf-8", "surrogatepass"))
    return digest.hexdigest(length=16)


def unread_hash(item: Any) -> str:
    """Return what stands for the hash of a source that is too large, or could not be read in time: size and time."""
    found = os.stat(item)
    return f"unread-{found.st_size:x}-{found.st_mtime_ns:x}"


def _check(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise TimeoutError(errno.ETIMEDOUT, "its content could not be read in time")


@dataclass(slots=True)
class Reuse:
    """Counts of one chain: `hashes` are the contents that workers compare before doing an item again."""

    n_reused: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    hashes: dict[int, str] = field(default_factory=dict)

    def count(self, reason: str) -> None:
        """Count one more item that has to be done again."""
        self.reasons[reason] += 1

    def lines(self, chain: str, state: JournalState, current: Fingerprint) -> list[str]:
        """Return the counts as lines for the log: what is reused, what is not and why."""
        lines = [
            f"{chain}: {self.n_reused} items reused, {sum(self.reasons.values())} to do, {len(self.hashes)} to compare"
        ]
        lines += [f"{chain}: {count} items: {reason}" for reason, count in self.reasons.most_common()]
        if "the pipeline changed" in self.reasons:
            lines += [f"{chain}: since the last run, {change}" for change in _what_changed(state, current)]
        lines += [f"{chain}: not part of the fingerprint: {unknown}" for unknown in current.unknown]
        return lines


def stores_are_whole(entry: Entry, folder: str) -> bool:
    """Whether every store of an entry is in `folder`, with the recorded size and directory checksum."""
    for record in entry.records:
        for sample in record.samples:
            path = f"{folder}/{sample.name}{DATA_SUFFIX}"
            if size_and_directory_crc(path) != (sample.n_bytes, sample.data_crc):
                return False
    return True


def _what_changed(state: JournalState, current: Fingerprint) -> tuple[str, ...]:
    """Return the changes since the pipeline that most entries come from."""
    used = Counter(entry.fingerprint for entry in state.entries.values() if entry.fingerprint != current.digest)
    if not used:
        return ()
    latest = used.most_common(1)[0][0]
    return changes(state.pipelines.get(latest, {}), dict(current.parts))
