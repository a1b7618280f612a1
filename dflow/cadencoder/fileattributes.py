"""Values of a whole sample: volume, area, box, what the file states about itself and how far we are from it."""

from __future__ import annotations

import math
from typing import Any

from dflow.cadencoder.access import BrepAccess
from dflow.cadencoder.graph import FaceGraph


def file_attributes(brep: BrepAccess, graph: FaceGraph, *, check_validity: bool = False) -> dict[str, Any]:
    """The group ``file`` of the data dictionary, without the counts that the framework records.

    Parameters
    ----------
    graph
        The brep's `face_graph`.
    check_validity
        Also ask the kernel for its own check (``is_valid``), which is slow.

    Returns
    -------
    dict
        `volume` in mm³, NaN without a solid; `area` in mm²; `bounding_box` (6,) and `centroid` (3,) float64 in mm;
        `nonmanifold_edges`; `is_closed`; `stated_volume`, `stated_area`, `volume_error`, `area_error`: the file's own
        geometric validation properties and our relative error against them, NaN where it states none; perhaps
        `is_valid`.
    """
    stated = brep.stated_properties()
    volume, area = float(brep.volume()), float(brep.area())
    values: dict[str, Any] = {
        "volume": volume,
        "area": area,
        "bounding_box": brep.bounding_box(),
        "centroid": brep.centroid(),
        "nonmanifold_edges": graph.nonmanifold_edges,
        "is_closed": bool(brep.is_closed()),
        "stated_volume": float(stated.volume),
        "stated_area": float(stated.area),
        "volume_error": relative_error(volume, float(stated.volume)),
        "area_error": relative_error(area, float(stated.area)),
    }
    if check_validity:
        values["is_valid"] = bool(brep.is_valid())
    return values


def relative_error(computed: float, stated: float) -> float:
    """\\|computed − stated\\| over \\|stated\\|; NaN where either is missing or the stated value is zero."""
    return abs(computed - stated) / abs(stated) if stated and math.isfinite(stated) else math.nan
