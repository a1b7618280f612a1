"""Shapes that are placed with scale or mirror, made anew in their places.

The kernel moves a copy of a part by a location, a rigid motion as a rule. It also reads locations that scale or mirror,
and most of its algorithms, and our tables, take their curves and surfaces for those of the part itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from OCP.BRep import BRep_Builder
from OCP.BRepBuilderAPI import BRepBuilderAPI_Transform
from OCP.collections import IndexedMap_TopoDS_Shape_TopTools_ShapeMapHasher as ShapeMap
from OCP.TopAbs import TopAbs_COMPOUND, TopAbs_COMPSOLID, TopAbs_FORWARD, TopAbs_SOLID
from OCP.TopLoc import TopLoc_Location
from OCP.TopoDS import TopoDS_Iterator, TopoDS_Shape, TopoDS_TShape

from dflow.cadaccess.kernel.bintools import ShapeCode
from dflow.errors import GeometryError

_RIGID = 1e-9
"""How far from 1 the determinant of a rigid motion may be, through rounding."""


def has_scale(code: ShapeCode) -> bool:
    """Whether anything in a shape is placed with scale or mirror."""
    if not code.datums:
        return False
    turns = np.stack([matrix[:, :3] for matrix in code.datums.values()])
    return bool((np.abs(np.linalg.det(turns) - 1.0) > _RIGID).any())


def settle(shape: TopoDS_Shape) -> TopoDS_Shape:
    """The shape with everything that is scaled or mirrored made anew, in the same order; the rest is shared."""
    return _Settler().settle(shape, TopLoc_Location())


@dataclass(slots=True)
class _Settler:
    """Walks one shape.

    Attributes
    ----------
    seen, made : what was made anew, as it was placed and as it is.
    scaled : whether something inside of a shape is placed with scale or mirror.
    """

    seen: ShapeMap = field(default_factory=ShapeMap)
    made: list[TopoDS_Shape] = field(default_factory=list)
    scaled: dict[TopoDS_TShape, bool] = field(default_factory=dict)

    def settle(self, shape: TopoDS_Shape, parent: TopLoc_Location) -> TopoDS_Shape:
        """`shape` in a parent at `parent`, in place."""
        place = parent.Multiplied(shape.Location())
        bare = shape.Located(TopLoc_Location()).Oriented(TopAbs_FORWARD)
        if _is_rigid(place) and not self._scales_below(bare):
            return bare.Located(place).Oriented(shape.Orientation())
        key = bare.Located(place, False)
        row = self.seen.FindIndex(key)
        if not row:
            made = self._make(bare, place)
            row = self.seen.Add(key)
            self.made.append(made)
        return self.made[row - 1].Composed(shape.Orientation())

    def _make(self, bare: TopoDS_Shape, place: TopLoc_Location) -> TopoDS_Shape:
        if not self._scales_below(bare):
            return BRepBuilderAPI_Transform(bare, place.Transformation(), True).Shape()
        if bare.ShapeType() not in (TopAbs_COMPOUND, TopAbs_COMPSOLID, TopAbs_SOLID):
            raise GeometryError(
                "faces of one shell, or edges of one face, are placed with scale or mirror, apart from the rest; "
                "export the part with its geometry in place"
            )
        builder, whole = BRep_Builder(), bare.EmptyCopied()
        for part in _parts(bare):
            builder.Add(whole, self.settle(part, place))
        return whole

    def _scales_below(self, shape: TopoDS_Shape) -> bool:
        key = shape.TShape()
        if key not in self.scaled:
            self.scaled[key] = any(not _is_rigid(part.Location()) or self._scales_below(part) for part in _parts(shape))
        return self.scaled[key]


def _parts(shape: TopoDS_Shape) -> Iterator[TopoDS_Shape]:
    """The sub-shapes of a shape, in its own place."""
    parts = TopoDS_Iterator(shape, False, False)
    while parts.More():
        yield parts.Value()
        parts.Next()


def _is_rigid(place: TopLoc_Location) -> bool:
    """Whether a location consists of nothing but rigid motions."""
    while not place.IsIdentity():
        if abs(place.FirstDatum().Transformation().VectorialPart().Determinant() - 1.0) > _RIGID:
            return False
        place = place.NextLocation()
    return True
