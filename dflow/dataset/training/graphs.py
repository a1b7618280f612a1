"""A sample as the fields of a graph: faces are its nodes, the arcs of the face adjacency graph its edges."""

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
    """A sample as the fields of a graph.

    Nodes are faces (`num_nodes`), `edge_index` is (2, n_arcs) int64; every other array is named ``<array>``, or
    ``<group>_<array>`` where two groups have the name or the graph has a use for it. Row numbers are int64.
    `increments` has for every field of row numbers the group that they number and how many rows of it the sample has
    (-1 where the item has no array of the group): by so much the numbers of the next sample are shifted in a batch.
    Other fields whose name PyTorch Geometric would take for that of row numbers have ``["", 0]``.

    Parameters
    ----------
    index_arrays : the arrays ``group/array`` that hold row numbers, and the groups that they number; what the item
        states of itself, else the standard ones, when left out
    absent : arrays that are left out; their rows count
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
    """The field's name for every key of an item."""
    uses = Counter(key.rpartition("/")[2] for key in item)
    names = {}
    for key in item:
        group, _, name = key.rpartition("/")
        names[key] = name if not group or (uses[name] == 1 and name not in _TAKEN) else f"{group}_{name}"
    return names
