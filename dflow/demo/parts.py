"""Generated parts, built by the CAD kernel, for the demo and for tests without real files.

Six families of machined parts, each with its own sizes and features drawn from a seeded generator: plates with hole
grids, angle brackets, flanges with bolt circles, stepped shafts, open housings and grooved pulleys. Their faces are
planes, cylinders, cones and tori.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from OCP.BRepAdaptor import BRepAdaptor_Curve
from OCP.BRepAlgoAPI import BRepAlgoAPI_Cut, BRepAlgoAPI_Fuse
from OCP.BRepBuilderAPI import BRepBuilderAPI_MakeFace, BRepBuilderAPI_MakePolygon
from OCP.BRepFilletAPI import BRepFilletAPI_MakeChamfer, BRepFilletAPI_MakeFillet
from OCP.BRepPrimAPI import (
    BRepPrimAPI_MakeBox,
    BRepPrimAPI_MakeCylinder,
    BRepPrimAPI_MakePrism,
    BRepPrimAPI_MakeRevol,
    BRepPrimAPI_MakeTorus,
)
from OCP.gp import gp_Ax1, gp_Ax2, gp_Dir, gp_Pnt, gp_Vec
from OCP.Message import Message, Message_Printer
from OCP.STEPControl import STEPControl_AsIs, STEPControl_Writer
from OCP.TopAbs import TopAbs_EDGE
from OCP.TopExp import TopExp_Explorer
from OCP.TopoDS import TopoDS

from dflow.errors import KernelError
from dflow.localpath import local_path

Rng = np.random.Generator
Profile = Sequence[tuple[float, float]]

Z_AXIS = gp_Ax1(gp_Pnt(0, 0, 0), gp_Dir(0, 0, 1))


def cylinder(x: float, y: float, z: float, radius: float, height: float) -> Any:
    """Return a cylinder along z whose lower cap is centred at (x, y, z), mm."""
    return BRepPrimAPI_MakeCylinder(gp_Ax2(gp_Pnt(x, y, z), gp_Dir(0, 0, 1)), radius, height).Shape()


def box(x: float, y: float, z: float, dx: float, dy: float, dz: float) -> Any:
    """Return a box with its lowest corner at (x, y, z), mm."""
    return BRepPrimAPI_MakeBox(gp_Pnt(x, y, z), dx, dy, dz).Shape()


def cut(body: Any, *tools: Any) -> Any:
    """Return `body` without the tools."""
    for tool in tools:
        body = BRepAlgoAPI_Cut(body, tool).Shape()
    return body


def revolve(profile: Profile) -> Any:
    """Return the solid of revolution about z of a closed polygon of (radius, z) corners, mm."""
    return BRepPrimAPI_MakeRevol(_polygon_face([(r, 0.0, z) for r, z in profile]), Z_AXIS).Shape()


def extrude(profile: Profile, depth: float) -> Any:
    """Return the prism along y of a closed polygon of (x, z) corners, mm."""
    return BRepPrimAPI_MakePrism(_polygon_face([(x, 0.0, z) for x, z in profile]), gp_Vec(0, depth, 0)).Shape()


def _polygon_face(corners: Sequence[tuple[float, float, float]]) -> Any:
    polygon = BRepBuilderAPI_MakePolygon()
    for corner in corners:
        polygon.Add(gp_Pnt(*corner))
    polygon.Close()
    return BRepBuilderAPI_MakeFace(polygon.Wire()).Face()


def _edges(shape: Any, wanted: Callable[[Any, Any], bool]) -> list[Any]:
    """Return the edges whose two end points satisfy `wanted`, each once."""
    found: list[Any] = []
    explorer = TopExp_Explorer(shape, TopAbs_EDGE)
    while explorer.More():
        edge = TopoDS.Edge(explorer.Current())
        curve = BRepAdaptor_Curve(edge)
        ends = curve.Value(curve.FirstParameter()), curve.Value(curve.LastParameter())
        if wanted(*ends) and not any(edge.IsSame(other) for other in found):
            found.append(edge)
        explorer.Next()
    return found


def _is_upright(a: Any, b: Any) -> bool:
    return math.hypot(a.X() - b.X(), a.Y() - b.Y()) < 1e-6 < abs(a.Z() - b.Z())


def plate(rng: Rng) -> Any:
    """A rectangular plate with rounded corners and a grid of through holes."""
    dx, dy, dz = rng.uniform(40, 120), rng.uniform(30, 90), rng.uniform(3, 12)
    n_x, n_y = int(rng.integers(1, 5)), int(rng.integers(1, 4))
    body = box(0, 0, 0, dx, dy, dz)
    fillet = BRepFilletAPI_MakeFillet(body)
    for edge in _edges(body, _is_upright):
        fillet.Add(float(rng.uniform(2, 5)), edge)
    body = fillet.Shape()
    radius = 0.25 * min(dx / (n_x + 1), dy / (n_y + 1)) * rng.uniform(0.5, 1.0)
    for i in range(n_x):
        for j in range(n_y):
            body = cut(body, cylinder(dx * (i + 1) / (n_x + 1), dy * (j + 1) / (n_y + 1), -1, radius, dz + 2))
    return body


def bracket(rng: Rng) -> Any:
    """An angle bracket with holes in its foot, some with a chamfered foot."""
    foot, wall, thick, depth = rng.uniform(30, 70), rng.uniform(30, 70), rng.uniform(4, 9), rng.uniform(20, 50)
    body = extrude([(0, 0), (foot, 0), (foot, thick), (thick, thick), (thick, wall), (0, wall)], depth)
    for i in range(int(rng.integers(1, 4))):
        body = cut(
            body, cylinder(thick + (foot - thick) * (i + 1) / 5, depth / 2, -1, min(depth, foot) / 14, thick + 2)
        )
    if rng.random() < 0.5:
        chamfer = BRepFilletAPI_MakeChamfer(body)
        for edge in _edges(body, lambda a, b: _is_upright(a, b) and a.X() > foot - 1e-6):
            chamfer.Add(float(thick / 2), edge)
        body = chamfer.Shape()
    return body


def flange(rng: Rng) -> Any:
    """A disc with a hub, a bore and a bolt circle."""
    disc, thick, hub, height = rng.uniform(30, 60), rng.uniform(5, 12), rng.uniform(12, 18), rng.uniform(15, 40)
    body = BRepAlgoAPI_Fuse(cylinder(0, 0, 0, disc, thick), cylinder(0, 0, 0, hub, height)).Shape()
    body = cut(body, cylinder(0, 0, -1, hub * rng.uniform(0.4, 0.7), height + 2))
    n_bolts = int(rng.integers(3, 9))
    for i in range(n_bolts):
        angle = 2 * math.pi * i / n_bolts
        reach = (disc + hub) / 2
        body = cut(body, cylinder(reach * math.cos(angle), reach * math.sin(angle), -1, (disc - hub) / 8, thick + 2))
    return body


def shaft(rng: Rng) -> Any:
    """A stepped shaft with conical ends."""
    radii = rng.uniform(5, 20, size=int(rng.integers(2, 6)))
    z = 2.0
    profile = [(0.0, 0.0), (float(radii[0]) - 2, 0.0)]
    for radius in radii:
        profile.append((float(radius), z))
        z += float(rng.uniform(8, 30))
        profile.append((float(radius), z))
    profile += [(float(radii[-1]) - 2, z + 2), (0.0, z + 2)]
    return revolve(profile)


def housing(rng: Rng) -> Any:
    """An open box with rounded upright edges inside and out, and bosses in its floor."""
    dx, dy, dz, wall = rng.uniform(40, 90), rng.uniform(30, 70), rng.uniform(15, 40), rng.uniform(2, 4)
    outer, inner = box(0, 0, 0, dx, dy, dz), box(wall, wall, wall, dx - 2 * wall, dy - 2 * wall, dz)
    for name, radius in (("outer", 5.0), ("inner", 3.0)):
        solid = outer if name == "outer" else inner
        fillet = BRepFilletAPI_MakeFillet(solid)
        for edge in _edges(solid, _is_upright):
            fillet.Add(radius, edge)
        outer, inner = (fillet.Shape(), inner) if name == "outer" else (outer, fillet.Shape())
    body = cut(outer, inner)
    for i in range(int(rng.integers(0, 4))):
        boss = cylinder(dx * (i + 1) / 5, dy / 2, wall / 2, 3, dz / 2)
        body = BRepAlgoAPI_Fuse(body, boss).Shape()
    return body


def pulley(rng: Rng) -> Any:
    """A wheel with a bore and round grooves."""
    radius, bore, n_grooves = rng.uniform(25, 50), rng.uniform(5, 10), int(rng.integers(1, 5))
    pitch = rng.uniform(7, 10)
    body = cut(cylinder(0, 0, 0, radius, pitch * n_grooves + 4), cylinder(0, 0, -1, bore, pitch * n_grooves + 6))
    for i in range(n_grooves):
        axis = gp_Ax2(gp_Pnt(0, 0, 2 + pitch * (i + 0.5)), gp_Dir(0, 0, 1))
        body = cut(body, BRepPrimAPI_MakeTorus(axis, radius, pitch * 0.35).Shape())
    return body


FAMILIES: dict[str, Callable[[Rng], Any]] = {
    "bracket": bracket,
    "flange": flange,
    "housing": housing,
    "plate": plate,
    "pulley": pulley,
    "shaft": shaft,
}
"""The families by name, in alphabetical order: a part's folder has its family's name, the label to learn."""


def write_step(shape: Any, path: Path) -> None:
    """Write a shape as STEP, with a fixed time and product name so that equal parts are equal files.

    Raises
    ------
    KernelError
        If the kernel cannot write it.
    """
    Message.DefaultMessenger_s().RemovePrinters(Message_Printer.get_type_descriptor_s())
    writer = STEPControl_Writer()
    writer.Transfer(shape, STEPControl_AsIs)
    if int(writer.Write(str(path))) != 1:  # IFSelect_RetDone
        raise KernelError(
            f"the CAD kernel could not write {path}; check that the folder is writable and has space left"
        )
    text = path.read_text(encoding="utf-8")
    stamped = re.sub(r"'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d'", "'2000-01-01T00:00:00'", text, count=1)
    stamped = re.sub(r"'Open CASCADE STEP translator [^']*'", f"'{path.stem}'", stamped)  # holds a counter
    path.write_text(stamped, encoding="utf-8")


def write_parts(folder: str | Path, *, n_parts: int = 60, seed: int = 0) -> list[Path]:
    """Generate parts, the families in turn, as ``<folder>/<family>/<family>_<number>.step``.

    Parameters
    ----------
    folder
        Created where missing; existing files of the same name are replaced.
    n_parts
        How many in all.
    seed
        Parts are a function of the seed and their number only.

    Returns
    -------
    list of Path
        The files, in alphabetical order.
    """
    written = []
    names = list(FAMILIES)
    for index in range(n_parts):
        family, number = names[index % len(names)], index // len(names)
        path = Path(local_path(folder)) / family / f"{family}_{number:03d}.step"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_step(FAMILIES[family](np.random.default_rng([seed, index])), path)
        written.append(path)
    return sorted(written)
