"""Names of faces in every encoding of ISO 10303-21, and in those that files have instead; forms that only look odd."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cadaccess import ways
from tests.cadaccess.stepboxes import StepText

NAMES = {
    rb"n\X\E4he": "nähe",
    rb"n\X2\00E4\X0\he": "nähe",
    rb"\X2\97624E00\X0\1": "面一1",
    rb"\X4\0001F600\X0\!": "😀!",
    rb"n\S\dhe": "nähe",
    rb"\PB\a\S\1": "aą",
    rb"\PE\\S\T": "д",
    rb"a\\b": "a\\b",
    b"it''s": "it's",
    "nähe 面".encode(): "nähe 面",
    "nähe".encode("latin-1"): "nähe",
    "Ø 5 “x” €".encode("cp1252"): "Ø 5 “x” €",
    b"\xe4''\xf6": "ä'ö",
    b"a\x81b": "a\x81b",
    b"a \nb\r\n c": "a b c",
    b"\xe4\n\xf6": "äö",
    b"\\X2\\97\r\n624E\n00\\X\n0\\1": "面一1",
}


def _box() -> bytes:
    text = StepText()
    text.product("p", text.shape(text.context(), text.placement(), text.box()))
    return text.text().encode("ascii")


@pytest.mark.parametrize("way", ways.WAYS)
@pytest.mark.parametrize("name", NAMES)
def test_a_face_has_its_name_in_every_way(name: bytes, way: str, tmp_path: Path) -> None:
    path = tmp_path / "part.step"
    rows = iter(range(6))
    named = re.sub(rb"ADVANCED_FACE\(''", lambda _: b"ADVANCED_FACE('%d %s'" % (next(rows), name), _box())
    path.write_bytes(named)
    model = ways.open_by(way, path)
    assert model is not None
    assert sorted(model.get_brep().face_names()) == [f"{row} {NAMES[name]}" for row in range(6)]


@pytest.mark.parametrize("way", ["any", "light", "full"])
@pytest.mark.parametrize("gap", [" ", "\n", "\t", "\r\n", "   \n ", "\n\t", "\r", " \t"], ids=repr)
@pytest.mark.parametrize("where", [r"(?<=\w)(?=\()", r"\(", r"(?=\))", r"(?=,)", r",", r"=", r"(?==)", r"(?=;)", r";"])
def test_white_space_is_no_matter(where: str, gap: str, way: str, tmp_path: Path) -> None:
    path = tmp_path / "part.step"
    head, data = _box().decode().split("DATA;")
    path.write_bytes(f"{head}DATA;{re.sub(where, lambda found: found.group() + gap, data)}".encode())
    model = ways.open_by(way, path)
    assert model is not None
    assert model.get_brep().volume() == pytest.approx(6000)


@pytest.mark.parametrize("way", ["text", "light", "full"])
@pytest.mark.parametrize("first", [2**31 - 60, 2**31, 2**32 - 60, 10**15])
def test_instance_numbers_may_be_large(first: int, way: str, tmp_path: Path) -> None:
    """The kernel counts them in 32 bits, and takes the process down where they do not fit."""
    path = tmp_path / "part.step"
    path.write_bytes(re.sub(rb"#(\d+)", lambda found: b"#%d" % (int(found.group(1)) + first), _box()))
    model = ways.open_by(way, path)
    assert model is not None
    assert model.get_brep().volume() == pytest.approx(6000)


@pytest.mark.parametrize("way", ["any", "light", "full"])
@pytest.mark.parametrize(
    "section", [b"DATA('d1',('AUTOMOTIVE_DESIGN'));", b"DATA ( 'd;1' ,\n ( 'A', 'B' ) ) ;", b"DATA('it''s',('A'));"]
)
def test_a_data_section_may_have_a_name(section: bytes, way: str, tmp_path: Path) -> None:
    path = tmp_path / "part.step"
    path.write_bytes(_box().replace(b"DATA;", section))
    model = ways.open_by(way, path)
    assert model is not None
    assert model.get_brep().volume() == pytest.approx(6000)
