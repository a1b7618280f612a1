"""Units of length and angle, in whatever form a file states them, in every way of reading."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dflow.cadaccess import CadLoader
from dflow.errors import GeometryError
from tests.cadaccess import solids
from tests.cadaccess.everyway import INCH, assert_box, one_part, read_every_way
from tests.cadaccess.stepboxes import MILLIMETRE, RADIAN, StepText


def _unit_of_units(text: StepText, depth: int) -> tuple[str, float]:
    """A unit of length defined `depth` times over, and its size in mm."""
    unit, size = text.add(MILLIMETRE), 1.0
    for step in range(depth):
        factor = (25.4, 0.5, 3.0, 0.125)[step % 4]
        unit = text.converted(f"U{step}", f"LENGTH_MEASURE_WITH_UNIT(LENGTH_MEASURE({factor}),{unit})")
        size *= factor
    return unit, size


@pytest.mark.parametrize("depth", [1, 2, 3, 7])
@pytest.mark.parametrize("kernel_only", [False, True])
def test_units_of_units_are_followed_to_their_end(depth: int, kernel_only: bool, tmp_path: Path) -> None:
    text = StepText()
    unit, size = _unit_of_units(text, depth)
    one_part(text, text.context(unit, RADIAN), text.placement(), text.box(1, 2, 3))
    path = text.write(tmp_path / "part.step")
    if kernel_only:
        path.write_text(path.read_text().replace("DATA;", "DATA;/* left to the kernel; 'quoted' */"))
    ways = assert_box(path, 6 * size**3, (0, 0, 0), (size, 2 * size, 3 * size))
    assert ("text" in ways) is not kernel_only
    assert {model.read_report.unit for _, model in read_every_way(path)} == {f"U{depth - 1}"}


PREFIXES = {"HECTO": 1e5, "DECA": 1e4, "DECI": 1e2, "CENTI": 1e1, "MICRO": 1e-3, "KILO": 1e6}


@pytest.mark.parametrize("prefix", PREFIXES)
def test_every_prefix_is_the_same_in_every_way(prefix: str, tmp_path: Path) -> None:
    text, size = StepText(), PREFIXES[prefix]
    context = text.context(MILLIMETRE.replace("MILLI", prefix), RADIAN)
    side = 12.0 / size
    path = one_part(text, context, text.placement(), text.box(side, side, side)).write(tmp_path / "part.step")
    assert "text" in assert_box(path, 12.0**3, (0, 0, 0), (12, 12, 12))


CENTIMETRE = MILLIMETRE.replace("MILLI", "CENTI")
FORMS: dict[str, Callable[[StepText], str]] = {
    "parts in another order": lambda t: t.add("(SI_UNIT(.CENTI.,.METRE.)LENGTH_UNIT()NAMED_UNIT(*))"),
    "an SI unit alone": lambda t: t.add("SI_UNIT(*,.CENTI.,.METRE.)"),
    "a complex measure": lambda t: t.converted(
        "cm", f"(LENGTH_MEASURE_WITH_UNIT()MEASURE_WITH_UNIT(LENGTH_MEASURE(10.),{t.add(MILLIMETRE)}))"
    ),
    "a complex measure in another order": lambda t: t.converted(
        "cm", f"(MEASURE_WITH_UNIT(LENGTH_MEASURE(10.),{t.add(MILLIMETRE)})LENGTH_MEASURE_WITH_UNIT())"
    ),
    "a measure with unit": lambda t: t.converted("cm", f"MEASURE_WITH_UNIT(LENGTH_MEASURE(10.),{t.add(MILLIMETRE)})"),
    "a positive measure": lambda t: t.converted(
        "cm", f"LENGTH_MEASURE_WITH_UNIT(POSITIVE_LENGTH_MEASURE(1.E1),{t.add(MILLIMETRE)})"
    ),
    "a bare number": lambda t: t.converted("cm", f"LENGTH_MEASURE_WITH_UNIT(10.,{t.add(MILLIMETRE)})"),
    "a whole number": lambda t: t.converted("cm", f"LENGTH_MEASURE_WITH_UNIT(LENGTH_MEASURE(10),{t.add(MILLIMETRE)})"),
    "conversion in another order": lambda t: t.add(
        f"(LENGTH_UNIT()CONVERSION_BASED_UNIT('cm',{t.add(INCH.format(t.add(CENTIMETRE)).replace('25.4', '1.'))})"
        f"NAMED_UNIT({t.add('DIMENSIONAL_EXPONENTS(1.,0.,0.,0.,0.,0.,0.)')}))"
    ),
    "conversion alone": lambda t: t.add(
        f"CONVERSION_BASED_UNIT({t.add('DIMENSIONAL_EXPONENTS(1.,0.,0.,0.,0.,0.,0.)')},'it''s; = #1',"
        f"{t.add(INCH.format(t.add(CENTIMETRE)).replace('25.4', '1.'))})"
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_unit_is_understood_in_whatever_form_it_is_stated(form: str, tmp_path: Path) -> None:
    text = StepText()
    context = text.context(FORMS[form](text), RADIAN)
    path = one_part(text, context, text.placement(), text.box(1, 2, 3)).write(tmp_path / "part.step")
    assert_box(path, 6000, (0, 0, 0), (10, 20, 30))


CONTEXTS = {
    "another order": "(REPRESENTATION_CONTEXT('','3D')GLOBAL_UNIT_ASSIGNED_CONTEXT(({0},{1}))"
    "GEOMETRIC_REPRESENTATION_CONTEXT(3))",
    "units first": "(GLOBAL_UNIT_ASSIGNED_CONTEXT(({0},{1}))REPRESENTATION_CONTEXT('a=b; #1','3D'))",
    "one more part": "(GEOMETRIC_REPRESENTATION_CONTEXT(3)GLOBAL_UNIT_ASSIGNED_CONTEXT(({0},{1}))"
    "PARAMETRIC_REPRESENTATION_CONTEXT()REPRESENTATION_CONTEXT('','3D'))",
    "units alone": "GLOBAL_UNIT_ASSIGNED_CONTEXT('','3D',({0},{1}))",
    "spread over lines": "( GEOMETRIC_REPRESENTATION_CONTEXT ( 3 )\n GLOBAL_UNIT_ASSIGNED_CONTEXT\n ( ( {0} ,\r\n {1} "
    ") ) REPRESENTATION_CONTEXT ( 'a (b)' , '3D' ) )",
}


@pytest.mark.parametrize("form", CONTEXTS)
def test_a_context_is_understood_in_whatever_form_it_is_stated(form: str, tmp_path: Path) -> None:
    text = StepText()
    context = text.add(CONTEXTS[form].format(text.add(CENTIMETRE), text.add(RADIAN)))
    path = one_part(text, context, text.placement(), text.box(1, 2, 3)).write(tmp_path / "part.step")
    assert_box(path, 6000, (0, 0, 0), (10, 20, 30))


ODD_UNITS: dict[str, Callable[[StepText], str]] = {
    "none": lambda t: t.context(RADIAN),
    "no units at all": lambda t: t.add("GEOMETRIC_REPRESENTATION_CONTEXT('','3D',3)"),
    "a missing instance": lambda t: t.context("#999999", RADIAN),
    "two that differ": lambda t: t.context(MILLIMETRE, CENTIMETRE, RADIAN),
    "no prefix of SI": lambda t: t.context(MILLIMETRE.replace("MILLI", "FOO"), RADIAN),
    "no unit of length": lambda t: t.context(MILLIMETRE.replace("METRE", "GRAM"), RADIAN),
    "of no size": lambda t: t.context(t.converted("u", INCH.format(t.add(MILLIMETRE)).replace("25.4", "0.")), RADIAN),
    "without conversion": lambda t: t.context(
        f"(CONTEXT_DEPENDENT_UNIT('u')LENGTH_UNIT()NAMED_UNIT({t.add('DIMENSIONAL_EXPONENTS(1.,0.,0.,0.,0.,0.,0.)')}))",
        RADIAN,
    ),
    "of itself": lambda t: t.context(t.converted("u", INCH.format(f"#{len(t.lines) + 3}")), RADIAN),
}


@pytest.mark.parametrize("kind", ODD_UNITS)
def test_a_unit_that_is_missing_or_unknown_is_refused(kind: str, tmp_path: Path) -> None:
    text = StepText()
    context = ODD_UNITS[kind](text)
    path = one_part(text, context, text.placement(), text.box()).write(tmp_path / "part.step")
    with pytest.raises(GeometryError, match=f"unit.*its context is {context}"):
        CadLoader().create_from_file(path)


@pytest.mark.parametrize("context", ["$", "*", "#999999"])
def test_a_shape_without_a_context_is_refused(context: str, tmp_path: Path) -> None:
    text = StepText()
    path = one_part(text, context, text.placement(), text.box()).write(tmp_path / "part.step")
    with pytest.raises(GeometryError, match=f"without units.*its context is {re.escape(context)}"):
        CadLoader().create_from_file(path)


def test_a_representation_of_points_needs_no_unit(tmp_path: Path) -> None:
    text = StepText()
    bare = text.add("GEOMETRIC_REPRESENTATION_CONTEXT('','3D',3)")
    text.shape(bare, text.point(1, 2, 3), text.placement(), kind="SHAPE_REPRESENTATION")
    path = one_part(text, text.context(), text.placement(), text.box()).write(tmp_path / "part.step")
    assert_box(path, 6000, (0, 0, 0), (10, 20, 30))


@pytest.mark.parametrize("depth", [1, 3])
def test_a_unit_of_angle_is_followed_to_its_end(depth: int, tmp_path: Path) -> None:
    """A cone's half angle in a unit of units of half a radian each."""
    text = solids.write_step(solids.cone(), tmp_path / "cone.step").read_text()
    radian = re.search(r"#(\d+) = \( NAMED_UNIT\(\*\) PLANE_ANGLE_UNIT\(\) SI_UNIT\(\$,\.RADIAN\.\) \);", text)
    assert radian is not None
    more, under = "", "#90000"
    for step in range(depth):
        number = int(radian.group(1)) if step == depth - 1 else 90001 + 10 * step
        more += (
            f"#{90005 + 10 * step}=PLANE_ANGLE_MEASURE_WITH_UNIT(PLANE_ANGLE_MEASURE(0.5),{under});\n"
            f"#{number}=(CONVERSION_BASED_UNIT('HALF',#{90005 + 10 * step})NAMED_UNIT(#90009)PLANE_ANGLE_UNIT());\n"
        )
        under = f"#{number}"
    more += f"#90000={RADIAN};\n#90009=DIMENSIONAL_EXPONENTS(0.,0.,0.,0.,0.,0.,0.);\n"
    text = text.replace(radian.group(), more)
    text = re.sub(r"(CONICAL_SURFACE\('',#\d+,[\d.]+,)([\d.]+)\)", lambda m: f"{m[1]}{float(m[2]) * 2**depth!r})", text)
    (tmp_path / "cone.step").write_text(text)
    wanted = np.pi * 4.0 * (9 + 3 + 1) / 3
    ways = {way: model.get_brep().volume() for way, model in read_every_way(tmp_path / "cone.step")}
    assert {"text", "light", "full"} <= set(ways)
    assert list(ways.values()) == pytest.approx([wanted] * len(ways))
    unstated = re.sub(rf"(#\d+),#{radian.group(1)},(#\d+)", r"\1,\2", text)
    assert unstated != text
    (tmp_path / "cone.step").write_text(unstated)
    with pytest.raises(GeometryError, match="unit of angle"):
        CadLoader().create_from_file(tmp_path / "cone.step")
