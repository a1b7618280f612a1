"""Open arrays through zarr-python with codecs that expand a chunk to its own size and no further.

zarr's codecs expand whatever a chunk holds: a megabyte of gzip is a gigabyte of zeros. These know the chunk's shape,
and check blosc's headers, which the library trusts.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import numpy as np
import zarr
from zarr.abc.codec import BytesBytesCodec
from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec
from zarr.registry import register_codec

from dflow.storage.codecs import decode_blosc, expand_zstd, inflate

_SPARE_BYTES = 1024**2
"""What an incompressible chunk may grow by in the codec before."""


class _Bounded:
    """Decodes a chunk of known shape; mixed into zarr's codecs."""

    def _decode_sync(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        dtype = chunk_spec.dtype
        itemsize = (dtype.to_native_dtype() if hasattr(dtype, "to_native_dtype") else dtype).itemsize
        n_bytes = int(np.prod(chunk_spec.shape, dtype=object)) * itemsize
        expanded = self._expand(chunk_bytes.to_bytes(), n_bytes + n_bytes // 16 + _SPARE_BYTES)
        return chunk_spec.prototype.buffer.from_bytes(expanded)

    async def _decode_single(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        return await asyncio.to_thread(self._decode_sync, chunk_bytes, chunk_spec)

    def _expand(self, chunk: bytes, max_bytes: int) -> bytes:
        raise NotImplementedError


class BoundedGzip(_Bounded, GzipCodec):
    """zarr's ``gzip``, bounded."""

    def _expand(self, chunk: bytes, max_bytes: int) -> bytes:
        return inflate(chunk, max_bytes)


class BoundedZstd(_Bounded, ZstdCodec):
    """zarr's ``zstd``, bounded."""

    def _expand(self, chunk: bytes, max_bytes: int) -> bytes:
        return expand_zstd(chunk, max_bytes)


class BoundedBlosc(_Bounded, BloscCodec):
    """zarr's ``blosc``, bounded and checked."""

    def _expand(self, chunk: bytes, max_bytes: int) -> bytes:
        return bytes(decode_blosc(chunk, max_bytes=max_bytes))


_CLASSES: dict[str, type[BytesBytesCodec]] = {"gzip": BoundedGzip, "zstd": BoundedZstd, "blosc": BoundedBlosc}
_NAMES = {f"codecs.{name}": f"{kind.__module__}.{kind.__qualname__}" for name, kind in _CLASSES.items()}
_LOCK = threading.Lock()


def open_array(path: str, key: str) -> Any:
    """Open an array of the Zarr v3 hierarchy at `path` for reading; its metadata has been checked.

    Raises
    ------
    Exception
        Whatever zarr raises of metadata and files that it cannot read.
    """
    with _LOCK, zarr.config.set(_NAMES):  # the settings of this process, which another thread would restore too late
        return zarr.open_array(path, path=key, mode="r")


for _name, _kind in _CLASSES.items():
    register_codec(_name, _kind)  # beside zarr's own, which stay the default
