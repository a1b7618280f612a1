"""Decode chunks of codecs that others write: blosc, zlib, gzip and zstd, checked and bounded."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import zstandard
from numcodecs import blosc
from numpy.typing import NDArray

from dflow.errors import StoreLimitError

_BLOSC_HEADER = struct.Struct("<BBBBIII")
_BLOSC_VERSION = 2
_BLOSC_MIN_BUFFER = 128
_BLOSC_MAX_SPLITS = 16


def decode_blosc(chunk: bytes, out: NDArray[Any] | None = None, *, max_bytes: int | None = None) -> Any:
    """Decode a chunk of c-blosc 1 after checking its header, offsets and stream sizes against its length.

    The library trusts them: damaged ones end the process. Format: c-blosc, ``README_CHUNK_FORMAT.rst``.

    Parameters
    ----------
    chunk : bytes
        The encoded chunk.
    out : ndarray, optional
        The array to fill; its size is what the chunk has to state.
    max_bytes : int, optional
        The most that the chunk may state where `out` is not given.

    Raises
    ------
    ValueError
        If the chunk contradicts itself or states another size than that of `out`.
    StoreLimitError
        If it would expand to more than `max_bytes`.

    """
    chunk = bytes(chunk)
    stated = _check_blosc(chunk)
    if out is not None and stated != out.nbytes:
        raise ValueError(f"a blosc chunk states {stated:,} bytes; expected {out.nbytes:,}")
    if max_bytes is not None and stated > max_bytes:
        raise StoreLimitError(
            f"a blosc chunk would expand to {stated:,} bytes, beyond the {max_bytes:,} that it may take"
        )
    return blosc.decompress(chunk, out)


def inflate(chunk: bytes, max_bytes: int) -> bytes:
    """Expand a chunk of zlib or gzip, told apart by its header.

    Raises
    ------
    ValueError
        If it is truncated or damaged.
    StoreLimitError
        If it would expand to more than `max_bytes`.

    """
    decoder = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        expanded = decoder.decompress(chunk, max_bytes + 1)
    except zlib.error as error:
        raise ValueError(f"a damaged chunk: {error}") from error
    if len(expanded) > max_bytes:
        raise StoreLimitError(f"a chunk would expand beyond the {max_bytes:,} bytes that it may take")
    if not decoder.eof:
        raise ValueError(f"a chunk that ends after {len(expanded):,} bytes, before its checksum")
    return expanded


def expand_zstd(chunk: bytes, max_bytes: int) -> bytes:
    """Expand zstd frames, which need not state their size.

    Raises
    ------
    ValueError
        If they are damaged.
    StoreLimitError
        If they would expand to more than `max_bytes`.

    """
    try:
        with zstandard.ZstdDecompressor().stream_reader(chunk, read_across_frames=True) as reader:
            expanded: bytes = reader.read(max_bytes + 1)
    except zstandard.ZstdError as error:
        raise ValueError(f"a damaged chunk: {error}") from error
    if len(expanded) > max_bytes:
        raise StoreLimitError(f"a chunk would expand beyond the {max_bytes:,} bytes that it may take")
    return expanded


def _check_blosc(chunk: bytes) -> int:
    """Return the bytes that a blosc chunk states to hold, once all that it states about itself fits its length."""
    if len(chunk) < _BLOSC_HEADER.size:
        raise ValueError(f"a blosc chunk of {len(chunk)} bytes; its header takes {_BLOSC_HEADER.size}")
    version, _, flags, width, n_bytes, block, n_coded = _BLOSC_HEADER.unpack_from(chunk)
    if version != _BLOSC_VERSION or n_coded != len(chunk) or width == 0:
        raise ValueError(f"a blosc chunk of version {version} that states {n_coded:,} bytes and has {len(chunk):,}")
    if flags & 0x02:
        if n_bytes != n_coded - _BLOSC_HEADER.size:
            raise ValueError(f"a blosc chunk of {n_coded:,} bytes states {n_bytes:,} that are not compressed")
        return n_bytes
    if not 0 < block <= n_bytes:
        raise ValueError(f"a blosc chunk of {n_bytes:,} bytes in blocks of {block:,}")
    n_blocks = -(-n_bytes // block)
    first = _BLOSC_HEADER.size + 4 * n_blocks
    if first > n_coded:
        raise ValueError(f"a blosc chunk of {n_coded:,} bytes with {n_blocks:,} blocks")
    starts = struct.unpack_from(f"<{n_blocks}I", chunk, _BLOSC_HEADER.size)
    split = not flags & 0x10 and width <= _BLOSC_MAX_SPLITS and block // width >= _BLOSC_MIN_BUFFER
    for number, place in enumerate(starts):
        last_part = number == n_blocks - 1 and n_bytes % block
        n_streams = width if split and not last_part else 1
        for _ in range(n_streams):
            if not first <= place <= n_coded - 4:
                raise ValueError(f"block {number} of a blosc chunk lies outside of its {n_coded:,} bytes")
            place += 4 + struct.unpack_from("<I", chunk, place)[0]
        if place > n_coded:
            raise ValueError(f"block {number} of a blosc chunk ends outside of its {n_coded:,} bytes")
    return int(n_bytes)
