"""Codes of faces and edges: complete, fixed, and the kernel's own where they are said to be."""

from __future__ import annotations

import pytest
from OCP.GeomAbs import GeomAbs_CurveType

from dflow.cadaccess import brep
from dflow.cadaccess.codes import CONVEXITIES, EDGE_TYPES, FACE_TYPES


def test_edge_types_are_the_kernels_curve_types() -> None:
    kernels = {
        kind.removeprefix("GeomAbs_").removesuffix("Curve").lower(): int(value)
        for kind, value in GeomAbs_CurveType.__members__.items()
    }
    assert {name.lower(): code for code, name in EDGE_TYPES.items()} == kernels


def test_every_code_that_a_brep_gives_has_a_name() -> None:
    assert set(brep._FACE_CODE.tolist()) == set(FACE_TYPES)
    assert set(brep._EDGE_CODE.tolist()) == set(EDGE_TYPES)
    assert set(CONVEXITIES) == {0, 1, 2, 3}


@pytest.mark.parametrize("table", [FACE_TYPES, EDGE_TYPES, CONVEXITIES])
def test_a_table_cannot_be_changed(table: dict[int, str]) -> None:
    with pytest.raises(TypeError):
        table[0] = "other"
