"""Colours of faces: whose style wins, kinds of colours, and the same by every way of reading."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dflow.cadaccess.step.colors import face_colors, list_faces
from tests.cadaccess import ways
from tests.cadaccess.stepboxes import StepText

RED, BLUE = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)


class Styled(StepText):
    """A box whose parts can be styled."""

    def __init__(self) -> None:
        super().__init__()
        self.shape_reference = self.shape(self.context(), self.placement(), self.box())
        self.product("p", self.shape_reference)

    def find(self, keyword: str) -> list[str]:
        return [line.partition("=")[0] for line in self.lines if f"={keyword}(" in line]

    def colour(self, red: float, green: float, blue: float) -> str:
        return self.add(f"COLOUR_RGB('',{red},{green},{blue})")

    def fill(self, colour: str) -> str:
        area = self.add(f"FILL_AREA_STYLE('',({self.add(f'FILL_AREA_STYLE_COLOUR({chr(39) * 2},{colour})')}))")
        return self.add(f"SURFACE_STYLE_FILL_AREA({area})")

    def style(self, item: str, *elements: str, keyword: str = "STYLED_ITEM", over: str = "") -> str:
        usage = self.add(
            f"SURFACE_STYLE_USAGE(.BOTH.,{self.add(f'SURFACE_SIDE_STYLE({chr(39) * 2},({chr(44).join(elements)}))')})"
        )
        assigned = self.add(f"PRESENTATION_STYLE_ASSIGNMENT(({usage}))")
        return self.add(f"{keyword}('',({assigned}),{item}{over and ',' + over})")

    def colors(self) -> np.ndarray:
        content = self.text().encode()
        return face_colors(content, list_faces(content))


def test_the_nearest_style_wins() -> None:
    text = Styled()
    face = text.find("ADVANCED_FACE")[2]
    text.style(text.shape_reference, text.fill(text.colour(0, 0, 0)))
    text.style(face, text.fill(text.colour(*RED)))
    text.style(text.find("MANIFOLD_SOLID_BREP")[0], text.fill(text.colour(*BLUE)))
    assert text.colors().tolist() == [list(RED if row == 2 else BLUE) for row in range(6)]


def test_an_over_riding_style_wins() -> None:
    text = Styled()
    face = text.find("ADVANCED_FACE")[0]
    over = text.style(face, text.fill(text.colour(0, 1, 0)))
    text.style(face, text.fill(text.colour(*RED)), keyword="OVER_RIDING_STYLED_ITEM", over=over)
    colors = text.colors()
    assert colors[0].tolist() == list(RED)
    assert np.isnan(colors[1:]).all()


def test_kinds_of_colours() -> None:
    text = Styled()
    faces = text.find("ADVANCED_FACE")
    text.style(faces[0], text.fill(text.add("DRAUGHTING_PRE_DEFINED_COLOUR('blue')")))
    rendering = text.add(f"SURFACE_STYLE_RENDERING_WITH_PROPERTIES(.NORMAL_SHADING.,{text.colour(0, 1, 0)},())")
    text.style(faces[1], rendering)
    text.style(faces[2], rendering, text.fill(text.colour(*RED)))
    curve = text.add(f"CURVE_STYLE('',$,POSITIVE_LENGTH_MEASURE(0.1),{text.colour(1, 1, 0)})")
    text.add(f"STYLED_ITEM('',({text.add(f'PRESENTATION_STYLE_ASSIGNMENT(({curve}))')}),{faces[3]})")
    text.add(f"STYLED_ITEM('',({text.add('PRESENTATION_STYLE_ASSIGNMENT((NULL_STYLE(.NULL.)))')}),{faces[4]})")
    colors = text.colors()
    assert colors[:3].tolist() == [list(BLUE), [0, 1, 0], list(RED)]
    assert np.isnan(colors[3:]).all()


@pytest.mark.parametrize("name", ["a;b", "it''s #7", "STYLED_ITEM((#1),#2)", "a\\X\\E4 (", "/* no comment"])
def test_strings_and_comments_are_no_statements(name: str) -> None:
    text = Styled()
    face = text.find("ADVANCED_FACE")[1]
    text.style(face, text.fill(text.colour(*RED)))
    text.lines = [line.replace("ADVANCED_FACE(''", f"ADVANCED_FACE('{name}'") for line in text.lines]
    text.lines = [
        line.replace("STYLED_ITEM(''", "STYLED_ITEM( /* #3; */ '").replace(
            "STYLED_ITEM( /* #3; */ '", f"STYLED_ITEM( /* #3; */ '{name}'"
        )
        for line in text.lines
    ]
    assert text.colors()[1].tolist() == list(RED)


@pytest.mark.parametrize("way", ways.WAYS)
def test_every_way_of_reading_has_them(way: str, tmp_path: Path) -> None:
    text = Styled()
    for row, face in enumerate(reversed(text.find("ADVANCED_FACE"))):
        if row != 2:
            text.style(face, text.fill(text.colour(row / 8, 0, 1)))
    model = ways.open_by(way, text.write(tmp_path / "box.step"))
    assert model is not None
    expected = [[(5 - row) / 8, 0, 1] if row != 3 else [np.nan] * 3 for row in range(6)]
    np.testing.assert_array_equal(model.get_brep().face_colors(), expected)
    np.testing.assert_array_equal(model.get_brep(0).face_colors(), expected)


def test_other_formats_and_plain_files_have_none(tmp_path: Path) -> None:
    path = Styled().write(tmp_path / "box.step")
    for way in ways.WAYS:
        model = ways.open_by(way, path)
        assert model is not None
        assert np.isnan(model.get_brep().face_colors()).all()


def test_real_files_by_text_and_kernel(shared_data: Path) -> None:
    for name in ("Capacitor_THT/CP_Radial_D5.0mm_P2.50mm.step", "Crystal", "Relay_THT"):
        place = shared_data / "kicad" / name
        path = (
            place
            if place.is_file()
            else next(iter(sorted(place.parent.glob("*.step") if place.suffix else place.glob("*.step"))))
        )
        by_text, by_kernel = ways.open_by("text", path), ways.open_by("full", path)
        if by_text is None:
            continue
        assert by_kernel is not None
        colors = by_text.get_brep().face_colors()
        assert not np.isnan(colors).any()
        np.testing.assert_array_equal(by_kernel.get_brep().face_colors(), colors)
