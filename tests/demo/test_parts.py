"""The generated parts are sound, varied and reproducible."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from OCP.BRepCheck import BRepCheck_Analyzer
from OCP.BRepGProp import BRepGProp
from OCP.GProp import GProp_GProps

from dflow.demo.parts import FAMILIES, write_parts


@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize("seed", [0, 7])
def test_parts_are_valid_solids_with_volume(family: str, seed: int) -> None:
    shape = FAMILIES[family](np.random.default_rng(seed))
    properties = GProp_GProps()
    BRepGProp.VolumeProperties_s(shape, properties)
    assert BRepCheck_Analyzer(shape).IsValid()
    assert properties.Mass() > 100.0


def test_equal_seeds_give_equal_bytes_and_other_seeds_do_not(tmp_path: Path) -> None:
    first = write_parts(tmp_path / "a", n_parts=6, seed=1)
    again = write_parts(tmp_path / "b", n_parts=6, seed=1)
    other = write_parts(tmp_path / "c", n_parts=6, seed=2)
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in again]
    assert all(a.read_bytes() != b.read_bytes() for a, b in zip(first, other, strict=True))


def test_families_take_turns(tmp_path: Path) -> None:
    files = write_parts(tmp_path, n_parts=8)
    assert sorted({p.parent.name for p in files}) == sorted(FAMILIES)
    assert len(files) == 8
