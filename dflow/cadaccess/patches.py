"""Area, moments and flux of whole B-spline surfaces by Gauss's rule, where two orders of it agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dflow.cadaccess import bsplines
from dflow.cadaccess.shapecode import SplineSurface

_RULES = tuple(np.polynomial.legendre.leggauss(n) for n in (16, 24))
_RELATIVE = 1e-9
_MAX_CELLS = 36
"""Between the knots; the rules would evaluate millions of points of a large net, and far fewer are enough for it."""


@dataclass(frozen=True, slots=True)
class PatchMoments:
    """Integrals over one surface: ∬ dA in mm², ∬ P dA, ∬ n dA, ∬ P·n dA, and ``∬ P (P·n) dA``."""

    area: float
    first: np.ndarray
    vector_area: np.ndarray
    flux: float
    cone: np.ndarray


def integrate(surface: SplineSurface) -> PatchMoments | None:
    """The moments of a surface; None where the two rules differ by more than 1e-9 of what they add up, and for
    large nets of knots.
    """
    lines = np.unique(surface.knots_u), np.unique(surface.knots_v)
    if (len(lines[0]) - 1) * (len(lines[1]) - 1) > _MAX_CELLS:
        return None
    rough, fine = (_integrate(surface, *(_spread(line, *rule) for line in lines)) for rule in _RULES)
    reach = float(np.abs(surface.poles).max())
    allowed = _RELATIVE * fine.area
    settled = (
        abs(rough.area - fine.area) <= allowed
        and np.abs(rough.first - fine.first).max() <= allowed * reach
        and abs(rough.flux - fine.flux) <= allowed * reach
        and np.abs(rough.cone - fine.cone).max() <= allowed * reach**2
    )
    return fine if settled else None


def _integrate(
    surface: SplineSurface, rule_u: tuple[np.ndarray, np.ndarray], rule_v: tuple[np.ndarray, np.ndarray]
) -> PatchMoments:
    (u, share_u), (v, share_v) = rule_u, rule_v
    points, du, dv = bsplines.evaluate_grid(surface, u, v)
    normals = np.cross(du, dv) * (share_u[:, None] * share_v)[..., None]
    sizes = np.sqrt(np.einsum("abk,abk->ab", normals, normals))
    through = np.einsum("abk,abk->ab", points, normals)
    return PatchMoments(
        area=float(sizes.sum()),
        first=np.einsum("ab,abk->k", sizes, points),
        vector_area=normals.sum(axis=(0, 1)),
        flux=float(through.sum()),
        cone=np.einsum("ab,abk->k", through, points),
    )


def _spread(line: np.ndarray, nodes: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rule's nodes and weights over every span of a line of different knots."""
    half = 0.5 * np.diff(line)[:, None]
    return (line[:-1, None] + half * (1.0 + nodes)).ravel(), (half * weights).ravel()
