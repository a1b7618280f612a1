"""Points on squares in space, and reference histograms of them."""

from __future__ import annotations

import numpy as np

SIZES = np.array([1.0, 3.0, 0.2, 0.5, 2.0])
AREAS = SIZES**2
CORNERS = np.random.default_rng(5).random((5, 3)) * 4


def draw(n: int, seed: int) -> np.ndarray:
    """Points on five squares in space, uniform by area: (5, n, 3)."""
    generator = np.random.default_rng(seed)
    flat = np.concatenate([generator.random((5, n, 2)), np.zeros((5, n, 1))], axis=-1)
    return CORNERS[:, None] + SIZES[:, None, None] * flat


def histogram(values: np.ndarray, bins: int) -> np.ndarray:
    return np.histogram(values, bins, (0.0, 1.0))[0] / values.size


def sampled_angles(n: int, seed: int, i: int, j: int) -> np.ndarray:
    """Angles over π as brepgraph draws them: each point on either face in proportion to area."""
    generator = np.random.default_rng(seed)
    share = AREAS[i] / (AREAS[i] + AREAS[j])
    a, b, c = (
        np.where((generator.random(n) < share)[:, None], points[i], points[j])
        for points in (draw(n, int(generator.integers(1 << 30))) for _ in range(3))
    )
    u, v = a - b, c - b
    cosines = np.sum(u * v, axis=1) / (np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1))
    return np.arccos(np.clip(cosines, -1.0, 1.0)) / np.pi
