"""A sample as the fields of a graph."""

from __future__ import annotations

import numpy as np

from dflow.dataset.training.graphs import graph_fields


def test_equal_names_of_two_groups_keep_their_group():
    fields = graph_fields({"id": 3, "faces/types": np.arange(2), "edges/types": np.arange(3), "faces/area": np.ones(2)})
    assert sorted(fields) == ["area", "edges_types", "faces_types", "id", "increments", "num_nodes"]
    assert fields["num_nodes"] == 2
