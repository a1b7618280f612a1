"""Labels of a part, its faces and its edges: stored, loaded, checked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dflow.errors import KeyNotFoundError, SchemaError
from dflow.storage import LabelStorage


def test_labels_come_back(tmp_path: Path) -> None:
    with LabelStorage(tmp_path / "labels", total_faces=4, total_edges=6) as labels:
        labels.save(LabelStorage.GRAPH_CADENTITY, 3)
        labels.save(LabelStorage.FACE_CADENTITY, [0, 1, 2, 1])
        labels.save_sparse(LabelStorage.EDGE_CADENTITY, [1, 5], [7, 8])
        labels.save_metadata("descriptions/face_labels", {0: "stock"})
    again = LabelStorage(tmp_path / "labels")
    assert again.load("graph") == 3
    assert again.load("node").tolist() == [0, 1, 2, 1]
    assert again.load("edge").tolist() == [-1, 7, -1, -1, -1, 8]
    assert again.load("edge").dtype == np.int32
    assert again.load_metadata("descriptions/face_labels") == {"0": "stock"}
    assert Path(again.get_file_path()).is_file()


def test_labels_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    labels = LabelStorage(tmp_path / "labels", total_faces=2)
    for call in (
        lambda: labels.save("node", [1, 2, 3]),
        lambda: labels.save("node", [0.5, 1]),
        lambda: labels.save_sparse("node", [2], [1]),
        lambda: labels.save_sparse("node", [-1], [1]),
        lambda: labels.save_sparse("edge", [0], [1]),
        lambda: labels.save_sparse("graph", [0], [1]),
    ):
        with pytest.raises(SchemaError):
            call()
    with pytest.raises(KeyNotFoundError):
        labels.load("node")
