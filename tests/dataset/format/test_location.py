"""What a stranger's flow names outside of its own folder is not opened."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dflow.dataset import DatasetExplorer, DatasetLoader
from dflow.dataset.format.location import locate
from dflow.dataset.format.manifest import read_manifest
from dflow.dataset.format.stored_split import read_split
from dflow.dataset.validate import validate_dataset
from dflow.errors import DamagedDatasetError, DflowError, FlowFileError, SplitError
from dflow.storage.paths import FlowPaths
from tests.dataset.samples import forget_checksums, make_samples, merge, write_sample

N_PARTS = 6
KEYS = {"flow_data": "flow.dataset", "flow_info": "flow.infoset", "flow_attributes": "flow.attribset"}


@pytest.fixture
def flow(tmp_path: Path) -> FlowPaths:
    """A finished flow, to be tampered with: a stranger leaves checksums out, or makes them anew."""
    paths = FlowPaths.of(tmp_path, "flow")
    merge(paths, make_samples(paths, [(3, 4)] * N_PARTS))
    paths.flow_file.write_text(json.dumps({"flow_name": "flow", **KEYS}))
    forget_checksums(paths.dataset)
    return paths


@pytest.fixture
def elsewhere(tmp_path: Path, flow: FlowPaths) -> Path:
    """Another flow's folder, whose parts are sound and none of this flow's business."""
    shutil.copytree(flow.root, tmp_path / "elsewhere")
    return tmp_path / "elsewhere"


def _name(flow: FlowPaths, **changes: str) -> None:
    flow.flow_file.write_text(json.dumps({**json.loads(flow.flow_file.read_text()), **changes}))


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("way", ["absolute", "parent", "link inside"])
def test_a_flow_file_names_parts_in_its_own_folder_only(flow, elsewhere, key, way):
    target = elsewhere / f"other{Path(KEYS[key]).suffix}"
    (elsewhere / KEYS[key]).rename(target)
    (flow.root / "inside").mkdir()
    (flow.root / "inside" / target.name).symlink_to(target)
    named = {
        "absolute": str(target),
        "parent": os.path.relpath(target, flow.root),
        "link inside": f"inside/{target.name}",
    }
    _name(flow, **{key: named[way]})
    with pytest.raises(FlowFileError, match=rf"{key} is .* outside of the flow's folder; .* merged_store_path="):
        DatasetExplorer(flow.flow_file)


@pytest.mark.parametrize("key", KEYS)
def test_parts_may_be_links_that_the_user_made(flow, elsewhere, key):
    part = flow.root / KEYS[key]
    shutil.rmtree(part) if part.is_dir() else part.unlink()
    part.symlink_to(elsewhere / KEYS[key])
    with DatasetExplorer(flow.flow_file) as explorer:
        assert len(explorer.files) == N_PARTS
        assert len(explorer.get_array_data("faces", "face_areas"))


def test_parts_named_by_the_caller_may_lie_anywhere(flow, elsewhere):
    found = locate(flow.flow_file, dataset=elsewhere / "flow.dataset", infoset=elsewhere / "flow.infoset")
    assert (found.dataset, found.infoset) == (elsewhere / "flow.dataset", elsewhere / "flow.infoset")


def test_a_copied_folder_opens_its_own_parts_not_those_it_was_copied_from(flow, elsewhere):
    _name(flow, **{key: str(flow.root / name) for key, name in KEYS.items()})
    shutil.copy(flow.flow_file, elsewhere / "flow.flow")
    assert locate(elsewhere / "flow.flow").dataset == elsewhere / "flow.dataset"
    assert locate(flow.flow_file).dataset == flow.dataset


def test_a_url_is_a_name_like_any_other(flow):
    _name(flow, flow_data="https://127.0.0.1:9/x.dataset")
    with pytest.raises(DflowError, match="does not exist"):
        DatasetExplorer(flow.flow_file)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("suffix", ["infoset", "attribset", "flow", "split"])
def test_a_pipe_is_an_error_not_a_wait(flow, suffix):
    path = flow.root / f"flow.{suffix}"
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    with pytest.raises(DflowError, match=r"not a regular file|damaged|no split file"):
        read_split(path) if suffix == "split" else DatasetExplorer(flow.flow_file)
    if suffix in ("infoset", "attribset"):
        assert "not a regular file" in " ".join(validate_dataset(flow.dataset))
    if suffix == "split":
        with pytest.raises(SplitError):
            read_split(path)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["zarr.json", "manifest.json"])
def test_a_pipe_in_a_dataset_is_damage(flow, name):
    (flow.dataset / name).unlink()
    os.mkfifo(flow.dataset / name)
    assert validate_dataset(flow.dataset)
    with pytest.raises(DamagedDatasetError), DatasetExplorer(flow.flow_file) as explorer:
        assert explorer._store.folder.manifest


def _rewrite(path: Path, column: str, values: list[object]) -> None:
    table = pd.read_parquet(path)
    table[column] = values
    pq.write_table(pa.Table.from_pandas(table), path)


@pytest.mark.parametrize("column", ["stream_cache_png", "stream_cache_3d"])
def test_previews_outside_are_none_and_said(flow, tmp_path, caplog, column):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (flow.root / "stream_cache").mkdir()
    (flow.root / "stream_cache" / "good.png").write_text("a picture")
    (flow.root / "stream_cache" / "link.png").symlink_to(secret)
    names = [
        "/etc/passwd",
        "../../secret",
        "stream_cache/link.png",
        None,
        "stream_cache/good.png",
        "file:///etc/passwd",
    ]
    _rewrite(flow.infoset, column, names)
    with DatasetExplorer(flow.flow_file) as explorer:
        found = explorer.get_stream_cache_paths()[column].tolist()
        assert explorer.get_stream_cache_paths([0])[column].tolist() == [None]
    inside = str(flow.root / "stream_cache" / "good.png")
    assert found == [None, None, None, None, inside, str(flow.root / "file:" / "etc" / "passwd")]
    assert f"{column} of 3 samples lies outside of the flow's folder" in caplog.text


def test_a_preview_folder_on_another_disk_is_the_users(flow, tmp_path):
    (tmp_path / "disk").mkdir()
    (flow.root / "stream_cache").symlink_to(tmp_path / "disk")
    _rewrite(flow.infoset, "stream_cache_png", [f"stream_cache/{i}.png" for i in range(N_PARTS)])
    with DatasetExplorer(flow.flow_file) as explorer:
        assert all(explorer.get_stream_cache_paths()["stream_cache_png"])


@pytest.mark.parametrize("name", ["../../../../secret", "link"])
def test_graph_files_outside_are_refused(flow, tmp_path, name):
    (tmp_path / "secret.pt").write_text("secret")
    (flow.root / "graph_data").mkdir()
    (flow.root / "graph_data" / "link.pt").symlink_to(tmp_path / "secret.pt")
    _rewrite(flow.infoset, "name", [name, *"abcde"])
    with DatasetLoader(flow.dataset, flow.infoset, item_loader_func=lambda *_: 0) as loader:
        loader.split()
        with pytest.raises(DamagedDatasetError, match=r"graph file of sample .* outside"):
            loader.get_dataset("train")


# The dataset's own files


def _move_out(flow: FlowPaths, tmp_path: Path, relative: str) -> None:
    """Put a file or folder of the dataset elsewhere and a link in its place."""
    (flow.dataset / relative).rename(tmp_path / "moved")
    (flow.dataset / relative).symlink_to(tmp_path / "moved")


@pytest.mark.parametrize("relative", ["faces/face_areas/c.0", "faces/face_areas", "faces"])
def test_a_shard_behind_a_link_is_not_read(flow, tmp_path, relative):
    _move_out(flow, tmp_path, relative)
    assert any("a link that leads out" in problem for problem in validate_dataset(flow.dataset))
    with DatasetExplorer(flow.flow_file) as explorer:
        array = explorer.get_array_data("faces", "face_areas")
        with pytest.raises(DamagedDatasetError, match="outside of the dataset"):
            array.values  # noqa: B018 - reading is the test


def test_a_link_to_another_place_in_the_dataset_is_read(flow):
    shard = flow.dataset / "faces" / "face_areas" / "c.0"
    with DatasetExplorer(flow.flow_file) as explorer:
        expected = explorer.get_array_data("faces", "face_areas").values
    shard.rename(shard.with_name("zero"))
    shard.symlink_to("zero")
    with DatasetExplorer(flow.flow_file) as explorer:
        np.testing.assert_array_equal(explorer.get_array_data("faces", "face_areas").values, expected)


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "faces/../../outside"])
def test_a_manifest_lists_files_of_its_dataset_only(flow, name):
    (flow.root / "outside").write_text("x")
    document = json.loads((flow.dataset / "manifest.json").read_text())
    document["files"][name] = [1, 2]
    (flow.dataset / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(DamagedDatasetError, match="outside of the dataset"):
        read_manifest(flow.dataset)
    assert "outside of the dataset" in validate_dataset(flow.dataset)[0]


def test_a_group_that_climbs_out_is_not_read(flow):
    metadata = json.loads((flow.dataset / "zarr.json").read_text())
    arrays = metadata["consolidated_metadata"]["metadata"]
    shutil.copytree(flow.dataset / "faces" / "face_areas", flow.root / "stolen")
    arrays["../stolen"] = arrays.pop("faces/face_areas")
    (flow.dataset / "zarr.json").write_text(json.dumps(metadata))
    with pytest.raises(DflowError), DatasetExplorer(flow.flow_file) as explorer:
        explorer.get_array_data("..", "stolen").values  # noqa: B018 - reading is the test


# The samples


def test_a_sample_behind_a_link_is_damaged_not_merged(tmp_path):
    paths = FlowPaths.of(tmp_path, "parts")
    records = [write_sample(paths, f"{i}.step", {"faces/face_areas": np.ones(2, np.float32)}, {}) for i in range(3)]
    stolen = paths.data_file(records[1].name)
    stolen.rename(tmp_path / "stolen.data")
    stolen.symlink_to(tmp_path / "stolen.data")
    result = merge(paths, records)
    assert [name for name, _ in result.damaged] == [records[1].name]
    assert "is a link out of the flow's folder" in result.damaged[0][1]
