"""Samples as graphs of PyTorch Geometric: its batches shift row numbers like ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dflow.dataset import DatasetLoader
from dflow.dataset.export.export import export_dataset
from dflow.dataset.training.collate import collate
from dflow.dataset.training.subset import CADDataset
from dflow.errors import DatasetError
from tests.dataset.synthetic import Parts, write_parts
from tests.extras import Extra

torch = Extra("torch")
adapter = Extra("dflow.dataset.training.torch", package="torch")


def recipe_parts(n_files: int, seed: int = 0) -> Parts:
    """Parts with every index array of every recipe, some of them with "none" in it, and a user's own in two groups."""
    rng = np.random.default_rng(seed)
    counts = {"faces": rng.integers(1, 6, n_files), "edges": rng.integers(1, 9, n_files)}
    counts |= {"graph": rng.integers(0, 7, n_files), "coedges": rng.integers(2, 9, n_files)}
    counts |= {"faceface": counts["faces"] ** 2, "labels": rng.integers(0, 4, n_files)}

    def rows_of(group: str, target: str, *trailing: int, none: bool = False) -> Any:
        high = np.repeat(counts[target], counts[group]).reshape(-1, *(1 for _ in trailing))
        return rng.integers(-1 if none else 0, high, (len(high), *trailing)).astype(np.int32)

    return Parts(
        counts=counts,
        rows={
            "faces": {"face_areas": rng.random(counts["faces"].sum()), "face_index": rows_of("faces", "edges")},
            "edges": {"edge_lengths": rng.random(counts["edges"].sum())},
            "graph": {
                "edges_source": rows_of("graph", "faces"),
                "edges_destination": rows_of("graph", "faces"),
                "arc_edge": rows_of("graph", "edges"),
            },
            "coedges": {
                "next": rows_of("coedges", "coedges"),
                "mate": rows_of("coedges", "coedges"),
                "face": rows_of("coedges", "faces"),
                "edge": rows_of("coedges", "edges"),
            },
            "faceface": {"face_pair_edges_path": rows_of("faceface", "edges", 3, none=True)},
            "labels": {
                "of_face": rows_of("labels", "faces", none=True),
                "tool_index": rng.integers(0, 9, (counts["labels"].sum(), 2)).astype(np.int32),
            },
        },
        values={"batch_size": rng.integers(1, 9, n_files).astype(np.int32), "root_face": np.zeros(n_files, np.int32)},
        schema_groups={
            "labels": {
                "primary_dimension": "label",
                "arrays": {"of_face": {"dims": ["label"], "dtype": "int32", "refers_to": "faces"}},
            },
            "file": {
                "primary_dimension": "file",
                "arrays": {"root_face": {"dims": [], "dtype": "int32", "refers_to": "faces"}},
            },
        },
    )


REFERENCES = {
    "arc_edge": ("graph/arc_edge", "edges/edge_lengths"),
    "next": ("coedges/next", "coedges/mate"),
    "mate": ("coedges/mate", "coedges/next"),
    "face": ("coedges/face", "faces/face_areas"),
    "edge": ("coedges/edge", "edges/edge_lengths"),
    "face_pair_edges_path": ("faceface/face_pair_edges_path", "edges/edge_lengths"),
    "of_face": ("labels/of_face", "faces/face_areas"),
    "root_face": ("file/root_face", "faces/face_areas"),
}
"""Field of a graph, its array, and an array of the group that it refers to."""


def field_of(key: str) -> str:
    return {"coedges/mate": "mate", "coedges/next": "next"}.get(key, key.rpartition("/")[2])


def check_geometric_batch(batch: Any, items: list[dict[str, Any]]) -> None:
    """What the batch's indices pick is what each part's own pick from the part, and "none" stays."""
    ends = [np.stack([item["graph/edges_source"], item["graph/edges_destination"]]) for item in items]
    picked = [item["faces/face_areas"][end] for item, end in zip(items, ends, strict=True)]
    np.testing.assert_array_equal(batch.face_areas[batch.edge_index].numpy(), np.concatenate(picked, axis=1))
    for name, (key, target) in REFERENCES.items():
        expected, n_before = [], 0
        for item in items:
            rows = np.atleast_1d(item[key])
            numbers = np.arange(len(item[target])) + n_before  # of rows in the batch: values alone may be equal
            expected.append(np.where(rows < 0, -1, numbers[rows]))
            n_before += len(item[target])
        np.testing.assert_array_equal(batch[name].numpy(), np.concatenate(expected), err_msg=name)
        assert batch[name].dtype == torch.int64
        assert batch[name].max() < len(batch[field_of(target)])
    for name, key in (("tool_index", "labels/tool_index"), ("batch_size", "file/batch_size")):
        np.testing.assert_array_equal(batch[name].numpy(), np.concatenate([np.atleast_1d(item[key]) for item in items]))


@pytest.fixture(scope="module")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> DatasetLoader:
    loader = DatasetLoader(write_parts(recipe_parts(24, seed=3), tmp_path_factory.mktemp("recipes")).dataset)
    loader.split(train=1.0, validation=0.0, test=0.0)
    return loader


ALL = ["faces", "edges", "graph", "coedges", "faceface", "labels", "file"]


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # on import, in loader workers that are spawned
@pytest.mark.parametrize("made_of", ["items", "tensors", "files"])
def test_geometric_batches_index_like_single_parts(recipes: DatasetLoader, tmp_path: Path, made_of: str) -> None:
    pytest.importorskip("torch_geometric")
    loading = pytest.importorskip("torch_geometric.loader")
    dataset = recipes.get_dataset("train", columns=ALL)
    items = list(dataset)
    if made_of == "files":
        assert recipes.location is not None
        export_dataset(recipes.location, tmp_path / "out", "pyg", columns=ALL)
        files = sorted((tmp_path / "out").glob("*.pt"))
        graphs = [adapter.to_geometric(torch.load(file, weights_only=True)) for file in files]
    else:
        graphs = [adapter.to_geometric(item) for item in (items if made_of == "items" else dataset.to_torch())]
    assert graphs[0].num_nodes == len(items[0]["faces/face_areas"])
    for options in ({}, {"num_workers": 1}):
        batches = list(loading.DataLoader(graphs, batch_size=9, **options))
        for start, batch in zip((0, 9, 18), batches, strict=True):
            check_geometric_batch(batch, items[start : start + 9])
            assert batch.ptr.tolist() == dataset.collate(items[start : start + 9])["faces/ptr"].tolist()


def test_geometric_batches_come_apart_and_go_together_again(recipes: DatasetLoader) -> None:
    """Parts taken out of a batch, batches of batches, and parts with attributes of the user's own."""
    pytest.importorskip("torch_geometric")
    batch_class = pytest.importorskip("torch_geometric.data").Batch
    items = list(recipes.get_dataset("train", columns=ALL))
    graphs = [adapter.to_geometric(item) for item in items]
    apart = batch_class.from_data_list(graphs).to_data_list()
    for graph, back in zip(graphs, apart, strict=True):
        for name in ("edge_index", *REFERENCES):
            assert torch.equal(back[name].reshape(graph[name].shape), graph[name]), name
    check_geometric_batch(batch_class.from_data_list(apart), items)
    halves = [batch_class.from_data_list(half) for half in (graphs[:10], graphs[10:])]
    check_geometric_batch(batch_class.from_data_list(halves), items)
    for graph in graphs:
        graph.edge_label_index = graph.edge_index
    batch = batch_class.from_data_list(graphs)
    assert torch.equal(batch.edge_label_index, batch.edge_index)  # as PyTorch Geometric does it


def test_geometric_batches_refuse_numbers_of_rows_that_are_not_there(recipes: DatasetLoader) -> None:
    pytest.importorskip("torch_geometric")
    loading = pytest.importorskip("torch_geometric.loader")
    graphs = [
        adapter.to_geometric(item) for item in recipes.get_dataset("train", columns=["faces/face_areas", "graph"])
    ]
    with pytest.raises(DatasetError, match=r"arc_edge holds row numbers of 'edges'.*choose a column of 'edges' too"):
        next(iter(loading.DataLoader(graphs, batch_size=4)))
    batch = next(iter(loading.DataLoader(graphs, batch_size=4, exclude_keys=["arc_edge"])))
    assert batch.edge_index.max() < batch.num_nodes
    with pytest.raises(DatasetError, match=r"neither a sample nor an exported graph.*export again"):
        adapter.to_geometric({"edge_index": torch.zeros(2, 0), "num_nodes": 3})


def test_plain_batches_shift_what_the_schema_says(recipes: DatasetLoader) -> None:
    """The same for our own batches, from items, from a transform that makes new dictionaries, and from blocks."""

    def plain(item: dict[str, Any]) -> dict[str, Any]:
        return {**item}

    items = list(recipes.get_dataset("train", columns=ALL))
    offsets = np.cumsum([0, *(len(item["faces/face_areas"]) for item in items)])[:-1]
    for transform in (None, plain):
        dataset = recipes.get_dataset("train", columns=ALL, transform=transform)
        loaders = [
            dataset.to_torch().get_dataloader(64),
            dataset.to_torch().get_block_loader(64, shuffle=False),
            [collate(list(dataset))],
        ]
        for (batch,) in loaders:
            assert np.asarray(batch["file/root_face"]).tolist() == offsets.tolist()
            rows, part = np.asarray(batch["labels/of_face"]), np.asarray(batch["labels/batch"])
            own = np.concatenate([item["labels/of_face"] for item in items])
            np.testing.assert_array_equal(rows, np.where(own < 0, -1, own + offsets[part]))


def test_geometric_says_which_extra_is_missing(train: CADDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch_geometric.data", None)
    with pytest.raises(ImportError, match=r"dflow-cad\[geometric\]"):
        adapter.to_geometric(train[0])
