"""Edges in their faces' (u, v) against closed forms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dflow.cadaccess.geometry import curves, surfaces
from dflow.cadaccess.geometry.tables import ShapeTables
from dflow.cadaccess.kernel.bintools import CONE, CYLINDER, LINE, PLANE, SPHERE, TORUS
from dflow.cadaccess.step import pcurves
from dflow.cadaccess.step.reader import read_step
from tests.cadaccess import solids
from tests.cadaccess.step.test_reader import FREE_CURVES, SHAPES

FULL_TURN = 2 * np.pi


def _read(name: str, folder: Path) -> ShapeTables:
    shape = {**SHAPES, **FREE_CURVES}[name]()
    return read_step(solids.write_step(shape, folder / "part.step", pcurves=False).read_bytes()).tables


def _ends(tables: ShapeTables, kind: int) -> tuple[np.ndarray, np.ndarray]:
    """The uses of the one face of a kind, and (n, 2, 2): (u, v) where they begin and end as their loop runs."""
    (face,) = np.flatnonzero(tables.faces.kind == kind)
    uses = np.flatnonzero(tables.use_face == face)
    table = tables.use_curves
    t = np.stack([table.first[uses], table.last[uses]], axis=1)
    ends = curves.evaluate(table, uses, t)[0]
    forward = tables.use_forward[uses]
    ends[~forward] = ends[~forward][:, ::-1]
    return uses, ends


def test_a_cylinders_rims_and_seam_bound_one_turn(tmp_path: Path) -> None:
    tables = _read("cylinder", tmp_path)  # radius 2, height 7
    uses, ends = _ends(tables, CYLINDER)
    assert (tables.use_curves.kind[uses] == LINE).all()
    np.testing.assert_allclose(np.abs(tables.use_curves.x[uses]).sum(axis=1), 1.0)
    corners = ends.reshape(-1, 2)
    np.testing.assert_allclose([corners.min(axis=0), corners.max(axis=0)], [[0, 0], [FULL_TURN, 7]], atol=1e-9)
    assert sorted(np.abs(ends[:, 1, 0] - ends[:, 0, 0]).round(9)) == pytest.approx([0, 0, FULL_TURN, FULL_TURN])


def test_a_torus_is_bounded_by_a_turn_both_ways(tmp_path: Path) -> None:
    _, ends = _ends(_read("torus", tmp_path), TORUS)
    corners = ends.reshape(-1, 2)
    np.testing.assert_allclose(corners.min(axis=0), 0.0, atol=1e-9)
    np.testing.assert_allclose(corners.max(axis=0), FULL_TURN, atol=1e-9)


@pytest.mark.parametrize(("name", "kind"), [("cone", CONE), ("lens", SPHERE)])
def test_an_edge_without_length_runs_a_turn_at_an_apex_and_a_pole(name: str, kind: int, tmp_path: Path) -> None:
    tables = _read(name, tmp_path)
    uses, ends = _ends(tables, kind)
    at_pole = tables.edge_degenerate[tables.use_edge[uses]]
    assert at_pole.sum() == 1
    (start, end) = ends[at_pole][0]
    assert abs(end[0] - start[0]) == pytest.approx(FULL_TURN)
    assert end[1] == pytest.approx(start[1])
    vertices = tables.edge_vertices[tables.use_edge[uses[at_pole]][0]]
    assert vertices[0] == vertices[1]


@pytest.mark.parametrize("name", [*SHAPES, *FREE_CURVES])
def test_every_loop_runs_on_and_lies_on_its_edges_in_space(name: str, tmp_path: Path) -> None:

    tables = _read(name, tmp_path)
    table, share = tables.use_curves, np.linspace(0.0, 1.0, 7)
    t = table.first[:, None] + (table.last - table.first)[:, None] * share
    uses = np.arange(len(tables.use_face))
    uv = curves.evaluate(table, uses, t)[0]
    real = ~tables.edge_degenerate[tables.use_edge]
    at, _ = surfaces.evaluate(tables.faces, tables.use_face[real], uv[real, :, 0], uv[real, :, 1])
    edge = tables.use_edge[real]
    np.testing.assert_allclose(at, curves.evaluate(tables.edges, edge, t[real])[0], atol=2e-4)
    forward = tables.use_forward[:, None]
    begin, end = np.where(forward, uv[:, 0], uv[:, -1]), np.where(forward, uv[:, -1], uv[:, 0])
    curved = tables.faces.kind[tables.use_face] != PLANE
    for loop in np.unique(tables.use_loop[curved]).tolist():
        own = np.flatnonzero(tables.use_loop == loop)
        np.testing.assert_allclose(begin[np.roll(own, -1)], end[own], atol=2e-5)


def test_the_widest_loop_of_each_face_is_the_first_of_the_largest_area() -> None:
    size = np.array([[1.0, 1.0], [2.0, 3.0], [3.0, 2.0], [5.0, 1.0], [0.5, 0.5]])
    np.testing.assert_array_equal(pcurves._widest(size, np.array([4, 4, 4, 7, 7])), [1, 1, 1, 3, 3])
