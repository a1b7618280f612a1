"""Power cuts in a test: record what is flushed and renamed, and give what a disk may hold after a cut at any point.

The model is harsher than file systems are: the content of a file that was not flushed is lost as a whole, also where
native code wrote it; names that were made, changed or removed are lost until their folder was flushed
(``entries="synced"``), or are all kept, as in a journal that is ahead of the contents (``entries="all"``).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

Tree = dict[str, "bytes | Tree"]
"""A folder: contents of files and of folders, by name."""

_EVENTS = ("fsync", "replace", "rename", "link", "unlink", "mkdir", "rmdir")


class Disk:
    """What of a folder has been flushed to the disk; everything that is there at first has."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._entries: dict[int, dict[str, int]] = {}
        self._contents: dict[int, bytes] = {}
        self._held: dict[int, int] = {}
        for folder, _, names in os.walk(root):
            self._flush_path(folder)
            for name in names:
                self._flush_path(os.path.join(folder, name))

    def _flush_path(self, path: str) -> None:
        handle = os.open(path, os.O_RDONLY)
        self.flush(handle)
        os.close(handle)

    def flush(self, handle: int) -> None:
        """Note what a descriptor refers to as flushed."""
        number = os.fstat(handle).st_ino
        place = f"/proc/self/fd/{handle}"
        if number not in self._held:  # so that no other file gets its number
            self._held[number] = os.open(place, os.O_RDONLY)
        if os.path.isdir(place):
            self._entries[number] = {name: os.stat(f"{place}/{name}").st_ino for name in os.listdir(place)}
            for name, entry in self._entries[number].items():
                if entry not in self._held:
                    self._held[entry] = os.open(f"{place}/{name}", os.O_RDONLY)
        else:
            self._contents[number] = Path(place).read_bytes()

    def after_cut(self, entries: Literal["synced", "all"]) -> Tree:
        """What the disk may hold if the power were cut now."""
        return self._synced(self.root.stat().st_ino) if entries == "synced" else self._all(self.root)

    def _synced(self, number: int) -> Tree:
        found: Tree = {}
        for name, entry in self._entries.get(number, {}).items():
            is_folder = os.path.isdir(f"/proc/self/fd/{self._held[entry]}")
            found[name] = self._synced(entry) if is_folder else self._contents.get(entry, b"")
        return found

    def _all(self, folder: Path) -> Tree:
        return {
            path.name: self._all(path) if path.is_dir() else self._contents.get(path.stat().st_ino, b"")
            for path in folder.iterdir()
        }

    def close(self) -> None:
        """Release the files."""
        for handle in self._held.values():
            os.close(handle)


def cut_everywhere(
    root: Path, patch: pytest.MonkeyPatch, work: Callable[[], Any], *, exchange: str | None = None
) -> list[Tree]:
    """Run `work`, and return every distinct state that a power cut before, between or after its events would leave.

    Parameters
    ----------
    root : the folder that is recorded; it exists
    exchange : the function, as text for `MonkeyPatch.setattr`, that exchanges two names
    """
    disk, states = Disk(root), list[Tree]()

    def cut() -> None:
        for tree in (disk.after_cut("synced"), disk.after_cut("all")):
            if tree not in states:
                states.append(tree)

    def recorded(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            cut()
            result = real(*arguments, **options)
            if name == "fsync":
                disk.flush(arguments[0])
            cut()
            return result

        return call

    with patch.context() as inner:
        for module in ("dflow.storage.atomic", "dflow.dataset.format.shards"):
            inner.setattr(f"{module}.SYNCS_AT_ONCE", 1)  # in one order
        for name in _EVENTS:
            inner.setattr(os, name, recorded(name, getattr(os, name)))
        if exchange is not None:
            module, _, function = exchange.rpartition(".")
            real = getattr(__import__(module, fromlist=[function]), function)
            inner.setattr(exchange, recorded(function, real))
        work()
    disk.close()
    return states


def write_tree(folder: Path, tree: Tree) -> None:
    """Write a state to a new folder."""
    folder.mkdir(parents=True)
    for name, content in tree.items():
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
        else:
            write_tree(folder / name, content)


def read_tree(folder: Path) -> Tree:
    """The state of a folder."""
    return {path.name: read_tree(path) if path.is_dir() else path.read_bytes() for path in folder.iterdir()}
