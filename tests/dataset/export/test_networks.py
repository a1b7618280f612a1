"""Exports for UV-Net, BRepNet and AAGNet, read back as their loaders read them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dflow.cadencoder import NETWORKS, BrepEncoder, network_arrays
from dflow.dataset.export.export import export_network
from dflow.dataset.export.networks import Moments, NetworkInput, file_names
from dflow.dataset.format.location import DatasetLocation, locate
from dflow.errors import DatasetError, UnknownKeyError
from dflow.storage import MemoryStorage
from dflow.storage.paths import FlowPaths
from tests.cadaccess import solids
from tests.dataset.export.test_dgl import read_graph
from tests.dataset.samples import merge, write_sample

SOLIDS = {"a/box.step": solids.box, "b/box.step": solids.sphere, "b/hole.step": solids.drilled}
NAMES = ["box", "box", "hole"]
FILES = ["box_0", "box_1", "hole"]
SUBSETS = {"train": [0, 2], "validation": [], "test": [1]}


@pytest.fixture(scope="module")
def breps(tmp_path_factory: pytest.TempPathFactory) -> list:
    return [solids.open_brep(make(), tmp_path_factory.mktemp("solid")) for make in SOLIDS.values()]


def _dataset(breps: list, network: str, folder: Path) -> DatasetLocation:
    paths = FlowPaths.of(folder, "parts")
    records = []
    for source, brep in zip(SOLIDS, breps, strict=True):
        storage = MemoryStorage()
        arrays = BrepEncoder(brep, storage).encode(network=network)
        arrays["faces/label"] = np.arange(brep.n_faces, dtype=np.int32) % 3
        records.append(write_sample(paths, source, arrays))
    merge(paths, records)
    return locate(dataset=paths.dataset)


def _export(breps: list, network: str, folder: Path, **changes: object) -> Path:
    place = _dataset(breps, network, folder)
    known = NETWORKS[network]
    wanted = NetworkInput(network, known.recipe.keys, known.pack, "faces/label", NAMES, SUBSETS)
    out = folder / "out"
    report = export_network(place, out, wanted, **changes)
    assert (report.path, report.n_samples) == (out, 3)
    return out


def _labels(n_faces: int) -> list[int]:
    return [i % 3 for i in range(n_faces)]


def _equal(found: dict, brep: object, network: str) -> None:
    for name, array in network_arrays(brep, network).items():
        if name in found:
            read = np.asarray(found[name], array.dtype)
            np.testing.assert_array_equal(read if read.size else read.reshape(array.shape), array, err_msg=name)


def test_uvnet_reads_graphs_labels_and_the_split(breps: list, tmp_path: Path) -> None:
    out = _export(breps, "uvnet", tmp_path)
    split = json.loads((out / "split.json").read_text())
    assert split == {"train": ["box_0", "hole"], "validation": [], "test": ["box_1"]}
    for name, brep in zip(FILES, breps, strict=True):
        graph = read_graph((out / f"graph/{name}.bin").read_bytes())
        arrays = {"src": graph["src"], "dst": graph["dst"], "x": graph["ndata"]["x"], "e": graph["edata"]["x"]}
        _equal(arrays, brep, "uvnet")
        assert graph["n_nodes"] == brep.n_faces
        faces = json.loads((out / f"labels/{name}_ids.json").read_text())["body"]["faces"]
        assert [face["segment"]["index"] for face in faces] == _labels(brep.n_faces)


def test_brepnet_reads_arrays_labels_and_the_standardization(breps: list, tmp_path: Path) -> None:
    out = _export(breps, "brepnet", tmp_path)
    info = json.loads((out / "dataset.json").read_text())
    assert (info["training_set"], info["validation_set"], info["test_set"]) == (["box_0", "hole"], [], ["box_1"])
    trained: dict[str, list] = {}
    for name, brep in zip(FILES, breps, strict=True):
        with np.load(out / f"{name}.npz") as found:
            assert set(found.files) == set(network_arrays(brep, "brepnet"))
            _equal({key: found[key] for key in found.files}, brep, "brepnet")
            for key in info["feature_standardization"] if name != "box_1" else ():
                trained.setdefault(key, []).append(found[key])
        labels = np.loadtxt(out / f"{name}.seg", dtype=np.int64, ndmin=1)
        assert labels.tolist() == _labels(brep.n_faces)
    for key, stats in info["feature_standardization"].items():
        rows = np.concatenate(trained[key]).astype(float)
        deviation = rows.std(axis=0, ddof=1)
        np.testing.assert_allclose([s["mean"] for s in stats], rows.mean(axis=0), atol=1e-12)
        expected = np.where(deviation > 1e-7, deviation, 1.0)
        np.testing.assert_allclose([s["standard_deviation"] for s in stats], expected)


def test_aagnet_reads_graphs_statistics_labels_and_lists(breps: list, tmp_path: Path) -> None:
    out = _export(breps, "aagnet", tmp_path)
    graphs = json.loads((out / "aag/graphs.json").read_text())
    assert [name for name, _ in graphs] == FILES
    for (name, graph), brep in zip(graphs, breps, strict=True):
        fields = {key: value for key, value in graph.items() if key != "graph"}
        _equal({**fields, **graph["graph"]}, brep, "aagnet")
        assert json.loads((out / f"labels/{name}.json").read_text()) == _labels(brep.n_faces)
    lists = [(out / name).read_text().split() for name in ("train.txt", "val.txt", "test.txt")]
    assert lists == [["box_0", "hole"], [], ["box_1"]]
    stats = json.loads((out / "aag/attr_stat.json").read_text())
    for name in ("face_attr", "edge_attr"):
        rows = np.concatenate([network_arrays(brep, "aagnet")[f"graph_{name}"] for brep in breps]).astype(float)
        np.testing.assert_allclose(stats[f"mean_{name}"], rows.mean(axis=0), atol=1e-12)
        np.testing.assert_allclose(stats[f"std_{name}"], rows.std(axis=0), atol=1e-9)


def test_a_dataset_encoded_otherwise_is_refused_and_nothing_is_left(breps: list, tmp_path: Path) -> None:
    place = _dataset(breps, "uvnet", tmp_path)
    known = NETWORKS["aagnet"]
    wanted = NetworkInput("aagnet", known.recipe.keys, known.pack, None, NAMES)
    with pytest.raises(UnknownKeyError, match="face_types"):
        export_network(place, tmp_path / "out", wanted)
    assert not (tmp_path / "out").exists()


def test_without_labels_and_split_all_samples_are_the_test_set(breps: list, tmp_path: Path) -> None:
    place = _dataset(breps, "uvnet", tmp_path)
    known = NETWORKS["uvnet"]
    export_network(place, tmp_path / "out", NetworkInput("uvnet", known.recipe.keys, known.pack, None, NAMES), ids=[2])
    assert json.loads((tmp_path / "out/split.json").read_text()) == {"train": [], "validation": [], "test": ["hole"]}
    assert not (tmp_path / "out/labels").exists()


def test_names_of_files_are_safe_and_distinct() -> None:
    assert file_names({0: "../evil\x1b[2J", 1: "Part", 2: "part", 3: "ünder score", 4: "..."}) == {
        0: "_evil__2J",
        1: "Part_1",
        2: "part_2",
        3: "_nder_score",
        4: "part_4",
    }
    with pytest.raises(DatasetError, match="cannot be told apart"):
        file_names({1: "a", 2: "a", 3: "a_1"})


def test_moments_of_blocks_are_those_of_all_rows() -> None:
    rows = np.random.default_rng(1).normal(1e3, 1.0, (50, 3))
    moments = Moments()
    for block in (rows[:1], rows[1:1], rows[1:20], rows[20:]):
        moments.add(block)
    np.testing.assert_allclose(moments.mean, rows.mean(axis=0))
    np.testing.assert_allclose(moments.deviation(1), rows.std(axis=0, ddof=1))
