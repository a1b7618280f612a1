"""Encode arrays as chunks and decode them: Zarr v3's ``bytes``, ``vlen-utf8`` and ``zstd``, one chunk per array."""

from __future__ import annotations

import struct
import sys
from functools import lru_cache
from typing import Any

import numpy as np
from numcodecs import zstd
from numpy.typing import NDArray

from dflow.errors import DamagedStoreError, StoreLimitError

ZSTD_LEVEL = 3
"""Smallest files of the levels -3, -1, 1, 3 and 6; writing takes 1.3 times ``numpy.savez``, with level 6 three times
(``python -m tests.benchmarks.storage --levels``). numcodecs compresses in one thread."""

RAW_BYTES = 2048
"""Smaller chunks, in bytes, are stored uncompressed: compressing them costs more than it saves."""

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_U32 = struct.Struct("<I")
_SWAP = sys.byteorder == "big"


def encode_chunk(array: NDArray[Any]) -> tuple[bytes, bool]:
    """Return the chunk's bytes and whether they are zstd-compressed.

    Parameters
    ----------
    array : C-contiguous, in native byte order; numeric, bool or numpy's `StringDType`
    """
    if array.dtype.kind == "T":
        raw: Any = _encode_text(array)
        n_bytes = len(raw)
    else:
        raw = array.byteswap() if _SWAP else array
        n_bytes = array.nbytes
    if n_bytes < RAW_BYTES:
        return (raw if isinstance(raw, bytes) else raw.tobytes()), False
    return zstd.compress(raw, ZSTD_LEVEL), True


def decode_chunk(
    chunk: bytes, dtype: str, shape: tuple[int, ...], *, compressed: bool, where: str, max_bytes: int
) -> NDArray[Any]:
    """Return the writable array that a chunk encodes.

    Parameters
    ----------
    chunk : as `encode_chunk` returns it
    dtype : numpy's name, or ``str``
    where : what the error messages begin with: file and array

    Raises
    ------
    DamagedStoreError
        If the chunk does not hold exactly the stated array.
    StoreLimitError
        If it would expand to more than `max_bytes`.
    """
    if dtype == "str":
        text = _expand(chunk, where, max_bytes) if compressed else chunk
        return _decode_text(text, shape, where)
    array = np.empty(shape, dtype)
    expected = array.nbytes
    if compressed:
        if frame_content_bytes(chunk) != expected:
            raise DamagedStoreError(
                f"{where}: its chunk does not expand to the {expected:,} bytes that its shape needs"
            )
        _decompress(chunk, array, where)
    elif len(chunk) != expected:
        raise DamagedStoreError(f"{where}: its chunk has {len(chunk):,} bytes, its shape needs {expected:,}")
    else:
        array = np.frombuffer(chunk, dtype).reshape(shape).copy()
    return array.byteswap() if _SWAP else array


def frame_content_bytes(chunk: bytes) -> int:
    """The expanded size in bytes that a zstd frame states (RFC 8878, 3.1.1.1); -1 without a frame or a stated size."""
    if chunk[:4] != _ZSTD_MAGIC or len(chunk) < 6:
        return -1
    descriptor = chunk[4]
    single_segment = bool(descriptor & 0x20)
    at = 5 + (0 if single_segment else 1) + (0, 1, 2, 4)[descriptor & 3]
    width = (1 if single_segment else 0, 2, 4, 8)[descriptor >> 6]
    if not width or at + width > len(chunk):
        return -1
    size = int.from_bytes(chunk[at : at + width], "little")
    return size + 256 if width == 2 else size


@lru_cache(maxsize=4096)
def usual_frame_head(n_bytes: int) -> bytes:
    """The first bytes of the zstd frame of `n_bytes` (at least 256) compressed in one call: a single segment of stated
    size without a checksum. Other valid frames begin otherwise.
    """
    if n_bytes < 65536 + 256:
        return _ZSTD_MAGIC + b"\x60" + (n_bytes - 256).to_bytes(2, "little")
    if n_bytes < 1 << 32:
        return _ZSTD_MAGIC + b"\xa0" + n_bytes.to_bytes(4, "little")
    return _ZSTD_MAGIC + b"\xe0" + n_bytes.to_bytes(8, "little")


def _expand(chunk: bytes, where: str, max_bytes: int) -> bytes:
    size = frame_content_bytes(chunk)
    if size < 0:
        raise DamagedStoreError(f"{where}: its chunk is no zstd frame of stated size")
    if size > max_bytes:
        raise StoreLimitError(f"{where} would expand to {size:,} bytes, more than the limit of {max_bytes:,}")
    expanded = bytearray(size)
    _decompress(chunk, expanded, where)
    return bytes(expanded)


def _decompress(chunk: bytes, target: Any, where: str) -> None:
    try:
        zstd.decompress(chunk, target)
    except (RuntimeError, ValueError) as error:
        raise DamagedStoreError(f"{where}: its chunk cannot be expanded: {error}") from error


def _encode_text(array: NDArray[Any]) -> bytes:
    texts = [text.encode("utf-8") for text in array.ravel().tolist()]
    parts = [_U32.pack(len(texts))]
    for text in texts:
        parts += (_U32.pack(len(text)), text)
    return b"".join(parts)


def _decode_text(chunk: bytes, shape: tuple[int, ...], where: str) -> NDArray[Any]:
    texts: list[str] = []
    at = _U32.size
    try:
        (count,) = _U32.unpack_from(chunk)
        while at < len(chunk):
            (size,) = _U32.unpack_from(chunk, at)
            at += _U32.size + size
            texts.append(chunk[at - size : at].decode("utf-8"))
    except (struct.error, UnicodeDecodeError) as error:
        raise DamagedStoreError(f"{where}: its text cannot be decoded: {error}") from error
    if at != len(chunk) or count != len(texts) or count != int(np.prod(shape, dtype=object)):
        raise DamagedStoreError(f"{where}: its text does not fill the shape {shape}")
    return np.array(texts, dtype=np.dtypes.StringDType()).reshape(shape)
