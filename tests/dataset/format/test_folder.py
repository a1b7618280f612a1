"""An open dataset folder: pinned to what was opened, closed to all that lies outside, and clear about damage."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from dflow.dataset.format.folder import DatasetFolder
from dflow.dataset.query.store import open_store
from dflow.errors import DamagedDatasetError, DatasetNotFoundError
from tests.dataset.samples import forget_checksums
from tests.dataset.synthetic import random_parts, shard_files, write_manifest, write_parts


@pytest.fixture
def folder(tmp_path: Path) -> DatasetFolder:
    return DatasetFolder(write_parts(random_parts(12), tmp_path).dataset)


def test_the_metadata_of_all_arrays_is_the_same_without_the_consolidated_block(folder: DatasetFolder) -> None:
    forget_checksums(folder.path)
    document = json.loads((folder.path / "zarr.json").read_bytes())
    del document["consolidated_metadata"]
    (folder.path / "zarr.json").write_text(json.dumps(document))
    with_files = DatasetFolder(folder.path)
    assert dict(with_files.arrays) == dict(folder.arrays)
    assert with_files.arrays["faces/face_areas"]["data_type"] == "float32"


def test_build_and_listed_files_are_those_of_the_manifest(folder: DatasetFolder) -> None:
    manifest = json.loads((folder.path / "manifest.json").read_bytes())
    assert (folder.build, dict(folder.listed_files)) == (manifest.get("build", ""), manifest["files"])
    (folder.path / "manifest.json").write_text("{")
    with pytest.raises(DamagedDatasetError, match=r"manifest\.json is damaged, .*; run `dflow validate --repair "):
        _ = DatasetFolder(folder.path).listed_files
    (folder.path / "manifest.json").unlink()
    with pytest.raises(DamagedDatasetError, match=r"manifest\.json is missing; run `dflow validate --repair "):
        _ = DatasetFolder(folder.path).listed_files
    (folder.path / "zarr.json").write_text('{"attributes": {"dflow": {}}}')  # of another program
    without = DatasetFolder(folder.path)
    assert (without.build, dict(without.listed_files)) == ("", {})


def test_the_token_changes_with_the_metadata_and_with_the_manifest(folder: DatasetFolder) -> None:
    tokens = [folder.token]
    forget_checksums(folder.path)
    tokens.append(DatasetFolder(folder.path).token)
    (folder.path / "manifest.json").write_text('{"files": {"faces/face_areas/c.0": [1, 2]}}')
    tokens.append(DatasetFolder(folder.path).token)
    assert len(set(tokens)) == 3
    assert all(len(token) == 8 and int(token, 16) >= 0 for token in tokens)


@pytest.mark.parametrize("name", ["../secret", "faces/../../secret", "out", "faces/out", "out/deep"])
def test_no_file_outside_of_the_folder_is_opened(folder: DatasetFolder, name: str) -> None:
    (folder.path.parent / "secret").write_text("secret")
    (folder.path.parent / "deep").write_text("secret")
    (folder.path / "out").symlink_to(folder.path.parent if name == "out/deep" else folder.path.parent / "secret")
    (folder.path / "faces" / "out").symlink_to(folder.path.parent / "secret")
    with pytest.raises(DamagedDatasetError, match="outside of the dataset; run `dflow validate --repair "):
        folder.read_bytes(name)


def test_links_are_checked_before_zarr_follows_them(folder: DatasetFolder) -> None:
    folder.check_links("faces")
    (folder.path / "faces" / "inside").symlink_to(folder.path / "manifest.json")
    folder.check_links("faces")
    assert folder.read_bytes("faces/inside") == folder.read_bytes("manifest.json")
    (folder.path / "faces" / "out").symlink_to(folder.path.parent)
    with pytest.raises(DamagedDatasetError, match="'faces/out', which is outside of the dataset"):
        folder.check_links("faces")


def test_a_shard_may_be_missing_only_where_there_is_no_manifest(folder: DatasetFolder) -> None:
    with pytest.raises(DamagedDatasetError, match=r"state rows in faces/face_areas/c\.99, which neither exists nor"):
        folder.explain_missing("faces/face_areas/c.99")
    with pytest.raises(
        DamagedDatasetError, match=r"c\.0 is missing, although .* manifest lists it; run `dflow validate --repair "
    ):
        folder.explain_missing("faces/face_areas/c.0")


def test_closing_twice_is_harmless(folder: DatasetFolder) -> None:
    folder.close()
    folder.close()
    with pytest.raises(DamagedDatasetError, match="was closed; open it again"):
        folder.read_bytes("zarr.json")


def test_a_missing_shard_that_the_manifest_lists_is_an_error_and_no_fill_value(tmp_path: Path) -> None:
    paths = write_parts(random_parts(60), tmp_path)
    shard_files(paths.dataset, "faces/face_areas")[0].unlink()
    with pytest.raises(DamagedDatasetError, match="manifest lists it"):
        open_store(paths.dataset).read("faces", "face_areas")
    write_manifest(paths.dataset)  # that does not list it: its rows are stated, and nowhere
    with pytest.raises(DamagedDatasetError, match="state rows in"):
        open_store(paths.dataset).read("faces", "face_areas")
    (paths.dataset / "manifest.json").unlink()
    with pytest.raises(DamagedDatasetError, match=r"manifest\.json is missing"):
        open_store(paths.dataset).read("faces", "face_areas")
    forget_checksums(paths.dataset)  # a Zarr store that somebody else wrote, with Zarr's meaning
    assert np.isnan(open_store(paths.dataset).read("faces", "face_areas", 0, 1)).all()


def test_a_dataset_that_is_replaced_while_open_never_mixes_with_the_new_one(tmp_path: Path) -> None:
    old, new = random_parts(40, seed=1), random_parts(40, seed=2)
    paths = write_parts(old, tmp_path)
    store = open_store(paths.dataset)
    np.testing.assert_array_equal(store.read("faces", "face_types"), old.rows["faces"]["face_types"])
    other = write_parts(new, tmp_path / "other")
    os.rename(paths.dataset, tmp_path / "old")
    os.rename(other.dataset, paths.dataset)
    np.testing.assert_array_equal(store.read("faces", "face_areas"), old.rows["faces"]["face_areas"])
    shutil.rmtree(tmp_path / "old")
    with pytest.raises(DamagedDatasetError, match="replaced or removed while it was open"):
        store.read("edges", "edge_lengths")
    fresh = open_store(paths.dataset)
    np.testing.assert_array_equal(fresh.read("faces", "face_areas"), new.rows["faces"]["face_areas"])


def test_a_pickled_store_reads_the_same_and_refuses_another_dataset(tmp_path: Path) -> None:
    parts = random_parts(40)
    paths = write_parts(parts, tmp_path)
    content = pickle.dumps(open_store(paths.dataset))
    assert len(content) < 2000
    np.testing.assert_array_equal(pickle.loads(content).read("faces", "face_areas"), parts.rows["faces"]["face_areas"])
    shutil.rmtree(paths.root)
    write_parts(random_parts(40, seed=9), tmp_path)
    with pytest.raises(DamagedDatasetError, match="was replaced while it was open"):
        pickle.loads(content)


def test_a_closed_dataset_says_so(tmp_path: Path) -> None:
    store = open_store(write_parts(random_parts(20), tmp_path).dataset)
    store.close()
    with pytest.raises(DamagedDatasetError, match="was closed"):
        store.read("faces", "face_areas")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "has no zarr.json"),
        (b"{", "zarr.json is damaged"),
        (b'{"attributes": {}}', "but no dataset of dflow"),
        (b'{"attributes": {"dflow": {}}, "consolidated_metadata": {"metadata": {}}}', "metadata of .* is damaged"),
    ],
)
def test_folders_that_are_no_dataset(tmp_path: Path, content: bytes | None, message: str) -> None:
    folder = tmp_path / "x.dataset"
    folder.mkdir()
    if content is not None:
        (folder / "zarr.json").write_bytes(content)
    with pytest.raises(DamagedDatasetError, match=message):
        open_store(folder)


def test_a_dataset_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match="does not exist"):
        open_store(tmp_path / "x.dataset")
    (tmp_path / "y.dataset").write_text("")
    with pytest.raises(DamagedDatasetError, match=r"is not a dataset: .*no zip"):
        open_store(tmp_path / "y.dataset")
