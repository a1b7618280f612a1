"""Orientation flags of ISO 10303-42, in every combination that leaves a shape the same, in every way of reading."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from random import Random

import pytest
from OCP.TopoDS import TopoDS_Shape

from tests.cadaccess import rewriting, solids, stepfile
from tests.cadaccess.step.test_reader import FREE_CURVES, SHAPES, SPLINE_SURFACES
from tests.cadaccess.stepfile import Entity, StepFile
from tests.cadaccess.test_rewriting import Figures, assert_same, read


class _Every(Random):
    """Chooses every `step`-th of what could be changed: see `stepfile.some_of`."""

    def __init__(self, step: int) -> None:
        super().__init__(0)
        self.step, self.count = step, -1

    def choice(self, _: Sequence) -> float:  # type: ignore[override]
        return 0.5

    def random(self) -> float:
        self.count += 1
        return 0.0 if self.count % self.step == 0 else 1.0


def orient_shells(file: StepFile, random: Random) -> None:
    """Outer shells that are turned, and turned back by an oriented shell."""
    for solid in file.solids():
        shell = file.values(solid)[1]
        rewriting.turn_shell(file, int(shell[1:]))
        file.values(solid)[1] = file.add("ORIENTED_CLOSED_SHELL", "''", "*", shell, ".F.")


FLAGS = {
    "edge curve": rewriting.flip_edges,
    "basis curve": rewriting.reverse_curves,
    "face": rewriting.reverse_surfaces,
    "bound": rewriting.reverse_bounds,
    "cavity": rewriting.turn_cavities,
    "shell": orient_shells,
}
COMBINATIONS = [names for n in range(1, len(FLAGS) + 1) for names in itertools.combinations(FLAGS, n)]
FEW = [names for names in COMBINATIONS if len(names) in (1, len(FLAGS) - 1, len(FLAGS))]

PARTS: dict[str, Callable[[], TopoDS_Shape]] = {
    "simple": lambda: solids.compound(SHAPES["hollow"](), solids.drilled(), solids.cone(), solids.cylinder(angle=1.3)),
    "free": lambda: solids.compound(
        SHAPES["hollow"](),
        solids.sphere(),
        SPLINE_SURFACES["ruled tower"](),
        FREE_CURVES["cylinder cut at a slant"](),
        FREE_CURVES["ring with a pin"](),
    ),
}


@cache
def _text(part: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = solids.write_step(PARTS[part](), Path(folder) / "part.step", pcurves=False, assembly=False)
        return stepfile.parse(path.read_text(encoding="latin-1")).text()


@cache
def _expected(part: str, way: str) -> Figures | None:
    return read(_text(part), way)


def _check(part: str, names: Sequence[str], step: int) -> None:
    file = stepfile.parse(_text(part))
    for name in names:
        before = file.text()
        FLAGS[name](file, _Every(step))
        assert file.text() != before
    taken = []
    for way in ("text", "light", "full"):
        found = read(file.text(), way)
        if found is not None:
            taken.append(way)
            wanted = _expected(part, way) or _expected(part, "full")
            assert wanted is not None
            assert_same(found, wanted)
    assert "full" in taken
    if part == "simple" and not {"cavity", "shell"} & set(names):
        assert "text" in taken


@pytest.mark.parametrize("names", FEW, ids=" and ".join)
@pytest.mark.parametrize("part", PARTS)
def test_flags_that_leave_the_shape_the_same(part: str, names: tuple[str, ...]) -> None:
    _check(part, names, 1)


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 2, 3])
@pytest.mark.parametrize("names", COMBINATIONS, ids=" and ".join)
@pytest.mark.parametrize("part", PARTS)
def test_every_combination_of_flags(part: str, names: tuple[str, ...], step: int) -> None:
    _check(part, names, step)


@pytest.mark.parametrize("flag", [".T.", ".F."])
@pytest.mark.parametrize("kind", ["OPEN", "CLOSED"])
def test_a_shell_of_a_surface_model_is_turned_by_its_flag(kind: str, flag: str) -> None:
    """A sheet has no inside that would tell which way it faces."""
    file = stepfile.parse(_text("simple"))
    for solid in file.solids():
        shell = file.values(solid)[1]
        file.instances[int(shell[1:])][0].keyword = f"{kind}_SHELL"
        if flag == ".F.":
            rewriting.turn_shell(file, int(shell[1:]))
        turned = file.add(f"ORIENTED_{kind}_SHELL", "''", "*", shell, flag)
        file.instances[solid] = [Entity("SHELL_BASED_SURFACE_MODEL", ["''", [turned]])]
    plain, found = stepfile.parse(_text("simple")), [read(file.text(), way) for way in ("light", "full")]
    for solid in plain.solids():
        shell = plain.values(solid)[1]
        plain.instances[solid] = [Entity("SHELL_BASED_SURFACE_MODEL", ["''", [shell]])]
    wanted = read(plain.text(), "full")
    assert wanted is not None
    for figures in found:
        assert figures is not None
        assert_same(figures, wanted)
