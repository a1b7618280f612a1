"""The storage in memory: nothing reaches the disk, and closing drops everything."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dflow.errors import StorageError
from dflow.storage import MemoryStorage


def test_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with MemoryStorage() as storage:
        storage.save_data("rows/x", [1])
        assert storage.compress_store() == 0
        assert storage.get_file_path("rows/x") == storage.get_file_path("") == ""
    assert os.listdir(tmp_path) == []
    with pytest.raises(StorageError, match="this MemoryStorage is closed; open it again"):
        storage.load_data("rows/x")
