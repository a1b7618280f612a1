"""Faces that a STEP file's text has and the kernel does not make: an error that names one, never fewer faces."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from OCP.BRepBuilderAPI import BRepBuilderAPI_NurbsConvert
from OCP.TopoDS import TopoDS_Shape

from dflow.cadaccess import CadLoader
from dflow.errors import GeometryError
from tests.cadaccess import solids, ways
from tests.cadaccess.step.test_reader import SPLINE_SURFACES


def _splines() -> TopoDS_Shape:
    return BRepBuilderAPI_NurbsConvert(solids.drilled(), True).Shape()


def _first(pattern: bytes, new: bytes) -> Callable[[bytes], bytes]:
    """Changes the first place that fits."""

    def change(content: bytes) -> bytes:
        content, n = re.subn(pattern, new, content, count=1)
        assert n
        return content

    return change


_SURFACE = rb"(B_SPLINE_SURFACE(?:_WITH_KNOTS)?\s*\((?:'',)?)"
_FACE = rb"#(\d+) = ADVANCED_FACE\('',"
_VERTEX = rb"(VERTEX_POINT\('',#(\d+)\);\s*#\2 = CARTESIAN_POINT\('',)"
DAMAGES: dict[str, tuple[Callable[[], TopoDS_Shape], Callable[[bytes], bytes]]] = {
    "a degree of a million": (_splines, _first(_SURFACE + rb"\d+", rb"\g<1>1000000")),
    "a negative degree": (_splines, _first(_SURFACE + rb"\d+", rb"\g<1>-3")),
    "a negative multiplicity": (
        SPLINE_SURFACES["smooth tower"],
        _first(rb"(B_SPLINE_SURFACE_WITH_KNOTS\([^;]*\)\),[^;()]*\()\d+,", rb"\g<1>-4,"),
    ),
    "a face on itself": (solids.drilled, _first(_FACE + rb"(\([^)]*\)),#\d+", rb"#\1 = ADVANCED_FACE('',\2,#\1")),
    "a face on nothing": (solids.drilled, _first(rb"(ADVANCED_FACE\('',\([^)]*\)),#\d+", rb"\1,#99999")),
    "a face without bounds": (solids.drilled, _first(rb"ADVANCED_FACE\('',\(#\d+", rb"ADVANCED_FACE('',(#99999")),
    "a hexadecimal radius": (solids.drilled, _first(rb"(CYLINDRICAL_SURFACE\('',#\d+),[^)]*", rb"\1,0x1F")),
    "a hexadecimal coordinate": (solids.drilled, _first(_VERTEX + rb"\([^,]*", rb"\1(0x1F")),
    "a word for a number": (solids.drilled, _first(rb"(CYLINDRICAL_SURFACE\('',#\d+),[^)]*", rb"\1,two")),
    "a line without direction": (solids.drilled, _first(rb"VECTOR\('',#\d+", rb"VECTOR('',#99999")),
    "an edge without a curve": (solids.drilled, _first(rb"(EDGE_CURVE\('',#\d+,#\d+),#\d+", rb"\1,#99999")),
    "a bound that is a face": (solids.drilled, _first(_FACE + rb"\(#\d+", rb"#\1 = ADVANCED_FACE('',(#\1")),
}  # fmt: skip


@pytest.mark.parametrize("comment", [b"", b"/* it's */"])
@pytest.mark.parametrize("name", DAMAGES)
def test_a_face_that_is_lost_is_named(name: str, comment: bytes, tmp_path: Path) -> None:
    shape, damage = DAMAGES[name]
    path = solids.write_step(shape(), tmp_path / "part.step", pcurves=False)
    path.write_bytes(damage(path.read_bytes()).replace(b"DATA;", b"DATA;" + comment))
    for way in ways.WAYS:
        if way == "text":
            assert ways.open_by(way, path) is None
        elif way == "light":
            assert _open_or_none(way, path) is None
        else:
            with pytest.raises(GeometryError, match=r"face #\d+") as raised:
                ways.open_by(way, path)
            assert raised.value.kind == "geometry"


def _open_or_none(way: str, path: Path) -> object:
    try:
        return ways.open_by(way, path)
    except GeometryError:
        return None


def test_the_lost_face_is_called_by_its_name(tmp_path: Path) -> None:
    path = solids.write_step(solids.drilled(), tmp_path / "part.step")
    number = re.search(rb"#(\d+) = ADVANCED_FACE", path.read_bytes())
    assert number is not None
    damaged = re.sub(
        rb"ADVANCED_FACE\('',(\([^)]*\)),#\d+", rb"ADVANCED_FACE('(it''s)',\1,#99999", path.read_bytes(), count=1
    )
    path.write_bytes(damaged)
    with pytest.raises(GeometryError, match=rf"face #{number.group(1).decode()} \(.*it's.*\)"):
        CadLoader().create_from_file(path)


def test_faces_outside_the_product_are_not_missed(tmp_path: Path) -> None:
    """A face, a solid of it and even a representation that no product has are no part of the shape."""
    path = solids.write_step(solids.drilled(), tmp_path / "part.step")
    content = path.read_bytes()
    face = re.search(rb"ADVANCED_FACE\([^;]*;", content)
    context = re.search(rb"ADVANCED_BREP_SHAPE_REPRESENTATION\('',\([^)]*\),(#\d+)\)", content)
    assert face is not None
    assert context is not None
    more = b"#9001 = " + face.group() + b"\n#9002 = CLOSED_SHELL('',(#9001));\n#9003 = MANIFOLD_SOLID_BREP('',#9002);\n"
    more += b"#9004 = SHAPE_REPRESENTATION('',(#9003),%s);\n" % context.group(1)
    for n_lines in (1, 3, 4):
        added = b"\n".join(more.split(b"\n")[:n_lines]) + b"\n"
        path.write_bytes(content.replace(b"ENDSEC;\nEND-ISO", added + b"ENDSEC;\nEND-ISO"))
        for way in ("any", "full"):
            model = ways.open_by(way, path)
            assert model is not None
            assert model.get_face_count() >= 7


def test_a_part_used_twice_counts_its_faces_once(tmp_path: Path) -> None:
    part = solids.drilled()
    path = solids.write_step(solids.compound(part, solids.place(part, "placed")), tmp_path / "part.step")
    for way in ("any", "full"):
        model = ways.open_by(way, path)
        assert model is not None
        assert model.get_face_count() == 14
