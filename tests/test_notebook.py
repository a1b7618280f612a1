"""Objects in notebooks: what they show, and text that stays text."""

from __future__ import annotations

import base64
import html
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dflow.cadaccess import CadLoader, brep
from dflow.cadencoder import BrepEncoder
from dflow.dataset import DatasetLoader
from dflow.demo.parts import box, write_step
from dflow.errors import GeometryError
from dflow.notebook import object_html
from dflow.storage.memory import MemoryStorage
from tests.dataset.synthetic import random_parts, write_parts

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("parts") / "<b>box.step"
    write_step(box(0, 0, 0, 2, 3, 5), path)
    return CadLoader().create_from_file(path)


def cells(page: str) -> dict[str, str]:
    """First and second cell of every row."""
    return dict(re.findall(r"<tr><td>(.*?)</td><td>(.*?)</td>", page))


def test_every_text_is_escaped() -> None:
    page = object_html(HOSTILE, [(HOSTILE, 1)], head=(HOSTILE,), note=HOSTILE)
    assert HOSTILE not in page
    assert page.count(html.escape(HOSTILE)) == 4
    assert "<table>" not in object_html("title", [])


def test_a_picture_is_part_of_the_page() -> None:
    page = object_html("x", (), png=b"\x89PNG")
    assert f'src="data:image/png;base64,{base64.b64encode(bytes([0x89]) + b"PNG").decode()}"' in page


def test_a_model_shows_picture_counts_area_and_volume(model: Any) -> None:
    page = model._repr_html_()
    shown = cells(page)
    assert (shown["bodies"], shown["faces"], shown["edges"]) == ("1", "6", "12")
    assert (shown["area"], shown["volume"], shown["format"]) == ("62 mm²", "30 mm³", "step")
    (content,) = re.findall(r"base64,([^\"]+)", page)
    assert base64.b64decode(content).startswith(b"\x89PNG")
    assert "<b>box" not in page
    assert cells(model.get_brep()._repr_html_())["volume"] == "30 mm³"


def test_a_large_shape_is_counted_without_a_picture(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brep, "DRAWN_FACES", 5)
    page = model.get_brep()._repr_html_()
    assert "<img" not in page
    assert cells(page)["faces"] == "6"


def test_a_shape_that_cannot_be_measured_shows_why(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Any) -> float:
        raise GeometryError("face 3 of the shape has no area")

    monkeypatch.setattr(brep.Brep, "area", fail)
    page = model.get_brep()._repr_html_()
    assert "<div>face 3 of the shape has no area</div>" in page
    assert "area" not in cells(page)


def test_a_storage_lists_arrays_and_metadata_and_an_encoder_both_of_its_sides(model: Any) -> None:
    storage = MemoryStorage()
    encoder = BrepEncoder(model.get_brep(), storage)
    encoder.push_face_attributes()
    storage.save_metadata("Item", HOSTILE)
    rows = cells(storage._repr_html_())
    assert rows["faces/face_areas"] == "face: 6"
    assert rows["Item"] == "metadata"
    page = encoder._repr_html_()
    assert HOSTILE not in page
    assert page.startswith('<div style="overflow:auto"><strong>BrepEncoder(Brep(n_faces=6,')
    assert cells(page) | rows == cells(page)
    assert "<img" in page
    storage.close()
    assert "<table>" not in storage._repr_html_()
    assert BrepEncoder(model.get_brep())._repr_html_().count("<table>") == 1


def test_a_subset_lists_the_keys_of_its_items(tmp_path: Path) -> None:
    loader = DatasetLoader(write_parts(random_parts(10), tmp_path).dataset)
    loader.split()
    page = loader.get_dataset("train", columns=["faces/face_centroids", "file/volume"])._repr_html_()
    assert "CADDataset train: 7 samples" in page
    assert "<td>faces/face_centroids</td><td>face, dim</td><td>n × 3</td><td>float32</td>" in page
    files = DatasetLoader(graph_files=[f"{i}.pt" for i in range(9)], item_loader_func=lambda *_: np.zeros(1))
    files.split(train=1.0, validation=0.0, test=0.0)
    assert files.get_dataset("train")._repr_html_().count("<tr>") == 1 + 5
