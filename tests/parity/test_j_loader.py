"""J: subsets for training."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from dflow.dataset import DatasetLoader
from dflow.dataset.training.split import Fractions, stratified_split
from dflow.errors import SplitError

SUBSETS = ("train", "validation", "test")


def split(loader, key="family", **arguments):
    return loader.split(key=key, train=0.5, validation=0.25, test=0.25, random_state=42, **arguments)


def codes_of(loader):
    return [loader.get_dataset(subset).get_file_codes().tolist() for subset in SUBSETS]


def test_j01_a_loader_opens_dataset_and_table(loader):
    assert len(loader) == 12


def test_j02_split_returns_three_sizes(loader):
    sizes = split(loader, group="labels")
    assert sum(sizes) == 12
    assert sizes[0] == max(sizes)


def test_j03_files_are_split_never_rows(loader):
    split(loader, key="face_types", group="faces")
    assert sorted(code for codes in codes_of(loader) for code in codes) == list(range(12))


def test_j04_one_label_a_file_is_stratified_and_rare_labels_are_no_error(loader):
    sizes = loader.split(key="family", train=0.5, validation=0.0, test=0.5)
    assert sizes == (6, 0, 6)
    families = loader.files["family"].to_numpy()
    assert sorted(families[loader.get_dataset("train").get_file_codes()]) == sorted(set(families))
    membership = np.eye(10, dtype=bool)  # every label once
    assert len(stratified_split(membership, Fractions(0.6, 0.2, 0.2), seed=1)) == 10


def test_j05_several_labels_a_file_are_stratified():
    rng = np.random.default_rng(0)
    membership = rng.random((400, 6)) < [0.5, 0.3, 0.2, 0.1, 0.05, 0.03]
    subset = stratified_split(membership, Fractions(0.7, 0.15, 0.15), seed=3)
    shares = membership[subset == 0].sum(axis=0) / membership.sum(axis=0)
    assert shares == pytest.approx(0.7, abs=0.08)


def test_j06_the_group_is_found_and_random_is_a_key(loader):
    assert loader.find_group_for_array("face_areas") == "faces"
    assert sum(split(loader, key="face_types")) == 12
    assert sum(split(loader, key="random", force_reset=True)) == 12


def test_j07_another_split_needs_a_reset(loader):
    split(loader)
    with pytest.raises(SplitError, match="force_reset"):
        split(loader, key="random")
    split(loader, key="random", force_reset=True)
    loader.reset_split_state()
    assert sum(split(loader)) == 12


def test_j08_subsets_are_got_by_name(loader):
    sizes = split(loader)
    assert tuple(len(loader.get_dataset(subset)) for subset in SUBSETS) == sizes
    with pytest.raises(SplitError, match="eval"):
        loader.get_dataset("eval")


def test_j09_items_and_codes_are_got_and_indices_removed(loader):
    split(loader)
    train = loader.get_dataset("train")
    item = train.get_item(0)
    assert item["id"] == train.get_file_codes()[0]
    assert item["faces/face_areas"].dtype == np.float32
    assert train.get_raw_data(0)["id"] == item["id"]
    mapping = train.remove_indices([0])
    assert mapping[1] == 0
    assert item["id"] not in train.get_file_codes()


def test_j10_items_come_from_a_function_of_ones_own(finished):
    def load(graph_file, label_file, data_id):
        return graph_file.rpartition("/")[2], data_id

    with DatasetLoader(finished.summary["flow_data"], item_loader_func=load) as loader:
        split(loader)
        train = loader.get_dataset("train")
        name, code = train.get_item(0)
        assert code == train.get_file_codes()[0]
        assert name == f"{loader.names[code]}.pt"


def test_j11_items_are_read_from_the_dataset(loader, explorer):
    split(loader)
    item = loader.get_dataset("train").get_item(1)
    rows = explorer.file_dataset(int(item["id"]), "faces")
    assert item["faces/face_areas"].tolist() == rows["face_areas"].values.tolist()


def test_j12_a_subset_becomes_a_torch_loader(loader):
    torch = pytest.importorskip("torch")
    sizes = split(loader)
    batches = list(loader.get_dataset("train").to_torch().get_dataloader(batch_size=4, shuffle=False, num_workers=0))
    assert len(batches) == -(-sizes[0] // 4)
    assert isinstance(batches[0]["faces/face_areas"], torch.Tensor)


def test_j13_resources_are_closed(loader):
    split(loader)
    loader.close_resources(clear_split_history=True)
    assert loader.split_history == []


def test_j14_a_loader_checks_itself(loader):
    split(loader)
    assert loader.validate_configuration() == {"valid": True, "n_files": 12, "problems": []}
    assert loader.diagnose_file_codes_mismatch() == {"valid": True, "problems": []}
    with DatasetLoader(loader.location.dataset, graph_files=["a.pt"], item_loader_func=lambda *_: None) as other:
        assert not other.validate_configuration()["valid"]
    keys = loader.get_available_stratification_keys()
    assert "face_types" in keys["faces"]


def test_j15_the_split_is_recorded_in_the_infoset(finished, loader):
    split(loader)
    table = pd.read_parquet(finished.summary["flow_info"])
    assert sorted(table.loc[table["subset"] == "train", "id"]) == codes_of(loader)[0]
    assert set(table["subset"]) == set(SUBSETS)
    again = DatasetLoader(finished.summary["flow_data"])
    assert codes_of(again) == codes_of(loader)
