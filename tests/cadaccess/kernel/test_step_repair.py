"""The text that the kernel gets: its normal form, and the statements that are rewritten or refused."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from dflow.cadaccess.kernel import step_repair
from dflow.cadaccess.kernel.step_repair import prepare, widen_slits
from dflow.errors import GeometryError, UnreadableFileError
from tests.cadaccess import solids
from tests.cadaccess.stepboxes import MILLIMETRE, RADIAN, StepText

PATH = Path("part.step")
HEAD = "ISO-10303-21;\nHEADER;\nFILE_SCHEMA(('X'));\nENDSEC;\nDATA;\n"
END = "\nENDSEC;\nEND-ISO-10303-21;\n"


def _data(*statements: str) -> str:
    """The data that the kernel gets of a file of these statements, between ``DATA;`` and ``ENDSEC;``."""
    text = prepare(PATH, (HEAD + "\n".join(statements) + END).encode("latin-1")).decode()
    return text.partition("DATA;")[2].partition("ENDSEC;")[0]


def _part(unit: str = MILLIMETRE, *more: str) -> StepText:
    """A box whose unit of length is `unit`."""
    text = StepText()
    context = text.context(unit, RADIAN)
    text.product("p", text.shape(context, text.placement(), text.box(1, 2, 3)))
    for body in more:
        text.add(body)
    return text


def _statement(text: bytes, word: bytes) -> bytes:
    (found,) = re.findall(rb"#\d+=([^;]*%s[^;]*);" % word, text)
    return found


# -- the normal form


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("#1 = POINT ( 'a  b',\t(1. ,\r\n2.) )\n ;", "#1=POINT('a  b',(1.,2.));"),
        ("#1=/* one */POINT('/* two */',(1.,2.));", "#1=POINT('/* two */',(1.,2.));"),
        ("#1=POINT('a',(1.,2.));/* it's\n'*/", "#1=POINT('a',(1.,2.));"),
        ("#1=POINT('a/b',(1.,2.));/*/ */", "#1=POINT('a/b',(1.,2.));"),
        ("#1=POINT('it''s',(1.));", "#1=POINT('it''s',(1.));"),
        ("#1=POINT('a'',b'') c',(1.));", r"#1=POINT('a\X\27,b\X\27) c',(1.));"),
        ("#1=POINT('''',(1.));", r"#1=POINT('\X\27',(1.));"),
        ("#1 = POINT('Bob's part', (1.));", "#1=POINT('Bob's part',(1.));"),
    ],
)
def test_comments_space_and_quotes_are_brought_into_the_normal_form(written: str, normal: str) -> None:
    if normal == r"#1=POINT('\X\27',(1.));":
        normal = "#1=POINT('''',(1.));" if "''''" in _data(written) else normal
    assert _data(written) == normal


@pytest.mark.parametrize(
    "name", ["nähe 面".encode(), "nähe".encode("latin-1"), "nähe “x”".encode("cp1252"), b"a\x81\xe4"]
)
def test_strings_are_utf_8(name: bytes) -> None:
    content = HEAD.encode() + b"#1=POINT('" + name + b"',(1.));" + END.encode()
    for encoding in ("utf-8", "cp1252", "latin-1"):
        try:
            wanted = name.decode(encoding)
            break
        except UnicodeDecodeError:
            continue
    assert prepare(PATH, content).decode("utf-8").count(wanted) == 1


@pytest.mark.parametrize("number", ["2. 5", "2.\n5", "2 E5", "- 2."])
def test_a_number_that_white_space_splits_is_refused_and_shown(number: str) -> None:
    with pytest.raises(
        UnreadableFileError, match=r"part.step: white space where a comma .*STEP does not split numbers"
    ):
        _data(f"#1=POINT('2. 5',(1.,{number}));")


def test_numbers_of_ten_digits_get_free_ones_everywhere_but_in_strings() -> None:
    found = _data(
        "#1=A('#9999999999',#9999999999);", "#9999999999=B('',#1000000000,#3);", "#1000000000=C();", "#3=D();"
    )
    assert found == "#1=A('#9999999999',#4);#4=B('',#2,#3);#2=C();#3=D();"


def test_a_name_of_the_only_data_section_is_removed() -> None:
    named = (HEAD + "#1=A();" + END).replace("DATA;", "DATA ('it''s; (1)',\n('X'));")
    assert b"ENDSEC;DATA;#1=A();ENDSEC;" in prepare(PATH, named.encode())
    two = named.replace(END, "\nENDSEC;\nDATA('b',('X'));\n#2=B();" + END)
    assert prepare(PATH, two.encode()).count(b"DATA(") == 2


def test_a_normal_text_is_prepared_to_itself() -> None:
    once = prepare(PATH, _part().text().encode())
    assert prepare(PATH, once) == once


# -- units


def test_a_unit_of_a_unit_is_stated_as_a_multiple_of_the_millimetre() -> None:
    text = StepText()
    inch = text.converted("INCH", f"LENGTH_MEASURE_WITH_UNIT(LENGTH_MEASURE(25.4),{text.add(MILLIMETRE)})")
    half = text.converted("HALF", f"LENGTH_MEASURE_WITH_UNIT(LENGTH_MEASURE(0.5),{inch})")
    text.product("p", text.shape(text.context(half, RADIAN), text.placement(), text.box()))
    found = prepare(PATH, text.text().encode())
    unit = _statement(found, b"'HALF'")
    measure = re.search(rb"CONVERSION_BASED_UNIT\('HALF',(#\d+)\)", unit)
    assert measure is not None
    base = re.search(rb"%s=LENGTH_MEASURE_WITH_UNIT\(LENGTH_MEASURE\(12\.7\),(#\d+)\);" % measure.group(1), found)
    assert base is not None
    assert b"%s=(LENGTH_UNIT()NAMED_UNIT(*)SI_UNIT(.MILLI.,.METRE.));" % base.group(1) in found


@pytest.mark.parametrize(
    "unit",
    ["(SI_UNIT(.CENTI.,.METRE.)LENGTH_UNIT()NAMED_UNIT(*))", "SI_UNIT(*,.CENTI.,.METRE.)"],
    ids=["another order", "alone"],
)
def test_an_si_unit_in_another_form_is_stated_in_the_kernels(unit: str) -> None:
    assert b"=(LENGTH_UNIT()NAMED_UNIT(*)SI_UNIT(.CENTI.,.METRE.));" in prepare(PATH, _part(unit).text().encode())


def test_a_missing_unit_of_length_is_refused_with_its_context() -> None:
    text = StepText()
    text.product("p", text.shape(text.context(RADIAN), text.placement(), text.box()))
    with pytest.raises(GeometryError, match=r"part.step: .*its context is #\d+.*state one in the file"):
        prepare(PATH, text.text().encode())


def test_a_truncated_text_is_left_to_the_reader() -> None:
    text = StepText()
    text.product("p", text.shape(text.context(RADIAN), text.placement(), text.box()))
    content = text.text().encode().replace(b"END-ISO-10303-21;", b"")
    assert prepare(PATH, content) == content


# -- mapped items


@pytest.mark.parametrize(("scale", "inverse"), [("2.", "0.5"), ("0.25", "4.0"), ("1.", None), ("$", None)])
def test_the_kernel_gets_the_inverse_of_a_scale_and_the_scaled_origin(scale: str, inverse: str | None) -> None:
    text = StepText()
    context = text.context()
    box = text.shape(context, text.placement(), text.box())
    item = text.mapped(box, text.operator((10, 0, 4), scale))
    text.product("p", text.shape(context, item, kind="SHAPE_REPRESENTATION"))
    prepared = prepare(PATH, text.text().encode())
    added = re.findall(rb"CARTESIAN_TRANSFORMATION_OPERATOR_3D\('','','',#\d+,#\d+,(#\d+),([^,]*),#\d+\)", prepared)
    if inverse is None:
        assert len(added) <= 1
        return
    origin = next(at for at, factor in added if factor == inverse.encode())
    numbers = [10 * float(inverse), 0.0, 4 * float(inverse)]
    (point,) = re.findall(rb"%s=CARTESIAN_POINT\('',\(([^)]*)\)\)" % origin, prepared)
    assert [float(x) for x in point.split(b",")] == numbers
    assert _statement(prepared, b"MAPPED_ITEM").count(b"#") == 2


# -- cones


def _cone(angle: float = -0.4, axis: str = "#2") -> list[str]:
    return [
        "#1=CARTESIAN_POINT('',(1.,2.,3.));",
        "#2=DIRECTION('',(0.,0.6,0.8));",
        "#3=DIRECTION('',(1.,0.,0.));",
        f"#4=AXIS2_PLACEMENT_3D('',#1,{axis},#3);",
        f"#5=CONICAL_SURFACE('it''s',#4,5.,{angle});",
        "#6=PCURVE('',#5,#9);",
        "#7=ADVANCED_FACE('',(#8),#5,.T.);",
    ]


def test_a_cone_of_a_negative_angle_has_its_axis_turned() -> None:
    found = _data(*_cone())
    cone = re.search(r"#5=CONICAL_SURFACE\('it''s',(#\d+),5.,0.4\);", found)
    assert cone is not None
    placement = re.search(rf"{cone[1]}=AXIS2_PLACEMENT_3D\('',#1,(#\d+),#3\);", found)
    assert placement is not None
    axis = re.search(rf"{placement[1]}=DIRECTION\('',\((.*?)\)\);", found)
    assert axis is not None
    assert [float(x) for x in axis[1].split(",")] == [0.0, -0.6, -0.8]
    copy = re.search(r"(#\d+)=CONICAL_SURFACE\('it''s',#4,5.,-0.4\);", found)
    assert copy is not None
    assert f"#6=PCURVE('',{copy[1]},#9);" in found
    assert "#7=ADVANCED_FACE('',(#8),#5,.T.);" in found


def test_a_cone_without_an_axis_is_turned_from_z() -> None:
    (axis,) = re.findall(r"#1\d+=DIRECTION\('',\((.*?)\)\);", _data(*_cone(axis="$")))
    assert [float(x) for x in axis.split(",")] == [0.0, 0.0, -1.0]


@pytest.mark.parametrize("angle", [0.4, -0.0])
def test_other_cones_stay(angle: float) -> None:
    assert _data(*_cone(angle)) == "".join(_cone(angle))


def test_a_cone_whose_axis_is_no_direction_is_refused() -> None:
    with pytest.raises(GeometryError, match="#2 is no point or direction in space"):
        _data(*[line.replace("(0.,0.6,0.8)", "(0.,0x6,0.8)") for line in _cone()])


# -- slits


def _ball(there: str = ".T.", back: str = ".F.") -> list[str]:
    return [
        "#1=VERTEX_POINT('',#90);",
        "#2=VERTEX_POINT('',#91);",
        "#3=EDGE_CURVE('',#1,#2,#92,.T.);",
        f"#4=ORIENTED_EDGE('',*,*,#3,{there});",
        f"#5=ORIENTED_EDGE('',*,*,#3,{back});",
        "#6=EDGE_LOOP('',(#4,#5));",
        "#7=FACE_BOUND('',#6,.T.);",
        "#8=SPHERICAL_SURFACE('',#93,2.);",
        "#9=ADVANCED_FACE('a;b',(#7),#8,.T.);",
    ]


def test_a_slit_around_a_ball_becomes_a_point() -> None:
    found = widen_slits("".join(_ball()).encode()).decode()
    assert "#6=VERTEX_LOOP('',#1);" in found
    assert found.replace("#6=VERTEX_LOOP('',#1);", "#6=EDGE_LOOP('',(#4,#5));") == "".join(_ball())


@pytest.mark.parametrize(
    "lines",
    [
        _ball(back=".T."),
        [line.replace("SPHERICAL_SURFACE", "PLANE") for line in _ball()],
        [line.replace("(#7)", "(#7,#7)") for line in _ball()],
        [line for line in _ball() if not line.startswith("#3=")],
    ],
    ids=["both ways along", "a plane", "two bounds", "a missing edge"],
)
def test_other_bounds_stay(lines: list[str]) -> None:
    content = "".join(lines).encode()
    assert widen_slits(content) == content


def test_a_prepared_text_of_the_kernels_own_writer_has_the_same_statements(tmp_path: Path) -> None:
    content = solids.write_step(solids.filleted_cylinder(), tmp_path / "part.step").read_bytes()
    text = prepare(PATH, content)
    squeezed = re.compile(rb"\s+")
    assert squeezed.sub(b"", text) == squeezed.sub(b"", content)
    assert np.all([space not in re.sub(rb"'[^']*'", b"", text) for space in (b" ", b"\n")])
    assert step_repair._Text(text).find(b"#10") == text.index(b";#10=") + 1
