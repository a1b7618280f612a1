"""The arrays of the data dictionary by their keys, computed from a brep; intermediate results that several arrays share
are computed once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dflow.cadencoder.access import BrepAccess, Float64
from dflow.cadencoder.facepairs import area_normals, area_points, diagonal, grid_points, resampled
from dflow.cadencoder.graph import FaceGraph, collapse_arcs, face_graph, neighbour_counts
from dflow.cadencoder.histograms import (
    all_pairs_angles,
    all_pairs_distances,
    distance_histograms,
    normal_angle_histograms,
)
from dflow.cadencoder.options import EncodeOptions
from dflow.cadencoder.paths import extended_adjacency, hop_counts, shortest_edge_paths
from dflow.cadencoder.triples import point_angle_histograms


class BrepFeatures:
    """A brep and the intermediate results of its arrays: graph, hops, sample points; computed on first use and kept.
    For one thread.
    """

    def __init__(self, brep: BrepAccess) -> None:
        self.brep = brep
        self._drawn: tuple[tuple[int, int], Float64] | None = None

    @cached_property
    def graph(self) -> FaceGraph:
        """The face adjacency graph with one arc per physical edge."""
        topology = self.brep.topology()
        return face_graph(
            topology.coedge_face, topology.coedge_edge, n_faces=self.brep.n_faces, n_edges=self.brep.n_edges
        )

    @cached_property
    def hops(self) -> Int32:
        """(n_faces, n_faces) int32, −1 where there is no path."""
        return hop_counts(self.graph)

    def area_points(self, n: int, seed: int) -> Float64:
        """See `facepairs.area_points`; the last draw is kept, because both histograms use it."""
        if self._drawn is None or self._drawn[0] != (n, seed):
            self._drawn = (n, seed), area_points(self.brep, n, seed)
        return self._drawn[1]


def compute(features: BrepFeatures, key: str, options: EncodeOptions) -> NDArray[Any]:
    """Return one array of the data dictionary as computed, not yet cast: floats are float64, except the histograms'
    float32.

    Face-pair arrays are (F, F, …).
    """
    return _ARRAYS[key](features, options)


def _arcs(features: BrepFeatures, options: EncodeOptions) -> FaceGraph:
    return collapse_arcs(features.graph) if options.collapse else features.graph


def face_discretization(brep: BrepAccess, n_points: int) -> Float64:
    """HOOPS AI's `face_discretization`: the first `n_points` of a ⌈√n_points⌉² raster uniform in (u, v), u slowest.

    Returns (n_faces, n_points, 7) float64: x, y, z in mm, outward unit normal (NaN where there is none), 1 inside or
    on the trimmed face.
    """
    side = math.isqrt(n_points - 1) + 1
    samples: Float64 = brep.face_samples(side, side).reshape(brep.n_faces, side * side, 7)
    return samples[:, :n_points]


def _distances(features: BrepFeatures, options: EncodeOptions) -> NDArray[np.float32]:
    length = diagonal(features.brep)
    if options.method == "grid":
        points, _ = grid_points(features.brep, options.histogram_grid)
        return all_pairs_distances(points, diagonal=length, bins=options.bins)
    drawn = features.area_points(options.samples, options.seed)
    return distance_histograms(drawn, diagonal=length, bins=options.bins)


def _angles(features: BrepFeatures, options: EncodeOptions) -> NDArray[np.float32]:
    if options.method == "grid":
        points, normals = grid_points(features.brep, options.histogram_grid)
        if options.kind == "normals":
            return all_pairs_angles(normals, bins=options.bins)
        drawn = resampled(points, options.samples, options.seed)
    elif options.kind == "normals":
        return normal_angle_histograms(area_normals(features.brep, options.samples, options.seed), bins=options.bins)
    else:
        drawn = features.area_points(options.samples, options.seed)
    return point_angle_histograms(drawn, features.brep.face_areas(), bins=options.bins)


def _mates(features: BrepFeatures) -> Int32:
    return coedge_mates(features.brep.topology().coedge_edge, n_edges=features.brep.n_edges)


_ARRAYS: Mapping[str, Callable[[BrepFeatures, EncodeOptions], NDArray[Any]]] = MappingProxyType(
    {
        "faces/face_indices": lambda f, o: np.arange(f.brep.n_faces, dtype=np.int32),
        "faces/face_types": lambda f, o: f.brep.face_types(),
        "faces/face_areas": lambda f, o: f.brep.face_areas(),
        "faces/face_centroids": lambda f, o: f.brep.face_centroids(),
        "faces/face_loops": lambda f, o: f.brep.face_loops(),
        "faces/face_neighborscount": lambda f, o: neighbour_counts(f.graph),
        "faces/face_discretization": lambda f, o: face_discretization(f.brep, o.point_samples),
        "faces/face_uv_grids": lambda f, o: f.brep.face_samples(*o.face_grid_shape),
        "edges/edge_indices": lambda f, o: np.arange(f.brep.n_edges, dtype=np.int32),
        "edges/edge_types": lambda f, o: f.brep.edge_types(),
        "edges/edge_lengths": lambda f, o: f.brep.edge_lengths(),
        "edges/edge_dihedral_angles": lambda f, o: f.brep.edge_dihedral_angles(),
        "edges/edge_convexities": lambda f, o: f.brep.edge_convexities(o.smooth_degrees),
        "edges/edge_u_grids": lambda f, o: f.brep.edge_samples(o.curve_grid),
        "graph/edges_source": lambda f, o: _arcs(f, o).source,
        "graph/edges_destination": lambda f, o: _arcs(f, o).destination,
        "graph/arc_edge": lambda f, o: _arcs(f, o).edge,
        "faceface/extended_adjacency": lambda f, o: extended_adjacency(f.hops),
        "faceface/face_pair_edges_path": lambda f, o: shortest_edge_paths(f.graph, f.hops, max_length=o.path_length),
        "faceface/d2_distance": _distances,
        "faceface/a3_distance": _angles,
        "coedges/next": lambda f, o: f.brep.topology().coedge_next,
        "coedges/mate": lambda f, o: _mates(f),
        "coedges/face": lambda f, o: f.brep.topology().coedge_face,
        "coedges/edge": lambda f, o: f.brep.topology().coedge_edge,
        "coedges/reversed": lambda f, o: f.brep.topology().coedge_reversed,
    }
)

ARRAY_KEYS: tuple[str, ...] = tuple(_ARRAYS)
"""Keys of all row arrays that `compute` returns."""


Int32 = NDArray[np.int32]


def coedge_mates(coedge_edge: Int32, *, n_edges: int) -> Int32:
    """The coedge on the other side of each coedge's edge.

    Parameters
    ----------
    coedge_edge
        (n_coedges,) int32: the edge of each coedge.
    n_edges
        Number of edges of the shape.

    Returns
    -------
    (n_coedges,) int32, an involution: ``mate[mate[c]] == c``. Where an edge has exactly two coedges they are each
    other's mates, also on a seam, whose two coedges belong to one face. Otherwise (border of an open shell,
    non-manifold edge) a coedge is its own mate, as in BRepNet.
    """
    n_coedges = len(coedge_edge)
    mates = np.arange(n_coedges, dtype=np.int32)
    order = np.argsort(coedge_edge, kind="stable").astype(np.int32)
    uses = np.bincount(coedge_edge, minlength=n_edges)
    first = np.cumsum(uses) - uses
    paired = first[uses == 2]
    mates[order[paired]] = order[paired + 1]
    mates[order[paired + 1]] = order[paired]
    return mates


def file_attributes(brep: BrepAccess, graph: FaceGraph, *, check_validity: bool = False) -> dict[str, Any]:
    """The group ``file`` of the data dictionary, without the counts that the framework records.

    Parameters
    ----------
    graph
        The brep's `face_graph`.
    check_validity
        Whether to run the kernel's own check too (``is_valid``), which is slow.

    Returns
    -------
    dict
        `volume` in mm³, NaN without a solid; `area` in mm²; `bounding_box` (6,) and `centroid` (3,) float64 in mm;
        `nonmanifold_edges`; `is_closed`; `stated_volume`, `stated_area`, `volume_error`, `area_error`: the file's own
        geometric validation properties and our relative error against them, NaN where it states none; perhaps
        `is_valid`.
    """
    stated = brep.stated_properties()
    volume, area = float(brep.volume()), float(brep.area())
    values: dict[str, Any] = {
        "volume": volume,
        "area": area,
        "bounding_box": brep.bounding_box(),
        "centroid": brep.centroid(),
        "nonmanifold_edges": graph.nonmanifold_edges,
        "is_closed": bool(brep.is_closed()),
        "stated_volume": float(stated.volume),
        "stated_area": float(stated.area),
        "volume_error": relative_error(volume, float(stated.volume)),
        "area_error": relative_error(area, float(stated.area)),
    }
    if check_validity:
        values["is_valid"] = bool(brep.is_valid())
    return values


def relative_error(computed: float, stated: float) -> float:
    """\\|computed − stated\\| over \\|stated\\|; NaN where either is missing or the stated value is zero."""
    return abs(computed - stated) / abs(stated) if stated and math.isfinite(stated) else math.nan
