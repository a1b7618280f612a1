"""Atomic writes: the whole file or the earlier one, and never a temporary file beside it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from dflow.storage.atomic import write_whole


def test_a_missing_folder_is_made_and_an_earlier_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    write_whole(path, [b"longer"])
    write_whole(str(path), iter([b"sh", b"", b"ort"]))
    assert path.read_bytes() == b"short"
    assert os.listdir(path.parent) == ["file"]


def test_no_parts_make_an_empty_file(tmp_path: Path) -> None:
    write_whole(tmp_path / "file", [])
    assert (tmp_path / "file").read_bytes() == b""


@pytest.mark.parametrize("call", ["writev", "replace"])
def test_a_failed_write_keeps_the_earlier_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    write_whole(tmp_path / "file", [b"before"])

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="No space"):
        write_whole(tmp_path / "file", [b"after"])
    assert os.listdir(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"before"


def test_a_file_in_place_of_the_folder_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "folder").write_bytes(b"")
    with pytest.raises(OSError, match="folder"):
        write_whole(tmp_path / "folder" / "file", [b"x"])


@pytest.mark.parametrize("n_parts", [1, 3, 1023, 1024, 1025, 5000])
def test_many_parts_and_short_writes_make_whole_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_parts: int
) -> None:
    parts = [bytes([i % 251]) * (i % 5) for i in range(1, n_parts + 1)]
    write_whole(tmp_path / "at once", parts)
    write, writev = os.write, os.writev
    monkeypatch.setattr(os, "writev", lambda file, some: writev(file, some[: len(some) // 2]))
    monkeypatch.setattr(os, "write", lambda file, rest: write(file, rest[:997]))
    write_whole(tmp_path / "bit by bit", parts)
    assert (tmp_path / "at once").read_bytes() == (tmp_path / "bit by bit").read_bytes() == b"".join(parts)
