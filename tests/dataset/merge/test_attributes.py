"""Attributes of arrays as CF has them: in the files, and as xarray reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from dflow.dataset.format.layout import ArrayTarget
from dflow.dataset.merge.attributes import MAX_FLAGS, described, meaning, with_flags
from dflow.schema import SchemaBuilder
from dflow.schema.document import parse_schema
from dflow.storage.paths import FlowPaths
from tests.dataset.samples import merge, write_sample


def schema_document() -> dict:
    builder = SchemaBuilder("parts")
    faces = builder.create_group("faces", "face")
    faces.create_array("depth", ["face"], "float32", "of the pocket", units="cm")
    faces.create_array("heat", ["face"], "float32", "of the face", unit="K")
    faces.create_array("label", ["face"], "int32", "feature", labels=["stock", "through hole", "blind, round"])
    builder.define_file_metadata("mass", "float64", "of the part", units="kg")
    builder.define_categorical_metadata("kind", "int32", "of part", values=[3, 7], labels=["nut", "hex bolt"])
    return builder.build()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    paths = FlowPaths.of(tmp_path_factory.mktemp("cf"), "parts")
    arrays = {
        "faces/face_areas": np.ones(3, "f4"),
        "faces/depth": np.ones(3, "f4"),
        "faces/heat": np.ones(3, "f4"),
        "faces/label": np.array([0, 2, 1], "i4"),
        "faces/word": np.array(["a b", "c", "a b"]),
        "edges/edge_dihedral_angles": np.ones(2, "f4"),
        "edges/own": np.ones(2, "f4"),
    }
    values = {"mass": 2.0, "kind": 7, "material": "steel", "volume": 3.0}
    merge(paths, [write_sample(paths, "a.step", arrays, values, schema=schema_document())])
    return paths.dataset


def test_xarray_reads_units_names_and_classes(dataset: Path) -> None:
    faces = xr.open_zarr(dataset, group="faces", chunks="auto")
    assert faces["face_areas"].attrs == {"description": "mm²", "long_name": "mm²", "units": "mm2"}
    assert faces["depth"].attrs["units"] == "cm"
    assert faces["depth"].attrs["long_name"] == "of the pocket"
    assert faces["heat"].attrs["units"] == "K"
    label = faces["label"].attrs
    assert (label["flag_values"], label["flag_meanings"]) == ([0, 1, 2], "stock through_hole blind_round")
    assert (faces["word"].attrs["flag_values"], faces["word"].attrs["flag_meanings"]) == ([0, 1], "a_b c")
    edges = xr.open_zarr(dataset, group="edges", chunks="auto")
    assert edges["edge_dihedral_angles"].attrs["units"] == "rad"
    assert edges["own"].attrs == {}
    file = xr.open_zarr(dataset, group="file", chunks="auto")
    assert (file["mass"].attrs["units"], file["volume"].attrs["units"]) == ("kg", "mm3")
    kind = file["kind"].attrs
    assert (kind["flag_values"], kind["flag_meanings"]) == ([3, 7], "nut hex_bolt")
    assert file["material"].attrs["flag_meanings"] == "steel"


def test_a_name_is_one_word() -> None:
    assert [meaning(w) for w in ("a b", "x/y (z)", "", "grün", "a-b.c+d")] == ["a_b", "x_y_z", "_", "grün", "a-b.c+d"]


def test_long_vocabularies_and_other_types_have_no_flags() -> None:
    target = ArrayTarget("faces", "a", "int32", ("face",), (1,), 1, 1, -1)
    table = tuple((i, str(i), "") for i in range(MAX_FLAGS + 1))
    assert with_flags(target, {"a": table}) is target
    assert with_flags(target, {"b": table[:3]}) is target
    of_floats = ArrayTarget("faces", "a", "float32", ("face",), (1,), 1, 1, "NaN")
    assert with_flags(of_floats, {"a": table[:3]}) is of_floats
    assert dict(with_flags(target, {"a": table[:1], "faces/a": table[:2]}).attributes)["flag_values"] == [0, 1]


def test_a_declaration_without_units_has_the_standard_ones() -> None:
    builder = SchemaBuilder("parts")
    builder.create_group("faces", "face").create_array("face_areas", ["face"], "float32", "of the trimmed face")
    found = described(parse_schema(builder.build()), "faces", "face_areas")
    assert (found["long_name"], found["units"]) == ("of the trimmed face", "mm2")
    assert described(parse_schema(builder.build()), "faces", "unknown") == {}
