"""Which faces lie at points, by the kernel's exact distances."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from OCP.Bnd import Bnd_Box
from OCP.BRepBndLib import BRepBndLib
from OCP.BRepBuilderAPI import BRepBuilderAPI_MakeVertex
from OCP.BRepExtrema import BRepExtrema_DistShapeShape
from OCP.gp import gp_Pnt
from OCP.TopoDS import TopoDS_Shape

from dflow.cadaccess.kernel.shape import KernelShape
from dflow.errors import KernelError


@dataclass(frozen=True, slots=True)
class Near:
    """The faces within a tolerance of a point, the nearest first, and the nearest one's row and distance in mm."""

    rows: tuple[int, ...]
    nearest: int
    distance: float


def faces_near(kernel: KernelShape, points: np.ndarray, tolerance: float) -> list[Near]:
    """Return the faces at each point.

    Parameters
    ----------
    points : (n, 3) float64, mm
    tolerance : mm that a point may lie off a trimmed face

    Notes
    -----
    Exact distances are computed to the faces whose boxes come as near; to more of them, from the nearest box on, only
    where there is none.
    """
    faces: list[TopoDS_Shape] = [kernel.face(row) for row in range(kernel.face_map.Extent())]
    boxes = np.array([_box(face) for face in faces]).reshape(-1, 6)
    return [_near(point, faces, boxes, tolerance) for point in np.asarray(points, np.float64).reshape(-1, 3)]


def _near(point: np.ndarray, faces: list[TopoDS_Shape], boxes: np.ndarray, tolerance: float) -> Near:
    off = np.maximum(np.maximum(boxes[:, :3] - point, point - boxes[:, 3:]), 0.0)
    to_box = np.sqrt((off**2).sum(axis=1))
    vertex = BRepBuilderAPI_MakeVertex(gp_Pnt(*point.tolist())).Vertex()
    found: list[tuple[float, int]] = []
    for row in np.argsort(to_box, kind="stable").tolist():
        if to_box[row] > tolerance and found and min(found)[0] <= to_box[row]:
            break
        found.append((_distance(vertex, faces[row]), row))
    found.sort()
    if not found:
        return Near((), -1, float("nan"))
    return Near(tuple(row for distance, row in found if distance <= tolerance), found[0][1], found[0][0])


def _distance(vertex: TopoDS_Shape, face: TopoDS_Shape) -> float:
    try:
        extrema = BRepExtrema_DistShapeShape(vertex, face)
        if extrema.IsDone():
            return float(extrema.Value())
    except Exception as error:  # OCCT's exceptions have no common base of their own
        raise KernelError(f"the kernel raised {type(error).__name__} in the distance to a face: {error}") from error
    return float("inf")


def _box(face: TopoDS_Shape) -> tuple[float, ...]:
    box = Bnd_Box()
    BRepBndLib.Add_s(face, box, False)
    if box.IsVoid():
        return (np.inf,) * 3 + (-np.inf,) * 3
    low, high = box.CornerMin(), box.CornerMax()
    return low.X(), low.Y(), low.Z(), high.X(), high.Y(), high.Z()
