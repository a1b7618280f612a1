"""Each defect is found by its name; loops of one face that touch are left to full healing."""

from __future__ import annotations

from pathlib import Path

import pytest
from OCP.BRepPrimAPI import BRepPrimAPI_MakeBox
from OCP.gp import gp_Pnt
from OCP.TopoDS import TopoDS_Shape

from dflow.cadaccess import Brep, CadLoader, CadModel, defects, loader
from dflow.cadaccess.files.formats import CadFormat
from dflow.cadaccess.kernel.reading import transfer
from dflow.cadaccess.kernel.shape import KernelShape
from dflow.errors import GeometryError
from tests.cadaccess import broken, solids
from tests.cadaccess.broken import DIAMOND, SQUARE, flat_face
from tests.cadaccess.measure.test_contacts import HOLES, plate


@pytest.mark.parametrize("name", ["circle", "ellipse", "spline"])
def test_touching_loops_are_left_to_full_healing(name: str, tmp_path: Path) -> None:
    path = solids.write_step(plate(HOLES[name](0.0)), tmp_path / "part.step")
    model = CadLoader().create_from_file(path)
    assert (model.read_report.healing, "loops that touch" in model.read_report.fallback) == ("full", True)
    assert model.find_defects() == {}
    light = KernelShape(transfer(path, path.read_bytes(), CadFormat.STEP, "light").shape)
    full = KernelShape(transfer(path, path.read_bytes(), CadFormat.STEP, "full").shape)
    assert light.edge_map.Extent() < full.edge_map.Extent() == model.get_brep().n_edges


def test_crossing_loops_that_full_healing_makes_faces_of_stay_a_defect(tmp_path: Path) -> None:
    model = solids.open_model(flat_face(SQUARE, [(-1, 2), *DIAMOND[1:]]), tmp_path, ".step")
    assert (model.read_report.healing, model.get_brep().n_faces) == ("full", 2)
    assert model.find_defects() == {"loops cross": "face 0 has loops that cross"}


def test_a_narrow_bridge_needs_no_healing(tmp_path: Path) -> None:
    model = solids.open_model(plate(HOLES["circle"](1e-3)), tmp_path, ".step")
    assert model.read_report.healing == "text"
    assert model.get_brep().n_edges == 15


def test_whole_shapes_have_no_defect(tmp_path: Path) -> None:
    shapes = [
        solids.box(),
        solids.sphere(),
        solids.torus(),
        solids.drilled(),
        flat_face(SQUARE),
        flat_face(SQUARE, DIAMOND),
        broken.round_face(2.0),
    ]
    assert [solids.open_model(shape, tmp_path).find_defects() for shape in shapes] == [{}] * len(shapes)


DEFECTIVE: dict[str, tuple[TopoDS_Shape, str]] = {
    "loop open": (flat_face(SQUARE, closed=False), "face 0 has a loop that does not close"),
    "edges apart": (flat_face(SQUARE, short=0.003), "face 0 has edges whose ends lie apart"),
    "vertex not shared": (flat_face(SQUARE, shared=False), "face 0 has neighbouring edges without a common vertex"),
    "bounds beyond a turn": (broken.round_face(7.0), "face 0 spans more than a full turn"),
    "loops cross": (flat_face(SQUARE, [(-1, 2), *DIAMOND[1:]]), "face 0 has loops that cross"),
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
