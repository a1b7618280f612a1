"""A list of names behaves as a list, and as a set beside a set."""

from __future__ import annotations

import pickle

from dflow.hoops.sets import Names

GROUPS = Names(["edges", "faces", "file"])


def test_it_is_a_list():
    assert GROUPS == ["edges", "faces", "file"]
    assert GROUPS[0] == "edges"
    assert repr(GROUPS) == "['edges', 'faces', 'file']"
    assert pickle.loads(pickle.dumps(GROUPS)) == GROUPS


def test_it_combines_with_sets_on_either_side():
    assert {"faces", "graph"} - GROUPS == {"graph"}
    assert GROUPS - {"faces"} == {"edges", "file"}
    assert {"faces", "graph"} & GROUPS == GROUPS & {"faces", "graph"} == {"faces"}
    assert {"graph"} | GROUPS == GROUPS | {"graph"} == {"edges", "faces", "file", "graph"}
    assert {"faces"} ^ GROUPS == GROUPS ^ {"faces"} == {"edges", "file"}


def test_it_compares_with_sets():
    assert {"file", "faces", "edges"} == GROUPS
    assert {"faces"} != GROUPS
    assert {"faces"} <= GROUPS
    assert not {"faces"} >= GROUPS
    assert {"faces"}.issubset(GROUPS)
