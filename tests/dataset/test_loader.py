"""DatasetLoader: splits of real merged datasets, where they are kept, the subsets as sequences, and what goes wrong."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dflow.checksums import MEMBER
from dflow.dataset import DatasetExplorer, DatasetLoader, validate_dataset
from dflow.errors import (
    DamagedDatasetError,
    DatasetError,
    DatasetNotFoundError,
    SplitError,
    UnknownKeyError,
)
from dflow.storage.paths import FlowPaths
from tests.dataset.samples import merge, write_sample
from tests.dataset.synthetic import Parts, random_parts, write_parts

SUBSETS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def parts() -> Parts:
    return random_parts(100, seed=4)


@pytest.fixture(scope="module")
def template(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> FlowPaths:
    return write_parts(parts, tmp_path_factory.mktemp("loader"))


@pytest.fixture
def paths(template: FlowPaths, tmp_path: Path) -> FlowPaths:
    """A copy that the test may change."""
    found = FlowPaths.of(tmp_path, template.name)
    shutil.copytree(template.root, found.root)
    return found


@pytest.fixture
def loader(paths: FlowPaths) -> DatasetLoader:
    return DatasetLoader(merged_store_path=str(paths.dataset), parquet_file_path=str(paths.infoset))


def codes(loader: DatasetLoader) -> dict[str, list[int]]:
    return {s: loader.get_dataset(s).get_file_codes().tolist() for s in SUBSETS}  # type: ignore[arg-type]


def test_the_quick_references_calls(loader: DatasetLoader, parts: Parts) -> None:
    sizes = loader.split(key="category", group="labels", train=0.7, validation=0.15, test=0.15, random_state=42)
    assert sizes == (70, 15, 15)
    train = loader.get_dataset("train")
    assert len(train) == 70
    item = train[0]
    np.testing.assert_array_equal(item["faces/face_areas"], parts.of_file("faces", "face_areas", item["id"]))
    assert sorted(i for found in codes(loader).values() for i in found) == list(range(100))
    for name in SUBSETS:
        shares = np.bincount(parts.values["category"][codes(loader)[name]] + 1, minlength=5)[1:] / len(
            codes(loader)[name]
        )
        whole = np.bincount(parts.values["category"] + 1, minlength=5)[1:] / 100
        assert np.abs(shares - whole).max() < 0.06
    loader.close_resources()
    with pytest.raises(DamagedDatasetError, match="closed"):
        train[1]


def test_row_labels_are_stratified(loader: DatasetLoader, parts: Parts) -> None:
    loader.split(key="face_labels", group="faces")
    has = np.array([[(parts.of_file("faces", "face_labels", i) == k).any() for k in range(6)] for i in range(100)])
    for name, share in zip(SUBSETS, (0.7, 0.15, 0.15), strict=True):
        found = has[codes(loader)[name]].sum(axis=0)
        assert np.all(np.abs(found - share * has.sum(axis=0)) <= 3), (name, found)


@pytest.mark.parametrize("key", ["volume", "face_areas", "edge_dihedral_angles", "category", "face_count", "random"])
def test_any_column_can_be_split_by(loader: DatasetLoader, key: str) -> None:
    assert loader.split(key) == (70, 15, 15)


def test_files_with_nan_are_a_class_of_their_own(tmp_path: Path) -> None:
    parts = random_parts(100)
    parts.values["volume"][:20] = np.nan
    loader = DatasetLoader(write_parts(parts, tmp_path).dataset)
    loader.split("volume")
    found = [sum(i < 20 for i in codes(loader)[name]) for name in SUBSETS]
    assert found == [14, 3, 3]


def test_a_column_of_nothing_but_nan_and_one_of_one_value(tmp_path: Path) -> None:
    parts = random_parts(20)
    parts.values |= {"volume": np.full(20, np.nan), "flat": np.full(20, 2.5)}
    loader = DatasetLoader(write_parts(parts, tmp_path).dataset)
    with pytest.raises(SplitError, match=r"no value to stratify by.*key='random'"):
        loader.split("volume")
    assert loader.split("flat") == (14, 3, 3)


def test_chosen_categories_only(loader: DatasetLoader, parts: Parts) -> None:
    loader.split("face_labels", "faces", categories=[5])
    rare = [i for i in range(100) if (parts.of_file("faces", "face_labels", i) == 5).any()]
    found = [len(set(rare) & set(codes(loader)[name])) for name in SUBSETS]
    assert np.all(np.abs(np.array(found) - len(rare) * np.array([0.7, 0.15, 0.15])) <= 1)


def test_another_split_needs_to_be_asked_for(loader: DatasetLoader) -> None:
    first = loader.split("category")
    assert loader.split("category") == first
    with pytest.raises(SplitError, match="split by 'category' already; pass force_reset=True"):
        loader.split("face_types")
    before = codes(loader)
    assert loader.split("category", random_state=1, force_reset=True) == first
    assert codes(loader) != before
    loader.reset_split_state()
    assert loader.split("face_types", train=0.6, validation=0.2, test=0.2) == (60, 20, 20)
    assert len(loader.split_history) == 1


def test_the_split_is_kept_beside_the_dataset_and_in_the_table(loader: DatasetLoader, paths: FlowPaths) -> None:
    loader.split("category")
    table = pd.read_parquet(paths.infoset)
    for name in SUBSETS:
        assert table.index[table["subset"] == name].tolist() == codes(loader)[name]
    stored = json.loads((paths.root / "flow.split").read_text())
    assert stored["request"]["key"] == "category"
    assert sorted(stored["subsets"]["test"]) == sorted(table["name"][codes(loader)["test"]])
    another = DatasetLoader(paths.dataset)
    assert codes(another) == codes(loader)
    assert not [p for p in paths.root.iterdir() if p.name.startswith(".tmp")]


def test_rewriting_the_table_changes_nothing_else(tmp_path: Path) -> None:
    paths = FlowPaths.of(tmp_path, "parts")
    samples = [
        write_sample(paths, f"{i}.step", {"faces/face_areas": np.ones(i, "f4")}, {"kind": "ab"[i % 2], "volume": i / 2})
        for i in range(10)
    ]
    merge(paths, samples)
    before = pd.read_parquet(paths.infoset)
    DatasetLoader(paths.dataset).split("kind")
    after = pd.read_parquet(paths.infoset)
    assert set(after["subset"]) == set(SUBSETS)
    pd.testing.assert_frame_equal(before.drop(columns="subset"), after.drop(columns="subset"))
    assert validate_dataset(paths.dataset, infoset=paths.infoset) == []
    assert DatasetExplorer(merged_store_path=paths.dataset).filter_files_by_metadata(subset="train").size == 7


def test_a_split_outlives_a_merge_that_adds_samples(tmp_path: Path) -> None:
    paths = FlowPaths.of(tmp_path, "parts")
    samples = [write_sample(paths, f"{i:02d}.step", {"faces/a": np.ones(i, "f4")}) for i in range(1, 21)]
    merge(paths, samples[:10] + samples[12:])
    first = DatasetLoader(paths.dataset)
    first.split()
    kept = {name: {first.names[i] for i in codes(first)[name]} for name in SUBSETS}
    merge(paths, samples)
    second = DatasetLoader(paths.dataset)
    assert sum(second.load_split()) == 18
    assert {name: {second.names[i] for i in codes(second)[name]} for name in SUBSETS} == kept


def test_a_dataset_that_grew_keeps_its_members(tmp_path: Path) -> None:
    """Twice: by files before, between and behind the others, with one that failed in between and came back."""
    paths = FlowPaths.of(tmp_path, "parts")
    samples = [
        write_sample(paths, f"{i:02d}.step", {"faces/a": np.ones(2, "f4")}, {"kind": "ab"[i % 2]}) for i in range(60)
    ]
    merge(paths, samples[10:40])
    first = DatasetLoader(paths.dataset)
    assert first.split("kind", keep=True) == (21, 5, 4)  # no split to keep
    kept = members(first)
    merge(paths, samples[:35] + samples[45:])
    assert_agreement(paths, DatasetLoader(paths.dataset))
    grown = DatasetLoader(paths.dataset)
    assert grown.split("kind", keep=True, group_by=[None] * 50) == (35, 8, 7)
    for name in SUBSETS:
        assert kept[name] & set(grown.names) <= members(grown)[name]
    assert_agreement(paths, grown)
    merge(paths, samples)
    whole = DatasetLoader(paths.dataset)
    assert whole.split("kind", keep=True) == (42, 9, 9)
    for name in SUBSETS:
        assert kept[name] | members(grown)[name] <= members(whole)[name]
        shares = [
            sum(DatasetLoader(paths.dataset).files["kind_label"][i] == k for i in codes(whole)[name]) for k in "ab"
        ]
        assert abs(shares[0] - shares[1]) <= 3
    assert whole.split("kind", keep=True) == (42, 9, 9)
    with pytest.raises(SplitError, match="keep=True to leave its members"):
        whole.split("random")


def test_a_copy_of_a_member_follows_it(loader: DatasetLoader, parts: Parts, tmp_path: Path) -> None:
    loader.split(train=0.5, validation=0.25, test=0.25)
    before = {name: set(found) for name, found in codes(loader).items()}
    table = pd.read_parquet(loader.location.infoset)  # type: ignore[union-attr]
    table.loc[::2, "name"] = [f"new{i}" for i in range(50)]
    table.loc[::2, "content_hash"] = [f"other{i}" for i in range(50)]
    table.to_parquet(loader.location.infoset)  # type: ignore[union-attr]
    grown = DatasetLoader(loader.location.dataset)  # type: ignore[union-attr]
    grown.split(train=0.5, validation=0.25, test=0.25, keep=True, group_by=[i // 2 for i in range(100)])
    after = codes(grown)
    for name in SUBSETS:
        odd = {i for i in before[name] if i % 2}
        assert sorted(after[name]) == sorted(odd | {i - 1 for i in odd})


def members(loader: DatasetLoader) -> dict[str, set[str]]:
    return {name: {loader.names[i] for i in found} for name, found in codes(loader).items()}


def assert_agreement(paths: FlowPaths, loader: DatasetLoader) -> None:
    """The `.infoset`, the stored split and the loader say the same."""
    table = pd.read_parquet(paths.infoset)
    stored = json.loads(paths.dataset.with_suffix(".split").read_text())["subsets"]
    for name, found in members(loader).items():
        assert set(table["name"][table["subset"] == name]) == found
        assert set(stored[name]) & set(loader.names) == found
    assert set(table["subset"]) <= {*SUBSETS, "N/A"}


def test_table_stored_split_and_loader_agree(loader: DatasetLoader, paths: FlowPaths, tmp_path: Path) -> None:
    """After a split, another one from elsewhere, and one that is found beside a table that has none."""
    loader.split("category")
    assert_agreement(paths, loader)
    loader.save_split(tmp_path / "mine.split")
    loader.split(force_reset=True)
    loader.load_split(tmp_path / "mine.split")
    assert_agreement(paths, loader)
    assert_agreement(paths, DatasetLoader(paths.dataset))
    table = pd.read_parquet(paths.infoset)
    table["subset"] = "N/A"
    table.to_parquet(paths.infoset)
    another = DatasetLoader(paths.dataset)
    assert any("differs from" in problem for problem in another.validate_configuration()["problems"])
    another.load_split()
    assert DatasetLoader(paths.dataset).validate_configuration()["problems"] == []
    assert_agreement(paths, another)


def test_published_lists(
    loader: DatasetLoader, paths: FlowPaths, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "train.txt").write_text("".join(f"part_{i:06d}\n" for i in range(60)))
    (tmp_path / "val.txt").write_text("part_000060.stp\r\nsteps\\part_000061.STEP\r\nno_part\r\n")
    report = loader.split_from(tmp_path, test=None)
    assert report.sizes == (60, 2, 0)
    assert report.not_found == ("no_part",)
    assert report.unlisted[0].endswith("part_000062.step")
    assert len(report.unlisted) == 38
    assert "1 entries are no sample: no_part; 38 files are in no list and belong to no subset" in caplog.text
    assert codes(loader) == {"train": list(range(60)), "validation": [60, 61], "test": []}
    assert_agreement(paths, loader)
    assert loader.split(train=0.6, validation=0.2, test=0.2, keep=True) == (60, 20, 20)
    assert codes(loader)["train"] == list(range(60))
    assert codes(loader)["validation"][:2] == [60, 61]
    again = loader.split_from(train=tmp_path / "train.txt", test=["part_000099"])
    assert again.sizes == (60, 0, 1)
    assert loader.split_from("subset").sizes == (60, 0, 1)
    words = ["train"] * 90 + ["val"] * 4 + [None] * 2 + ["N/A"] + [float("nan")] + ["Test"] * 2
    assert loader.split_from(words).sizes == (90, 4, 2)
    with pytest.raises(SplitError, match=r"has '(bolt|nut|plate|shaft)', expected train, validation \(val\) or test"):
        loader.split_from("category")
    with pytest.raises(SplitError, match="neither a file or folder nor a column"):
        loader.split_from("absent")
    with pytest.raises(SplitError, match="found 2 values, expected one subset per sample"):
        loader.split_from(["part_000001", "part_000002"])
    with pytest.raises(SplitError, match="none of the 2 names in the dictionary"):
        loader.split_from({"train": ["x", "y"]})
    with pytest.raises(SplitError, match="one of both"):
        loader.split_from({"train": ["x"]}, test=["y"])
    assert loader.split_from({"train": [loader.names[3]], "test": [loader.files["content_hash"][4]]}).sizes == (1, 0, 1)


def test_a_split_can_be_shared(loader: DatasetLoader, paths: FlowPaths, tmp_path: Path) -> None:
    loader.split("category")
    loader.save_split(tmp_path / "mine.split")
    expected = codes(loader)
    loader.split(force_reset=True)
    assert codes(loader) != expected
    loader.load_split(tmp_path / "mine.split")
    assert codes(loader) == expected


def moved_parts(parts: Parts, outdir: Path, kept: int) -> DatasetLoader:
    """The same parts under other names, as in another output folder; those from `kept` on have other content."""
    paths = write_parts(parts, outdir, "moved")
    table = pd.read_parquet(paths.infoset)
    table["name"] = [f"other_{name}" for name in table["name"]]
    table.loc[kept:, "content_hash"] = [f"new{i}" for i in range(kept, len(table))]
    table.to_parquet(paths.infoset)
    return DatasetLoader(paths.dataset)


def test_a_split_holds_for_the_same_files_in_another_folder(
    loader: DatasetLoader, parts: Parts, tmp_path: Path
) -> None:
    loader.split("category")
    loader.save_split(tmp_path / "mine.split")
    moved = moved_parts(parts, tmp_path, kept=100)
    assert moved.load_split(tmp_path / "mine.split") == (70, 15, 15)
    assert codes(moved) == codes(loader)


def test_a_split_of_some_of_the_files_says_which_it_does_not_know(
    loader: DatasetLoader, parts: Parts, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loader.split()
    loader.save_split(tmp_path / "mine.split")
    moved = moved_parts(parts, tmp_path, kept=97)
    assert sum(moved.load_split(tmp_path / "mine.split")) == 97
    unknown = "part_000097.step, part_000098.step, part_000099.step"
    assert f"3 of 100 samples are not in {tmp_path / 'mine.split'} and belong to no subset: {unknown}" in caplog.text
    missing = ", ".join(sorted(loader.names[97:]))
    assert f"3 of the 100 samples in {tmp_path / 'mine.split'} are not in the dataset: {missing}" in caplog.text


def test_a_split_of_other_files_is_an_error(loader: DatasetLoader, parts: Parts, tmp_path: Path) -> None:
    loader.split()
    loader.save_split(tmp_path / "mine.split")
    moved = moved_parts(parts, tmp_path, kept=0)
    expected = (
        r"split of other files: none of the 100 samples .*part_000000.step.* among its 100 by content or name; pass"
    )
    with pytest.raises(SplitError, match=expected):
        moved.load_split(tmp_path / "mine.split")
    shutil.copy(tmp_path / "mine.split", moved.location.split_file)  # type: ignore[union-attr]
    with pytest.raises(SplitError, match=expected):
        moved.get_dataset("train")
    assert any("split of other files" in problem for problem in moved.validate_configuration()["problems"])
    document = json.loads((tmp_path / "mine.split").read_text())
    del document["contents"], document[MEMBER]  # as older versions wrote it
    (tmp_path / "old.split").write_text(json.dumps(document))
    assert sum(loader.load_split(tmp_path / "old.split")) == 100
    with pytest.raises(SplitError, match=r"by name \(contents are not recorded\)"):
        moved.load_split(tmp_path / "old.split")


def test_a_folder_that_cannot_be_written_still_splits(
    loader: DatasetLoader, paths: FlowPaths, caplog: pytest.LogCaptureFixture
) -> None:
    (paths.root / "flow.split").mkdir()  # permissions do not bind the superuser
    assert loader.split("category") == (70, 15, 15)
    assert "the split is not stored" in caplog.text
    assert len(loader.get_dataset("train")) == 70


def test_duplicates_stay_on_one_side(tmp_path: Path) -> None:
    parts = random_parts(90)
    parts.content_hash = [f"{i // 3}" for i in range(90)]
    for values in parts.values.values():
        values[1::3], values[2::3] = values[::3], values[::3]
    for group, counts in parts.counts.items():
        counts[1::3] = counts[2::3] = counts[::3]
        n = int(counts.sum())
        for name, rows in parts.rows[group].items():
            parts.rows[group][name] = np.resize(rows, (n, *rows.shape[1:]))
    for i in range(0, 90, 3):  # copies have the same faces too
        for name in parts.rows["faces"]:
            for copy in (i + 1, i + 2):
                parts.of_file("faces", name, copy)[...] = parts.of_file("faces", name, i)
        for name in parts.rows["edges"]:
            for copy in (i + 1, i + 2):
                parts.of_file("edges", name, copy)[...] = parts.of_file("edges", name, i)
    paths = write_parts(parts, tmp_path)
    for group_by in ("content_hash", "geometry", [i // 3 for i in range(90)]):
        loader = DatasetLoader(paths.dataset)
        sizes = loader.split("category", group_by=group_by)
        assert sum(sizes) == 90
        assert np.all(np.abs(np.array(sizes) - [63, 13.5, 13.5]) <= 3)
        for found in codes(loader).values():
            assert np.all(np.bincount(np.array(found) // 3, minlength=30) % 3 == 0)
    with pytest.raises(SplitError, match=r"no such column in the \.infoset"):
        DatasetLoader(paths.dataset).split(group_by="colour")
    with pytest.raises(SplitError, match="2 values for 90 files"):
        DatasetLoader(paths.dataset).split(group_by=[1, 2])


def test_bad_requests(loader: DatasetLoader) -> None:
    with pytest.raises(SplitError, match="not to 1"):
        loader.split("category", train=0.9)
    with pytest.raises(SplitError, match="must be numbers"):
        loader.split("category", train="most")  # type: ignore[arg-type]
    for seed in (-1, "x", None, 1.5):
        with pytest.raises(SplitError, match="a whole number of at least 0"):
            loader.split("category", random_state=seed)  # type: ignore[arg-type]
    with pytest.raises(SplitError, match="'blot' is not a word of 'category'; is 'bolt' meant"):
        loader.split("category", categories=["blot", "nut"])
    with pytest.raises(UnknownKeyError, match="no array or file value 'colour'"):
        loader.split("colour")
    with pytest.raises(SplitError, match="no subset 'dev'"):
        loader.get_dataset("dev")  # type: ignore[arg-type]
    with pytest.raises(SplitError, match=r"call split\(\) first"):
        loader.get_dataset("train")
    with pytest.raises(DatasetError, match="pass merged_store_path"):
        DatasetLoader()
    with pytest.raises(DatasetNotFoundError):
        DatasetLoader("/nowhere/x.dataset")


def test_an_empty_subset_has_no_samples(loader: DatasetLoader) -> None:
    assert loader.split(train=0.8, validation=0.2, test=0.0) == (80, 20, 0)
    test = loader.get_dataset("test")
    assert len(test) == 0
    assert list(test) == []
    with pytest.raises(IndexError):
        test[0]
    with pytest.raises(TypeError):
        loader.get_dataset("train")[1.5]  # type: ignore[index]


def test_a_dataset_that_moved_or_was_damaged(loader: DatasetLoader, paths: FlowPaths) -> None:
    loader.split()
    train = loader.get_dataset("train", columns=["faces/face_uv_grids"])
    for shard in (paths.dataset / "faces" / "face_uv_grids").glob("c.*"):
        shard.unlink()
    with pytest.raises(DamagedDatasetError, match="manifest lists it"):
        _ = [train[i] for i in range(len(train))]
    shutil.rmtree(paths.dataset)
    with pytest.raises(DamagedDatasetError, match="replaced or removed"):
        _ = [train[i] for i in range(len(train))]


def test_sequences(loader: DatasetLoader) -> None:
    loader.split()
    train = loader.get_dataset("train", columns=["faces/face_areas", "file/category"])
    assert train[-1]["id"] == train[len(train) - 1]["id"] == train.file_codes[-1]
    assert [item["id"] for item in train] == train.get_file_codes().tolist()
    assert list(train[0]) == ["id", "faces/face_areas", "file/category"]
    copy = pickle.loads(pickle.dumps(train))
    np.testing.assert_array_equal(copy[5]["faces/face_areas"], train[5]["faces/face_areas"])
    before = train.get_file_codes().tolist()
    moved = train.remove_indices([0, -1])
    assert train.get_file_codes().tolist() == before[1:-1]
    assert moved[1] == 0
    assert len(moved) == len(train)
    assert train.data_files == train.label_datas == []


def test_transforms_apply_to_items_but_not_to_raw_data(loader: DatasetLoader) -> None:
    loader.split()
    statistics = loader.statistics(["faces/face_areas"])
    mean, _ = statistics["faces/face_areas"]

    def centred(item: dict[str, Any]) -> dict[str, Any]:
        return {**item, "faces/face_areas": item["faces/face_areas"] - mean}

    train = loader.get_dataset("train", transform=centred)
    rows = np.concatenate([item["faces/face_areas"] for item in train])
    assert rows.mean() == pytest.approx(0, abs=1e-3)
    raw = train.get_raw_data(0)["faces/face_areas"]
    np.testing.assert_allclose(raw - mean, train.get_item(0)["faces/face_areas"], rtol=1e-6)


def test_statistics_of_a_column_without_values(tmp_path: Path) -> None:
    parts = random_parts(10)
    parts.values["volume"] = np.full(10, np.inf)
    loader = DatasetLoader(write_parts(parts, tmp_path).dataset)
    loader.split()
    with pytest.raises(DatasetError, match="file/volume has no finite value in the train subset"):
        loader.statistics(["file/volume"])


def load_pair(graph_file: str, label_file: str, data_id: int) -> tuple[str, str, int]:
    return Path(graph_file).name, label_file, data_id


def test_items_of_ones_own(paths: FlowPaths, tmp_path: Path) -> None:
    loader = DatasetLoader(paths.dataset, item_loader_func=load_pair)
    loader.split()
    assert loader.get_dataset("train")[3] == (
        f"{loader.names[codes(loader)['train'][3]]}.pt",
        "",
        codes(loader)["train"][3],
    )
    problems = loader.validate_configuration()["problems"]
    assert "100 of 100 graph files are missing" in problems[0]
    files = [f"{tmp_path}/g{i}.pt" for i in range(8)]
    alone = DatasetLoader(
        graph_files=files, labels=[f"l{i}" for i in range(8)], item_loader_func=load_pair, file_code_start=100
    )
    assert alone.split("random", train=0.5, validation=0.25, test=0.25) == (4, 2, 2)
    item = alone.get_dataset("test")[0]
    assert item == (f"g{item[2] - 100}.pt", f"l{item[2] - 100}", item[2])
    train = alone.get_dataset("train")
    assert len(train.data_files) == len(train.label_datas) == 4
    train.set_item_loader_func(lambda graph, label, data_id: data_id)
    assert list(train) == train.get_file_codes().tolist()
    with pytest.raises(DatasetError, match="graph_files only"):
        alone.split("category", force_reset=True)
    bare = DatasetLoader(graph_files=files)
    bare.split()
    with pytest.raises(DatasetError, match="need an item_loader_func"):
        bare.get_dataset("train")
    with pytest.raises(DatasetError, match="1 labels for 8 graph files"):
        DatasetLoader(graph_files=files, labels=["x"])


def test_diagnosis(loader: DatasetLoader, paths: FlowPaths) -> None:
    assert loader.available_groups() == ["edges", "faces", "graph", "file"]
    assert "face_areas" in loader.available_arrays("faces")
    assert loader.find_group_for_array("edge_lengths") == "edges"
    keys = loader.get_available_stratification_keys()
    assert keys["faces"] == ["face_labels", "face_types"]
    assert keys["file"][0] == "category"
    assert loader.validate_configuration()["problems"] == ["no split was made yet; call split()"]
    loader.split()
    assert loader.validate_configuration() == {"valid": True, "n_files": 100, "problems": []}
    pd.read_parquet(paths.infoset).iloc[:50].to_parquet(paths.infoset)
    found = DatasetLoader(paths.dataset).diagnose_file_codes_mismatch()
    assert not found["valid"]
    assert "50 rows, the dataset 100 samples" in found["problems"][0]
    assert repr(loader) == "<DatasetLoader flow.dataset: 100 samples, 70 / 15 / 15>"


def test_a_notebook_shows_the_split_and_no_markup_of_its_key(loader: DatasetLoader) -> None:
    assert "<table>" not in loader._repr_html_()
    loader.split(key="random", random_state=7)
    page = loader._repr_html_()
    assert "<td>validation</td><td>15</td><td>15.0%</td>" in page
    assert "random_state=7" in page
    assert loader.split_request is not None
    loader.split_request["key"] = "<script>alert(1)</script>"
    assert "<script>" not in loader._repr_html_()


def test_torch_is_not_imported_for_a_dataset(paths: FlowPaths) -> None:
    code = (
        "import sys\n"
        "from dflow.dataset import DatasetLoader\n"
        f"loader = DatasetLoader({str(paths.dataset)!r})\n"
        "loader.split('category')\n"
        "train = loader.get_dataset('train')\n"
        "train.collate([train[0], train[1]])\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=120)
