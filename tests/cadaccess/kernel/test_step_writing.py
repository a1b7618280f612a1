"""Shapes as STEP files."""

from __future__ import annotations

from pathlib import Path

import pytest
from OCP.TopoDS import TopoDS_Compound

from dflow.cadaccess.kernel.step_writing import encode_step
from dflow.cadaccess.step.reader import read_step
from dflow.errors import KernelError
from tests.cadaccess import solids

PATH = Path("part.step")


def test_equal_shapes_give_equal_bytes_with_names_but_no_dates() -> None:
    first, second = (encode_step(PATH, solids.box(), "bracket ü") for _ in range(2))
    assert first == second
    assert b"PRODUCT('bracket ?','bracket ?'" in first
    assert b"'1970-01-01T00:00:00'" in first


def test_a_written_box_is_read_again_in_mm() -> None:
    tables = read_step(encode_step(PATH, solids.box(2, 3, 5), "box")).tables
    assert (tables.n_faces, tables.n_solids, len(tables.points)) == (6, 1, 8)
    assert tables.points.max(axis=0).tolist() == [2, 3, 5]


def test_several_products_are_numbered() -> None:
    content = encode_step(PATH, solids.compound(solids.box(), solids.sphere()), "pair")
    assert b"PRODUCT('pair" in content


def test_a_shape_that_cannot_be_written_is_named_by_its_file() -> None:
    with pytest.raises(KernelError, match=r"part\.step: the kernel raised Standard_NullObject"):
        encode_step(PATH, TopoDS_Compound(), "nothing")
