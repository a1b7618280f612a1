"""The storage of one `.data` file: when it is written, and what is left when writing fails."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
import zarr

from dflow.errors import SchemaError
from dflow.schema import SchemaBuilder
from dflow.storage import OptStorage, store_crc


def test_size_and_checksum_of_the_file_are_known_after_writing_and_reading(tmp_path: Path) -> None:
    storage = OptStorage(tmp_path / "s")
    assert storage.written is None
    storage.save_data("g/a", [1])
    assert storage.is_changed
    size = storage.compress_store()
    assert not storage.is_changed
    assert storage.written is not None
    assert (storage.written.n_bytes, storage.written.crc) == (size, store_crc(tmp_path / "s.data"))
    assert OptStorage(tmp_path / "s").written == storage.written


def test_the_bytes_do_not_depend_on_the_process(data: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.data"
    program = (
        "import sys, numpy as np; from dflow.storage import OptStorage\n"
        "s = OptStorage(sys.argv[1]); s.save_data('g/b', np.arange(9999)); s.save_data('g/a', np.zeros(9999));"
        "s.save_metadata('z', 1); s.save_metadata('a', {'y': 1, 'x': float('nan')}); s.close()"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", program, str(other)], check=True, env=environment, timeout=60)
    with OptStorage(tmp_path / "here") as storage:
        storage.save_metadata("a", {"x": float("nan"), "y": 1})
        storage.save_metadata("z", 1)
        storage.save_data("g/a", np.zeros(9999))
        storage.save_data("g/b", np.arange(9999))
    assert other.read_bytes() == (tmp_path / "here.data").read_bytes()


def _no_space(_file: int, _rest: Any) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with OptStorage(tmp_path / "s") as storage:
        storage.save_data("g/a", [1])
    storage = OptStorage(tmp_path / "s")
    storage.save_data("g/a", [2])
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "writev", lambda file, parts: write(file, b"".join(parts)[:100]))
        patch.setattr(os, "write", _no_space)
        with pytest.raises(OSError, match="No space left"):
            storage.compress_store()
    assert os.listdir(tmp_path) == ["s.data"]
    assert OptStorage(tmp_path / "s").load_data("g/a").tolist() == [1]
    storage.close()  # the space is back
    assert OptStorage(tmp_path / "s").load_data("g/a").tolist() == [2]


def test_a_small_tmpfs_that_runs_full_is_an_os_error(tmp_path: Path) -> None:
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(tmp_path)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no tmpfs can be mounted here: " + mounted.stderr.decode().strip())
    try:
        with OptStorage(tmp_path / "s") as storage:
            storage.save_data("g/a", [1])
        storage = OptStorage(tmp_path / "s")
        storage.save_data("h/b", np.random.default_rng(0).random(100_000))
        with pytest.raises(OSError, match="No space left"):
            storage.compress_store()
        assert os.listdir(tmp_path) == ["s.data"]
        assert OptStorage(tmp_path / "s").array_keys() == ["g/a"]
        storage.discard()
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


READ_ONLY = """
import os, sys
import numpy as np
from dflow.storage import OptStorage
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
storage = OptStorage(sys.argv[1])
storage.save_data("g/a", np.arange(3))
try:
    storage.close()
except PermissionError as error:
    print("refused", error.filename is not None)
"""


def test_a_read_only_folder_is_a_permission_error(tmp_path: Path) -> None:
    if not hasattr(os, "setuid"):
        pytest.skip("needs POSIX users")
    for folder in [tmp_path, *tmp_path.parents]:
        if os.getuid() == 0 and folder.stat().st_uid == 0 and not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o011)
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    done = subprocess.run(
        [sys.executable, "-c", READ_ONLY, str(locked / "s")], capture_output=True, text=True, timeout=60
    )
    if "Permission denied" in done.stderr and "dflow" not in done.stdout and "refused" not in done.stdout:
        pytest.skip("an unprivileged user cannot read this checkout: " + done.stderr[-200:])
    assert done.stdout.split() == ["refused", "True"], done.stderr
    assert os.listdir(locked) == []


def test_a_failing_block_writes_nothing(tmp_path: Path) -> None:
    def use() -> None:
        with OptStorage(tmp_path / "s") as storage:
            storage.save_data("g/a", [1])
            raise RuntimeError("the task failed")

    with pytest.raises(RuntimeError):
        use()
    assert os.listdir(tmp_path) == []


def test_an_untouched_storage_leaves_no_file_and_an_unchanged_one_is_not_written_again(tmp_path: Path) -> None:
    OptStorage(tmp_path / "s").close()
    assert os.listdir(tmp_path) == []
    with OptStorage(tmp_path / "s") as storage:
        storage.save_metadata("only", "metadata")
        size = storage.compress_store()
    before = os.stat(tmp_path / "s.data")
    with OptStorage(tmp_path / "s") as storage:
        assert not storage.is_changed
        assert storage.compress_store() == size
    after = os.stat(tmp_path / "s.data")
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_paths_with_and_without_the_suffix_are_one(tmp_path: Path) -> None:
    for name in ("s", "s.data"):
        assert OptStorage(tmp_path / name).get_file_path("") == str(tmp_path / "s.data")
    assert OptStorage(tmp_path / "a.b").get_file_path("") == str(tmp_path / "a.b.data")
    assert OptStorage(tmp_path / "s", ".zip").get_file_path("") == str(tmp_path / "s.zip")


def test_arrays_of_one_group_must_have_one_number_of_rows(tmp_path: Path) -> None:
    storage = OptStorage(tmp_path / "s")
    storage.save_data("faces/face_areas", np.zeros(3))
    storage.save_data("faces/face_types", np.zeros(4, np.int32))
    with pytest.raises(SchemaError, match=r"disagree on their rows.*face_areas: 3; faces/face_types: 4"):
        storage.compress_store()
    assert os.listdir(tmp_path) == []
    storage.save_data("faces/face_types", np.zeros(3, np.int32))
    assert storage.compress_store() > 0


def test_standard_arrays_that_differ_in_a_trailing_dimension_get_their_own_names(tmp_path: Path) -> None:
    with OptStorage(tmp_path / "s") as storage:
        storage.save_data("faceface/d2_distance", np.zeros((4, 64)))
        storage.save_data("faceface/a3_distance", np.zeros((4, 32)))
    with zarr.storage.ZipStore(tmp_path / "s.data", mode="r") as store:
        found = xarray.open_zarr(store, group="faceface")
        assert found["d2_distance"].dims == ("facepair", "d2_distance_bin")
        assert found["a3_distance"].dims == ("facepair", "a3_distance_bin")


def test_declared_arrays_that_differ_in_a_trailing_dimension_contradict_the_schema(tmp_path: Path) -> None:
    builder = SchemaBuilder()
    group = builder.create_group("rows", "row")
    group.create_array("x", ["row", "bin"])
    group.create_array("y", ["row", "bin"])
    storage = OptStorage(tmp_path / "s")
    storage.set_schema(builder)
    storage.save_data("rows/x", np.zeros((2, 3)))
    storage.save_data("rows/y", np.zeros((2, 4)))
    with pytest.raises(SchemaError, match="sizes along 'bin'"):
        storage.compress_store()
