"""Where a curve in space lies in a surface's (u, v): orthogonal projection in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dflow.cadaccess import curves
from dflow.cadaccess.shapecode import CONE, CYLINDER, TORUS
from dflow.cadaccess.steptext.geometry import Geometry


@dataclass(frozen=True, slots=True)
class Look:
    """Curves seen from their surfaces at parameters t : (n, m): u, v, their rates, distance from the axis, how far off
    the surface, and speed in space; (n, m) each.
    """

    u: np.ndarray
    v: np.ndarray
    du: np.ndarray
    dv: np.ndarray
    rho: np.ndarray
    off: np.ndarray
    speed: np.ndarray

    def take(self, rows: np.ndarray) -> Look:
        """The look at some of the curves."""
        columns = (self.u, self.v, self.du, self.dv, self.rho, self.off, self.speed)
        return Look(*(column[rows] for column in columns))


def look(geometry: Geometry, face: np.ndarray, edge: np.ndarray, t: np.ndarray) -> Look:
    """Orthogonal projection onto cylinders, cones, spheres and tori (``ElSLib::Parameters``), with its derivative."""
    faces = geometry.faces
    points, slopes = curves.evaluate(geometry.edges, edge, t)
    frame = np.stack([faces.x[face], faces.y[face], faces.z[face]], axis=2)
    at = (points - faces.origin[face][:, None]) @ frame
    go = slopes @ frame
    x, y, z = at[..., 0], at[..., 1], at[..., 2]
    rho = np.sqrt(x * x + y * y)
    safe = np.maximum(rho, 1e-300)
    cos, sin = x / safe, y / safe
    outward, round_ = go[..., 0] * cos + go[..., 1] * sin, (go[..., 1] * cos - go[..., 0] * sin) / safe
    u, up = np.arctan2(y, x), go[..., 2]
    v, dv, off = np.empty_like(u), np.empty_like(u), np.empty_like(u)
    kind, radii = faces.kind[face], faces.radii[face]
    for value in np.unique(kind).tolist():
        k = kind == value
        big, small = radii[k, :1], radii[k, 1:]
        if value == CYLINDER:
            v[k], dv[k], off[k] = z[k], up[k], rho[k] - big
        elif value == CONE:
            # On the far side of the apex the radius counts as negative and the angle turns by half.
            beyond = big + z[k] * np.tan(small) < 0
            side = np.where(beyond, -1.0, 1.0)
            u[k] += np.where(beyond, np.pi, 0.0)
            reach, pull = side * rho[k] - big, side * outward[k]
            v[k], dv[k] = reach * np.sin(small) + z[k] * np.cos(small), pull * np.sin(small) + up[k] * np.cos(small)
            off[k] = reach * np.cos(small) - z[k] * np.sin(small)
        else:
            reach = rho[k] - big if value == TORUS else rho[k]
            v[k], length = np.arctan2(z[k], reach), reach**2 + z[k] ** 2
            dv[k] = (up[k] * reach - outward[k] * z[k]) / np.maximum(length, 1e-300)
            off[k] = np.sqrt(length) - (small if value == TORUS else big)
    return Look(u, v, round_, dv, rho, off, np.sqrt(np.einsum("nmk,nmk->nm", slopes, slopes)))
