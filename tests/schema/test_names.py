"""Which names are accepted, and the names that the dataset adds."""

from __future__ import annotations

from typing import Any

import pytest

from dflow.schema.names import (
    MAX_NAME_LENGTH,
    NODE_DOCUMENT,
    free_name,
    has_array,
    id_array,
    name_fault,
    reserved_for,
    row_count,
    row_start,
)


@pytest.mark.parametrize("name", ["a", "face_areas", "größe", "面", "a.b", "a b", "..a", "x" * 200])
def test_good_names(name: str) -> None:
    assert name_fault(name) is None


@pytest.mark.parametrize(
    "name", ["", " a", "a ", ".", "..", "...", "__a", "zarr.json", "a/b", "a\\b", "a\0", "a\n", "ä" * 101, 3, None]
)
def test_bad_names(name: Any) -> None:
    assert isinstance(name_fault(name), str)


def test_every_name_that_the_dataset_adds_is_reserved() -> None:
    groups = ("faces", "file")
    assert (id_array("faces"), row_start("faces"), row_count("faces"), has_array("faces", "areas")) == (
        "file_id_code_faces",
        "row_start_faces",
        "row_count_faces",
        "has_faces_areas",
    )
    for name in (row_start("faces"), row_count("faces"), has_array("faces", "areas"), has_array("file", "mass")):
        assert reserved_for(name, "file", groups)
        assert reserved_for(free_name(name), "file", groups) is None
    assert reserved_for(id_array("faces"), "faces", groups)
    assert reserved_for("areas", "faces", groups) is None
    assert reserved_for("has_bodies_x", "file", groups) is None  # no group has that name
    assert reserved_for("flow_name", "file", groups) is None  # a sample may give a value of its own


def test_a_name_is_never_that_of_a_zarr_document() -> None:
    assert "reserved" in str(name_fault(NODE_DOCUMENT))
    assert name_fault("x" * MAX_NAME_LENGTH) is None
    assert "longer" in str(name_fault("x" * (MAX_NAME_LENGTH + 1)))
