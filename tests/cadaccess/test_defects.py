"""Each defect is found by its name; loops of one face that touch or cross are left to full healing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from OCP.BRepBuilderAPI import (
    BRepBuilderAPI_MakeEdge,
    BRepBuilderAPI_MakeFace,
    BRepBuilderAPI_MakePolygon,
    BRepBuilderAPI_MakeWire,
)
from OCP.BRepPrimAPI import BRepPrimAPI_MakeBox, BRepPrimAPI_MakePrism
from OCP.Geom import Geom_Circle, Geom_TrimmedCurve
from OCP.GeomConvert import GeomConvert
from OCP.gp import gp_Ax2, gp_Circ, gp_Dir, gp_Elips, gp_Pnt, gp_Vec
from OCP.TopoDS import TopoDS, TopoDS_Face, TopoDS_Shape, TopoDS_Wire

from dflow.cadaccess import Brep, CadLoader, CadModel, defects, loader
from dflow.cadaccess.files.formats import CadFormat
from dflow.cadaccess.kernel.reading import transfer
from dflow.cadaccess.kernel.shape import KernelShape
from dflow.errors import GeometryError
from tests.cadaccess import broken, solids
from tests.cadaccess.broken import DIAMOND, SQUARE, flat_face

Hole = Callable[[float], TopoDS_Wire]


def _axes(x: float, y: float) -> gp_Ax2:
    return gp_Ax2(gp_Pnt(x, y, 0), gp_Dir(0, 0, 1))


def _wire(*curves: object) -> TopoDS_Wire:
    maker = BRepBuilderAPI_MakeWire()
    for curve in curves:
        maker.Add(BRepBuilderAPI_MakeEdge(curve).Edge())
    return maker.Wire()


def _circle(gap: float) -> TopoDS_Wire:
    """A circle with its left side `gap` to the right of x = 0; its seam lies on the far side."""
    return _wire(gp_Circ(_axes(2.0 + gap, 5.0), 2.0))


def _ellipse(gap: float) -> TopoDS_Wire:
    return _wire(gp_Elips(_axes(3.0 + gap, 4.0), 3.0, 1.5))


def _spline(gap: float) -> TopoDS_Wire:
    """The circle as two B-splines, neither of which ends near x = 0."""
    round_ = Geom_Circle(gp_Circ(_axes(2.0 + gap, 5.0), 2.0))
    spans = [(-2.0, 2.0), (2.0, 2 * np.pi - 2.0)]
    return _wire(*(GeomConvert.CurveToBSplineCurve_s(Geom_TrimmedCurve(round_, *span)) for span in spans))


def _square(gap: float) -> TopoDS_Wire:
    """Stands on its corner, which points to x = 0."""
    corners = [(gap, 5.0), (gap + 2, 3.0), (gap + 4, 5.0), (gap + 2, 7.0)]
    maker = BRepBuilderAPI_MakePolygon()
    for corner in corners:
        maker.Add(gp_Pnt(*corner, 0))
    maker.Close()
    return maker.Wire()


HOLES: dict[str, Hole] = {"circle": _circle, "ellipse": _ellipse, "spline": _spline, "square": _square}


def _plate(hole: TopoDS_Wire, side: float = 10.0) -> TopoDS_Shape:
    """A square plate from x = 0, y = 0 with a straight hole."""
    edge = BRepBuilderAPI_MakePolygon()
    for corner in ((0, 0), (side, 0), (side, side), (0, side)):
        edge.Add(gp_Pnt(*corner, 0))
    edge.Close()
    return BRepPrimAPI_MakePrism(_face(edge.Wire(), hole), gp_Vec(0, 0, 3)).Shape()


def _face(outer: TopoDS_Wire, hole: TopoDS_Wire) -> TopoDS_Face:
    maker = BRepBuilderAPI_MakeFace(outer, True)
    maker.Add(TopoDS.Wire(hole.Reversed()))
    return maker.Face()


def _contact(shape: TopoDS_Shape, folder: Path) -> int:
    brep = solids.open_brep(shape, folder)
    return defects.find_contact(brep.tables, brep.chords)


@pytest.mark.parametrize("hole", HOLES.values(), ids=HOLES)
@pytest.mark.parametrize("gap", [0.0, 1e-8, -0.01, -1.0])
def test_a_hole_that_reaches_the_rim_touches_it(hole: Hole, gap: float, tmp_path: Path) -> None:
    assert _contact(_plate(hole(gap)), tmp_path) >= 0


@pytest.mark.parametrize("hole", HOLES.values(), ids=HOLES)
@pytest.mark.parametrize("gap", [1e-5, 1e-3, 0.5])
def test_a_hole_however_near_the_rim_is_apart(hole: Hole, gap: float, tmp_path: Path) -> None:
    assert _contact(_plate(hole(gap)), tmp_path) == -1


@pytest.mark.parametrize(("gap", "touches"), [(0.0, True), (1e-8, True), (1e-5, False), (1e-3, False), (0.1, False)])
@pytest.mark.parametrize("turn", [0.3, 2.0, np.pi, 5.5])
@pytest.mark.parametrize("outer", ["circle", "ellipse"])
def test_a_circle_in_a_round_face(gap: float, touches: bool, turn: float, outer: str, tmp_path: Path) -> None:
    off = 3.0 - 1.1 - gap
    inner = _wire(gp_Circ(_axes(off * np.cos(turn), off * np.sin(turn)), 1.1))
    around = gp_Circ(_axes(0, 0), 3.0) if outer == "circle" else gp_Elips(_axes(0, 0), 3.0, 3.0 - 1e-12)
    assert (_contact(_face(_wire(around), inner), tmp_path) >= 0) is touches


def test_loops_along_each_other_touch(tmp_path: Path) -> None:
    inner = _wire(gp_Circ(_axes(0, 0), 3.0))
    assert _contact(_face(_wire(gp_Elips(_axes(0, 0), 3.0, 3.0 - 1e-9)), inner), tmp_path) == 0


def test_holes_in_rows_are_apart(tmp_path: Path) -> None:
    shape = solids.drilled()
    assert _contact(solids.compound(shape, solids.pocket(), _plate(_circle(1.0))), tmp_path) == -1


@pytest.mark.parametrize("name", ["circle", "ellipse", "spline"])
def test_touching_loops_are_left_to_full_healing(name: str, tmp_path: Path) -> None:
    path = solids.write_step(_plate(HOLES[name](0.0)), tmp_path / "part.step")
    model = CadLoader().create_from_file(path)
    assert (model.read_report.healing, "loops that touch" in model.read_report.fallback) == ("full", True)
    light = KernelShape(transfer(path, path.read_bytes(), CadFormat.STEP, "light").shape)
    full = KernelShape(transfer(path, path.read_bytes(), CadFormat.STEP, "full").shape)
    assert light.edge_map.Extent() < full.edge_map.Extent() == model.get_brep().n_edges


def test_a_narrow_bridge_needs_no_healing(tmp_path: Path) -> None:
    model = solids.open_model(_plate(_circle(1e-3)), tmp_path, ".step")
    assert model.read_report.healing == "text"
    assert model.get_brep().n_edges == 15


def test_whole_shapes_have_no_defect(tmp_path: Path) -> None:
    shapes = [
        solids.box(),
        solids.sphere(),
        solids.torus(),
        solids.drilled(),
        flat_face(SQUARE),
        broken.round_face(2.0),
    ]
    assert [solids.open_model(shape, tmp_path).find_defects() for shape in shapes] == [{}] * len(shapes)


DEFECTIVE: dict[str, tuple[TopoDS_Shape, str]] = {
    "loop open": (flat_face(SQUARE, closed=False), "face 0 has a loop that does not close"),
    "edges apart": (flat_face(SQUARE, short=0.003), "face 0 has edges whose ends lie apart"),
    "vertex not shared": (flat_face(SQUARE, shared=False), "face 0 has neighbouring edges without a common vertex"),
    "bounds beyond a turn": (broken.round_face(7.0), "face 0 spans more than a full turn"),
    "loops touch": (flat_face(SQUARE, DIAMOND), "face 0 has loops that touch"),
    "outer loop off": (flat_face(SQUARE, [(1, 1), (2, 1), (2, 2), (1, 2)]), "face 0 has 2 outer loops"),
    "area off": (flat_face([(0, 0), (4, 0), (8, 0)]), "face 0 has area 0"),
    "curve missing": (broken.round_face(2.0, on_surface=False), "face 0 has an edge without a curve on its surface"),
    "shell open": (broken.lidless_box(), "a solid has an open shell"),
    "volume negative": (solids.box().Reversed(), "a solid has no positive volume"),
}
FOLLOWS = {
    "loop open": {"vertex not shared"},
    "area off": {"outer loop off"},
    "curve missing": {"area off"},
}
"""What else is then true: a loop that is open has ends without a common vertex."""


def test_a_face_without_boundary_or_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GeometryError, match=r"face 1 has no boundary, and its surface no end; mend the part"):
        solids.open_model(solids.compound(flat_face(SQUARE), flat_face()), tmp_path)


@pytest.mark.parametrize("name", DEFECTIVE)
def test_each_defect_is_found_by_its_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader.healing, "heal", lambda shape: shape)
    shape, message = DEFECTIVE[name]
    found = solids.open_model(solids.compound(shape), tmp_path).find_defects()
    assert found.keys() == {name} | FOLLOWS.get(name, set())
    assert found[name] == message


def test_a_cavity_that_cannot_be_turned_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = broken.shell_of(BRepPrimAPI_MakeBox(gp_Pnt(0.5, 0.5, 0.5), 1.0, 1.0, 1.0).Shape())
    shape = broken.solid_of(broken.shell_of(solids.box()), inner)
    assert solids.open_model(shape, tmp_path).find_defects() == {}
    monkeypatch.setattr(loader.healing, "turn_shells", lambda *_, **__: False)
    assert solids.open_model(shape, tmp_path).find_defects().keys() == {"cavity turned"}


def test_a_check_that_fails_is_a_defect_and_keeps_no_other_from_being_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(brep: Brep) -> bool:
        raise GeometryError("no shell can be followed")

    monkeypatch.setattr(Brep, "is_closed", fail)
    model = solids.open_model(solids.box().Reversed(), tmp_path)
    assert model.find_defects() == {
        "unmeasurable": "no shell can be followed",
        "volume negative": "a solid has no positive volume",
    }


def test_gaps_that_vertices_are_meant_to_cover_are_no_defect(tmp_path: Path) -> None:
    assert solids.open_model(flat_face(SQUARE, short=0.0005), tmp_path).find_defects() == {}


def _stating(shape: TopoDS_Shape, path: Path, volume: float, area: float) -> CadModel:
    """The model of a STEP file that states a volume and an area."""
    text = solids.write_step(shape, path).read_text()
    statements = ["#90001=(LENGTH_UNIT()NAMED_UNIT(*)SI_UNIT(.MILLI.,.METRE.));"]
    for start, (kind, value, power) in enumerate((("VOLUME", volume, 3), ("AREA", area, 2)), 1):
        a, b, c, d, e, f = (f"#9{start}00{i}" for i in range(2, 8))
        statements += [
            f"{a}=PROPERTY_DEFINITION('geometric_validation_property','',#1);",
            f"{b}=PROPERTY_DEFINITION_REPRESENTATION({a},{c});",
            f"{c}=REPRESENTATION('',({d}),#1);",
            f"{d}=MEASURE_REPRESENTATION_ITEM('',{kind}_MEASURE({value}),{e});",
            f"{e}=DERIVED_UNIT(({f}));",
            f"{f}=DERIVED_UNIT_ELEMENT(#90001,{power}.);",
        ]
    head, end, tail = text.rpartition("ENDSEC;")
    path.write_text("\n".join([head, *statements, end + tail]))
    return CadLoader().create_from_file(path)


@pytest.mark.parametrize(
    ("volume", "area", "names"),
    [
        (30.0, 62.0, set()),
        (30.02, 62.05, set()),
        (31.0, 62.0, {"stated volume off"}),
        (30.0, 60.0, {"stated area off"}),
        (3.0, 6.2, {"stated volume off", "stated area off"}),
    ],
)
def test_values_that_the_file_states_are_compared(volume: float, area: float, names: set[str], tmp_path: Path) -> None:
    model = _stating(solids.box(), tmp_path / "part.step", volume, area)
    found = model.find_defects()
    assert model.get_brep().stated_properties().volume == volume
    assert found.keys() == names
    if "stated volume off" in names:
        assert found["stated volume off"] == f"the volume is 30 mm³, the file states {volume:g} mm³"


def test_of_several_bodies_the_stated_values_are_not_compared(tmp_path: Path) -> None:
    shape = solids.compound(solids.box(), solids.place(solids.box(), "placed"))
    assert _stating(shape, tmp_path / "part.step", 7.0, 7.0).find_defects() == {}


def test_a_body_has_its_own_defects(tmp_path: Path) -> None:
    model = solids.open_model(solids.compound(solids.box(), solids.box(3, 3, 3).Reversed()), tmp_path)
    assert model.find_defects().keys() == {"volume negative"}
    assert [model.for_body(i).find_defects().keys() for i in range(2)] == [set(), {"volume negative"}]


def test_what_has_been_checked_is_not_checked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[Brep] = []
    monkeypatch.setattr(defects, "find_defects", lambda brep: checked.append(brep) or {"found": ""})
    model = solids.open_model(solids.box(), tmp_path, ".step")
    assert (model.find_defects(), model.for_body(0).find_defects(), checked) == ({}, {}, [])
    model = solids.open_model(solids.box(), tmp_path, ".brep")
    assert model.find_defects() == model.find_defects() == {"found": ""}
    assert len(checked) == 1
