"""Chunks of codecs that others write: what is damaged is refused before a library reads beyond it."""

from __future__ import annotations

import gzip
import os
import random
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from numcodecs import Blosc

from dflow.errors import StoreLimitError
from dflow.storage.codecs import decode_blosc, inflate

RNG = np.random.default_rng(0)
ARRAYS = [
    np.arange(5000, dtype="f4"),
    RNG.random(3000),
    RNG.integers(0, 5, 20_000).astype("i1"),
    np.zeros(100_000, "i8"),
    np.arange(7, dtype="u1"),
    np.arange(90_000, dtype="i4") // 3,
]
CHUNKS = [
    (array, bytes(Blosc(cname=name, clevel=5, shuffle=shuffle).encode(array)))
    for array in ARRAYS
    for name in ("lz4", "zstd", "blosclz", "zlib")
    for shuffle in (0, 1, 2)
]
LIMIT = 64 * 1024**2


def mutated(chunk: bytes, rng: random.Random) -> bytes:
    """The chunk with one to four bytes changed, mostly of its header, or cut."""
    damaged = bytearray(chunk)
    reach = rng.choice((16, 16, 200, len(chunk)))
    for _ in range(rng.choice((1, 1, 2, 4))):
        place = rng.randrange(min(reach, len(damaged)))
        if rng.random() < 0.1:
            del damaged[max(1, place) :]
        else:
            damaged[place] = rng.choice((damaged[place] ^ 1 << rng.randrange(8), rng.randrange(256), 0, 127, 128, 255))
    return bytes(damaged)


def survives(decode: Callable[[bytes], object], seeds: range) -> int:
    """The number of mutations that a child process decodes or refuses with `ValueError` or `StoreLimitError`."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        for seed in seeds:
            rng = random.Random(seed)
            try:
                decode(mutated(rng.choice(CHUNKS)[1], rng))
            except (ValueError, RuntimeError):
                pass
            except BaseException:
                os._exit(1)
            os.write(writing, b".")
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        n_done = len(pipe.read())
    os.waitpid(child, 0)
    return n_done


def test_sound_chunks_are_decoded() -> None:
    for array, chunk in CHUNKS:
        np.testing.assert_array_equal(np.frombuffer(decode_blosc(chunk, max_bytes=LIMIT), array.dtype), array)
        out = np.empty_like(array)
        decode_blosc(chunk, out)
        np.testing.assert_array_equal(out, array)


def test_mutated_chunks_are_decoded_or_refused() -> None:
    assert survives(lambda chunk: decode_blosc(chunk, max_bytes=LIMIT), range(3000)) == 3000


@pytest.mark.slow
def test_a_hundred_thousand_mutations_end_no_process() -> None:
    for start in range(0, 100_000, 20_000):
        seeds = range(start, start + 20_000)
        assert survives(lambda chunk: decode_blosc(chunk, max_bytes=LIMIT), seeds) == len(seeds)


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (0, b"\x03", "version 3"),
        (3, b"\x00", "version"),
        (4, b"\x00\x00\x00\x00", "blocks"),
        (8, b"\xff\xff\xff\xff", "blocks"),
        (8, b"\x00\x00\x00\x00", "blocks"),
        (12, b"\x00\x00\x00\x00", "states 0 bytes"),
        (16, b"\xff\xff\xff\xff", "block 0"),
        (16, b"\x00\x00\x00\x00", "block 0"),
    ],
)
def test_a_header_that_contradicts_its_chunk_is_named(at: int, value: bytes, message: str) -> None:
    chunk = CHUNKS[1][1]  # shuffled, so it is compressed
    with pytest.raises(ValueError, match=message):
        decode_blosc(chunk[:at] + value + chunk[at + len(value) :], max_bytes=LIMIT)


def test_what_would_expand_too_far_is_refused() -> None:
    array, chunk = next((array, chunk) for array, chunk in CHUNKS if array.nbytes == 800_000)
    with pytest.raises(StoreLimitError, match="800,000"):
        decode_blosc(chunk, max_bytes=array.nbytes - 1)
    with pytest.raises(ValueError, match="expected 8"):
        decode_blosc(chunk, np.empty(1))


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_deflated_chunks_are_bounded(pack: Callable[[bytes], bytes]) -> None:
    content = bytes(100_000)
    packed = pack(content)
    assert inflate(packed, len(content)) == content
    with pytest.raises(StoreLimitError, match="99,999"):
        inflate(packed, len(content) - 1)
    with pytest.raises(ValueError, match="ends after"):
        inflate(packed[:-1], len(content))
    with pytest.raises(ValueError, match="damaged"):
        inflate(b"\x00" + packed[1:], len(content))
