"""A hundred things that are no part but are called like one."""

from __future__ import annotations

import bz2
import gzip
import io
import os
import random
import socket
import zipfile
from collections.abc import Callable
from pathlib import Path

N_SABOTEURS = 100
SUFFIXES = (".step", ".stp", ".iges", ".igs", ".brep", ".STEP")
BOMB_BYTES = 300 * 1024**2


def plant(folder: Path, part: bytes, seed: int = 0) -> list[Path]:
    """Write 100 saboteurs made of a good part's bytes and of nothing; their paths."""
    rng = random.Random(seed)
    folder.mkdir(parents=True)
    planted = [*_special(folder), *_bombs(folder), *_names(folder)]
    makers: list[Callable[[random.Random, bytes], bytes]] = [
        _truncated, _garbage, _spliced, _huge_numbers, _dangling, _headless, _wrong_kind, _zeros, _deep, _repeated_ids,
    ]  # fmt: skip
    number = 0
    while len(planted) < N_SABOTEURS:
        maker = makers[number % len(makers)]
        path = folder / f"{maker.__name__.strip('_')}_{number:03d}{SUFFIXES[number % len(SUFFIXES)]}"
        path.write_bytes(maker(rng, part))
        planted.append(path)
        number += 1
    return planted


def _special(folder: Path) -> list[Path]:
    """What a file system can hold besides files."""
    directory, filled = folder / "directory.step", folder / "filled.step"
    directory.mkdir()
    filled.mkdir()
    (filled / "note.txt").write_text("x")
    loop, other = folder / "loop_a.step", folder / "loop_b.step"
    loop.symlink_to(other)
    other.symlink_to(loop)
    dangling = folder / "dangling.step"
    dangling.symlink_to(folder / "nothing.step")
    zero, tty, random_bytes = folder / "zero.step", folder / "null.stp", folder / "urandom.brep"
    zero.symlink_to("/dev/zero")
    tty.symlink_to("/dev/null")
    random_bytes.symlink_to("/dev/urandom")
    pipe = folder / "pipe.step"
    os.mkfifo(pipe)
    door = folder / "door.stp"
    cwd = os.getcwd()
    os.chdir(folder)  # the path of a socket is limited to 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(door.name)
    finally:
        os.chdir(cwd)
    secret = folder / "secret.step"
    secret.write_bytes(b"ISO-10303-21;")
    secret.chmod(0)
    proc = folder / "proc.step"
    proc.symlink_to("/proc/self/mem")
    empty = [folder / f"empty{suffix}" for suffix in SUFFIXES[:5]]
    for path in empty:
        path.write_bytes(b"")
    return [directory, filled, loop, other, dangling, zero, tty, random_bytes, pipe, door, secret, proc, *empty]


def _bombs(folder: Path) -> list[Path]:
    """A little that unpacks to a lot, and archives under a part's name."""
    header = b"ISO-10303-21;\nHEADER;\n"
    content = {
        "bomb.step": gzip.compress(header + bytes(BOMB_BYTES), 1),
        "bomb.step.gz": gzip.compress(header + bytes(BOMB_BYTES), 1),
        "nested.step.gz": gzip.compress(gzip.compress(header + bytes(1024**2))),
        "cut.step.gz": gzip.compress(header * 1000)[:-20],
        "bomb.stp": bz2.compress(bytes(BOMB_BYTES // 8)),
        "archive.step": _zip("../../escaped.step", b"x"),
        "zip_bomb.igs": _zip("part.igs", bytes(BOMB_BYTES // 8)),
    }
    for name, data in content.items():
        (folder / name).write_bytes(data)
    return [folder / name for name in content]


def _zip(member: str, data: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, data)
    return file.getvalue()


def _names(folder: Path) -> list[Path]:
    """Names that break lines, terminals, encodings and patterns."""
    names = [
        b"new\nline.step",
        b"tab\tcarriage\r.step",
        b"\x1b[31mred.step",
        b"not-utf8-\xff\xfe.step",
        b"[a-z]*.step",
        b" leading.step",
        b"trailing .step",
        b"percent%s%d.step",
        b"brace{0}.step",
        b"'quote\".step",
        "ünïcödé😀.step".encode(),
        b"-rf.step",
        b"$(reboot).step",
        b"%2e%2e.step",
        b"n" * 240 + b".step",
        b"<b>html&amp;.step",
        b"\xe2\x80\xae.step",
    ]
    paths = []
    for name in names:
        path = os.path.join(os.fsencode(folder), name)
        with open(path, "wb") as file:
            file.write(b"no part")
        paths.append(Path(os.fsdecode(path)))
    return paths


def _truncated(rng: random.Random, part: bytes) -> bytes:
    return part[: rng.randrange(100, len(part) // 2)]


def _garbage(rng: random.Random, part: bytes) -> bytes:
    return rng.randbytes(rng.randrange(1, 20_000))


def _spliced(rng: random.Random, part: bytes) -> bytes:
    """The middle of the data section replaced by noise."""
    at = len(part) // 3
    return part[:at] + rng.randbytes(len(part) // 3) + part[2 * at :]


def _huge_numbers(rng: random.Random, part: bytes) -> bytes:
    """Every coordinate beyond what a double holds, and every count with it."""
    return part.replace(b"CARTESIAN_POINT('',(", b"CARTESIAN_POINT('',(9.E999,").replace(
        b"#1", b"#99999999999999999991"
    )


def _dangling(rng: random.Random, part: bytes) -> bytes:
    """References to entities that are not there."""
    return part.replace(b"ADVANCED_FACE", b"NO_SUCH_ENTITY").replace(b"MANIFOLD_SOLID_BREP", b"NO_SUCH_BODY")


def _headless(rng: random.Random, part: bytes) -> bytes:
    return part[part.index(b"DATA;") + 5 :]


def _wrong_kind(rng: random.Random, part: bytes) -> bytes:
    return (
        rng.choice([b"%PDF-1.7\n", b"\x89PNG\r\n\x1a\n", b"\x7fELF", b"<html>", b"{}", b"solid x\nendsolid x\n"]) * 50
    )


def _zeros(rng: random.Random, part: bytes) -> bytes:
    return bytes(rng.randrange(1, 1_000_000))


def _deep(rng: random.Random, part: bytes) -> bytes:
    """A hundred thousand brackets."""
    return b"ISO-10303-21;\nHEADER;\nENDSEC;\nDATA;\n#1=X(" + b"(" * 100_000 + b")" * 100_000 + b");\nENDSEC;\n"


def _repeated_ids(rng: random.Random, part: bytes) -> bytes:
    """No entity but the first, many times."""
    return (
        b"ISO-10303-21;\nHEADER;\nENDSEC;\nDATA;\n"
        + b"#1=MANIFOLD_SOLID_BREP('',#1);\n" * 2000
        + b"ENDSEC;\nEND-ISO-10303-21;\n"
    )
