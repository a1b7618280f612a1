"""Units of a representation as factors to mm and radians."""

from __future__ import annotations

import numpy as np
import pytest

from dflow.cadaccess.files.part21 import RefusedError, scan
from dflow.cadaccess.files.units import Units, find_quantity, find_units
from tests.cadaccess.stepboxes import MILLIMETRE, RADIAN, StepText

METRE = "(LENGTH_UNIT()NAMED_UNIT(*)SI_UNIT($,.METRE.))"
MICROMETRE = "(LENGTH_UNIT()NAMED_UNIT(*)SI_UNIT(.MICRO.,.METRE.))"


def _units(text: StepText, *units: str) -> Units:
    context = text.context(*units)
    return find_units(scan(text.text().encode()), context.encode())


@pytest.mark.parametrize(
    ("unit", "mm", "name"),
    [(MILLIMETRE, 1.0, "millimetre"), (METRE, 1000.0, "metre"), (MICROMETRE, 1e-3, "micrometre")],
)
def test_si_units(unit: str, mm: float, name: str) -> None:
    found = _units(StepText(), unit, RADIAN)
    assert found.length == pytest.approx(mm, rel=1e-15)
    assert (found.angle, found.name) == (1.0, name)


def test_units_by_conversion_go_down_to_an_si_unit() -> None:
    text = StepText()
    millimetre = text.add(MILLIMETRE)
    inch = text.converted("INCH", f"LENGTH_MEASURE_WITH_UNIT(LENGTH_MEASURE(25.4),{millimetre})")
    foot = text.converted("FOOT", f"LENGTH_MEASURE_WITH_UNIT(LENGTH_MEASURE(12.),{inch})")
    radian = text.add(RADIAN)
    measure = text.add(f"PLANE_ANGLE_MEASURE_WITH_UNIT(PLANE_ANGLE_MEASURE({np.pi / 180!r}),{radian})")
    degree = text.add(f"(CONVERSION_BASED_UNIT('DEGREE',{measure})NAMED_UNIT(*)PLANE_ANGLE_UNIT())")
    found = _units(text, foot, degree)
    assert found.length == pytest.approx(304.8, rel=1e-15)
    assert found.angle == pytest.approx(np.pi / 180, rel=1e-15)
    assert found.name == "FOOT"
    assert found.references == (foot.encode(), degree.encode())


def test_a_context_without_a_unit_of_angle_says_so_by_0() -> None:
    assert _units(StepText(), MILLIMETRE).angle == 0.0


@pytest.mark.parametrize(
    ("units", "cause"),
    [((RADIAN,), "without a unit of length"), ((MILLIMETRE, METRE), "two units of one quantity")],
)
def test_missing_and_contradicting_units_are_refused(units: tuple[str, ...], cause: str) -> None:
    with pytest.raises(RefusedError, match=cause):
        _units(StepText(), *units)


def test_the_quantity_of_a_unit() -> None:
    text = StepText()
    length, angle, solid = (
        text.add(unit) for unit in (MILLIMETRE, RADIAN, "(NAMED_UNIT(*)SI_UNIT($,.STERADIAN.)SOLID_ANGLE_UNIT())")
    )
    instances = scan(text.text().encode())
    assert find_quantity(instances, length.encode()) == b"LENGTH_UNIT"
    assert find_quantity(instances, angle.encode()) == b"PLANE_ANGLE_UNIT"
    assert find_quantity(instances, solid.encode()) == b""
