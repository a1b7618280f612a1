"""The instances of a DATA section (ISO 10303-21), and what is left to the kernel's reader."""

from __future__ import annotations

import numpy as np
import pytest

from dflow.cadaccess.files.part21 import RefusedError, find_split_number, parse_reals, scan

POINT = "#1 = CARTESIAN_POINT ( 'a b', (1., 2.,\n 3.) ) ;"


def _file(*statements: str) -> bytes:
    head = "ISO-10303-21;\nHEADER;\nFILE_SCHEMA(('X'));\nENDSEC;\nDATA;\n"
    return (head + "\n".join(statements) + "\nENDSEC;\nEND-ISO-10303-21;\n").encode()


def test_instances_are_found_by_number_without_white_space() -> None:
    found = scan(_file(POINT, "#2=VERTEX_POINT('',#1);", "#30=(LENGTH_UNIT()NAMED_UNIT(*)SI_UNIT($,.METRE.));"))
    assert found.bodies[b"#1"] == b"CARTESIAN_POINT('ab',(1.,2.,3.))"
    assert found.keyword(b"#2") == b"VERTEX_POINT"
    assert (found.keyword(b"#30"), found.keyword(b"#99")) == (b"", b"")
    assert found.find(b"VERTEX_POINT(") == [b"#2"]
    assert found.expect(b"#2", b"VERTEX_POINT(") == b"VERTEX_POINT('',#1)"


@pytest.mark.parametrize(("reference", "found"), [(b"#2", "VERTEX_POINT"), (b"#9", "missing or complex")])
def test_another_instance_than_expected_is_refused_by_both_names(reference: bytes, found: str) -> None:
    instances = scan(_file(POINT, "#2=VERTEX_POINT('',#1);"))
    with pytest.raises(RefusedError, match=rf"{reference.decode()} is {found}, DIRECTION\( was expected"):
        instances.expect(reference, b"DIRECTION(")


@pytest.mark.parametrize("keyword", ["VERTEX_POINT", "CARTESIAN_POINT"])
def test_instances_are_found_in_the_order_of_the_file(keyword: str) -> None:
    statements = [f"#{n}={keyword}('',#1);" for n in (9, 3, 7)]
    assert scan(_file(*statements)).find(keyword.encode() + b"(") == [b"#9", b"#3", b"#7"]


@pytest.mark.parametrize(
    ("statements", "cause"),
    [
        ((POINT, "/* why */", "#2=VERTEX_POINT('',#1);"), "comments among the data"),
        ((POINT, "#2=VERTEX_POINT('a;b',#1);"), "a string with a semicolon"),
        ((POINT, "#1=VERTEX_POINT('',#1);"), "an instance number given twice"),
        ((POINT, "#2=SHELL_BASED_SURFACE_MODEL('',(#1));"), "SHELL_BASED_SURFACE_MODEL among the entities"),
        (("#1=CARTESIAN_POINT('',(1. 5,2.,3.));",), "a number that is split by white space"),
        ((POINT, "ENDSEC;", "DATA;", "#2=VERTEX_POINT('',#1);"), "not exactly one header and one DATA section"),
    ],
)
def test_rarer_liberties_are_refused_with_their_cause(statements: tuple[str, ...], cause: str) -> None:
    with pytest.raises(RefusedError, match=cause):
        scan(_file(*statements))


def test_a_split_number_in_a_string_is_none() -> None:
    assert find_split_number(_file("#1=CARTESIAN_POINT('1. 5',(1.,2.,3.));")) == b""
    assert find_split_number(_file("#1=CARTESIAN_POINT('1. 5',(1.,2.,3. 25));")) == b". 25"  # from its last sign on


def test_reals_are_parsed_row_by_row() -> None:
    found = parse_reals([b"1.,-2.5E-1,3.", b"0.,1.E3,-0."], 3)
    np.testing.assert_array_equal(found, [[1.0, -0.25, 3.0], [0.0, 1000.0, 0.0]])
    assert parse_reals([], 2).shape == (0, 2)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (b"1.,2.", "other than 3 numbers"),
        (b"1.,2.,#3", "is none"),
        (b"1.,2_0.,3.", "is none"),
        (b"1.,2.,1.E999", "not finite"),
    ],
)
def test_what_is_no_row_of_reals_is_refused(text: bytes, cause: str) -> None:
    with pytest.raises(RefusedError, match=cause):
        parse_reals([text], 3)
