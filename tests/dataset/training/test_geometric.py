"""Samples as graphs of PyTorch Geometric: its batches shift row numbers like ours."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dflow.dataset import DatasetLoader
from dflow.dataset.export.export import export_dataset
from dflow.dataset.training.collate import collate
from dflow.dataset.training.samples import SampleReader
from dflow.dataset.training.subset import CADDataset
from dflow.dataset.training.transforms import RandomRotation
from dflow.errors import DatasetError, UnknownKeyError
from tests.dataset.synthetic import Parts, random_parts, write_parts
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
    source = SampleReader(recipes.get_dataset("train").source.store, ["faces/face_areas", "graph"])  # type: ignore[union-attr]
    graphs = [adapter.to_geometric(item) for item in CADDataset(source, np.arange(24))]
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


# A subset as a dataset of PyTorch Geometric

FORM: dict[str, Any] = {
    "x": ["faces/face_areas", "faces/face_types"],
    "y": "faces/face_labels",
    "edge_attr": ["edges/edge_lengths", "edges/edge_dihedral_angles"],
    "undirected": True,
    "one_hot": ["faces/face_types"],
}


@pytest.fixture(scope="module")
def loader(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> DatasetLoader:
    loader = DatasetLoader(write_parts(parts, tmp_path_factory.mktemp("graphs")).dataset)
    loader.split(train=1.0, validation=0.0, test=0.0)
    return loader


def expected_features(item: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Features of a sample as plain numpy has them: nodes, both directions, and these directions' edges."""
    x = np.concatenate([item["faces/face_areas"][:, None], np.eye(15)[item["faces/face_types"]]], axis=1)
    ends = np.stack([item["graph/edges_source"], item["graph/edges_destination"]])
    edges = np.stack([item["edges/edge_lengths"], np.nan_to_num(item["edges/edge_dihedral_angles"])], axis=1)
    own = edges[item["graph/arc_edge"]]
    pairs = [tuple(sorted(end)) for end in ends.T.tolist()]
    balance = dict.fromkeys(pairs, 0)
    for (source, target), pair in zip(ends.T.tolist(), pairs, strict=True):
        balance[pair] += (source > target) - (source < target)
    back = [i for i, pair in enumerate(pairs) if balance[pair]]
    return x, np.concatenate([ends, ends[::-1, back]], axis=1), np.concatenate([own, own[back]])


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("n_workers", [0, 2])
def test_geometrics_own_loaders_take_the_dataset_as_it_is(loader: DatasetLoader, n_workers: int) -> None:
    loading = pytest.importorskip("torch_geometric.loader")
    train = loader.get_dataset("train")
    graphs = train.to_geometric(**FORM)
    items = list(train)
    assert any(not len(item["graph/edges_source"]) for item in items)
    assert any(not len(item["faces/face_areas"]) for item in items)
    assert (len(graphs), graphs.num_classes, graphs.num_features, graphs.num_edge_features) == (len(items), 6, 16, 2)
    seen = 0
    for batch in loading.DataLoader(graphs, batch_size=9, num_workers=n_workers):
        mine = items[seen : seen + len(batch)]
        first = 0
        for number, item in enumerate(mine):
            x, ends, edges = expected_features(item)
            nodes = batch.batch == number
            arcs = nodes[batch.edge_index[0]]
            np.testing.assert_allclose(batch.x[nodes].numpy(), x, rtol=1e-6)
            np.testing.assert_array_equal(batch.edge_index[:, arcs].numpy() - first, ends)
            np.testing.assert_allclose(batch.edge_attr[arcs].numpy(), edges, rtol=1e-6)
            assert batch.y[nodes].tolist() == item["faces/face_labels"].tolist()
            first += len(x)
        assert (batch.edge_index.dtype, batch.y.dtype, batch.x.dtype) == (torch.int64, torch.int64, torch.float32)
        assert batch.id.tolist() == [item["id"] for item in mine]
        assert torch.isfinite(batch.edge_attr).all()
        seen += len(mine)
    assert seen == len(items)


def test_samplers_batches_and_subsets_of_geometric(loader: DatasetLoader) -> None:
    loading = pytest.importorskip("torch_geometric.loader")
    data = pytest.importorskip("torch_geometric.data")
    graphs = loader.get_dataset("train").to_geometric(**FORM)
    sampler = loading.DynamicBatchSampler(graphs, max_num=40, mode="node")
    batches = [*(batch for batch in loading.DataLoader(graphs, batch_sampler=sampler))]  # its length is not known
    assert max(batch.num_nodes for batch in batches) <= 40 < sum(batch.num_nodes for batch in batches)
    apart = data.Batch.from_data_list([graphs[0], graphs[-1]]).to_data_list()
    for graph, back in zip((graphs[0], graphs[len(graphs) - 1]), apart, strict=True):
        assert torch.equal(graph.edge_index, back.edge_index)
        assert torch.equal(graph.x, back.x)
    chosen = graphs[torch.tensor([3, 1])]
    assert [graph.id.item() for graph in chosen] == [graphs[3].id.item(), graphs[1].id.item()]
    assert [graph.id.item() for graph in graphs[2:4]] == loader.get_dataset("train").file_codes[2:4].tolist()
    chosen.transform = lambda graph: graph.id.item()
    assert chosen.__getitems__([0, 1]) == [chosen[0], chosen[1]]


def test_only_what_is_needed_is_read_and_what_is_named_stays(loader: DatasetLoader) -> None:
    graphs = loader.get_dataset("train").to_geometric(**FORM)
    read = {column.key for column in graphs.dataset.source.columns}
    assert read == {*FORM["x"], FORM["y"], *FORM["edge_attr"], *(f"graph/{n}" for n in ENDS_AND_EDGE)}
    assert {"x", "y", "edge_attr", "edge_index", "id"} == set(graphs[0].keys()) - {"num_nodes"}
    columns = ["faces/face_areas", "edges/edge_u_grids", "graph", "file/volume"]
    more = loader.get_dataset("train", columns=columns).to_geometric(**FORM)[0]
    assert set(more.keys()) - set(graphs[0].keys()) == {"edge_u_grids", "arc_edge", "volume", "increments"}
    assert len(more.arc_edge) == more.edge_index.shape[1]
    assert "edges_source" not in more
    every = loader.get_dataset("train").to_geometric()[0]
    assert {"face_uv_grids", "edge_u_grids", "arc_edge", "face_labels", "edge_index"} <= set(every.keys())


ENDS_AND_EDGE = ("edges_source", "edges_destination", "arc_edge")


def test_an_exported_file_gives_the_same_object(loader: DatasetLoader, tmp_path: Path) -> None:
    pytest.importorskip("torch_geometric")
    columns = ["faces", "edges", "graph", "file/category", "file/bounding_box"]
    graphs = loader.get_dataset("train", columns=columns).to_geometric(**FORM)
    every = loader.get_dataset("train", columns=columns).to_geometric()
    assert loader.location is not None
    export_dataset(loader.location, tmp_path / "out", "pyg", columns=columns)
    sizes = {**FORM, "one_hot": graphs.form.one_hot}
    for file_id, graph, whole in zip(graphs.dataset.file_codes, graphs, every, strict=True):
        content = torch.load(tmp_path / "out" / f"{file_id:02d}.pt", weights_only=True)
        for expected, found in (
            (graph, adapter.to_geometric(content, **sizes)),
            (whole, adapter.to_geometric(content)),
        ):
            assert set(found.keys()) == set(expected.keys())
            for key in expected.keys():  # noqa: SIM118 - iterating a Data yields pairs
                same = torch.equal if isinstance(expected[key], torch.Tensor) and not key.endswith("angles") else None
                assert same is None or (same(found[key], expected[key]) and found[key].dtype == expected[key].dtype), (
                    key
                )
            assert found.num_nodes == expected.num_nodes


def test_parts_that_lack_an_array_say_so_and_batch_with_the_others(tmp_path: Path) -> None:
    loading = pytest.importorskip("torch_geometric.loader")
    made = random_parts(12, seed=2)
    lacks = np.arange(12) % 3 == 0
    made.rows["faces"]["face_labels"][lacks[made.file_of_row("faces")]] = 0  # a fill value that looks like a class
    made.values |= {"has_faces_face_labels": ~lacks, "has_edges_edge_lengths": ~lacks}
    loader = DatasetLoader(write_parts(made, tmp_path).dataset)
    loader.split(train=1.0, validation=0.0, test=0.0)
    batch = next(iter(loading.DataLoader(loader.get_dataset("train").to_geometric(**FORM), batch_size=12)))
    lacking = torch.from_numpy(lacks)[batch.batch]
    assert batch.y[lacking].eq(-1).all()
    assert batch.y[~lacking].ge(0).all()
    assert torch.equal(batch.y_mask, ~lacking)
    assert torch.equal(batch.edge_attr_mask, ~lacking[batch.edge_index[0]])
    assert batch.edge_attr[~batch.edge_attr_mask].eq(0)[:, 0].all()
    assert loader.classes("faces/face_labels").n_unlabelled == int(lacking.sum())
    plain = next(iter(loader.get_dataset("train", labels="faces/face_labels").to_torch().get_dataloader(12)))
    assert torch.equal(plain["faces/face_labels"], batch.y)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_every_pass_over_graphs_turns_them_anew(loader: DatasetLoader) -> None:
    pytest.importorskip("torch_geometric")
    train = loader.get_dataset("train", columns=["faces/face_centroids"], transform=RandomRotation(seed=4))
    form = {"x": "faces/face_centroids"}

    def points(batches: Any) -> list[list[float]]:
        return torch.cat([batch.x for batch in batches]).tolist()

    graphs = train.to_geometric(**form)
    passes = [points(graphs) for _ in range(3)]
    assert passes[0] != passes[1] != passes[2]
    for options in ({}, {"num_workers": 1}, {"num_workers": 1, "persistent_workers": True}):
        batches = train.to_geometric(**form).get_dataloader(16, **options)
        batches.dataset.set_epoch(1)
        assert [points(batches) for _ in range(2)] == passes[1:]
    graphs.set_epoch(2)
    assert points([graphs[i] for i in range(len(graphs))]) == passes[2]


def test_graphs_travel_and_refuse_what_is_not_there(loader: DatasetLoader) -> None:
    pytest.importorskip("torch_geometric")
    train = loader.get_dataset("train")
    graphs = train.to_geometric(**FORM)
    again = pickle.loads(pickle.dumps(graphs))
    assert torch.equal(again[2].x, graphs[2].x)
    for form, message in (
        ({"x": "faces/face_area"}, "face_areas"),
        ({"x": "edges/edge_lengths"}, "has no row per face"),
        ({"x": "faces/face_areas", "edge_attr": "faces/face_areas"}, "no row per arc"),
    ):
        with pytest.raises(DatasetError, match=message):
            train.to_geometric(**form)
    made = loader.get_dataset("train", transform=lambda item: {**item, "faces/new": item["faces/face_areas"] * 2})
    graph = made.to_geometric(x="faces/new")[3]
    np.testing.assert_allclose(graph.x[:, 0].numpy(), train[3]["faces/face_areas"] * 2)
    items = DatasetLoader(graph_files=["a.pt"], item_loader_func=lambda graph, label, number: graph)
    items.split(train=1.0, validation=0.0, test=0.0)
    with pytest.raises(DatasetError, match="an item_loader_func loads these items"):
        items.get_dataset("train").to_geometric()


def test_batches_of_graphs_have_limited_rows(loader: DatasetLoader) -> None:
    pytest.importorskip("torch_geometric")
    graphs = loader.get_dataset("train").to_geometric(**FORM)
    batches = graphs.get_dataloader(None, shuffle=True, seed=1, max_rows={"faces": 60, "edges": 80})
    found = [batch.id.tolist() for batch in batches]
    assert sorted(i for ids in found for i in ids) == graphs.dataset.file_codes.tolist()
    assert len(found) > 1
    assert all(batch.num_nodes <= 60 for batch in batches)
    assert len(graphs.get_dataloader(8, exclude_keys=["id"])) == -(-len(graphs) // 8)


def test_arrays_may_be_named_without_their_group(loader: DatasetLoader) -> None:
    train = loader.get_dataset("train")
    whole = train.to_geometric(x="faces/face_areas", y="file/category", edge_attr=["edges/edge_lengths"])
    short = train.to_geometric(x="face_areas", y="category", edge_attr=["edge_lengths"])
    for key in ("x", "y", "edge_attr"):
        assert np.array_equal(short[0][key], whole[0][key], equal_nan=True)
    with pytest.raises(UnknownKeyError, match="no array 'face_area' among those of the faces"):
        train.to_geometric(x="face_area")
