"""Graph files: written with HOOPS AI's calls, read by PyTorch without running code."""

from __future__ import annotations

import numpy as np
import pytest

from dflow.errors import DatasetError, VendorOnlyError
from dflow.storage import DGLGraphStoreHandler, PyGGraphStoreHandler

torch = pytest.importorskip("torch")


@pytest.fixture
def handler():
    handler = PyGGraphStoreHandler()
    handler.setup_graph(source_nodes=np.array([0, 1]), target_nodes=np.array([1, 2]), num_nodes=3)
    return handler


def test_a_graph_comes_back(handler, tmp_path):
    pytest.importorskip("torch_geometric")
    path = tmp_path / "new" / "graph.pt"
    handler.append_ndata(np.ones((3, 7)), feature_name="x", torch_type=torch.float32)
    handler.append_edata(np.zeros((2, 6)), feature_name="x", torch_type=torch.float32)
    handler.append_extra_data(np.array([4], np.int32), feature_name="label", torch_type=torch.long)
    assert handler.save_graph(path) == path.stat().st_size
    found = handler.load_graph(path)
    graph = found["data"]
    assert (graph.num_nodes, tuple(graph.x.shape), tuple(graph.edge_attr.shape)) == (3, (3, 7), (2, 6))
    assert graph.edge_index.tolist() == [[0, 1], [1, 2]]
    assert found["extra"]["label"].tolist() == [4]
    assert handler.file_extension() == ".pt"


def test_the_file_needs_no_code(handler, tmp_path):
    handler.save_graph(tmp_path / "graph.pt")
    assert torch.load(tmp_path / "graph.pt", weights_only=True)["data"]["num_nodes"] == 3


def test_arrays_that_do_not_fit_are_refused_with_the_way_out(handler):
    with pytest.raises(DatasetError, match=r"one row for each of 2 arcs; .*arc_edge"):
        handler.append_edata(np.zeros((5, 6)), "x")
    with pytest.raises(DatasetError, match="one row for each of 3 nodes"):
        handler.append_ndata(np.zeros(2), "x")
    with pytest.raises(DatasetError, match="setup_graph"):
        PyGGraphStoreHandler().append_ndata(np.zeros(2), "x")
    with pytest.raises(DatasetError, match="expected 0 to 1"):
        PyGGraphStoreHandler().setup_graph([0], [2], 2)


def test_dgl_names_what_takes_its_place():
    with pytest.raises(VendorOnlyError, match="PyGGraphStoreHandler"):
        DGLGraphStoreHandler()
