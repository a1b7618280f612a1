"""HOOPS AI's calls on loaders, models and breps."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from dflow.cadaccess.brep import Brep
from dflow.cadaccess.loader import CadLoader
from dflow.cadaccess.model import CadModel

if TYPE_CHECKING:
    import networkx as nx

Method = Literal["point", "normal", "visibility_status"]

_CHANNELS = {"point": slice(0, 3), "normal": slice(3, 6), "visibility_status": slice(6, 7)}


class HOOPSLoader(CadLoader):
    """A `CadLoader` with HOOPS AI's calls on the class: the number of files opened, and resets, which have no effect
    because dflow opens each file anew.
    """

    _load_count: ClassVar[int] = 0

    def create_from_file(self, path: str | os.PathLike[str]) -> CadModel:
        """Read one file, and count it.

        Parameters
        ----------
        path : as in `CadLoader.create_from_file`
        """
        model = super().create_from_file(path)
        HOOPSLoader._load_count += 1
        return model

    @classmethod
    def get_load_count(cls) -> int:
        """Return the number of files that were opened in this process."""
        return HOOPSLoader._load_count

    @classmethod
    def reinitialize(cls) -> None:
        """Set the number of opened files to 0; models that are open stay usable."""
        HOOPSLoader._load_count = 0

    @classmethod
    def set_auto_reinit_threshold(cls, threshold: int) -> None:
        """Do nothing: a flow renews its children by their memory.

        Parameters
        ----------
        threshold : has no effect
        """


class ModelNames:
    """HOOPS AI's names of `CadModel`."""

    def get_body(self: CadModel, body_index: int = 0) -> CadModel:  # type: ignore[misc]
        """Return a view of one body, which has the model's methods.

        Parameters
        ----------
        body_index : 0 to ``get_body_count() - 1``
        """
        return self.for_body(body_index)


class BrepNames:
    """HOOPS AI's names of `Brep`."""

    def get_face_indices(self: Brep) -> list[int]:  # type: ignore[misc]
        """Return the rows of the faces: 0 to F − 1."""
        return list(range(self.n_faces))

    def get_edge_indices(self: Brep) -> list[int]:  # type: ignore[misc]
        """Return the rows of the edges: 0 to E − 1."""
        return list(range(self.n_edges))

    def get_edge_indices_map(self: Brep) -> dict[int, int]:  # type: ignore[misc]
        """Return each edge's row by its index, which is the same number."""
        return {edge: edge for edge in range(self.n_edges)}

    def get_bounding_box(self: Brep) -> list[float]:  # type: ignore[misc]
        """Return the lowest x, y, z and the highest x, y, z, in mm."""
        return [float(value) for value in np.ravel(self.bounding_box())]

    def get_diagonal_length(self: Brep) -> float:  # type: ignore[misc]
        """Return the length of the bounding box's diagonal, in mm."""
        corners = np.reshape(self.bounding_box(), (2, 3))
        return float(np.linalg.norm(corners[1] - corners[0]))

    def build_face_adjacency_graph(self: Brep) -> nx.Graph:  # type: ignore[misc]
        """Return an undirected networkx graph of the faces, with one edge per pair of neighbours."""
        import networkx as nx

        graph = nx.Graph()
        graph.add_nodes_from(range(self.n_faces))
        faces: dict[int, set[int]] = {}
        for edge, face in zip(self.topology().coedge_edge.tolist(), self.topology().coedge_face.tolist(), strict=True):
            faces.setdefault(edge, set()).add(face)
        for edge, ends in faces.items():
            if len(ends) == 2:
                graph.add_edge(*sorted(ends), edge=edge)
        return graph

    def get_face_attributes(self: Brep, face_index: int, spec: Any = None) -> dict[str, Any]:  # type: ignore[misc]
        """Return one face's type code, area in mm², centroid in mm and number of loops.

        Parameters
        ----------
        face_index : its row
        spec : has no effect
        """
        return {
            "face_type": int(self.face_types()[face_index]),
            "face_area": float(self.face_areas()[face_index]),
            "face_centroid": self.face_centroids()[face_index],
            "face_loops": int(self.face_loops()[face_index]),
        }

    def get_edge_attributes(self: Brep, edge_index: int, spec: Any = None) -> dict[str, Any]:  # type: ignore[misc]
        """Return one edge's type code, length in mm, dihedral angle in radians and convexity code.

        Parameters
        ----------
        edge_index : its row
        spec : has no effect
        """
        return {
            "edge_type": int(self.edge_types()[edge_index]),
            "edge_length": float(self.edge_lengths()[edge_index]),
            "edge_dihedral_angle": float(self.edge_dihedral_angles()[edge_index]),
            "edge_convexity": int(self.edge_convexities()[edge_index]),
        }

    def uvgrid(self: Brep, face_index: int, u: int, v: int, method: Method = "point") -> NDArray[np.float64]:  # type: ignore[misc]
        """Return points on one face, uniform in (u, v): (U, V, 3) points in mm or normals, or (U, V, 1) 1 inside.

        Parameters
        ----------
        face_index : its row
        u, v : the numbers of points
        method : "point", "normal" or "visibility_status"
        """
        grids = _kept(self, ("face_samples", u, v), lambda: self.face_samples(u, v))
        return _channels(grids[face_index], method)

    def ugrid(self: Brep, edge_index: int, u: int, method: Method = "point") -> NDArray[np.float64]:  # type: ignore[misc]
        """Return points on one edge, uniform in its parameter: (U, 3) points in mm, or unit tangents.

        Parameters
        ----------
        edge_index : its row
        u : the number of points
        method : "point", or "normal" for the tangents
        """
        grids = _kept(self, ("edge_samples", u), lambda: self.edge_samples(u))
        return _channels(grids[edge_index], method)

    def face_sample_points(  # type: ignore[misc]
        self: Brep,
        face_index: int,
        pointsamples: int = 25,
        uvs: bool = False,
        method: Method = "point",
        reverse_order_with_face: bool = True,
    ) -> NDArray[np.float64]:
        """Return about uniform points of one face: (P, 3) points in mm or normals, or (P, 1) 1 inside.

        Parameters
        ----------
        face_index : its row
        pointsamples : P
        uvs, reverse_order_with_face : have no effect
        method : "point", "normal" or "visibility_status"
        """
        side = int(np.ceil(np.sqrt(pointsamples)))
        grid = BrepNames.uvgrid(self, face_index, side, side, method)
        return grid.reshape(side * side, -1)[:pointsamples]


def _kept(brep: Brep, key: tuple[Any, ...], make: Any) -> NDArray[np.float64]:
    """Return the grids of all faces or edges, which are computed once: callers ask face by face."""
    grids = brep.__dict__.setdefault("_hoops_grids", {})
    if key not in grids:
        grids.clear()
        grids[key] = make()
    found: NDArray[np.float64] = grids[key]
    return found


def _channels(grid: NDArray[np.float64], method: str) -> NDArray[np.float64]:
    if method not in _CHANNELS:
        raise ValueError(f"method={method!r}; expected one of {', '.join(map(repr, _CHANNELS))}")
    return grid[..., _CHANNELS[method]]
