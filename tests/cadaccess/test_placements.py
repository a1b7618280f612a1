"""Placements and representations: what a file states is what comes out, however it is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dflow.cadaccess import CadLoader
from dflow.cadaccess.files.part21 import RefusedError
from dflow.cadaccess.step.reader import read_step
from dflow.errors import CadError, GeometryError, UnreadableFileError
from tests.cadaccess.everyway import INCH, assert_box, one_part, read_every_way
from tests.cadaccess.stepboxes import MILLIMETRE, RADIAN, StepText

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
