"""The topology of a STEP text as rows in the order of the first visit."""

from __future__ import annotations

import numpy as np
import pytest

from dflow.cadaccess.files.part21 import RefusedError, scan
from dflow.cadaccess.kernel.bintools import CIRCLE, CYLINDER, LINE, PLANE
from dflow.cadaccess.step.traversal import Rows, Traversal
from tests.cadaccess.statements import Statements
from tests.cadaccess.stepboxes import StepText


def _rows(text: str, solid: str) -> Rows:
    traversal = Traversal(scan(text.encode()))
    traversal.solid(solid.encode())
    return traversal.rows


def test_a_box_has_its_rows_each_edge_used_once_each_way() -> None:
    box = StepText()
    rows = _rows((solid := box.box(), box.text())[1], solid)
    assert rows.solids == [[(True, 0)]]
    assert rows.shells == [[(face, True) for face in range(6)]]
    assert rows.face_kinds == [PLANE] * 6
    assert rows.edge_kinds == [LINE] * 12
    assert len(rows.vertices) == len(rows.points) - 6 - 12 == 8  # beside the planes' and the lines' own points
    uses = [use for loops in rows.face_loops for _, loop in loops for use in loop]
    assert sorted(uses) == [(edge, forward) for edge in range(12) for forward in (False, True)]
    first = list(dict.fromkeys(edge for edge, _ in uses))
    assert first == list(range(12))


def _drum(*, sense: bool) -> tuple[str, str]:
    """A cylinder of radius 2 and height 5, its lateral face forward or not; the text and the solid."""
    part = Statements()
    low, high = part.vertex((2, 0, 0)), part.vertex((2, 0, 5))
    rims = [
        part.edge(low, low, part.circle(2.0)),
        part.edge(high, high, part.circle(2.0, (0, 0, 5))),
    ]
    seam = part.edge(low, high, part.line((2, 0, 0), (0, 0, 1)))
    around = [(rims[0], True), (seam, True), (rims[1], False), (seam, False)]
    side = part.face(part.add(f"CYLINDRICAL_SURFACE('',{part.place()},2.)"), around, forward=sense)
    solid = part.solid(
        side,
        part.disc(rims[0], onward=False, at=(0, 0, 0), z=(0, 0, -1)),
        part.disc(rims[1], onward=True, at=(0, 0, 5), z=(0, 0, 1)),
    )
    head = "ISO-10303-21;\nHEADER;\nENDSEC;\nDATA;\n"
    return head + "\n".join(part.lines) + "\nENDSEC;\nEND-ISO-10303-21;\n", solid


@pytest.mark.parametrize("sense", [True, False])
def test_a_reversed_curved_faces_loop_is_turned_to_run_along_its_surfaces_normal(sense: bool) -> None:
    rows = _rows(*_drum(sense=sense))
    assert rows.face_kinds == [CYLINDER, PLANE, PLANE]
    assert sorted(rows.edge_kinds) == [LINE, CIRCLE, CIRCLE]
    ((along, uses),) = rows.face_loops[0]
    assert along is sense
    # The row numbers follow the first visit, and a loop against the normal is visited backwards.
    assert [edge for edge, _ in uses] == ([0, 1, 2, 1] if sense else [0, 1, 0, 2])
    assert rows.face_radii[0] == b"2."
    assert rows.edge_vertices[uses[0][0]][0] in (0, 1)


def test_a_face_used_twice_and_an_unknown_surface_are_refused() -> None:
    text, solid = _drum(sense=True)
    traversal = Traversal(scan(text.encode()))
    traversal.solid(solid.encode())
    with pytest.raises(RefusedError, match="a face that is used twice"):
        traversal.solid(solid.encode())
    with pytest.raises(RefusedError, match="of the simple kinds was expected"):
        _rows(text.replace("CYLINDRICAL_SURFACE", "DIRECTION"), solid)


def test_texts_of_points_keep_their_digits() -> None:
    box = StepText()
    solid = box.box(0.1, 20, 30)
    rows = _rows(box.text(), solid)
    corners = np.array([rows.point_texts[row].split(b",") for row in rows.vertices], float)
    np.testing.assert_array_equal(np.unique(corners[:, 0]), [0.0, 0.1])
