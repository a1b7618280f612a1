"""Coedges chained to loops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dflow.cadaccess import topology
from tests.cadaccess import solids


def _chain(loop: list[int], start: list[int], end: list[int]) -> list[int]:
    return topology.chain_loops(np.array(loop), np.array(start), np.array(end)).tolist()


def test_stored_order_is_kept_where_it_connects() -> None:
    assert _chain([0, 0, 0, 1, 1], [0, 1, 2, 3, 4], [1, 2, 0, 4, 3]) == [1, 2, 0, 4, 3]


def test_a_loop_that_is_out_of_order_is_chained_by_its_vertices() -> None:
    assert _chain([0, 0, 0, 0], [0, 2, 1, 3], [1, 3, 2, 0]) == [2, 3, 1, 0]


def test_unknown_vertices_still_give_a_permutation() -> None:
    assert sorted(_chain([0, 0, 0], [-1, 5, -1], [-1, 6, -1])) == [0, 1, 2]


@pytest.mark.parametrize("how", solids.PLACES)
def test_coedges_of_a_box(how: str, tmp_path: Path) -> None:
    brep = solids.open_brep(solids.place(solids.box(), how), tmp_path)
    found = topology.build_topology(brep.tables, brep.kernel_edge_rows)
    assert (found.n_faces, found.n_edges, len(found.coedge_face)) == (6, 12, 24)
    assert np.bincount(found.coedge_face).tolist() == [4] * 6
    assert np.bincount(found.coedge_edge).tolist() == [2] * 12
    backwards = np.bincount(found.coedge_edge, found.coedge_reversed)
    assert backwards.tolist() == [1] * 12  # once along the curve, once against it
    assert (found.coedge_loop[found.coedge_next] == found.coedge_loop).all()


def test_a_seam_has_two_coedges_of_one_face(tmp_path: Path) -> None:
    brep = solids.open_brep(solids.cylinder(), tmp_path)
    found = topology.build_topology(brep.tables, brep.kernel_edge_rows)
    pairs = [found.coedge_face[found.coedge_edge == edge] for edge in range(found.n_edges)]
    assert sorted(len(set(pair.tolist())) for pair in pairs) == [1, 2, 2]
