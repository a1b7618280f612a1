"""Shells of solids turned to face out of the material, in the kernel's hands."""

from __future__ import annotations

from collections.abc import Iterator

from OCP.BRep import BRep_Builder, BRep_Tool
from OCP.BRepGProp import BRepGProp
from OCP.collections import IndexedMap_TopoDS_Shape_TopTools_ShapeMapHasher as ShapeMap
from OCP.GProp import GProp_GProps
from OCP.TopAbs import TopAbs_FORWARD, TopAbs_SHELL, TopAbs_SOLID
from OCP.TopExp import TopExp
from OCP.TopLoc import TopLoc_Location
from OCP.TopoDS import TopoDS_Iterator, TopoDS_Shape


def turn_shells(shape: TopoDS_Shape, *, outward: bool) -> bool:
    """Turn the closed shells of solids whose volume has the wrong sign: those of cavities face the other way than the
    largest.

    The shape is changed in place, so that what its reader knows of it (names) stays true; returns whether it was.

    Parameters
    ----------
    outward : whether the largest is to face outwards; else it stays as it is.
    """
    changed = False
    for solid in _solids(shape):
        shells = list(_children(solid))
        if any(shell.ShapeType() != TopAbs_SHELL or not BRep_Tool.IsClosed_s(shell) for shell in shells):
            continue
        volumes = [_volume(shell) for shell in shells]
        outer = max(volumes, key=abs, default=0.0)
        side = 1.0 if outward or outer > 0 else -1.0
        wrong = [(volume * side < 0) == (volume is outer) for volume in volumes]
        if outer and any(wrong):
            _replace(solid, shells, [s.Reversed() if w else s for s, w in zip(shells, wrong, strict=True)])
            changed = True
    return changed


def _solids(shape: TopoDS_Shape) -> Iterator[TopoDS_Shape]:
    """Every solid once, whatever its places: at the origin, forward."""
    found, seen = ShapeMap(), ShapeMap()
    TopExp.MapShapes_s(shape, TopAbs_SOLID, found)
    for key in range(1, found.Extent() + 1):
        alone = found.FindKey(key).Located(TopLoc_Location()).Oriented(TopAbs_FORWARD)
        if not seen.Contains(alone):
            seen.Add(alone)
            yield alone


def _children(shape: TopoDS_Shape) -> Iterator[TopoDS_Shape]:
    walk = TopoDS_Iterator(shape)
    while walk.More():
        yield walk.Value()
        walk.Next()


def _replace(parent: TopoDS_Shape, old: list[TopoDS_Shape], new: list[TopoDS_Shape]) -> None:
    builder = BRep_Builder()
    parent.Free(True)
    for child in old:
        builder.Remove(parent, child)
    for child in new:
        builder.Add(parent, child)


def _volume(shell: TopoDS_Shape) -> float:
    found = GProp_GProps()
    BRepGProp.VolumeProperties_s(shell, found)
    return found.Mass()
