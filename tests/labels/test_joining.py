"""Labels joined to faces by name, order, point and colour: true values, and what does not fit is named."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dflow
from dflow import CadLoader
from dflow.cadaccess.brep import Brep
from dflow.demo import parts as demo_parts
from dflow.errors import LabelError
from dflow.labels import join
from dflow.labels.joining import as_color, as_hex
from tests.cadaccess.stepboxes import StepText

NAMES = ["3", "0", "5", "1", "4", "2"]
COLORS = [(1.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.5019607843, 1.0), (0.2, 0.4, 0.6), (0.2, 0.4, 0.6), (1.0, 0.0, 0.0)]


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Brep:
    """A box of 10 × 20 × 30 whose faces are named in another order than they lie in, and coloured."""
    text = StepText()
    text.product("p", text.shape(text.context(), text.placement(), text.box()))
    names = iter(NAMES)
    text.lines = [re.sub(r"ADVANCED_FACE\(''", lambda _: f"ADVANCED_FACE('{next(names)}'", line) for line in text.lines]
    faces = [line.partition("=")[0] for line in text.lines if "ADVANCED_FACE" in line]
    for face, color in zip(faces, COLORS, strict=True):
        colour = text.add(f"COLOUR_RGB('',{','.join(map(str, color))})")
        area = text.add(f"FILL_AREA_STYLE('',({text.add(f'FILL_AREA_STYLE_COLOUR({chr(39) * 2},{colour})')}))")
        side = text.add(f"SURFACE_SIDE_STYLE('',({text.add(f'SURFACE_STYLE_FILL_AREA({area})')}))")
        usage = text.add(f"SURFACE_STYLE_USAGE(.BOTH.,{side})")
        text.add(f"STYLED_ITEM('color',({text.add(f'PRESENTATION_STYLE_ASSIGNMENT(({usage}))')}),{face})")
    path = text.write(tmp_path_factory.mktemp("labels") / "box.step")
    return CadLoader().create_from_file(path).get_brep()


@pytest.fixture(scope="module")
def flange(tmp_path_factory: pytest.TempPathFactory) -> Brep:
    """A part with planes and cylinders, without names."""
    path = tmp_path_factory.mktemp("labels") / "flange.step"
    demo_parts.write_step(demo_parts.flange(np.random.default_rng(3)), path)
    return CadLoader().create_from_file(path).get_brep()


def test_names_whatever_the_order(box: Brep) -> None:
    assert box.face_names() == NAMES
    labels, report = join(box, [10, 11, 12, 13, 14, 15], by="name")
    assert labels.tolist() == [13, 10, 15, 11, 14, 12]
    assert labels.dtype == np.int32
    assert (report.n_labels, report.unlabelled, report.problems) == (6, (), ())
    assert report.counts == {10: 1, 11: 1, 12: 1, 13: 1, 14: 1, 15: 1}
    assert join(box, {name: int(name) for name in "543210"}, by="name").labels.tolist() == [3, 0, 5, 1, 4, 2]
    assert join(box, by="name").labels.tolist() == [3, 0, 5, 1, 4, 2]
    assert join(box, by="name", classes={"3": 30}).labels.tolist() == [30, 0, 5, 1, 4, 2]


def test_order_is_refused_where_names_number_the_faces_otherwise(box: Brep) -> None:
    """The trap of MFCAD: the count fits, and every label would sit on another face."""
    with pytest.raises(LabelError, match=r"numbers its faces 0 to 5 in another order .* named '3'\): join by='name'"):
        join(box, [0, 1, 2, 3, 4, 5], by="order")
    areas = box.face_areas()
    proven = join(box, [0, 1, 2, 3, 4, 5], by="order", areas=areas)
    assert (proven.labels.tolist(), proven.report.checked) == ([0, 1, 2, 3, 4, 5], ("count", "areas"))


def test_order_with_types_and_areas(flange: Brep) -> None:
    n = flange.n_faces
    types = flange.face_types()
    words = [{0: "plane", 1: "CylindricalSurface"}.get(int(code), int(code)) for code in types]
    labels, report = join(flange, np.arange(n), by="order", types=words, areas=flange.face_areas() * 1.001)
    assert labels.tolist() == list(range(n))
    assert report.checked == ("count", "types", "areas")
    shifted = np.roll(np.arange(n), 1)
    with pytest.raises(LabelError, match=r"face \d+ is of type (Plane|Cylinder), that of label \d+ is"):
        join(flange, shifted, by="order", types=np.roll(types, 1))
    with pytest.raises(LabelError, match=r"face \d+ has .* mm², that of label \d+ has .* mm²"):
        join(flange, shifted, by="order", areas=np.roll(flange.face_areas(), 1))
    with pytest.raises(LabelError, match=f"found {n - 1} labels, the shape has {n} faces"):
        join(flange, np.arange(n - 1), by="order")
    kept = join(flange, np.arange(n - 1), by="order", strict=False)
    assert (kept.labels.tolist(), len(kept.report.unlabelled)) == ([-1] * n, n)
    by_row = {str(row): row for row in reversed(range(n))}
    assert join(flange, by_row, by="order").labels.tolist() == list(range(n))
    with pytest.raises(LabelError, match="not those of faces 0 to"):
        join(flange, {str(row + 1): row for row in range(n)}, by="order")
    with pytest.raises(LabelError, match="which is no row of a face"):
        join(flange, {"a": 1}, by="order")


def test_what_names_do_not_fit_is_named(box: Brep, flange: Brep) -> None:
    with pytest.raises(LabelError, match=r"no face is named '6'.*; 1 of 6 faces have no label: 0. Mend the labels"):
        join(box, {"0": 0, "1": 1, "2": 2, "4": 4, "5": 5, "6": 6}, by="name")
    partial = join(box, {"0": 7, "9": 9}, by="name", strict=False)
    assert partial.labels.tolist() == [-1, 7, -1, -1, -1, -1]
    assert partial.report.problems == ("no face is named '9' (the first is '3')",)
    assert join(box, {"0": 7}, by="name", missing=15).labels.tolist() == [15, 7, 15, 15, 15, 15]
    with pytest.raises(LabelError, match=r"5 of 6 faces have no label: 0, 2, 3, 4, 5. Pass missing="):
        join(box, {"0": 7}, by="name")
    with pytest.raises(LabelError, match=r"found 7 labels, the shape has 6 faces; no face is named '6'"):
        join(box, list(range(7)), by="name")
    with pytest.raises(LabelError, match="have no names in their file; join by='point'"):
        join(flange, [1, 2, 3], by="name")


def test_faces_of_one_name_are_ambiguous(tmp_path: Path) -> None:
    text = StepText()
    text.product("p", text.shape(text.context(), text.placement(), text.box()))
    text.lines = [line.replace("ADVANCED_FACE(''", "ADVANCED_FACE('stock'") for line in text.lines]
    brep = CadLoader().create_from_file(text.write(tmp_path / "a.step")).get_brep()
    with pytest.raises(LabelError, match="faces 0, 1, 2, 3, 4, 5 are all named 'stock'"):
        join(brep, {"stock": 15}, by="name")
    assert join(brep, by="name", classes={"stock": 15}).labels.tolist() == [15] * 6
    with pytest.raises(LabelError, match="has the labels 'stock', expected whole numbers: pass classes="):
        join(brep, by="name")


def test_points_on_faces(flange: Brep) -> None:
    n = flange.n_faces
    points = flange.surface_points(4, seed=1).reshape(-1, 3)
    order = np.random.default_rng(0).permutation(4 * n)
    rows = np.repeat(np.arange(n), 4)
    labels, report = join(flange, {"point": points[order], "label": rows[order]}, by="point")
    assert (labels.tolist(), report.checked) == (list(range(n)), ("distances",))
    few = join(flange, {tuple(points[4 * row]): row for row in range(n)}, by="point")
    assert few.labels.tolist() == list(range(n))
    off = points[:1] + np.array([0.0, 0.0, 1000.0])
    with pytest.raises(LabelError, match=r"point 0 \(.*\) lies on no face: the nearest, \d+, is [\d.]+ mm away"):
        join(flange, {"point": off, "label": [1]}, by="point", missing=0)
    with pytest.raises(LabelError, match=r"face 0 has several labels: 1 \(0\), 2 \(1\)"):
        join(flange, {"point": points[:2], "label": [1, 2]}, by="point", missing=0)
    with pytest.raises(LabelError, match="has no points: it needs the columns x, y, z"):
        join(flange, [1, 2], by="point")


def test_a_point_on_an_edge_is_ambiguous(box: Brep) -> None:
    table = [{"x": 10, "y": 0, "z": 15, "label": 1}, {"x": 10, "y": 5, "z": 15, "label": 2}]
    with pytest.raises(LabelError, match=r"point 0 \(10.0, 0.0, 15.0\) lies on faces \d, \d alike"):
        join(box, table, by="point", missing=0)
    at = join(box, table, by="point", missing=0, strict=False)
    assert at.labels.tolist().count(2) == 1
    assert at.labels.tolist().count(1) == 0
    near = [{"x": 10, "y": 0.4, "z": 15, "label": 1}]
    assert join(box, near, by="point", missing=0).labels.tolist().count(1) == 1
    with pytest.raises(LabelError, match="alike"):
        join(box, near, by="point", missing=0, tolerance=0.5)


def test_colors(box: Brep) -> None:
    np.testing.assert_allclose(box.face_colors(), COLORS)
    ways: list[dict[Any, int]] = [
        {"#ff0000": 1, "#0080ff": 2, "#336699": 3},
        {(255, 0, 0): 1, (0, 128, 255): 2, (51, 102, 153): 3},
        {(1.0, 0.0, 0.0): 1, (0.0, 0.502, 1.0): 2, (0.2, 0.4, 0.6): 3},
    ]
    for way in ways:
        labels, report = join(box, way, by="color")
        assert labels.tolist() == [1, 1, 2, 3, 3, 1]
        assert report.checked == ("colors",)
    with pytest.raises(LabelError, match=r"faces 3, 4 have the colour #336699, which has no label"):
        join(box, {"#ff0000": 1, "#0080ff": 2, "#336690": 3}, by="color")


def test_a_shape_without_colors(flange: Brep) -> None:
    assert np.isnan(flange.face_colors()).all()
    with pytest.raises(LabelError, match="no face has a colour"):
        join(flange, {"#ff0000": 1}, by="color")
    with pytest.raises(LabelError, match="has no colours; pass a dictionary"):
        join(flange, [1, 2], by="color")


@pytest.mark.parametrize("color", ["red", "#ff00", "1 2", (1, 2), (1, 2, 300), 7, (-1, 0, 0)])
def test_what_is_no_color(color: Any) -> None:
    with pytest.raises(LabelError, match="expected '#ff8000'"):
        as_color(color, "it")


def test_colors_invert() -> None:
    assert as_hex(as_color("#12abef", "it")) == "#12abef"
    assert as_hex(as_color("(0.2, 0.4, 0.6)", "it")) == "#336699"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"by": "place"}, "found by='place', expected 'name', 'order', 'point', 'color'"),
        ({"by": "order"}, "by='order' needs labels"),
        ({"by": "order", "labels": [1.5] * 6}, r"has the labels 1.5, expected whole numbers"),
        ({"by": "order", "labels": [2**40] * 6}, "expected whole numbers"),
        ({"by": "order", "labels": ["hole"] * 6, "classes": {"slot": 1}}, "has the labels 'hole'"),
        ({"by": "name", "labels": range(6), "types": ["round"] * 6}, "holds a range"),
        ({"by": "name", "labels": [0] * 6, "types": ["round"] * 6}, "has the surface type 'round', expected Plane"),
    ],
)
def test_requests_that_cannot_be_met(box: Brep, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(LabelError, match=message):
        join(box, **arguments)


def test_bodies_have_their_own_labels(tmp_path: Path) -> None:
    text = StepText()
    text.product("p", text.shape(text.context(), text.placement(), text.box(), text.box(1, 1, 1)))
    names = iter(range(12))
    text.lines = [re.sub(r"ADVANCED_FACE\(''", lambda _: f"ADVANCED_FACE('{next(names)}'", line) for line in text.lines]
    model = CadLoader().create_from_file(text.write(tmp_path / "two.step"))
    by_name = {str(name): name // 6 for name in range(12)}
    assert join(model.get_brep(), by_name, by="name").labels.tolist() == [0] * 6 + [1] * 6
    second = join(model.get_brep(1), by_name, by="name", strict=False)
    assert second.labels.tolist() == [1] * 6


def test_one_line_in_a_transform(tmp_path: Path) -> None:
    """Labels reach the dataset on their faces; a file whose labels do not fit fails with the reason."""
    (tmp_path / "parts").mkdir()
    for stem in ("a", "b"):
        text = StepText()
        text.product("p", text.shape(text.context(), text.placement(), text.box()))
        names = iter(NAMES)
        text.lines = [re.sub(r"ADVANCED_FACE\(''", lambda _: f"ADVANCED_FACE('{next(names)}'", li) for li in text.lines]  # noqa: B023
        text.write(tmp_path / "parts" / f"{stem}.step")
        (tmp_path / "parts" / f"{stem}.json").write_text(
            json.dumps([10, 11, 12, 13, 14, 15][: 6 if stem == "a" else 5])
        )
    output, _, flow_file = label_flow(tmp_path)
    assert [error.kind for error in output.errors] == ["labels"]
    assert "found 5 labels, the shape has 6 faces; no face is named '5'" not in output.errors[0].message
    assert "found 5 labels, the shape has 6 faces" in output.errors[0].message
    loader = dflow.DatasetLoader(flow_file)
    loader.split(train=1, validation=0, test=0)
    assert loader.get_dataset("train")[0]["faces/label"].tolist() == [13, 10, 15, 11, 14, 12]


def label_flow(tmp_path: Path) -> Any:
    @dflow.flowtask.transform(name="encode", inputs=["cad_file", "cad_loader", "storage"], outputs=["encoded"])
    def encode(cad_file: str, cad_loader: Any, storage: Any) -> str:
        brep = cad_loader.create_from_file(cad_file).get_brep()
        storage.save_data("faces/label", dflow.labels.join(brep, Path(cad_file).with_suffix(".json"), by="name").labels)
        return storage.get_file_path("")

    flow = dflow.create_flow(
        name="labels",
        tasks=[dflow.gather_cad_files, encode],
        flows_outputdir=tmp_path / "out",
        debug=True,
        export_visualization=False,
    )
    return flow.process(inputs={"sources": [str(tmp_path / "parts")]})


def true_labels(names: list[str], labels: list[int]) -> list[int]:
    return [labels[int(name)] for name in names]


def test_mfcad(shared_data: Path) -> None:
    """All ways agree with the published labels, and by order they are refused where it is another."""
    published: dict[str, list[int]] = json.loads((shared_data / "mfcad" / "face_labels.json").read_text())
    for name in list(published)[::80]:
        brep = CadLoader().create_from_file(shared_data / "mfcad" / "step" / name).get_brep()
        expected = true_labels(brep.face_names(), published[name])
        assert join(brep, published[name], by="name").labels.tolist() == expected
        points = brep.surface_points(1, seed=0)[:, 0]
        assert join(brep, {"point": points, "label": expected}, by="point").labels.tolist() == expected
        with pytest.raises(LabelError, match="in another order"):
            join(brep, published[name], by="order")


def test_mfcadpp_names_are_labels(shared_data: Path) -> None:
    brep = CadLoader().create_from_file(shared_data / "cad" / "mfcadpp_cases" / "1_true.stp").get_brep()
    labels, report = join(brep, by="name")
    assert len(labels) == 67
    assert set(report.counts) <= set(range(25))
    assert labels.tolist() == [int(name) for name in brep.face_names()]
