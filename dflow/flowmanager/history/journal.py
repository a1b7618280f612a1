"""The journal: an append-only file of what runs finished, from which a run that was killed anywhere continues.

Each line is a CRC-32 in hexadecimal, a blank and JSON. A line whose checksum differs (the torn tail of a killed run, or
a damaged disk) is left out and counted, and its items are done again. Layouts and pipelines are written once and
referred to by number or hash. No pickle: reading a journal executes nothing.
"""

from __future__ import annotations

import itertools
import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

from dflow.checksums import checked_line, line_content
from dflow.flowmanager.history.folder import writing
from dflow.flowmanager.plan.batch import BodyValues, unpack_value
from dflow.records import ArrayLayout, ErrorRecord, ItemRecord, SampleLayout, SampleRecord
from dflow.storage.paths import TEMPORARY_PREFIX

_LINES_AT_ONCE = 500
"""Lines that are parsed together."""

FORMAT = 1
JOURNAL_NAME = "journal.jsonl"


@dataclass(frozen=True, slots=True)
class Entry:
    """What became of one item in one chain of the flow's steps.

    `chain` names the chain by its tasks; `content_hash`, `n_bytes` and `mtime_ns` are the source's, taken before the
    work (mtime 0 where it was too fresh to be trusted); `fingerprint` is the pipeline's digest; `previews` whether
    previews were requested; `timeout_seconds` and `memory_bytes` (0: automatic) are its allowance; `records` hold
    one record per task of the chain, up to the one that ended it.
    """

    chain: str
    item: str
    content_hash: str
    n_bytes: int
    mtime_ns: int
    fingerprint: str
    previews: bool
    timeout_seconds: float
    memory_bytes: int
    records: tuple[ItemRecord, ...]
    value_lost: bool = False


@dataclass(slots=True)
class JournalState:
    """A journal as read: the latest entry of each (chain, item), the pipelines' parts, and counts of its lines."""

    entries: dict[tuple[str, str], Entry] = field(default_factory=dict)
    pipelines: dict[str, dict[str, str]] = field(default_factory=dict)
    n_lines: int = 0
    n_damaged: int = 0


class Journal:
    """The open journal of one flow's folder. Used by one thread of the process that holds the folder's lock.

    A thread reads the file while the flow connects to its cluster and lists its sources.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / JOURNAL_NAME
        self._reading: Future[JournalState] = Future()
        threading.Thread(target=self._read, name="dflow-journal", daemon=True).start()
        self._layouts: dict[SampleLayout, int] = {}
        self._numbers: dict[int, tuple[SampleLayout, int]] = {}  # by id: hashing a layout costs more than a line
        self._handle: BinaryIO | None = None

    def _read(self) -> None:
        try:
            self._reading.set_result(read_journal(self.path))
        except BaseException as error:  # raised by `state`
            self._reading.set_exception(error)

    @property
    def state(self) -> JournalState:
        """The contents when the journal was opened; waits until they are read, and raises what reading raised."""
        return self._reading.result()

    def append(self, entries: Iterable[Entry]) -> None:
        """Write finished items; afterwards they survive the end of this process."""
        lines: list[bytes] = []
        for entry in entries:
            lines.extend(self._lines_of(entry))
        self._write(lines)

    def note_pipeline(self, digest: str, parts: dict[str, str]) -> None:
        """Write the parts of a fingerprint, once per digest."""
        if digest not in self.state.pipelines:
            self.state.pipelines[digest] = parts
            self._write([_line({"pipeline": digest, "parts": parts})])

    def close(self) -> None:
        """Flush to the disk.

        Raises
        ------
        OutputFolderError
            Like every method that writes: if the disk is full or no longer writable.
        """
        handle, self._handle = self._handle, None
        if handle is not None:
            with writing(self.path), handle:
                handle.flush()
                os.fsync(handle.fileno())

    def rewrite(self, entries: Iterable[Entry]) -> None:
        """Replace the file, atomically, by one that holds only `entries` and their pipelines."""
        self.close()
        pipelines = self.state.pipelines
        self._layouts.clear()
        self._numbers.clear()
        kept: set[str] = set()
        temporary = self.path.with_name(TEMPORARY_PREFIX + self.path.name)
        with writing(self.path), temporary.open("wb") as handle:
            handle.write(_line({"journal": FORMAT}))
            for entry in entries:
                kept.add(entry.fingerprint)
                handle.writelines(self._lines_of(entry))
            for digest, parts in pipelines.items():
                if digest in kept:
                    handle.write(_line({"pipeline": digest, "parts": parts}))
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, self.path)

    def _lines_of(self, entry: Entry) -> Iterator[bytes]:
        for record in entry.records:
            for sample in record.samples:
                known = len(self._layouts)
                if self._number(sample.layout) == known:
                    yield _line({"layout": known, **_pack_layout(sample.layout)})
        try:
            yield _line(_pack_entry(entry, self._number))
        except (ValueError, RecursionError):  # an integer of thousands of digits, or lists nested too deeply
            bare = tuple([replace(record, value=None) for record in entry.records])
            yield _line(_pack_entry(replace(entry, records=bare, value_lost=True), self._number))

    def _number(self, layout: SampleLayout) -> int:
        """Return the number of a layout in this session's lines; a new layout takes the next."""
        found = self._numbers.get(id(layout))
        if found is None:
            found = layout, self._layouts.setdefault(layout, len(self._layouts))
            self._numbers[id(layout)] = found
        return found[1]

    def _write(self, lines: list[bytes]) -> None:
        if not lines:
            return
        with writing(self.path):
            if self._handle is None:
                self._reading.exception()  # waits until the file is read
                self.path.parent.mkdir(parents=True, exist_ok=True)
                # A new session numbers its layouts afresh; the newline closes a torn last line.
                lines = [b"\n", _line({"journal": FORMAT}), *lines]
                self._handle = self.path.open("ab")
            self._handle.write(b"".join(lines))
            self._handle.flush()


def read_journal(path: Path) -> JournalState:
    """Read a journal; an absent one is empty. Damaged lines are counted and left out."""
    reader = _Reader()
    try:
        handle = path.open("rb")
    except FileNotFoundError:
        return reader.state
    with handle:
        lines = (line for line in handle if line != b"\n")
        while some := list(itertools.islice(lines, _LINES_AT_ONCE)):
            reader.read(some)
    return reader.state


class _Reader:
    """Builds the state from lines in their order."""

    def __init__(self) -> None:
        self.state = JournalState()
        self._layouts: dict[int, SampleLayout] = {}

    def read(self, lines: list[bytes]) -> None:
        """Add some lines, parsed together: a call of the parser takes as long as a line."""
        texts = [text for line in lines if (text := line_content(line)) is not None]
        self.state.n_lines += len(lines)
        self.state.n_damaged += len(lines) - len(texts)
        try:
            contents = json.loads(b"[%s]" % b",".join(texts))
        except (ValueError, RecursionError):
            contents = map(_parsed, texts)
        for content in contents:
            try:
                self._add(content)
            except (
                KeyError,
                IndexError,
                TypeError,
                ValueError,
                AttributeError,
            ):  # written by another version: its item is done again
                self.state.n_damaged += 1

    def _add(self, content: dict[str, Any]) -> None:
        if "records" in content:
            entry = _unpack_entry(content, self._layouts)
            self.state.entries[entry.chain, entry.item] = entry
        elif "journal" in content:
            self._layouts.clear()
        elif "layout" in content:
            self._layouts[content["layout"]] = _unpack_layout(content)
        else:
            self.state.pipelines[content["pipeline"]] = content["parts"]


_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True).encode  # `json.dumps` makes a new one per call


def _line(content: dict[str, Any]) -> bytes:
    return checked_line(_encode(content).encode("ascii"))


def _parsed(text: bytes) -> Any:
    """Return one line's content; {}, which `_add` refuses, where it is not JSON in spite of its checksum."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return {}


def _pack_layout(layout: SampleLayout) -> dict[str, Any]:
    arrays = [[a.group, a.name, a.dtype, a.dims, a.trailing, a.fill_value] for a in layout.arrays]
    return {"arrays": arrays, "schema": layout.schema, "tables": layout.tables}


def _unpack_layout(content: dict[str, Any]) -> SampleLayout:
    arrays = tuple(
        ArrayLayout(group, name, dtype, tuple(dims), tuple(trailing), fill)
        for group, name, dtype, dims, trailing, fill in content["arrays"]
    )
    tables = tuple((name, tuple((int(i), str(n), str(d)) for i, n, d in rows)) for name, rows in content["tables"])
    return SampleLayout(arrays, content["schema"], tables)


def _pack_entry(entry: Entry, number: Callable[[SampleLayout], int]) -> dict[str, Any]:
    lost = False
    records = []
    for record in entry.records:
        try:
            value = pack_json(record.value)
        except Exception:  # not JSON, a class that cannot be unpickled, or a list that holds itself
            value, lost = None, True
        records.append(_pack_record(record, value, number))
    return {
        "stage": entry.chain,
        "item": entry.item,
        "source": [entry.content_hash, entry.n_bytes, entry.mtime_ns],
        "pipeline": entry.fingerprint,
        "previews": entry.previews,
        "allowance": [entry.timeout_seconds, entry.memory_bytes],
        "records": records,
        "lost": lost or entry.value_lost,
    }


def _pack_record(record: ItemRecord, value: Any, number: Callable[[SampleLayout], int]) -> list[Any]:
    error = None if record.error is None else {f: getattr(record.error, f) for f in ErrorRecord.__slots__}
    samples = [
        [s.name, s.source, s.body, number(s.layout), s.rows, s.values, s.n_bytes, s.data_crc] for s in record.samples
    ]
    return [record.status, value, samples, error, record.seconds, record.cpu_seconds, record.notes]


def _unpack_entry(content: dict[str, Any], layouts: dict[int, SampleLayout]) -> Entry:
    item = content["item"]
    content_hash, n_bytes, mtime_ns = content["source"]
    timeout_seconds, memory_bytes = content["allowance"]
    digest = content["pipeline"]
    records = tuple([_unpack_record(r, item, digest, content_hash, layouts) for r in content["records"]])
    return Entry(
        content["stage"],
        item,
        content_hash,
        n_bytes,
        mtime_ns,
        digest,
        content["previews"],
        timeout_seconds,
        memory_bytes,
        records,
        content["lost"],
    )


def _unpack_record(
    packed: list[Any], item: str, digest: str, content_hash: str, layouts: dict[int, SampleLayout]
) -> ItemRecord:
    status, value, samples, error, seconds, cpu_seconds, notes = packed
    # By position, in half the time of keywords: a journal of a million records is read at every start.
    return ItemRecord(
        -1,
        item,
        status,
        tuple([_unpack_sample(sample, item, layouts) for sample in samples]),
        None if error is None else ErrorRecord(**{**error, "logs": tuple(error["logs"])}),
        unpack_json(value),
        seconds,
        cpu_seconds,
        True,
        digest,
        content_hash,
        tuple(notes),
    )


def _unpack_sample(packed: list[Any], item: str, layouts: dict[int, SampleLayout]) -> SampleRecord:
    name, source, body, layout, rows, values, n_bytes, crc = packed
    if "/" in name:
        raise ValueError(f"a sample is named {name!r}: its file would lie outside of the folder of samples")
    source = item if source == item else source  # shares one string
    pairs = tuple([(key, value) for key, value in values])
    return SampleRecord(name, source, body, layouts[layout], tuple(rows), pairs, n_bytes, crc)


def pack_json(value: Any) -> Any:
    """Return a task's value as JSON from which `unpack_json` makes an equal one.

    Raises
    ------
    TypeError
        For values that JSON cannot hold.
    """
    if value is None or type(value) in (bool, int, float, str):
        return value
    value = unpack_value(value)
    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value) is list:
        return {"list": [pack_json(v) for v in value]}
    if type(value) is tuple:
        return {"tuple": [pack_json(v) for v in value]}
    if type(value) is dict and all(type(k) is str for k in value):
        return {"dict": {k: pack_json(v) for k, v in value.items()}}
    if isinstance(value, BodyValues):
        return {"bodies": [[body, pack_json(v)] for body, v in value.values]}
    if isinstance(value, Path):
        return {"path": os.fspath(value)}
    raise TypeError(f"{type(value).__name__} cannot be kept as JSON")


def unpack_json(packed: Any) -> Any:
    """Invert `pack_json`."""
    if not isinstance(packed, dict):
        return packed
    ((kind, content),) = packed.items()
    if kind == "list":
        return [unpack_json(v) for v in content]
    if kind == "tuple":
        return tuple(unpack_json(v) for v in content)
    if kind == "dict":
        return {k: unpack_json(v) for k, v in content.items()}
    if kind == "bodies":
        return BodyValues(tuple((body, unpack_json(v)) for body, v in content))
    if kind == "path":
        return Path(content)
    raise ValueError(f"a value of the unknown kind {kind!r}")
