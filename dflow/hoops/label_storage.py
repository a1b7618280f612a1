"""Labels of a part, its faces and its edges, in one file beside the part's sample."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dflow.errors import SchemaError
from dflow.storage.opt import OptStorage

Entity = Literal["graph", "node", "edge"]

_WORDS: Mapping[str, Entity] = {"graph_label": "graph", "face_labels": "node", "edge_labels": "edge"}


class LabelStorage:
    """Integer labels of a part (graph), its faces (nodes) and its edges; written by `close`.

    Parameters
    ----------
    path_for_storing
        The file's path without its suffix.
    total_faces, total_edges
        The expected numbers of labels; 0 accepts any number, but then sparse labels cannot be saved.

    Notes
    -----
    The constants `GRAPH_CADENTITY`, `FACE_CADENTITY` and `EDGE_CADENTITY` name the kinds here, and are keys for
    `DataStorage.save_data`: there they give the file's value ``graph_label`` and the arrays ``faces/face_labels`` and
    ``edges/edge_labels``.
    """

    GRAPH_CADENTITY: ClassVar[str] = "graph_label"
    FACE_CADENTITY: ClassVar[str] = "face_labels"
    EDGE_CADENTITY: ClassVar[str] = "edge_labels"
    UNLABELLED: ClassVar[int] = -1

    _KEYS: ClassVar[Mapping[Entity, str]] = {
        "graph": "file/graph_labels",
        "node": "face_labels/labels",
        "edge": "edge_labels/labels",
    }

    def __init__(self, path_for_storing: str | os.PathLike[str], total_faces: int = 0, total_edges: int = 0) -> None:
        self._storage = OptStorage(path_for_storing)
        self._totals: dict[Entity, int] = {"graph": 0, "node": total_faces, "edge": total_edges}

    def save(self, entity: str, labels: ArrayLike) -> None:
        """Store the labels of all entities of a kind, in index order, as int32.

        Parameters
        ----------
        entity : the kind: part, faces or edges
        labels : integers, one per entity

        Raises
        ------
        SchemaError
            If they are not integers, or their number is not that of the faces or edges.
        """
        entity = _kind(entity)
        array = np.asarray(labels)
        if array.dtype.kind not in "iub" and array.size:
            raise SchemaError(f"{entity} labels must be integers, not {array.dtype}; save the codes of the classes")
        total = self._totals[entity]
        if entity != "graph" and (array.ndim != 1 or (total and len(array) != total)):
            raise SchemaError(f"{entity} labels have shape {array.shape}, expected ({total or 'n'},)")
        self._storage.save_data(self._KEYS[entity], array.astype(np.int32))

    def save_sparse(self, entity: str, indices: Sequence[int], labels: ArrayLike) -> None:
        """Store labels of some entities; the others are `UNLABELLED`.

        Parameters
        ----------
        entity : the kind: faces or edges
        indices : those of the labelled faces or edges
        labels : integers, one per index

        Raises
        ------
        SchemaError
            If the total was not given, or an index is out of range.
        """
        entity = _kind(entity)
        total = self._totals[entity]
        chosen = np.asarray(indices, dtype=np.int64)
        if entity == "graph" or not total:
            raise SchemaError(
                f"sparse {entity} labels need the number of faces or edges; pass total_faces= or total_edges= to "
                "LabelStorage, or save all labels with save()"
            )
        if chosen.size and (chosen.min() < 0 or chosen.max() >= total):
            raise SchemaError(
                f"sparse {entity} labels: the indices go from {chosen.min()} to {chosen.max()}, expected 0 to "
                f"{total - 1}"
            )
        dense = np.full(total, self.UNLABELLED, dtype=np.int32)
        dense[chosen] = labels
        self.save(entity, dense)

    def load(self, entity: str) -> NDArray[np.int32]:
        """Load the labels of a kind, in index order.

        Parameters
        ----------
        entity : the kind: part, faces or edges

        Raises
        ------
        KeyNotFoundError
            If none were saved.
        """
        return np.asarray(self._storage.load_data(self._KEYS[_kind(entity)]), np.int32)

    save_cadentity = save
    load_cadentity = load

    def save_graph_label(self, label: ArrayLike) -> None:
        """Store the part's label.

        Parameters
        ----------
        label : an integer, or an array of one
        """
        self.save("graph", label)

    def save_graph_node_label(self, labels: ArrayLike) -> None:
        """Store the labels of all faces.

        Parameters
        ----------
        labels : integers, one per face
        """
        self.save("node", labels)

    def save_graph_edge_label(self, labels: ArrayLike) -> None:
        """Store the labels of all edges.

        Parameters
        ----------
        labels : integers, one per edge
        """
        self.save("edge", labels)

    def save_graph_node_label_sparse(self, indices: Sequence[int], labels: ArrayLike) -> None:
        """Store the labels of some faces.

        Parameters
        ----------
        indices : of the labelled faces
        labels : integers, one per index
        """
        self.save_sparse("node", indices, labels)

    def save_graph_edge_label_sparse(self, indices: Sequence[int], labels: ArrayLike) -> None:
        """Store the labels of some edges.

        Parameters
        ----------
        indices : of the labelled edges
        labels : integers, one per index
        """
        self.save_sparse("edge", indices, labels)

    def load_graph_label(self) -> NDArray[np.int32]:
        """Load the part's label."""
        return self.load("graph")

    def load_graph_node_label(self) -> NDArray[np.int32]:
        """Load the labels of the faces."""
        return self.load("node")

    def load_graph_edge_label(self) -> NDArray[np.int32]:
        """Load the labels of the edges."""
        return self.load("edge")

    def save_metadata(self, key: str, value: Any) -> None:
        """Store metadata of the labels, such as their names under ``descriptions/face_labels``.

        Parameters
        ----------
        key, value : as in `DataStorage.save_metadata`
        """
        self._storage.save_metadata(key, value)

    def load_metadata(self, key: str) -> Any:
        """Load what `save_metadata` stored.

        Parameters
        ----------
        key : as in `save_metadata`
        """
        return self._storage.load_metadata(key)

    def get_file_path(self) -> str:
        """Return the path of the file that `close` writes."""
        return self._storage.get_file_path("")

    def close(self) -> None:
        """Write the file."""
        self._storage.close()

    def __enter__(self) -> LabelStorage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._storage.__exit__(kind, error, trace)


def _kind(entity: str) -> Entity:
    found = _WORDS.get(entity, entity)
    if found not in _WORDS.values():
        raise SchemaError(f"found {entity!r}, expected one of {', '.join(map(repr, [*_WORDS.values(), *_WORDS]))}")
    return found  # type: ignore[return-value]
