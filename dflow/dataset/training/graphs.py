"""The fields of a sample's graph: nodes are faces, edges the arcs of the face adjacency graph."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Set
from typing import Any

import numpy as np

from dflow.dataset.training.collate import index_arrays_of
from dflow.dataset.training.samples import ID, Item


def graph_fields(
    item: Item, index_arrays: Mapping[str, str] | None = None, absent: Set[str] = frozenset()
) -> dict[str, Any]:
    """Return the fields of a sample's graph.

    Nodes are faces (`num_nodes`), `edge_index` is (2, n_arcs) int64; every other array is named ``<array>``, or
    ``<group>_<array>`` if two groups have the name or the graph uses it itself. Row numbers are int64.
    `increments` lists for every field of row numbers the group that they refer to and the sample's rows of it (-1 if
    the item has no array of the group): the shift of the next sample's numbers in a batch. Other fields whose name
    PyTorch Geometric would take for row numbers have ``["", 0]``.

    Parameters
    ----------
    index_arrays : the arrays ``group/array`` that hold row numbers, and the groups that these refer to; by default the
        item's `index_arrays`, else the standard ones
    absent : arrays that become no field; their rows still count for `increments` and `num_nodes`
    """
    counts = {key.partition("/")[0]: len(value) for key, value in item.items() if key != ID and np.ndim(value)}
    fields: dict[str, Any] = {}
    increments: dict[str, list[Any]] = {}

    def add(name: str, target: str, value: Any) -> None:
        fields[name] = np.asarray(value, np.int64) if target else np.asarray(value)
        if target or _GUESSED.search(name):
            increments[name] = [target, counts.get(target, -1) if target else 0]

    targets = index_arrays_of(item) if index_arrays is None else index_arrays
    names = _field_names(item)
    kept = {key: value for key, value in item.items() if key not in absent}
    ends = [kept.pop(key) for key in _ENDS] if kept.keys() >= set(_ENDS) else None
    for key, value in kept.items():
        add(names[key], targets.get(key, ""), value)
    if ends is not None:
        add("edge_index", "faces", np.stack([np.asarray(end) for end in ends]))
    if "faces" in counts:
        fields["num_nodes"] = counts["faces"]
    return fields | {"increments": increments}


_ENDS = ("graph/edges_source", "graph/edges_destination")
_GUESSED = re.compile("index|batch|^face$")  # in `Data.__inc__` and `Data.__cat_dim__`
_TAKEN = frozenset({"edge_index", "num_nodes", "increments", "batch", "ptr"})


def _field_names(item: Item) -> dict[str, str]:
    """The field name of every key of an item."""
    uses = Counter(key.rpartition("/")[2] for key in item)
    names = {}
    for key in item:
        group, _, name = key.rpartition("/")
        names[key] = name if not group or (uses[name] == 1 and name not in _TAKEN) else f"{group}_{name}"
    return names
