"""Bodies of a file, and the tables of each."""

from __future__ import annotations

import numpy as np
import pytest

from dflow.cadaccess.bodies import CodedBodies, Solids, select_solid, solid_faces
from dflow.cadaccess.kernel import bintools, placement
from dflow.cadaccess.kernel.exploration import Places
from dflow.cadaccess.step.reader import read_step
from tests.cadaccess import solids
from tests.cadaccess.stepboxes import StepText


def _coded(*shapes: object) -> CodedBodies:
    code = bintools.parse_shape(placement.encode_shape(solids.compound(*shapes)))
    return CodedBodies(code, Places(code))


def test_bodies_of_a_compound_are_its_solids() -> None:
    bodies = _coded(solids.box(), solids.sphere())
    assert bodies.count == 2
    assert [bodies.tables(body).n_faces for body in (None, 0, 1)] == [7, 6, 1]
    assert not bodies.is_alone(0)


def test_a_solid_in_a_compound_of_its_own_is_the_whole_file() -> None:
    bodies = _coded(solids.compound(solids.box()))
    assert (bodies.count, bodies.is_alone(0)) == (1, True)


@pytest.fixture
def two_boxes() -> Solids:
    """Two boxes of one product, 2 × 3 × 5 and 1 × 1 × 1."""
    text = StepText()
    boxes = [text.box(2, 3, 5), text.box(1, 1, 1)]
    text.product("pair", text.shape(text.context(), *boxes))
    return Solids(read_step(text.text().encode()).tables)


def test_the_tables_of_one_solid_are_numbered_anew(two_boxes: Solids) -> None:
    assert two_boxes.count == 2
    second = two_boxes.tables(1)
    assert (second.n_faces, second.n_solids, second.n_shells) == (6, 1, 1)
    assert (len(second.points), len(second.edge_degenerate), len(second.use_face)) == (8, 12, 24)
    np.testing.assert_allclose([second.points.min(axis=0), second.points.max(axis=0)], [[0, 0, 0], [1, 1, 1]])
    assert second.use_edge.max() == 11
    assert list(dict.fromkeys(second.use_edge.tolist())) == list(range(12))
    assert np.unique(second.use_loop).tolist() == list(range(6))


def test_selecting_the_only_solid_changes_nothing_but_numbers(two_boxes: Solids) -> None:
    one = two_boxes.tables(0)
    again = select_solid(one, 0)
    assert solid_faces(one, 0).tolist() == list(range(6))
    np.testing.assert_array_equal(again.use_edge, one.use_edge)
    np.testing.assert_array_equal(again.points, one.points)
    assert not two_boxes.is_alone(0)
    assert Solids(one).is_alone(0)


def test_the_whole_file_is_not_copied(two_boxes: Solids) -> None:
    assert two_boxes.tables(None) is two_boxes.whole
