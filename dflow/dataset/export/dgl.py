"""DGL's graph files, version 2 (``dgl.save_graphs``, DGL 0.5 and later), written without DGL.

The layout is that of the repository dmlc/dgl, ``src/graph/serialize/heterograph_serialize.cc``, little-endian. Files
are byte for byte those of DGL 2.1, but for its header's unused bytes, which it leaves to chance and which are 0 here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

_FILE, _HETEROGRAPH, _IMMUTABLE_GRAPH = 0xDD2E4FF046B4A13F, 0xDD589FBE35224ABF, 0xDD3C5FFE20046ABF
_UNIT_GRAPH, _COO, _CSR, _ARRAY = 0xDD2E60F0F6B4A127, 0xDD61FFD305DFF127, 0xDD6CD31205DFF127, 0xDD5E40F096B4A13F
_HEADER_BYTES = 4096
_CODES = {"i": 0, "u": 1, "f": 2}


def graph_file(
    source: Array, destination: Array, n_nodes: int, *, nodes: Mapping[str, Array], edges: Mapping[str, Array]
) -> bytes:
    """A file with one homogeneous graph, as ``dgl.load_graphs(path)[0][0]`` reads it.

    Parameters
    ----------
    source, destination
        (n_edges,) int, node numbers.
    n_nodes
        Number of nodes, those without an edge included.
    nodes, edges
        Data by name, (n_nodes, …) and (n_edges, …) of integers or floats: ``graph.ndata`` and ``graph.edata``.
    """
    start = _HEADER_BYTES + 16
    one_node = _words(_IMMUTABLE_GRAPH) + _one_edge()
    graph = b"".join(
        (
            _words(_HETEROGRAPH),
            one_node,
            _words(1, _UNIT_GRAPH, 1 << 32 | 1, 1 << 32 | 7),  # saved as COO, every format allowed
            one_node,
            _words(_COO, n_nodes, n_nodes),
            *(_array(np.asarray(ends, np.int64)) for ends in (source, destination, ())),
            b"\0\0",  # neither end is sorted
            _words(1, n_nodes),
            *(_words(1, len(data)) + b"".join(_named(data)) for data in (nodes, edges)),
            _words(1) + _text("_N") + _words(1) + _text("_E"),
        )
    )
    header = _words(_FILE, 2, 2, 1).ljust(_HEADER_BYTES, b"\0")
    places = _words(1, start)
    return b"".join((header, _words(start, 0), graph, _words(len(places)), places, _words(len(places))))


def _one_edge() -> bytes:
    """The graph of node and edge types: one node, one edge to itself."""
    arrays = b"".join(_array(np.array(values, np.int64)) for values in ([0, 1], [0], [0]))
    return _words(_CSR, 1, 1) + arrays + b"\0"


def _named(data: Mapping[str, Array]) -> Iterable[bytes]:
    return (_text(name) + _array(array) for name, array in data.items())


def _array(array: Array) -> bytes:
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    kind = struct.pack("<iiiBBH", 1, 0, little.ndim, _CODES[little.dtype.kind], 8 * little.itemsize, 1)
    return _words(_ARRAY, 0) + kind + _words(*little.shape, little.nbytes) + little.tobytes()


def _text(text: str) -> bytes:
    return _words(len(text.encode())) + text.encode()


def _words(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}Q", *numbers)
