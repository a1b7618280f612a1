"""A file's content and format, and what is wrong with a file that has none."""

from __future__ import annotations

import gzip
import os
import zipfile
from pathlib import Path

import pytest

from dflow.cadaccess.files import formats
from dflow.cadaccess.files.formats import CadFormat, read_bytes, sniff
from dflow.errors import UnreadableFileError

PATH = Path("part.step")
IGES = b"start".ljust(72) + b"S      1\n"


@pytest.mark.parametrize(
    ("content", "cad_format"),
    [
        (b"ISO-10303-21;\nHEADER;", CadFormat.STEP),
        (b"\xef\xbb\xbf \r\nISO-10303-21;", CadFormat.STEP),
        (b"/* exported by hand */\nISO-10303-21;", CadFormat.STEP),
        (b"DBRep_DrawableShape\n\nCASCADE Topology V1, (c)", CadFormat.BREP),
        (b"CASCADE Topology V3, (c) Open Cascade", CadFormat.BREP),
        (b"\nOpen CASCADE Topology V4 (c)", CadFormat.BINARY_BREP),
        (IGES, CadFormat.IGES),
        (IGES.replace(b"\n", b"\r\n"), CadFormat.IGES),
    ],
)
def test_the_content_decides_the_format(content: bytes, cad_format: CadFormat) -> None:
    assert sniff(PATH, content) is cad_format


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"hello, not a CAD file", "not a STEP, IGES or BREP file; it begins with b'hello"),
        (b"<!DOCTYPE html><html>", "not a STEP"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer.*git lfs pull"),
        (b"start".ljust(72) + b"G      1\n", "not a STEP"),
        (b" " * 5000 + b"ISO-10303-21;", "not a STEP"),
    ],
)
def test_other_content_is_an_error_that_shows_its_beginning(content: bytes, cause: str) -> None:
    with pytest.raises(UnreadableFileError, match=f"part.step: .*{cause}"):
        sniff(PATH, content)


def test_a_zip_is_an_error_that_says_to_unpack_it(tmp_path: Path) -> None:
    path = tmp_path / "part.stpz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("part.stp", b"ISO-10303-21;")
    with pytest.raises(UnreadableFileError, match=r"a zip archive.*unpack it"):
        sniff(path, read_bytes(path))


@pytest.mark.parametrize(
    "packed",
    [
        b"plain text",
        gzip.compress(b"plain text", mtime=0),
        gzip.compress(b"plain ", mtime=0) + gzip.compress(b"text"),
        gzip.compress(b"plain text", mtime=0) + b"\0" * 512,
    ],
    ids=["plain", "gzip", "two members", "padded"],
)
def test_content_is_unpacked(packed: bytes, tmp_path: Path) -> None:
    path = tmp_path / "part"
    path.write_bytes(packed)
    assert read_bytes(path) == b"plain text"


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "the file is empty"),
        (b"  \n\0\t\r", "the file is empty"),
        (gzip.compress(b"\n", mtime=0), "the file is empty"),
        (b"\x1f\x8b\x08\x00broken", "a damaged gzip|truncated"),
        (gzip.compress(b"plain text" * 100, mtime=0)[:-8], "truncated after 1000 bytes"),
        (gzip.compress(b"plain text", mtime=0) + b"rest", "a damaged gzip"),
    ],
)
def test_content_that_cannot_be_unpacked_is_an_error(content: bytes, cause: str, tmp_path: Path) -> None:
    path = tmp_path / "part.step"
    path.write_bytes(content)
    with pytest.raises(UnreadableFileError, match=cause):
        read_bytes(path)


def test_the_limit_of_expansion_holds_for_all_members_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "MAX_EXPANDED_BYTES", 1000)
    path = tmp_path / "part.step"
    path.write_bytes(gzip.compress(b"x" * 500, mtime=0) * 2)
    assert len(read_bytes(path)) == 1000
    path.write_bytes(gzip.compress(b"x" * 500, mtime=0) * 2 + gzip.compress(b"x"))
    with pytest.raises(UnreadableFileError, match="expands beyond 1000 bytes"):
        read_bytes(path)


@pytest.mark.parametrize(
    ("begin", "n_bytes", "cause"),
    [
        (b"", 20_000_000_000, "has 20,000,000,000 bytes, the limit is"),
        (b"ISO-10303-21;", 20_000_000_000, "has 20,000,000,000 bytes, the limit is"),
        (b"", 4_000_000_000, "it begins with 4,096 blank or zero bytes"),
        (b"%PDF-1.4", 4_000_000_000, "not a STEP, IGES or BREP file; it begins with b'%PDF"),
        (gzip.compress(b"%PDF-1.4" + b"x" * 9000), 4_000_000_000, "it begins with b'%PDF"),
    ],
)
def test_a_file_that_is_no_part_is_refused_by_its_first_bytes(
    begin: bytes, n_bytes: int, cause: str, tmp_path: Path
) -> None:
    path = tmp_path / "part.step"
    path.write_bytes(begin)
    os.truncate(path, n_bytes)  # sparse
    with pytest.raises(UnreadableFileError, match=cause):
        read_bytes(path)


def test_what_is_no_file_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match="no such file; check the path"):
        read_bytes(tmp_path / "nothing.step")
    with pytest.raises(UnreadableFileError, match="cannot be read, it is a folder"):
        read_bytes(tmp_path)
    os.mkfifo(tmp_path / "pipe.step")
    with pytest.raises(UnreadableFileError, match="a pipe, socket or device"):
        read_bytes(tmp_path / "pipe.step")
