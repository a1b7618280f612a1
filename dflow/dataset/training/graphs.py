"""The fields of a sample's graph: nodes are faces, edges the arcs of the face adjacency graph."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dflow.dataset.training.classes import IGNORE_INDEX
from dflow.dataset.training.collate import index_arrays_of
from dflow.dataset.training.samples import ID, IndexedItem, Item
from dflow.errors import DatasetError, UnknownKeyError
from dflow.schema import FILE_GROUP

Array = np.ndarray[Any, np.dtype[Any]]

NODES, ARCS = "faces", "graph"
ENDS = ("graph/edges_source", "graph/edges_destination")
"""The arrays of an arc's two faces: `edge_index`."""

DIRECTED = frozenset({"graph/arc_coedge", "graph/arc_u_grids"})
"""Standard arrays of arcs that differ between an arc and its reverse."""

_MASK = "_mask"
_GUESSED = re.compile("index|batch|^face$")  # in `Data.__inc__` and `Data.__cat_dim__`
_TAKEN = frozenset({"edge_index", "num_nodes", "increments", "keys", "batch", "ptr", "x", "y", "edge_attr"})


def graph_fields(item: Item, index_arrays: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the fields of a sample's graph.

    Nodes are faces (`num_nodes`), `edge_index` is (2, n_arcs) int64; every other array is named ``<array>``, or
    ``<group>_<array>`` if two groups have the name or the graph uses it itself. Row numbers are int64, and a file value
    of several numbers has a first dimension of 1, for the sample.
    `increments` lists for every field of row numbers the group that they refer to and the sample's rows of it (-1 if
    the item has no array of the group): the shift of the next sample's numbers in a batch. Other fields whose name
    PyTorch Geometric would take for row numbers have ``["", 0]``.

    Parameters
    ----------
    index_arrays : the arrays ``group/array`` that hold row numbers, and the groups that these refer to; by default the
        item's `index_arrays`, else the standard ones
    """
    counts = _counts(item)
    fields: dict[str, Any] = {}
    increments: dict[str, list[Any]] = {}

    def add(name: str, target: str, value: Any) -> None:
        fields[name] = np.asarray(value, np.int64) if target else np.asarray(value)
        if target or _GUESSED.search(name):
            increments[name] = [target, counts.get(target, -1) if target else 0]

    targets = index_arrays_of(item) if index_arrays is None else index_arrays
    names = field_names(item)
    kept = dict(item)
    ends = [kept.pop(key) for key in ENDS] if kept.keys() >= set(ENDS) else None
    for key, value in kept.items():
        several = key.startswith(f"{FILE_GROUP}/") and np.ndim(value) > 0
        add(names[key], targets.get(key, ""), np.asarray(value)[None] if several else value)
    if ends is not None:
        add("edge_index", NODES, np.stack([np.asarray(end) for end in ends]))
    if NODES in counts:
        fields["num_nodes"] = counts[NODES]
    return fields | {"increments": increments}


def field_names(item: Item) -> dict[str, str]:
    """The field name of every key of an item."""
    uses = Counter(key.rpartition("/")[2] for key in item)
    names = {}
    for key in item:
        group, _, name = key.rpartition("/")
        names[key] = name if not group or (uses[name] == 1 and name not in _TAKEN) else f"{group}_{name}"
    return names


def exported_fields(item: Item) -> dict[str, Any]:
    """The fields of a sample's graph with `keys`, the array of each field, from which `exported_item` makes the item.

    Parameters
    ----------
    item : with its own `index_arrays`, and the masks of arrays that some samples lack (`with_masks`)
    """
    names = field_names(item)
    return graph_fields(item) | {"keys": {names[key]: key for key in item if key not in ENDS}}


def exported_item(content: Mapping[str, Any]) -> Item:
    """The item of a sample from the fields of `exported_fields`.

    Raises
    ------
    DatasetError
        If the content lacks `keys`.
    """
    if "keys" not in content:
        raise DatasetError(
            f"neither a sample nor an exported graph: it has {', '.join(map(repr, content)) or 'nothing'}; pass an "
            "item of a CADDataset (group/array), or what torch.load returns for a file that this version's "
            "`dflow export --to pyg` wrote (an older one's does not list its arrays: export again)"
        )
    item: Item = {}
    targets: dict[str, str] = {}
    for name, key in content["keys"].items():
        value = np.asarray(content[name])
        several = key.startswith(f"{FILE_GROUP}/") and value.ndim > 0
        item[key] = value[0] if several else value
        if target := content["increments"].get(name, [""])[0]:
            targets[key] = target
    if "edge_index" in content:
        item |= dict(zip(ENDS, np.asarray(content["edge_index"]), strict=True))
        targets |= dict.fromkeys(ENDS, NODES)
    return IndexedItem(item, targets)


def with_masks(item: Item, has: Mapping[str, bool]) -> Item:
    """Add ``<array>_mask`` for arrays that not every sample of the dataset has: (n_rows,) bool, whether this one does.

    Parameters
    ----------
    has : such arrays, with whether this sample has them

    Raises
    ------
    DatasetError
        If the dataset has an array of that name.
    """
    masks: Item = {}
    for key, present in has.items():
        if key not in item:
            continue
        if key + _MASK in item:
            raise DatasetError(
                f"{key} needs the name {key + _MASK} for its mask, since some samples lack it; leave {key + _MASK} out "
                "of columns= of get_dataset(), or save it under another name"
            )
        masks[key + _MASK] = np.full(np.shape(item[key])[: 0 if key.startswith(f"{FILE_GROUP}/") else 1], present)
    return IndexedItem({**item, **masks}, index_arrays_of(item)) if masks else item


def both_directions(item: Item) -> Item:
    """Add the reverse of every arc, behind all arcs, with the same values in the other arrays of the graph.

    An arc of a face with itself has no reverse, and two faces whose arcs run as often one way as the other keep them.

    Raises
    ------
    DatasetError
        If the item has an array whose values differ between an arc and its reverse.
    """
    if not item.keys() >= set(ENDS):
        raise DatasetError(
            f"undirected=True needs {' and '.join(ENDS)}, the item has {', '.join(item)}; add 'graph' to columns= of "
            "get_dataset(), or leave undirected= out"
        )
    source, target = (np.asarray(item[key], np.int64) for key in ENDS)
    missing = _without_reverse(source, target)
    if not len(missing):
        return item
    if differing := sorted(DIRECTED & item.keys()):
        raise DatasetError(
            f"{', '.join(differing)} of an arc and its reverse differ, and only one of them is stored; encode with "
            "both_directions=True, leave it out of the columns, or leave undirected= out"
        )
    arcs = np.concatenate([np.arange(len(source)), missing])
    found = {key: np.asarray(value)[arcs] if key.startswith(f"{ARCS}/") else value for key, value in item.items()}
    found[ENDS[0]] = np.concatenate([source, target[missing]])
    found[ENDS[1]] = np.concatenate([target, source[missing]])
    return IndexedItem(found, index_arrays_of(item))


def _without_reverse(source: Array, target: Array) -> Array:
    """Numbers of the arcs between two faces that have not as many arcs one way as the other."""
    pairs = np.stack([np.minimum(source, target), np.maximum(source, target)], axis=1)
    _, pair = np.unique(pairs, axis=0, return_inverse=True)
    pair = pair.reshape(-1)
    balance = np.bincount(pair, np.sign(target - source), minlength=1) if len(pair) else np.zeros(1)
    return np.flatnonzero((balance[pair] != 0) & (source != target))


@dataclass(frozen=True, slots=True)
class GraphForm:
    """How arrays become the fields that PyTorch Geometric has names for.

    Parameters
    ----------
    x : arrays of the faces, side by side the nodes' features
    y : the labels: an array of the faces or a file value
    edge_attr : arrays of the arcs, or of the group that an array of the arcs numbers (edges by ``graph/arc_edge``)
    undirected : whether each arc also runs the other way
    one_hot : arrays of codes among the features, with the number of columns each gets
    nan : in place of NaN in `x`, `edge_attr` and `y`; None keeps NaN
    """

    x: tuple[str, ...] = ()
    y: str = ""
    edge_attr: tuple[str, ...] = ()
    undirected: bool = False
    one_hot: Mapping[str, int] = field(default_factory=dict)
    nan: float | None = 0.0

    @property
    def joins(self) -> bool:
        """Whether any field is made of arrays."""
        return bool(self.x or self.y or self.edge_attr)

    def check(self, index_arrays: Mapping[str, str], known: Sequence[str]) -> None:
        """Refuse features of other groups, and labels or codes that are none.

        Parameters
        ----------
        index_arrays : arrays of row numbers, and the groups that these refer to
        known : the keys that an item has

        Raises
        ------
        DatasetError, UnknownKeyError
            The message names the array and the way out.
        """
        if unknown := [key for key in (*self.x, *self.edge_attr) if "/" not in key and key not in known]:
            raise UnknownKeyError(
                f"no array {unknown[0]!r} among those of the faces (for x=), edges or arcs (for edge_attr=); "
                "available_arrays(group) of the loader lists their names"
            )
        if wrong := [key for key in self.x if not key.startswith(f"{NODES}/")]:
            raise DatasetError(
                f"x={wrong[0]!r} has no row per face, and nodes are faces; pass arrays of the group {NODES!r}, or keep "
                "it as an attribute of its own: name it in columns= of get_dataset()"
            )
        for key in self.edge_attr:
            self.pointer(key, index_arrays, known)
        if odd := sorted(self.one_hot.keys() - {*self.x, *self.edge_attr}):
            raise UnknownKeyError(f"one_hot={odd[0]!r} is no array of x= or edge_attr=; add it to one of them")

    def pointer(self, key: str, index_arrays: Mapping[str, str], known: Sequence[str]) -> str:
        """The array of the arcs that numbers the rows of an array of `edge_attr`; "" for an array of the arcs."""
        group = key.partition("/")[0]
        if group == ARCS:
            return ""
        arrays = [k for k, t in index_arrays.items() if t == group and k.startswith(f"{ARCS}/") and k not in ENDS]
        found = next((k for k in arrays if k in known), "")
        if not found:
            wanted = (
                f"{arrays[0]}, which the columns lack" if arrays else f"an array of {ARCS!r} that numbers {group!r}"
            )
            raise DatasetError(
                f"edge_attr={key!r} has no row per arc; its rows are found by {wanted}. Pass arrays of 'edges' or "
                f"{ARCS!r} of a dataset that has graph/arc_edge, as encode() makes it"
            )
        return found

    def fields(self, item: Item, keep: Sequence[str] | None = None) -> dict[str, Any]:
        """Return the fields of a sample's graph; see `graph_fields`.

        `x` (n_faces, k) and `edge_attr` (n_arcs, k) are float32. `y` is int64 for integers, with `IGNORE_INDEX` where
        there is no label, else float32; (n_faces, …), or (1, …) of a file value. ``x_mask``, ``y_mask`` and
        ``edge_attr_mask``, bool, say which rows the sample has, where some samples lack an array.

        Parameters
        ----------
        item : of one sample, with its masks
        keep : keys that become fields of their own; all that are in no other field if omitted

        Raises
        ------
        UnknownKeyError
            If the item lacks an array.
        """
        if self.undirected:
            item = both_directions(item)
        if not self.joins:
            return graph_fields(item)
        targets = index_arrays_of(item)
        used = {*self.x, *self.edge_attr, self.y}
        masks = {key + _MASK for key in used}
        stay = {key for key in item if key not in used | masks} if keep is None else {*keep, *(k + _MASK for k in keep)}
        fields = graph_fields(_part(item, {*stay, *ENDS, ID}))
        counts = _counts(item)
        for name, entry in fields["increments"].items():
            fields["increments"][name] = [entry[0], counts.get(entry[0], entry[1])]
        if NODES in counts:
            fields["num_nodes"] = counts[NODES]
            fields["increments"].pop("edge_index", None)  # PyTorch Geometric's own, `num_nodes`
        if not fields["increments"]:
            del fields["increments"]
        if self.x:
            fields |= self._features("x", item, dict.fromkeys(self.x))
        if self.edge_attr:
            rows = {key: self.pointer(key, targets, list(item)) for key in self.edge_attr}
            fields |= self._features(
                "edge_attr", item, {k: np.asarray(item[p]) if p else None for k, p in rows.items()}
            )
        if self.y:
            fields |= self._labels(item)
        return fields

    def _features(self, name: str, item: Item, rows: Mapping[str, Array | None]) -> dict[str, Array]:
        """Arrays side by side, (n, k) float32; `rows` are those of each array, all in order for None."""
        parts, masks = [], []
        for key, index in rows.items():
            part = self._columns_of(key, _get(item, key))
            mask = item.get(key + _MASK)
            part = part if mask is None else np.where(np.asarray(mask)[:, None], part, np.float32(0))
            parts.append(part if index is None else _taken(part, index))
            if mask is not None:
                masks.append(np.asarray(mask) if index is None else _taken(np.asarray(mask), index))
        return {name: np.concatenate(parts, axis=1)} | ({name + _MASK: np.all(masks, axis=0)} if masks else {})

    def _columns_of(self, key: str, value: Array) -> Array:
        if value.dtype.kind not in "biuf":
            raise DatasetError(f"{key} is {value.dtype}, and features are numbers; leave it out of x= and edge_attr=")
        width = int(np.prod(value.shape[1:], dtype=np.int64))
        if key not in self.one_hot:
            part = value.reshape(len(value), width).astype(np.float32)
            return part if self.nan is None else np.where(np.isnan(part), np.float32(self.nan), part)
        size = self.one_hot[key]
        codes = value.reshape(len(value), width).astype(np.int64)
        if codes.size and codes.max() >= size:
            raise DatasetError(
                f"{key} holds the code {codes.max()}, one_hot has {size} columns for it; pass one_hot={{{key!r}: "
                f"{int(codes.max()) + 1}}} or more, the same in training and afterwards"
            )
        return (codes[..., None] == np.arange(size)).reshape(len(value), width * size).astype(np.float32)

    def _labels(self, item: Item) -> dict[str, Array]:
        value = _get(item, self.y)
        value = value[None] if self.y.startswith(f"{FILE_GROUP}/") else value
        if value.dtype.kind not in "biuf":
            raise DatasetError(
                f"y={self.y!r} is {value.dtype}, and labels are numbers; save codes of its texts instead"
            )
        mask = item.get(self.y + _MASK)
        has = np.ones(len(value), bool) if mask is None else np.asarray(mask).reshape(len(value))
        if value.dtype.kind == "f":
            value = value.astype(np.float32)
            bad = np.isnan(value)
            known = has & ~bad.reshape(len(value), int(np.prod(value.shape[1:], dtype=np.int64))).any(axis=1)
            return {"y": value if self.nan is None else np.where(bad, np.float32(self.nan), value), "y_mask": known}
        codes = value.astype(np.int64)
        codes[~has] = IGNORE_INDEX
        codes[codes < 0] = IGNORE_INDEX
        return {"y": codes} | ({} if mask is None else {"y_mask": has})


def graph_form(
    *,
    x: str | Sequence[str] = (),
    y: str = "",
    edge_attr: str | Sequence[str] = (),
    undirected: bool = False,
    one_hot: Mapping[str, int] | None = None,
    nan: float | None = 0.0,
) -> GraphForm:
    """Return the form of the public arguments; see `CADDataset.to_geometric`.

    Raises
    ------
    DatasetError
        If `y` names several arrays.
    """
    if not isinstance(y, str):
        raise DatasetError(f"y={y!r}: expected one array's name; keep further labels as attributes of their own")
    features = [(name,) if isinstance(name, str) else tuple(name) for name in (x, edge_attr)]
    features = [tuple(filter(None, names)) for names in features]
    return GraphForm(features[0], y, features[1], undirected, dict(one_hot or {}), nan)


def _counts(item: Item) -> dict[str, int]:
    """The rows of each group of an item."""
    keys = (key for key in item if key != ID and not key.startswith(f"{FILE_GROUP}/") and np.ndim(item[key]))
    return {key.partition("/")[0]: len(item[key]) for key in keys}


def _part(item: Item, keys: set[str]) -> Item:
    return IndexedItem({k: v for k, v in item.items() if k in keys}, index_arrays_of(item))


def _get(item: Item, key: str) -> Array:
    if key not in item:
        raise UnknownKeyError(
            f"{key!r} is no array of the item, which has {', '.join(item)}; add it to columns= of get_dataset() or of "
            "the export"
        )
    return np.asarray(item[key])


def _taken(rows: Array, index: Array) -> Array:
    """The rows of some numbers; zeros where a number is negative, which means "none"."""
    if not len(rows):
        return np.zeros((len(index), *rows.shape[1:]), rows.dtype)
    taken = rows[np.maximum(index, 0)]
    taken[index < 0] = 0
    return taken
