"""The zip container: its directory, its limits, and members that no reader should trust."""

from __future__ import annotations

import io
import stat
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from isal import isal_zlib

from dflow.errors import DamagedStoreError, StoreLimitError
from dflow.storage import OptStorage, describe_file, read_arrays, read_zip_store
from dflow.storage.container import (
    END_BYTES,
    MAX_SEAL_BYTES,
    ZipReader,
    directory_place,
    pack_members,
    read_seal,
    seal,
    size_and_directory_crc,
)
from tests.storage.stores import rezip

MEMBERS = [("zarr.json", b"{}"), ("größe/c/0", bytes(300)), ("empty", b"")]


def test_packed_members_are_a_zip_whose_size_and_directory_checksum_are_returned(tmp_path: Path) -> None:
    parts, n_bytes, crc = pack_members(MEMBERS)
    packed = b"".join(parts)
    assert len(packed) == n_bytes
    with zipfile.ZipFile(io.BytesIO(packed)) as file:
        assert file.testzip() is None
        assert {name: file.read(name) for name in file.namelist()} == dict(MEMBERS)
    size, offset = directory_place(packed, n_bytes - END_BYTES) or (0, 0)
    assert (size + offset + END_BYTES, isal_zlib.crc32(packed[offset : offset + size])) == (n_bytes, crc)
    (tmp_path / "s.data").write_bytes(packed)
    assert size_and_directory_crc(tmp_path / "s.data") == (n_bytes, crc)
    with ZipReader(tmp_path / "s.data") as reader:
        assert (reader.n_bytes, reader.crc, list(reader.members)) == (n_bytes, crc, [name for name, _ in MEMBERS])
        assert [reader.read(name) for name, _ in MEMBERS] == [content for _, content in MEMBERS]


@pytest.mark.parametrize(
    "change", [lambda b: b[:-1], lambda b: b + b"x", lambda b: b[4:], lambda b: b"", lambda b: b[-9:]]
)
def test_a_file_whose_directory_does_not_end_it_has_no_checksum(tmp_path: Path, change) -> None:
    (tmp_path / "s.data").write_bytes(change(b"".join(pack_members(MEMBERS)[0])))
    assert size_and_directory_crc(tmp_path / "s.data") == (0, 0)


def test_a_missing_file_and_a_link_have_no_checksum(tmp_path: Path) -> None:
    (tmp_path / "s.data").write_bytes(b"".join(pack_members(MEMBERS)[0]))
    (tmp_path / "link.data").symlink_to("s.data")
    assert size_and_directory_crc(tmp_path / "none.data") == (0, 0)
    assert size_and_directory_crc(tmp_path / "link.data") == (0, 0)


def test_a_directory_longer_than_the_first_read_gives_the_same_checksum(tmp_path: Path) -> None:
    parts, n_bytes, crc = pack_members((f"group/array_{i:04d}/c/0", b"x") for i in range(500))
    (tmp_path / "s.data").write_bytes(b"".join(parts))
    assert size_and_directory_crc(tmp_path / "s.data") == (n_bytes, crc)


@pytest.mark.parametrize("field", [4, 6, 8])
def test_a_zip_of_several_volumes_is_refused(tmp_path: Path, field: int) -> None:
    packed = bytearray(b"".join(pack_members(MEMBERS)[0]))
    packed[len(packed) - END_BYTES + field] += 1
    assert directory_place(packed, len(packed) - END_BYTES) is None
    (tmp_path / "s.data").write_bytes(packed)
    with pytest.raises(DamagedStoreError, match=r"s\.data cannot be read: .*volume.*; encode its file again"):
        ZipReader(tmp_path / "s.data")


def test_a_local_header_that_contradicts_the_directory_is_damage(tmp_path: Path) -> None:
    packed = b"".join(pack_members(MEMBERS)[0])
    (tmp_path / "s.data").write_bytes(packed.replace(b"zarr.json", b"zurr.json", 1))
    with ZipReader(tmp_path / "s.data") as reader:
        assert reader.read("empty") == b""
        for name, fault in (("zarr.json", "local header"), ("none", "is missing")):
            with pytest.raises(DamagedStoreError, match=fault):
                reader.read(name)


def test_a_store_beyond_the_formats_limits_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dflow.storage.container._MAX_MEMBERS", 2)
    with pytest.raises(StoreLimitError, match="split the sample"):
        pack_members([("a", b""), ("b", b""), ("c", b"")])


def test_a_large_file_is_read_beyond_its_tail(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).random(60_000)
    with OptStorage(tmp_path / "s") as storage:
        storage.save_data("a/first", noise)
        storage.save_data("b/second", noise[::-1])
    with ZipReader(tmp_path / "s.data") as reader:
        assert reader.n_bytes > 500_000
    found = read_arrays(tmp_path / "s.data", ["a/first", "b/second"])
    assert np.array_equal(found["a/first"], noise)
    assert np.array_equal(found["b/second"], noise[::-1])


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/etc/passwd", "..\\evil", "C:/evil", "a\0b"])
def test_members_that_would_leave_their_folder_are_refused(data: Path, name: str) -> None:
    parts, _, _ = pack_members([("zarr.json", b"{}"), (name, b"x")])
    data.write_bytes(b"".join(parts))
    with pytest.raises(DamagedStoreError, match="leave its folder"):
        read_zip_store(data)


def test_links_are_refused(data: Path) -> None:
    info = zipfile.ZipInfo("faces/link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(data, "a") as file:
        file.writestr(info, "/etc/passwd")
    with pytest.raises(DamagedStoreError, match="is a link"):
        read_zip_store(data)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_doubled_members_are_refused(data: Path) -> None:
    with zipfile.ZipFile(data, "a") as file:
        file.writestr("zarr.json", b"{}")
    with pytest.raises(DamagedStoreError, match="there twice"):
        read_zip_store(data)


def test_encrypted_and_strangely_compressed_members_are_refused(data: Path) -> None:
    rezip(data, lambda members: None, compression=zipfile.ZIP_BZIP2)
    with pytest.raises(DamagedStoreError, match="not supported"):
        read_zip_store(data)


def test_a_deflate_bomb_hits_the_limit_before_it_expands(data: Path) -> None:
    rezip(data, lambda m: m.update({"bomb": bytes(50_000_000)}), compression=zipfile.ZIP_DEFLATED)
    assert data.stat().st_size < 200_000
    with pytest.raises(StoreLimitError, match="more than the limit of 10,000,000"):
        read_zip_store(data, max_bytes=10_000_000)


def test_a_member_that_lies_about_its_size_is_stopped_at_what_it_says(tmp_path: Path) -> None:
    bomb = zlib.compress(bytes(100_000_000), 9)[2:-4]
    path = tmp_path / "lie.data"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("zarr.json", bytes(1000))
    raw = path.read_bytes()
    local = raw.index(b"PK\3\4")
    head = bytearray(raw[local : local + 39])
    central = bytearray(raw[raw.index(b"PK\1\2") :])
    for block, at in ((head, 18), (central, 20)):
        block[at : at + 4] = len(bomb).to_bytes(4, "little")
    central[-6:-2] = (len(head) + len(bomb)).to_bytes(4, "little")
    path.write_bytes(bytes(head) + bomb + bytes(central))
    tracemalloc.start()
    with pytest.raises(DamagedStoreError, match="checksum"):
        read_zip_store(path)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 10_000_000


def test_a_seal_is_in_the_file_alone_and_goes_when_it_is_written_again(tmp_path: Path) -> None:
    store = OptStorage(tmp_path / "s")
    store.save_data("faces/areas", np.ones(3, np.float32))
    store.compress_store()
    path, before = tmp_path / "s.data", size_and_directory_crc(tmp_path / "s.data")
    record = describe_file(path)
    assert read_seal(path) is None
    seal(path, "made from a.step")
    assert read_seal(path) == "made from a.step"
    assert size_and_directory_crc(path) == before
    assert describe_file(path) == record
    assert read_arrays(path, ["faces/areas"])["faces/areas"].tolist() == [1, 1, 1]
    with zipfile.ZipFile(path) as file:
        assert (file.testzip(), file.comment) == (None, b"made from a.step")
    store.save_metadata("more", 1)
    store.close()
    assert read_seal(path) is None
    seal(path, "x" * MAX_SEAL_BYTES)
    assert read_seal(path) == "x" * MAX_SEAL_BYTES
    path.write_bytes(path.read_bytes()[:-1])
    assert (read_seal(path), size_and_directory_crc(path)) == (None, (0, 0))
    assert (read_seal(tmp_path), read_seal(tmp_path / "absent.data")) == (None, None)
