"""HOOPS AI's graph files: one graph per sample, as a dictionary of tensors that PyTorch reads without running code."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from dflow.errors import DatasetError, VendorOnlyError
from dflow.storage.atomic import write_whole

if TYPE_CHECKING:
    import torch
    from torch_geometric.data import Data


class MLStorage(ABC):
    """Collects the arrays of one graph, and writes them to a file."""

    @abstractmethod
    def setup_graph(self, source_nodes: ArrayLike, target_nodes: ArrayLike, num_nodes: int) -> None:
        """Begin a graph.

        Parameters
        ----------
        source_nodes, target_nodes : (n_arcs,) node numbers of each arc
        num_nodes : the number of nodes
        """

    @abstractmethod
    def append_ndata(self, data: ArrayLike, feature_name: str, torch_type: Any = None) -> None:
        """Add an array of the nodes.

        Parameters
        ----------
        data : (num_nodes, …)
        feature_name : its name in the graph
        torch_type : a ``torch.dtype``; None keeps the array's own
        """

    @abstractmethod
    def append_edata(self, data: ArrayLike, feature_name: str, torch_type: Any = None) -> None:
        """Add an array of the arcs.

        Parameters
        ----------
        data : (n_arcs, …)
        feature_name : its name in the graph; an array of the nodes may have the same
        torch_type : a ``torch.dtype``; None keeps the array's own
        """

    @abstractmethod
    def append_extra_data(self, data: ArrayLike, feature_name: str, torch_type: Any = None) -> None:
        """Add an array that belongs to no node or arc, such as a label of the graph.

        Parameters
        ----------
        data : of any shape
        feature_name : its name
        torch_type : a ``torch.dtype``; None keeps the array's own
        """

    @abstractmethod
    def save_graph(self, filename: str | os.PathLike[str]) -> int:
        """Write the graph, and return the file's size in bytes.

        Parameters
        ----------
        filename : an existing file is replaced
        """

    @abstractmethod
    def load_graph(self, filename: str | os.PathLike[str]) -> dict[str, Any]:
        """Return what `save_graph` wrote: the graph under ``data``, the other arrays under ``extra``.

        Parameters
        ----------
        filename : of a file that `save_graph` wrote
        """

    @abstractmethod
    def format(self) -> str:
        """Return the format's name."""

    @abstractmethod
    def file_extension(self) -> str:
        """Return the suffix of its files, with the dot."""


class PyGGraphStoreHandler(MLStorage):
    """Writes graphs for PyTorch Geometric: tensors in dictionaries, loaded with ``weights_only=True``.

    Arrays of the arcs are named as PyTorch Geometric names them where an array of the nodes has their name:
    ``x`` of the arcs is ``edge_attr``, any other ``edge_<name>``.
    """

    def __init__(self) -> None:
        self._nodes: dict[str, torch.Tensor] = {}
        self._arcs: dict[str, torch.Tensor] = {}
        self._extra: dict[str, torch.Tensor] = {}
        self._edge_index: torch.Tensor | None = None
        self._num_nodes = 0

    def setup_graph(self, source_nodes: ArrayLike, target_nodes: ArrayLike, num_nodes: int) -> None:
        ends = np.stack([np.asarray(source_nodes, np.int64), np.asarray(target_nodes, np.int64)])
        if ends.size and not 0 <= ends.min() <= ends.max() < num_nodes:
            raise DatasetError(
                f"the arcs name nodes from {ends.min()} to {ends.max()}, expected 0 to {num_nodes - 1}: pass num_nodes "
                "of the same part"
            )
        self._edge_index, self._num_nodes = _tensor(ends, None), int(num_nodes)
        self._nodes, self._arcs = {}, {}

    def append_ndata(self, data: ArrayLike, feature_name: str, torch_type: Any = None) -> None:
        self._nodes[feature_name] = self._rows(data, feature_name, torch_type, self._num_nodes, "nodes")

    def append_edata(self, data: ArrayLike, feature_name: str, torch_type: Any = None) -> None:
        n_arcs = 0 if self._edge_index is None else int(self._edge_index.shape[1])
        self._arcs[feature_name] = self._rows(data, feature_name, torch_type, n_arcs, "arcs")

    def append_extra_data(self, data: ArrayLike, feature_name: str, torch_type: Any = None) -> None:
        self._extra[feature_name] = _tensor(data, torch_type)

    def save_graph(self, filename: str | os.PathLike[str]) -> int:
        import io

        torch = _torch()
        fields = {"edge_index": self._checked_index(), "num_nodes": self._num_nodes, **self._nodes}
        for name, tensor in self._arcs.items():
            fields["edge_attr" if name == "x" else f"edge_{name}" if name in self._nodes else name] = tensor
        buffer = io.BytesIO()
        torch.save({"data": fields, "extra": dict(self._extra)}, buffer)
        write_whole(filename, [buffer.getvalue()])
        return len(buffer.getvalue())

    def load_graph(self, filename: str | os.PathLike[str]) -> dict[str, Any]:
        found = _torch().load(filename, weights_only=True)
        if not isinstance(found, dict) or not {"data", "extra"} <= found.keys():
            raise DatasetError(f"{filename} was not written by save_graph; found {type(found).__name__}")
        return {"data": _data(found["data"]), "extra": found["extra"]}

    def format(self) -> str:
        return "pyg"

    def file_extension(self) -> str:
        return ".pt"

    def _checked_index(self) -> torch.Tensor:
        if self._edge_index is None:
            raise DatasetError(
                "the graph has no nodes yet: call setup_graph(source_nodes, target_nodes, num_nodes) first"
            )
        return self._edge_index

    def _rows(self, data: ArrayLike, name: str, torch_type: Any, n_rows: int, what: str) -> torch.Tensor:
        self._checked_index()
        tensor = _tensor(data, torch_type)
        if not tensor.ndim or len(tensor) != n_rows:
            advice = (
                "; an array of the edges becomes one of the arcs by array[storage.load_data('graph/arc_edge')]"
                if what == "arcs"
                else ""
            )
            raise DatasetError(
                f"{name!r} has shape {tuple(tensor.shape)}, expected one row for each of {n_rows} {what}{advice}"
            )
        return tensor


class DGLGraphStoreHandler:
    """HOOPS AI's writer of DGL's files, which cannot be had: DGL is no longer released.

    Parameters
    ----------
    *args, **kwargs : any

    Raises
    ------
    VendorOnlyError
        Always; it names what takes its place.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise VendorOnlyError(
            "DGL is no longer released, so that its graph files are not written: use "
            "dflow.storage.PyGGraphStoreHandler, which has the same methods and writes .pt files for PyTorch Geometric"
        )


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise ImportError("graph files need PyTorch: pip install 'dflow-cad[torch]'") from error
    return torch


def _data(fields: dict[str, Any]) -> Data:
    try:
        from torch_geometric.data import Data
    except ImportError as error:
        raise ImportError("graphs need PyTorch Geometric: pip install 'dflow-cad[geometric]'") from error
    return Data(**fields)


def _tensor(data: ArrayLike, torch_type: Any) -> torch.Tensor:
    torch = _torch()
    array = data if isinstance(data, torch.Tensor) else np.ascontiguousarray(np.asarray(data))
    tensor = torch.as_tensor(array)
    return tensor if torch_type is None else tensor.to(torch_type)
