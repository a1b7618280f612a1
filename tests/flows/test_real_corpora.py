"""168 electronic parts and 400 machined parts, with labels that come through the faces' names, from files to splits."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import dflow
from dflow.dataset import DatasetExplorer, DatasetLoader
from tests.flows.labelled_tasks import encode, gather


@pytest.fixture(scope="module")
def built(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    out = tmp_path_factory.mktemp("corpora")
    flow = dflow.create_flow(name="corpora", tasks=[gather, encode], flows_outputdir=str(out), max_workers=2)
    sources = [str(shared_data / "kicad"), str(shared_data / "mfcad")]
    _, summary, flow_file = flow.process(inputs={"sources": sources})
    return summary, flow_file


@pytest.fixture
def explorer(built: tuple[dict[str, Any], str]) -> Any:
    explorer = DatasetExplorer(flow_output_file=built[1])
    yield explorer
    explorer.close()


@pytest.fixture(scope="module")
def labels(shared_data: Path) -> dict[str, list[int]]:
    content: dict[str, list[int]] = json.loads((shared_data / "mfcad" / "face_labels.json").read_text())
    return content


def test_every_file_is_in(built: tuple[dict[str, Any], str]) -> None:
    summary = built[0]
    assert (summary["submitted"], summary["file_count"], summary["skipped"], summary["failed"]) == (568, 568, 0, 0)


def test_files_with_a_feature_class_are_those_whose_labels_hold_it(explorer: Any, labels: dict[str, list[int]]) -> None:
    info = explorer.get_file_info_all().set_index("id")
    for feature in (0, 4, 9, 14):
        found = explorer.get_file_list(group="faces", where=lambda ds, k=feature: ds["face_label"] == k)
        names = {Path(info.loc[i, "description"]).name for i in found}
        assert names == {name for name, classes in labels.items() if feature in classes}


def test_each_label_sits_on_the_face_that_bears_its_name(
    explorer: Any, labels: dict[str, list[int]], shared_data: Path
) -> None:
    """By the file's own text: count the named faces with a class, and compare with the rows of that class."""
    info = explorer.get_file_info_all()
    for _, row in info[info["description"].str.contains("/mfcad/")].iloc[::40].iterrows():
        name = Path(row["description"]).name
        text = (shared_data / "mfcad" / "step" / name).read_text()
        stated = [int(n) for n in re.findall(r"ADVANCED_FACE\s*\(\s*'(\d+)'", text)]
        rows = explorer.file_dataset(int(row["id"]), "faces")["face_label"].values
        assert sorted(rows) == sorted(labels[name][i] for i in stated)


def test_files_without_labels_say_so_and_integers_stay_integers(built: tuple[dict[str, Any], str]) -> None:
    store = built[1].removesuffix(".flow") + ".dataset"
    faces, files = xr.open_zarr(store, group="faces"), xr.open_zarr(store, group="file")
    assert faces["face_label"].dtype == np.int32
    has = files["has_faces_face_label"].values
    assert has.sum() == 400
    unlabelled = ~np.repeat(has, files["row_count_faces"].values)
    assert (faces["face_label"].values[unlabelled] == -1).all()
    assert (faces["face_label"].values[~unlabelled] >= 0).all()


def test_split_is_stratified_by_feature_class(built: tuple[dict[str, Any], str]) -> None:
    base = built[1].removesuffix(".flow")
    loader = DatasetLoader(merged_store_path=base + ".dataset", parquet_file_path=base + ".infoset")
    sizes = loader.split(key="face_label", group="faces", train=0.7, validation=0.15, test=0.15, random_state=1)
    assert sum(sizes) == 568
    store = base + ".dataset"
    faces = xr.open_zarr(store, group="faces")
    label, code = faces["face_label"].values, faces["file_id_code_faces"].values
    train = set(loader.get_dataset("train").get_file_codes())
    for feature in range(16):
        holders = set(code[label == feature])
        share = len(holders & train) / len(holders)
        assert abs(share - 0.7) < 0.12, (feature, len(holders), share)
    loader.close_resources()


def test_categories_have_names(explorer: Any, shared_data: Path) -> None:
    names = explorer.get_descriptions("category")["name"].tolist()
    assert sorted(names) == sorted([p.name for p in (shared_data / "kicad").iterdir() if p.is_dir()] + ["step"])
