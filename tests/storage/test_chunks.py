"""Encoded chunks: what they decode to, and the sizes that zstd frames state."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numcodecs import zstd

from dflow.errors import DamagedStoreError, StoreLimitError
from dflow.storage import chunks as chunk_codec


@settings(max_examples=150)
@given(chunk=st.binary(max_size=60), compressed=st.booleans(), dtype=st.sampled_from(["float32", "str", "bool"]))
def test_any_bytes_as_a_chunk_decode_or_raise_cleanly(chunk: bytes, compressed: bool, dtype: str) -> None:
    for prefix in (b"", b"\x28\xb5\x2f\xfd"):
        try:
            array = chunk_codec.decode_chunk(
                prefix + chunk, dtype, (3,), compressed=compressed, where="x", max_bytes=1000
            )
        except (DamagedStoreError, StoreLimitError):
            continue
        assert array.shape == (3,)


@pytest.mark.parametrize("size", [0, 1, 100, 255, 256, 257, 65_791, 65_792, 1_000_000])
def test_the_stated_size_of_a_frame_is_read_right(size: int) -> None:
    assert chunk_codec.frame_content_bytes(zstd.compress(bytes(size))) == size
    assert chunk_codec.frame_content_bytes(b"PK\3\4 something else") == -1


@given(size=st.one_of(st.integers(2048, 200_000), st.integers(2048, 2**40)))
def test_a_usual_frame_head_states_its_size(size: int) -> None:
    assert chunk_codec.frame_content_bytes(chunk_codec.usual_frame_head(size)) == size


@pytest.mark.parametrize("size", [2048, 65_791, 65_792, 500_000])
@pytest.mark.parametrize("level", [-1, 3])
def test_zstd_begins_the_chunks_of_samples_with_the_usual_head(size: int, level: int) -> None:
    assert zstd.compress(bytes(size), level).startswith(chunk_codec.usual_frame_head(size))
