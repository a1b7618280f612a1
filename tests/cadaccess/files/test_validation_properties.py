"""Geometric validation properties, with their units."""

from __future__ import annotations

import math

import pytest

from dflow.cadaccess.files.validation_properties import read_stated

_MM = "#90=(LENGTH_UNIT()NAMED_UNIT(*)SI_UNIT(.MILLI.,.METRE.));"
_INCH = """#90=(CONVERSION_BASED_UNIT('INCH',#91)LENGTH_UNIT()NAMED_UNIT(#92));
#91=LENGTH_MEASURE_WITH_UNIT(LENGTH_MEASURE(25.4),#93);
#93=(LENGTH_UNIT()NAMED_UNIT(*)SI_UNIT(.MILLI.,.METRE.));"""
_METRE = "#90=(LENGTH_UNIT()NAMED_UNIT(*)SI_UNIT($,.METRE.));"


def _file(unit: str, name: str = "geometric_validation_property") -> bytes:
    return f"""DATA;
#10=PROPERTY_DEFINITION('{name}','volume of #1',#1);
#11=PROPERTY_DEFINITION_REPRESENTATION(#10,#12);
#12=REPRESENTATION('volume',(#13),#99);
#13=MEASURE_REPRESENTATION_ITEM('volume measure',VOLUME_MEASURE(8.),#14);
#14=DERIVED_UNIT((#15));
#15=DERIVED_UNIT_ELEMENT(#90,3.);
#20=PROPERTY_DEFINITION('{name}','area of #1',#1);
#21=PROPERTY_DEFINITION_REPRESENTATION(#20,#22);
#22=REPRESENTATION('surface area',(#23),#99);
#23=MEASURE_REPRESENTATION_ITEM('area measure',AREA_MEASURE(24.),#24);
#24=DERIVED_UNIT((#25));
#25=DERIVED_UNIT_ELEMENT(#90,2.);
{unit}
ENDSEC;""".encode()


@pytest.mark.parametrize(("unit", "mm"), [(_MM, 1.0), (_INCH, 25.4), (_METRE, 1000.0)])
def test_values_are_converted_from_their_own_unit(unit: str, mm: float) -> None:
    stated = read_stated(_file(unit))
    assert stated.volume == pytest.approx(8 * mm**3)
    assert stated.area == pytest.approx(24 * mm**2)
    assert len(stated.volumes) == len(stated.areas) == 1


def test_measures_that_no_validation_property_owns_do_not_count() -> None:
    stated = read_stated(_file(_MM, name="something else"))
    assert math.isnan(stated.volume)
    assert math.isnan(stated.area)


def test_a_file_without_measures_states_nothing() -> None:
    assert math.isnan(read_stated(b"DATA;\n#1=CARTESIAN_POINT('',(0.,0.,0.));\nENDSEC;").volume)
