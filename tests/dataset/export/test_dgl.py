"""DGL's graph files, read back by a reader that follows DGL's own."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dflow.dataset.export.dgl import graph_file


class Reader:
    """Reads one homogeneous graph, section after section, and refuses what DGL would refuse."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.at = 0

    def words(self, n: int) -> tuple[int, ...]:
        self.at += 8 * n
        return struct.unpack_from(f"<{n}Q", self.content, self.at - 8 * n)

    def expect(self, *numbers: int) -> None:
        assert self.words(len(numbers)) == numbers, f"before byte {self.at}"

    def text(self) -> str:
        (n,) = self.words(1)
        self.at += n
        return self.content[self.at - n : self.at].decode()

    def array(self) -> np.ndarray:
        self.expect(0xDD5E40F096B4A13F, 0)
        device, _, n_dims, code, bits, lanes = struct.unpack_from("<iiiBBH", self.content, self.at)
        assert (device, lanes) == (1, 1)
        self.at += 16
        shape, (n_bytes,) = self.words(n_dims), self.words(1)
        dtype = np.dtype(f"<{'iuf'[code]}{bits // 8}")
        assert n_bytes == np.prod(shape, dtype=int) * dtype.itemsize
        self.at += n_bytes
        return np.frombuffer(self.content, dtype, np.prod(shape, dtype=int), self.at - n_bytes).reshape(shape)

    def named(self) -> dict[str, np.ndarray]:
        self.expect(1)
        (n,) = self.words(1)
        return {self.text(): self.array() for _ in range(n)}

    def flags(self, n: int) -> None:
        assert self.content[self.at : self.at + n] == b"\0" * n
        self.at += n


def read_graph(content: bytes) -> dict[str, Any]:
    """Source, destination, number of nodes, ndata and edata of a file's one graph."""
    reader = Reader(content)
    reader.expect(0xDD2E4FF046B4A13F, 2, 2, 1)
    reader.at = 4096
    start, n_labels = reader.words(2)
    assert (start, n_labels) == (reader.at, 0)
    reader.expect(0xDD589FBE35224ABF)

    def types() -> None:
        reader.expect(0xDD3C5FFE20046ABF, 0xDD6CD31205DFF127, 1, 1)
        assert [reader.array().tolist() for _ in range(3)] == [[0, 1], [0], [0]]
        reader.flags(1)

    types()
    reader.expect(1, 0xDD2E60F0F6B4A127, (1 << 32) + 1, (1 << 32) + 7)
    types()
    reader.expect(0xDD61FFD305DFF127)
    n_rows, n_columns = reader.words(2)
    source, destination, order = reader.array(), reader.array(), reader.array()
    reader.flags(2)
    reader.expect(1, n_rows)
    assert (n_rows, len(order)) == (n_columns, 0)
    nodes, edges = reader.named(), reader.named()
    reader.expect(1)
    assert reader.text() == "_N"
    reader.expect(1)
    assert reader.text() == "_E"
    reader.expect(16, 1, start, 16)
    assert reader.at == len(content)
    return {"src": source, "dst": destination, "n_nodes": n_rows, "ndata": nodes, "edata": edges}


@pytest.mark.parametrize(("n_nodes", "n_edges"), [(3, 4), (1, 0)])
def test_a_graph_reads_back(n_nodes: int, n_edges: int) -> None:
    draw: Callable[..., np.ndarray] = np.random.default_rng(0).random
    nodes = {"x": draw((n_nodes, 2, 3)).astype(np.float32), "y": np.arange(n_nodes)}
    edges = {"x": draw((n_edges, 5))}
    source, destination = np.arange(n_edges, dtype=np.int32) % n_nodes, np.zeros(n_edges, np.int32)
    found = read_graph(graph_file(source, destination, n_nodes, nodes=nodes, edges=edges))
    assert found["n_nodes"] == n_nodes
    for name, expected in (("src", source), ("dst", destination)):
        assert found[name].dtype == np.int64
        np.testing.assert_array_equal(found[name], expected)
    for key, data in (("ndata", nodes), ("edata", edges)):
        assert list(found[key]) == list(data)
        for name, array in data.items():
            assert found[key][name].dtype == array.dtype
            np.testing.assert_array_equal(found[key][name], array)
