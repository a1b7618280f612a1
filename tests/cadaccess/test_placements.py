"""Placements, scales, units and representations: what a file states is what comes out, however it is read."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from OCP.BRepBuilderAPI import BRepBuilderAPI_Transform
from OCP.gp import gp_Ax1, gp_Ax2, gp_Dir, gp_Pnt, gp_Trsf, gp_Vec
from OCP.TopAbs import TopAbs_FACE, TopAbs_SHELL
from OCP.TopExp import TopExp_Explorer
from OCP.TopLoc import TopLoc_Location
from OCP.TopoDS import TopoDS_Shape

from dflow.cadaccess import Brep, CadLoader, CadModel, defects, loader
from dflow.cadaccess.files.formats import CadFormat
from dflow.cadaccess.files.part21 import RefusedError
from dflow.cadaccess.kernel import reading
from dflow.cadaccess.step import text_model
from dflow.cadaccess.step.reader import read_step
from dflow.errors import CadError, GeometryError, UnreadableFileError
from tests.cadaccess import solids
from tests.cadaccess.stepboxes import MILLIMETRE, RADIAN, StepText

INCH = "LENGTH_MEASURE_WITH_UNIT(LENGTH_MEASURE(25.4),{})"


def read_every_way(path: Path) -> Iterator[tuple[str, CadModel]]:
    """The model of a STEP file by every way of reading that takes it, and as it is read by default."""
    content, started = path.read_bytes(), time.perf_counter()
    try:
        text = text_model._build(path, content, read_step(content), started)
        yield "text", text
    except RefusedError:
        pass
    for level in ("planar", "light", "full"):
        moved = reading.transfer(path, content, CadFormat.STEP, level)
        model = loader._build_model(path, content, CadFormat.STEP, moved, "", started)
        if level == "full" or not defects.find_defect(model.get_brep()):
            yield level, model
    yield "default", CadLoader().create_from_file(path)


def assert_box(path: Path, volume: float, low: tuple, high: tuple, n_solids: int = 1) -> list[str]:
    """Check the volume, the box and the number of solids in every way; returns the ways."""
    ways = []
    for way, model in read_every_way(path):
        brep = model.get_brep()
        ways.append(way)
        assert brep.volume() == pytest.approx(volume, rel=1e-9), way
        np.testing.assert_allclose(brep.bounding_box(), [*low, *high], atol=1e-6 * max(1.0, *map(abs, high)))
        assert (brep.tables.n_solids, model.get_body_count()) == (n_solids, n_solids), way
        assert not (brep.edge_convexities() == 2).any(), way
    return ways


def one_part(text: StepText, context: str, *items: str) -> StepText:
    text.product("p", text.shape(context, *items))
    return text


# -- the shared cases

CASES = (
    "root_placement_moved",
    "root_placement_moved_with_comment",
    "mapped_item_scale2",
    "scaled_instance_occt8",
    "mirrored_instance_occt8",
    "unit_of_unit_mil",
    "unit_complex_measure_foot",
    "data_section_with_name",
    "number_split_by_newline",
    "solid_in_two_reps",
)


@pytest.mark.parametrize("name", CASES)
def test_the_shared_cases_give_their_values_in_every_way(name: str) -> None:
    folder = Path(__file__).resolve().parents[3] / "shared" / "data" / "cases"
    if not folder.is_dir():
        pytest.skip("no ../shared/data/cases")
    wanted = json.loads((folder / "manifest.json").read_text())[f"{name}.step"]
    if set(wanted) == {"or", "why"}:
        with pytest.raises(UnreadableFileError, match="split"):
            CadLoader().create_from_file(folder / f"{name}.step")
        return
    for way, model in read_every_way(folder / f"{name}.step"):
        brep = model.get_brep()
        found = {
            "volume": brep.volume(),
            "area": brep.area(),
            "low": brep.bounding_box()[:3].tolist(),
            "n_solids": brep.tables.n_solids,
            "n_concave": int((brep.edge_convexities() == 2).sum()),
            "edge_length": float(brep.edge_lengths().sum()),
        }
        for key in found.keys() & wanted.keys():
            assert found[key] == pytest.approx(wanted[key], rel=1e-4, abs=1e-6), (way, key)


# -- a representation's own placement


def test_a_parts_own_placement_moves_it_in_every_way(tmp_path: Path) -> None:
    text = StepText()
    one_part(text, text.context(), text.placement((50, 60, 70), (1, 0, 0), (0, 1, 0)), text.box())
    path = text.write(tmp_path / "moved.step")
    assert "text" not in assert_box(path, 6000, (50, 60, 70), (80, 70, 90))
    with pytest.raises(RefusedError, match="placement"):
        read_step(path.read_bytes())


@pytest.mark.parametrize("axes", [",$,$)", ",#{z},$)", ",$,#{x})"])
def test_a_placement_that_leaves_out_its_axes_moves_nothing(axes: str, tmp_path: Path) -> None:
    text = StepText()
    z, x = text.direction(0, 0, 2), text.direction(3, 0, 0)
    axes = axes.replace("#{z}", z).replace("#{x}", x)
    place = text.add(f"AXIS2_PLACEMENT_3D('',{text.point(0, 0, 0)}{axes}")
    path = one_part(text, text.context(), place, text.box()).write(tmp_path / "part.step")
    assert "text" in assert_box(path, 6000, (0, 0, 0), (10, 20, 30))


def test_a_placement_of_a_representation_without_shape_moves_nothing(tmp_path: Path) -> None:
    text = StepText()
    context = text.context()
    empty = text.shape(context, text.placement((5, 0, 0)), kind="SHAPE_REPRESENTATION")
    full = text.shape(context, text.box())
    text.product("p", empty)
    text.add(f"SHAPE_REPRESENTATION_RELATIONSHIP('','',{empty},{full})")
    assert "text" in assert_box(text.write(tmp_path / "part.step"), 6000, (0, 0, 0), (10, 20, 30))


def test_related_representations_keep_their_own_units_and_placements(tmp_path: Path) -> None:
    text = StepText()
    mm, rad = text.add(MILLIMETRE), text.add(RADIAN)
    inch = text.converted("INCH", INCH.format(mm))
    first = text.shape(text.context(mm, rad), text.placement(), text.box())
    second = text.shape(text.context(inch, rad), text.placement((-10, 0, 0)), text.box(1, 1, 1))
    text.product("p", first)
    text.add(f"SHAPE_REPRESENTATION_RELATIONSHIP('','',{first},{second})")
    assert_box(text.write(tmp_path / "part.step"), 6000 + 25.4**3, (-254, 0, 0), (10, 25.4, 30), n_solids=2)


@pytest.mark.parametrize("unit_of_whole", ["millimetre", "inch"])
def test_an_assembly_of_parts_in_different_units(unit_of_whole: str, tmp_path: Path) -> None:
    """Two instances of one product remain two solids."""
    text = StepText()
    mm, rad = text.add(MILLIMETRE), text.add(RADIAN)
    inch = text.converted("INCH", INCH.format(mm))
    metric, imperial = text.context(mm, rad), text.context(inch, rad)
    origins = text.placement(), text.placement()
    shapes = text.shape(metric, origins[0], text.box()), text.shape(imperial, origins[1], text.box(1, 1, 1))
    places = text.placement((100, 0, 0)), text.placement((20, 0, 0)), text.placement((0, 0, 50))
    whole = text.shape(metric if unit_of_whole == "millimetre" else imperial, *places, kind="SHAPE_REPRESENTATION")
    parts = text.product("a", shapes[0]), text.product("b", shapes[1])
    product = text.product("whole", whole)
    for which, place in zip((0, 1, 1), places, strict=True):
        operator = text.add(f"ITEM_DEFINED_TRANSFORMATION('','',{origins[which]},{place})")
        text.use(product, parts[which], (shapes[which], whole), operator)
    scale = 1.0 if unit_of_whole == "millimetre" else 25.4
    high = max(100 * scale + 10, 20 * scale + 25.4), 25.4, 50 * scale + 25.4
    assert_box(text.write(tmp_path / "part.step"), 6000 + 2 * 25.4**3, (0, 0, 0), high, n_solids=3)


# -- one solid in several representations


@pytest.mark.parametrize("n", [2, 3])
def test_one_solid_in_several_representations_of_a_product_is_one(n: int, tmp_path: Path) -> None:
    text = StepText()
    context, place, box = text.context(), text.placement(), text.box()
    shapes = [text.shape(context, place, box) for _ in range(n)]
    text.product("p", shapes[0])
    for shape in shapes[1:]:
        text.add(f"SHAPE_REPRESENTATION_RELATIONSHIP('','',{shapes[0]},{shape})")
    ways = assert_box(text.write(tmp_path / "part.step"), 6000, (0, 0, 0), (10, 20, 30))
    assert ways == ["text", "planar", "light", "full", "default"]


# -- mapped items


def test_mapped_items_scale_also_within_one_another(tmp_path: Path) -> None:
    text = StepText()
    context = text.context()
    box = text.shape(context, text.placement(), text.box())
    copies = text.mapped(box, text.operator((10, 0, 0), "2.")), text.mapped(box, text.placement((0, 0, -100)))
    inner = text.shape(context, text.placement(), *copies, kind="SHAPE_REPRESENTATION")
    turned = text.operator((0, 0, 7), "3.", ((0, 1, 0), (0, 0, 1), (1, 0, 0)))
    outer = text.shape(context, text.placement(), text.mapped(inner, turned), kind="SHAPE_REPRESENTATION")
    text.product("p", outer)
    volume = 6000 * 27 * (8 + 1)
    assert_box(text.write(tmp_path / "part.step"), volume, (-300, 0, 7), (180, 90, 127), n_solids=2)


@pytest.mark.parametrize("scale", ["$", "1.", "0.25", "1.5E0"])
def test_a_mapped_item_keeps_the_unit_of_what_it_maps(scale: str, tmp_path: Path) -> None:
    text = StepText()
    mm, rad = text.add(MILLIMETRE), text.add(RADIAN)
    inches = text.context(text.converted("INCH", INCH.format(mm)), rad)
    box = text.shape(inches, text.placement(), text.box(1, 1, 1))
    item = text.mapped(box, text.operator((10, 0, 0), scale))
    text.product("p", text.shape(text.context(mm, rad), item, kind="SHAPE_REPRESENTATION"))
    side = 25.4 * (1.0 if scale == "$" else float(scale))
    assert_box(text.write(tmp_path / "part.step"), side**3, (10, 0, 0), (10 + side, side, side))


def test_a_mirrored_mapped_item_is_refused(tmp_path: Path) -> None:
    text = StepText()
    context = text.context()
    box = text.shape(context, text.placement(), text.box())
    item = text.mapped(box, text.operator((0, 0, 0), "1.", ((1, 0, 0), (0, 1, 0), (0, 0, -1))))
    text.product("p", text.shape(context, item, kind="SHAPE_REPRESENTATION"))
    with pytest.raises(GeometryError, match="mirrored"):
        CadLoader().create_from_file(text.write(tmp_path / "part.step"))


AXES = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
TURNED = ((0, 1, 0), (-1, 0, 0), (0, 0, 1))


@pytest.mark.parametrize("unit_of_whole", ["millimetre", "inch"])
@pytest.mark.parametrize("scale", ["$", "1.", "2.", "0.25"])
@pytest.mark.parametrize("axes", [AXES, TURNED], ids=["straight", "turned"])
def test_a_part_of_an_assembly_may_be_placed_by_an_operator(
    axes: tuple, scale: str, unit_of_whole: str, tmp_path: Path
) -> None:
    text = StepText()
    mm, rad = text.add(MILLIMETRE), text.add(RADIAN)
    metric, imperial = text.context(mm, rad), text.context(text.converted("INCH", INCH.format(mm)), rad)
    part = text.shape(metric, text.placement(), text.box(1, 2, 3))
    whole = text.shape(
        metric if unit_of_whole == "millimetre" else imperial, text.placement(), kind="SHAPE_REPRESENTATION"
    )
    products = text.product("whole", whole), text.product("part", part)
    text.use(*products, (part, whole), text.operator((10, 0, 0), scale, axes))
    size = 1.0 if scale == "$" else float(scale)
    at = 10.0 if unit_of_whole == "millimetre" else 254.0
    low, high = (
        ((at, 0, 0), (at + size, 2 * size, 3 * size)) if axes is AXES else ((at - 2 * size, 0, 0), (at, size, 3 * size))
    )
    assert_box(text.write(tmp_path / "part.step"), 6 * size**3, low, high)


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_the_kernels_own_assemblies_scale_as_it_wrote_them(scale: float, tmp_path: Path) -> None:
    """It states the scale of a part's placement as the inverse."""
    placed = solids.box(1, 2, 3).Located(TopLoc_Location(_scaled(scale)), False)
    path = solids.write_step(solids.compound(solids.box(1, 2, 3), placed), tmp_path / "part.step")
    assert f",{1 / scale:g}" in path.read_text().split("CARTESIAN_TRANSFORMATION_OPERATOR_3D")[1]
    for way, model in read_every_way(path):
        assert model.get_brep().volume() == pytest.approx(6 * (1 + scale**3)), way


def _mirroring(text: StepText, part: str, whole: str) -> str:
    return text.operator((0, 0, 0), "1.", ((1, 0, 0), (0, 1, 0), (0, 0, -1)))


def _to_operator(text: StepText, part: str, whole: str) -> str:
    return text.add(f"ITEM_DEFINED_TRANSFORMATION('','',{text.placement()},{text.operator((10, 0, 0), '2.')})")


@pytest.mark.parametrize(("operator", "message"), [(_mirroring, "mirrored"), (_to_operator, "from or to an operator")])
def test_a_placement_that_the_kernel_misreads_is_refused(
    operator: Callable[[StepText, str, str], str], message: str, tmp_path: Path
) -> None:
    text = StepText()
    context = text.context()
    part = text.shape(context, text.placement(), text.box())
    whole = text.shape(context, text.placement(), kind="SHAPE_REPRESENTATION")
    products = text.product("whole", whole), text.product("part", part)
    text.use(*products, (part, whole), operator(text, part, whole))
    with pytest.raises(GeometryError, match=f"{message}.*export the copies as solids"):
        CadLoader().create_from_file(text.write(tmp_path / "part.step"))


@pytest.mark.parametrize("target", ["placement", "operator"])
@pytest.mark.parametrize("at", [(0, 0, 0), (1, 0, 0)])
def test_a_mapped_item_goes_from_its_origin_to_its_target(at: tuple, target: str, tmp_path: Path) -> None:
    """How an operator is to be used with another origin is not agreed upon, and the kernel ignores the origin."""
    text = StepText()
    context = text.context()
    source = text.add(
        f"REPRESENTATION_MAP({text.placement(at)},{text.shape(context, text.placement(), text.box(1, 2, 3))})"
    )
    to = text.placement((10, 0, 0)) if target == "placement" else text.operator((10, 0, 0), "1.")
    item = text.add(f"MAPPED_ITEM('',{source},{to})")
    text.product("p", text.shape(context, text.placement(), item, kind="SHAPE_REPRESENTATION"))
    path = text.write(tmp_path / "part.step")
    if target == "operator" and any(at):
        with pytest.raises(GeometryError, match="maps from a placement that is not the origin"):
            CadLoader().create_from_file(path)
        return
    assert_box(path, 6, (10 - at[0], 0, 0), (11 - at[0], 2, 3))


@pytest.mark.parametrize("depth", [2, 3])
def test_assemblies_of_assemblies_multiply_their_placements(depth: int, tmp_path: Path) -> None:
    text = StepText()
    context = text.context()
    origin = text.placement()
    shape = text.shape(context, origin, text.box(1, 2, 3))
    part = text.product("p", shape)
    corners = np.array([(x, y, z) for x in (0, 1) for y in (0, 2) for z in (0, 3)], float)
    turn = np.array([(0, -1, 0), (1, 0, 0), (0, 0, 1)], float)
    for level in range(depth):
        places = text.placement((10, 0, 0), (0, 0, 1), (0, 1, 0)), text.placement((0, 0, 20))
        own = text.placement()
        whole = text.shape(context, own, *places, kind="SHAPE_REPRESENTATION")
        product = text.product(f"whole {level}", whole)
        for place in places:
            text.use(product, part, (shape, whole), text.add(f"ITEM_DEFINED_TRANSFORMATION('','',{origin},{place})"))
        corners = np.concatenate([corners @ turn.T + np.array([10, 0, 0]), corners + np.array([0, 0, 20])])
        part, shape, origin = product, whole, own
    low, high = tuple(corners.min(axis=0)), tuple(corners.max(axis=0))
    assert_box(text.write(tmp_path / "part.step"), 6 * 2**depth, low, high, n_solids=2**depth)


# -- units


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


# -- the text itself


@pytest.mark.parametrize("space", ["\n", " ", "\r\n  ", "\n\n"])
def test_a_number_that_white_space_splits_is_refused(space: str, tmp_path: Path) -> None:
    text = StepText()
    one_part(text, text.context(), text.placement(), text.box())
    path = tmp_path / "part.step"
    whole = text.text()
    assert "(0.0,20.0,30.0)" in whole
    path.write_bytes(whole.replace("(0.0,20.0,30.0)", f"(0.0,2{space}0.0,30.0)", 1).encode())
    with pytest.raises(RefusedError, match="split"):
        read_step(path.read_bytes())
    with pytest.raises(UnreadableFileError, match="does not split numbers"):
        CadLoader().create_from_file(path)
    path.write_bytes(whole.replace("PRODUCT('p','p'", f"PRODUCT('1{space}2','3 4'").replace(",", f",{space}").encode())
    assert CadLoader().create_from_file(path).get_brep().volume() == pytest.approx(6000)


def test_a_data_section_may_have_a_name(tmp_path: Path) -> None:
    text = StepText()
    one_part(text, text.context(), text.placement(), text.box())
    path = tmp_path / "part.step"
    path.write_text(text.text().replace("DATA;", "DATA ('it''s; (1)',\n('AUTOMOTIVE_DESIGN'));"))
    assert_box(path, 6000, (0, 0, 0), (10, 20, 30))


def test_several_data_sections_are_not_called_truncated(tmp_path: Path) -> None:
    text = StepText()
    one_part(text, text.context(), text.placement(), text.box())
    path = tmp_path / "part.step"
    path.write_text(
        text.text().replace("DATA;\n", "DATA('a',('X'));\n#99999=DIRECTION('',(0.,1.));\nENDSEC;\nDATA('b',('X'));\n")
    )
    with pytest.raises(CadError, match="2 DATA sections"):
        CadLoader().create_from_file(path)


# -- locations that scale or mirror


def _scaled(factor: float) -> gp_Trsf:
    move = gp_Trsf()
    move.SetScale(gp_Pnt(1, 2, 3), factor)
    return move


def _mirrored() -> gp_Trsf:
    move = gp_Trsf()
    move.SetMirror(gp_Ax2(gp_Pnt(1, 2, 3), gp_Dir(1, 1, 0.3)))
    return move


def _turned() -> gp_Trsf:
    turn, shift = gp_Trsf(), gp_Trsf()
    turn.SetRotation(gp_Ax1(gp_Pnt(3, 1, 2), gp_Dir(0.2, 1, 0.7)), 0.8)
    shift.SetTranslation(gp_Vec(10, -5, 2))
    return shift.Multiplied(turn)


CHAINS = {
    "scaled": [_scaled(2)],
    "mirrored": [_mirrored()],
    "inverted": [_scaled(-0.5)],
    "scaled and mirrored": [_scaled(2), _mirrored()],
    "mirrored twice": [_mirrored(), _turned(), _mirrored()],
    "scaled and back": [_scaled(2), _scaled(0.5)],
    "turned in between": [_turned(), _scaled(3), _turned(), _mirrored(), _turned()],
}
SHAPES: dict[str, Callable[[], TopoDS_Shape]] = {
    "pocket": solids.pocket,
    "drilled": solids.drilled,
    "cone": solids.cone,
    "torus": solids.torus,
    "sphere": solids.sphere,
}


def _placed(shape: TopoDS_Shape, chain: list[gp_Trsf]) -> TopoDS_Shape:
    """The shape in compounds, one in the other, each placed by one of the chain."""
    for move in chain:
        shape = solids.compound(shape.Located(TopLoc_Location(move), False))
    return shape


def _assert_copy(brep: Brep, original: Brep, chain: list[gp_Trsf]) -> None:
    """That `brep` is the original, moved by all of the chain: sizes, senses and places."""
    size = abs(np.prod([move.ScaleFactor() for move in chain]))

    def moved(points: np.ndarray) -> np.ndarray:
        at = [gp_Pnt(*point) for point in points.tolist()]
        for move in chain:
            for point in at:
                point.Transform(move)
        return np.array([(point.X(), point.Y(), point.Z()) for point in at])

    assert brep.volume() == pytest.approx(original.volume() * size**3)
    np.testing.assert_allclose(brep.face_areas(), original.face_areas() * size**2)
    np.testing.assert_allclose(brep.edge_lengths(), original.edge_lengths() * size)
    np.testing.assert_allclose(brep.face_centroids(), moved(original.face_centroids()), atol=1e-6)
    np.testing.assert_allclose(brep.centroid(), moved(original.centroid()[None])[0], atol=1e-6)
    np.testing.assert_array_equal(brep.edge_convexities(), original.edge_convexities())
    np.testing.assert_allclose(np.sort(brep.tables.points, 0), np.sort(moved(original.tables.points), 0), atol=1e-6)
    points, normals = brep.surface_samples(1000, 0)
    flux = np.einsum("fni,fni->fn", points - brep.centroid(), normals).mean(axis=1) @ brep.face_areas() / 3
    assert flux == pytest.approx(brep.volume(), rel=0.1)  # normals point outwards
    assert brep.is_closed()
    assert brep.is_valid()


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("name", SHAPES)
def test_a_brep_file_whose_locations_scale_or_mirror(name: str, chain: str, tmp_path: Path) -> None:
    original = solids.open_brep(SHAPES[name](), tmp_path)
    model = solids.open_model(_placed(SHAPES[name](), CHAINS[chain]), tmp_path)
    assert (model.get_body_count(), model.get_brep().n_faces) == (1, original.n_faces)
    _assert_copy(model.get_brep(), original, CHAINS[chain])
    _assert_copy(model.get_brep(0), original, CHAINS[chain])


@pytest.mark.parametrize("move", [_scaled(2), _mirrored()], ids=["scaled", "mirrored"])
def test_copies_of_a_part_stay_apart_and_the_rest_is_shared(move: gp_Trsf, tmp_path: Path) -> None:
    part = solids.drilled()
    shifted = part.Moved(TopLoc_Location(_turned()))
    copy = part.Located(TopLoc_Location(move), False)
    away = copy.Located(TopLoc_Location(_turned()).Multiplied(copy.Location()), False)
    model = solids.open_model(solids.compound(part, shifted, copy, away, copy), tmp_path)
    original = solids.open_brep(part, tmp_path)
    assert (model.get_body_count(), model.get_brep().n_faces) == (4, 4 * original.n_faces)
    for body, chain in enumerate(([], [_turned()], [move], [move, _turned()])):
        _assert_copy(model.get_brep(body), original, chain)


def _with_parts_placed(shape: TopoDS_Shape, move: gp_Trsf, kind: object) -> TopoDS_Shape:
    """A solid whose shells, or whose shells' faces, are placed each by itself."""
    from OCP.BRep import BRep_Builder
    from OCP.TopoDS import TopoDS_Shell, TopoDS_Solid

    builder, solid, shell = BRep_Builder(), TopoDS_Solid(), TopoDS_Shell()
    builder.MakeSolid(solid)
    builder.MakeShell(shell)
    walk = TopExp_Explorer(shape, kind)
    while walk.More():
        part = walk.Current().Located(TopLoc_Location(move), False)
        builder.Add(solid if kind == TopAbs_SHELL else shell, part)
        walk.Next()
    if kind == TopAbs_FACE:
        builder.Add(solid, shell)
    return solid


def test_a_solid_whose_shell_is_placed_with_scale(tmp_path: Path) -> None:
    original = solids.open_brep(solids.drilled(), tmp_path)
    shape = _with_parts_placed(solids.drilled(), _mirrored(), TopAbs_SHELL)
    brep = solids.open_brep(_placed(shape, [_scaled(3)]), tmp_path)
    _assert_copy(brep, original, [_mirrored(), _scaled(3)])


def test_faces_that_are_scaled_apart_within_a_shell_are_refused(tmp_path: Path) -> None:
    shape = _with_parts_placed(solids.drilled(), _mirrored(), TopAbs_FACE)
    with pytest.raises(GeometryError, match="placed with scale or mirror"):
        solids.open_brep(shape, tmp_path)


@pytest.mark.parametrize("move", [_scaled(2), _mirrored(), _scaled(-3)], ids=["scaled", "mirrored", "inverted"])
@pytest.mark.parametrize("name", SHAPES)
def test_instances_that_the_kernel_writes_with_scale_or_mirror(name: str, move: gp_Trsf, tmp_path: Path) -> None:
    part = SHAPES[name]()
    copy = part.Located(TopLoc_Location(move), False)
    path = solids.write_step(solids.compound(part, copy), tmp_path / "part.step")
    assert "CARTESIAN_TRANSFORMATION_OPERATOR_3D" in path.read_text()
    original = solids.open_brep(part, tmp_path)
    size = abs(move.ScaleFactor())
    for way, model in read_every_way(path):
        assert model.get_body_count() == 2, way
        breps = sorted((model.get_brep(body) for body in range(2)), key=lambda brep: brep.centroid().tolist())
        wanted = sorted((size**3, 1.0))
        assert sorted(brep.volume() / original.volume() for brep in breps) == pytest.approx(wanted), way
        area = sum(brep.area() for brep in breps)
        assert area == pytest.approx(original.area() * (1 + size**2)), way
        n_concave = 2 * int((original.edge_convexities() == 2).sum())
        assert int((model.get_brep().edge_convexities() == 2).sum()) == n_concave, way


def test_a_copy_in_place_keeps_the_names_of_its_faces(tmp_path: Path) -> None:
    part = solids.box()
    path = solids.write_step(
        solids.compound(part, part.Located(TopLoc_Location(_scaled(2)), False)), tmp_path / "part.step"
    )
    count = iter(range(100))
    path.write_text(re.sub(r"ADVANCED_FACE\(''", lambda _: f"ADVANCED_FACE('f{next(count)}'", path.read_text()))
    model = CadLoader().create_from_file(path)
    names = [f"f{i}" for i in range(6)]
    assert [sorted(model.get_brep(body).face_names()) for body in (0, 1)] == [names, names]
    assert sorted(model.get_brep().face_names()) == sorted(names * 2)


def test_a_transformed_shape_is_what_its_location_says(tmp_path: Path) -> None:
    """The kernel's own copy in place is the oracle: face by face, in the same order."""
    part, move = solids.boss(), _turned().Multiplied(_mirrored()).Multiplied(_scaled(1.5))
    ours = solids.open_brep(part.Located(TopLoc_Location(move), False), tmp_path)
    kernels = solids.open_brep(BRepBuilderAPI_Transform(part, move, True).Shape(), tmp_path)
    np.testing.assert_allclose(ours.face_samples(4, 4), kernels.face_samples(4, 4), atol=1e-9)
    np.testing.assert_allclose(ours.edge_samples(4), kernels.edge_samples(4), atol=1e-9)
