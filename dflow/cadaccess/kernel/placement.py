"""Shapes that are placed with scale or mirror, rebuilt in place.

The kernel moves a copy of a part by a location, a rigid motion as a rule. It also reads locations that scale or mirror,
which most of its algorithms, and our tables, do not apply to curves and surfaces.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from OCP.BinTools import BinTools, BinTools_FormatVersion
from OCP.BRep import BRep_Builder
from OCP.BRepBuilderAPI import BRepBuilderAPI_Transform
from OCP.collections import IndexedMap_TopoDS_Shape_TopTools_ShapeMapHasher as ShapeMap
from OCP.TopAbs import TopAbs_COMPOUND, TopAbs_COMPSOLID, TopAbs_FORWARD, TopAbs_SOLID
from OCP.TopLoc import TopLoc_Location
from OCP.TopoDS import TopoDS_Iterator, TopoDS_Shape, TopoDS_TShape

from dflow.cadaccess.kernel import bintools
from dflow.cadaccess.kernel.bintools import ShapeCode
from dflow.errors import CadError, GeometryError, KernelError

_RIGID = 1e-9
"""How far from 1 the determinant of a rigid motion may be, through rounding."""


def has_scale(code: ShapeCode) -> bool:
    """Return whether anything in a shape is placed with scale or mirror."""
    if not code.datums:
        return False
    turns = np.stack([matrix[:, :3] for matrix in code.datums.values()])
    return bool((np.abs(np.linalg.det(turns) - 1.0) > _RIGID).any())


def encode_in_place(path: Path, shape: TopoDS_Shape) -> tuple[TopoDS_Shape, ShapeCode]:
    """Return the shape without locations that scale or mirror, and its parsed binary form.

    Parameters
    ----------
    path : names the file in errors; it is not opened.

    Raises
    ------
    GeometryError
        A scale or mirror inside of a face or edge, or of part of a shell.
    KernelError
        The kernel raised.
    """
    try:
        code = bintools.parse_shape(encode_shape(shape))
        if has_scale(code):
            shape = apply_scales(shape)
            code = bintools.parse_shape(encode_shape(shape))
    except CadError:
        raise
    except Exception as error:
        raise KernelError(
            f"{path}: the kernel raised {type(error).__name__} while writing the shape: {error}"
        ) from error
    if has_scale(code):
        raise GeometryError(
            f"{path}: a curve or surface is placed with scale or mirror inside of its face or edge; export the part "
            "with its geometry in place"
        )
    return shape, code


def encode_shape(shape: TopoDS_Shape) -> bytes:
    """Return the shape in the kernel's binary form (BinTools, version 4), without meshes."""
    stream = io.BytesIO()
    BinTools.Write_s(shape, stream, False, False, BinTools_FormatVersion.BinTools_FormatVersion_VERSION_4)
    return stream.getvalue()


def apply_scales(shape: TopoDS_Shape) -> TopoDS_Shape:
    """Return the shape with everything that is scaled or mirrored rebuilt in place, in the same order; the rest is
    shared.
    """
    return _Rebuild().rebuild(shape, TopLoc_Location())


@dataclass(slots=True)
class _Rebuild:
    """The state of one rebuild.

    Attributes
    ----------
    seen, made : the rebuilt shapes, as they were placed and as they are.
    scaled : whether something inside of a shape is placed with scale or mirror.
    """

    seen: ShapeMap = field(default_factory=ShapeMap)
    made: list[TopoDS_Shape] = field(default_factory=list)
    scaled: dict[TopoDS_TShape, bool] = field(default_factory=dict)

    def rebuild(self, shape: TopoDS_Shape, parent: TopLoc_Location) -> TopoDS_Shape:
        """Return `shape` of a parent at `parent`, in place."""
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
            builder.Add(whole, self.rebuild(part, place))
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
    """Return whether a location consists of nothing but rigid motions."""
    while not place.IsIdentity():
        if abs(place.FirstDatum().Transformation().VectorialPart().Determinant() - 1.0) > _RIGID:
            return False
        place = place.NextLocation()
    return True
