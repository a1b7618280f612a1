"""Faces cut into triangles in (u, v)."""

from __future__ import annotations

import time

import numpy as np
import pytest

from dflow.cadaccess.tessellation import triangulation

FLAT, FINE = np.inf, 0.1


def _outline_of(face: np.ndarray, start: np.ndarray, end: np.ndarray, n_faces: int) -> triangulation.Outline:
    low, high = np.zeros((n_faces, 2)), np.zeros((n_faces, 2))
    for row in np.unique(face):
        ends = np.concatenate([start[face == row], end[face == row]])
        low[row], high[row] = ends.min(axis=0), ends.max(axis=0)
    return triangulation.Outline(face, start, end, low, high)


def _outline(*loops: np.ndarray, face: int = 0, n_faces: int = 1) -> triangulation.Outline:
    start = np.concatenate(loops)
    end = np.concatenate([np.roll(loop, -1, axis=0) for loop in loops])
    return _outline_of(np.full(len(start), face, np.int32), start, end, n_faces)


def _ring(n: int, radius: float, centre: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    turn = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return np.column_stack([np.cos(turn), np.sin(turn)]) * radius + centre


def _areas(cut: triangulation.UVTriangles) -> np.ndarray:
    corners = cut.points[cut.corners]
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    return 0.5 * (first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0])


def _polygon_area(loop: np.ndarray) -> float:
    after = np.roll(loop, -1, axis=0)
    return abs(0.5 * float((loop[:, 0] * after[:, 1] - loop[:, 1] * after[:, 0]).sum()))


SQUARE = np.array([[-2.0, -2], [2, -2], [2, 2], [-2, 2]])
LETTER = np.array([[0.0, 0], [3, 0], [3, 1], [1, 1], [1, 2], [3, 2], [3, 3], [0, 3]])


@pytest.mark.parametrize("steps", [(FLAT, FLAT), (0.3, FLAT), (FINE, FINE), (FLAT, 0.25)])
@pytest.mark.parametrize(
    ("loops", "area"),
    [
        ([SQUARE], 16.0),
        ([LETTER], 7.0),
        ([SQUARE, _ring(17, 1.1)[::-1]], 16.0 - _polygon_area(_ring(17, 1.1))),
        ([SQUARE, _ring(9, 0.5, (-1, 0)), _ring(9, 0.5, (1, 0.3))], 16.0 - 2 * _polygon_area(_ring(9, 0.5))),
    ],
)
def test_triangles_cover_the_face_once_and_turn_left(loops, area, steps):
    cut = triangulation.triangulate(_outline(*loops), np.array([steps]))
    areas = _areas(cut)
    assert areas.min() > 0
    assert areas.sum() == pytest.approx(area, rel=1e-5)


def test_no_triangle_reaches_farther_than_the_steps():
    cut = triangulation.triangulate(_outline(SQUARE, _ring(12, 1.0)), np.array([[0.3, 0.5]]))
    corners = cut.points[cut.corners]
    reach = np.ptp(corners, axis=1).max(axis=0)
    assert reach[0] <= 0.3 + 1e-6
    assert reach[1] <= 2 * 0.5 + 1e-6  # a triangle between two lines may lean by one rung


def test_a_curved_face_has_no_cracks():
    """Every inner edge belongs to two triangles: what is left over is the boundary."""
    cut = triangulation.triangulate(_outline(SQUARE, _ring(11, 0.9, (0.1, 0.2))), np.array([[0.4, 0.4]]))
    pairs = np.sort(np.concatenate([cut.corners[:, [0, 1]], cut.corners[:, [1, 2]], cut.corners[:, [2, 0]]]), axis=1)
    _, times = np.unique(pairs, axis=0, return_counts=True)
    assert times.max() == 2
    once = np.unique(pairs, axis=0)[times == 1]
    middle = 0.5 * (cut.points[once[:, 0]] + cut.points[once[:, 1]])
    on_square = np.abs(np.abs(middle).max(axis=1) - 2) < 1e-6
    radius = np.hypot(*(middle - [0.1, 0.2]).T)
    on_hole = (radius > 0.9 * np.cos(np.pi / 11) - 1e-6) & (radius < 0.9 + 1e-6)
    assert (on_square | on_hole).all()


def test_the_order_and_direction_of_pieces_do_not_matter():
    whole = _outline(LETTER)
    order = np.random.default_rng(5).permutation(len(whole.face))
    swap = order % 2 == 0
    start = np.where(swap[:, None], whole.end[order], whole.start[order])
    end = np.where(swap[:, None], whole.start[order], whole.end[order])
    shuffled = triangulation.triangulate(_outline_of(whole.face, start, end, 1), np.array([[0.5, FLAT]]))
    assert _areas(shuffled).sum() == pytest.approx(7.0, rel=1e-6)


def test_flat_faces_get_few_triangles():
    cut = triangulation.triangulate(_outline(SQUARE, _ring(32, 1.0)), np.array([[FLAT, FLAT]]))
    assert len(cut.corners) <= 2 * (4 + 32 + 4)


def test_a_face_that_does_not_close_is_reported_and_the_others_are_cut():
    start = np.concatenate([SQUARE, SQUARE])
    end = np.concatenate([np.roll(SQUARE, -1, axis=0)] * 2)
    outline = _outline_of(np.repeat([0, 1], 4)[1:].astype(np.int32), start[1:], end[1:], 2)
    cut = triangulation.triangulate(outline, np.full((2, 2), FLAT))
    assert cut.failed.tolist() == [0]
    assert cut.first_point.tolist() == [0, 0, 4]
    assert cut.first_triangle.tolist() == [0, 0, 2]
    assert _areas(cut).sum() == pytest.approx(16.0)


def test_many_faces_keep_apart():
    """Face times line must not overflow 32 bits."""
    n = 1000
    outline = _outline_of(
        np.repeat(np.arange(n, dtype=np.int32), 4), np.tile(SQUARE, (n, 1)), np.tile(np.roll(SQUARE, -1, 0), (n, 1)), n
    )
    cut = triangulation.triangulate(outline, np.tile([FLAT, 1.0], (n, 1)))
    point_face = np.repeat(np.arange(n), np.diff(cut.first_point))
    owner = np.repeat(np.arange(n), np.diff(cut.first_triangle))
    assert (point_face[cut.corners] == owner[:, None]).all()
    np.testing.assert_allclose(np.bincount(owner, _areas(cut), n), 16.0)


def test_nothing_gives_nothing():
    nothing = _outline_of(np.zeros(0, np.int32), np.zeros((0, 2)), np.zeros((0, 2)), 3)
    cut = triangulation.triangulate(nothing, np.full((3, 2), FLAT))
    assert cut.corners.shape == (0, 3)


def _plate(n_holes: int, jitter: float) -> triangulation.Outline:
    """A square plate with rings of 16 pieces, in rows, or near them."""
    side = int(np.ceil(np.sqrt(n_holes)))
    centres = np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(-1, 2)[:n_holes]
    centres = centres + jitter * np.random.default_rng(1).uniform(-1, 1, (n_holes, 2))
    rings = centres[:, None] + _ring(16, 0.25)
    square = (0.25 * SQUARE + 0.5) * side - 0.5
    start = np.concatenate([square, rings.reshape(-1, 2)])
    end = np.concatenate([np.roll(square, -1, axis=0), np.roll(rings, -1, axis=1).reshape(-1, 2)])
    return _outline_of(np.zeros(len(start), np.int32), start, end, 1)


@pytest.mark.parametrize("steps", [(FLAT, FLAT), (2.0, 2.0)])
@pytest.mark.parametrize("jitter", [0.0, 0.2])
def test_a_plate_with_twenty_thousand_holes_is_cut_in_a_second(jitter, steps):
    outline = _plate(20_000, jitter)
    started = time.process_time()
    cut = triangulation.triangulate(outline, np.array([steps]))
    assert time.process_time() - started < 10.0  # some 0.5 s; a sweep over all pairs of pieces would take minutes
    areas = _areas(cut)
    assert areas.sum() == pytest.approx(142**2 - 20_000 * _polygon_area(_ring(16, 0.25)), rel=1e-4)
    assert len(areas) < 10 * len(outline.face)


@pytest.mark.parametrize("steps", [(FLAT, FLAT), (0.05, FLAT), (0.05, 500.0)])
def test_faces_whose_pieces_cross_every_slab_are_cut_more_coarsely(steps):
    """A saw with 50,000 teeth across the whole face: each of 100,000 lines would cross half of the pieces."""
    n = 50_000
    rng = np.random.default_rng(2)
    roots = np.column_stack([rng.uniform(0.0, 0.1, n), np.arange(n)])
    tips = np.column_stack([rng.uniform(0.9, 1.0, n), np.arange(n) + 0.5])
    saw = np.concatenate([np.stack([roots, tips], axis=1).reshape(-1, 2), [[2.0, n], [2.0, -1.0]]])
    started = time.process_time()
    cut = triangulation.triangulate(_outline(saw), np.array([steps]))
    assert time.process_time() - started < 20.0  # some 1 s
    assert len(cut.points) < 5_000_000
    assert _areas(cut).sum() == pytest.approx(_polygon_area(saw), rel=0.01)


@pytest.mark.parametrize("steps", [(FLAT, FLAT), (0.3, 0.3), (0.01, 0.01), (0.0, 0.0), (-1.0, np.nan)])
def test_boundaries_that_cross_themselves_are_cut_or_torn(steps):
    """By the even-odd rule about half of such a square is inside."""
    scribble = np.random.default_rng(3).uniform(0, 1, (300, 2))
    cut = triangulation.triangulate(_outline(scribble), np.array([steps]))
    assert not len(cut.failed)
    assert cut.corners.max() < len(cut.points)
    assert 0.3 < _areas(cut).sum() < 0.7


def test_a_scribble_too_wild_for_the_memory_is_torn():
    scribble = np.random.default_rng(4).uniform(0, 1, (20_000, 2))
    for steps in ((FLAT, FLAT), (0.01, 0.01)):
        cut = triangulation.triangulate(_outline(scribble), np.array([steps]))
        assert cut.failed.tolist() == [0]
        assert not len(cut.corners)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_face_that_is_not_finite_is_torn_and_the_others_are_cut(bad, axis):
    start = np.concatenate([SQUARE, SQUARE, SQUARE])
    end = np.concatenate([np.roll(SQUARE, -1, axis=0)] * 3)
    start[5, axis] = end[4, axis] = bad
    outline = _outline_of(np.repeat([0, 1, 2], 4).astype(np.int32), start, end, 3)
    cut = triangulation.triangulate(outline, np.array([[FLAT, FLAT], [0.5, 0.5], [FLAT, FLAT]]))
    assert cut.failed.tolist() == [1]
    assert _areas(cut).sum() == pytest.approx(32.0)
