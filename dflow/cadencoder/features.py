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

from dflow.cadencoder.access import BrepAccess, Float64, Int32
from dflow.cadencoder.coedges import Coedges, along_coedges, arc_coedges, arrange, frames, scale_factors
from dflow.cadencoder.facepairs import area_normals, area_points, diagonal, grid_points, resampled
from dflow.cadencoder.graph import FaceGraph, collapse_arcs, directed_arcs, face_graph, neighbour_counts
from dflow.cadencoder.histograms import (
    all_pairs_angles,
    all_pairs_distances,
    distance_histograms,
    normal_angle_histograms,
)
from dflow.cadencoder.options import CoedgeOrder, EncodeOptions
from dflow.cadencoder.paths import extended_adjacency, hop_counts, shortest_edge_paths
from dflow.cadencoder.triples import point_angle_histograms
from dflow.errors import GeometryError


class BrepFeatures:
    """A brep and the intermediate results of its arrays: graph, hops, sample points; computed on first use and kept.
    For one thread.
    """

    def __init__(self, brep: BrepAccess) -> None:
        self.brep = brep
        self._coedges: dict[bool, Coedges] = {}
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

    @cached_property
    def with_degenerate_edges(self) -> BrepFeatures:
        """The same of the shape with degenerate edges as rows."""
        brep = self.brep.with_degenerate_edges()
        return self if brep is self.brep else BrepFeatures(brep)

    def coedges(self, order: CoedgeOrder) -> Coedges:
        """The coedges, their rows in this order."""
        walked = order == "walked"
        if walked not in self._coedges:
            self._coedges[walked] = arrange(self.brep.topology(), n_edges=self.brep.n_edges, walked=walked)
        return self._coedges[walked]

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
    if options.degenerate_edges:
        features = features.with_degenerate_edges
    array = _ARRAYS[key](features, options)
    if options.unit_box and key in _SIZED:
        return _SIZED[key](array, *unit_box(features.brep))
    return array


def unit_box(brep: BrepAccess) -> tuple[Float64, float]:
    """The middle (3,) of the bounding box in mm, and the factor that brings its longest side to 2.

    Raises
    ------
    GeometryError
        If the shape has no extent.
    """
    low, high = np.split(brep.bounding_box(), 2)
    side = float((high - low).max())
    if not side > 0:
        raise GeometryError(
            "the shape has no extent that could be scaled to a unit box; leave it out, or unit_box=False"
        )
    return 0.5 * (low + high), 2.0 / side


def _scale_points(array: Float64, middle: Float64, scale: float) -> Float64:
    out = array.copy()
    out[..., :3] = (array[..., :3] - middle) * scale
    return out


def _scale_frames(array: Float64, middle: Float64, scale: float) -> Float64:
    out = array.copy()
    out[:, :3, 3] = (array[:, :3, 3] - middle) * scale
    return out


_SIZED: Mapping[str, Callable[[NDArray[Any], Float64, float], NDArray[Any]]] = MappingProxyType(
    {
        "faces/face_areas": lambda array, middle, scale: array * scale**2,
        "faces/face_centroids": _scale_points,
        "faces/face_discretization": _scale_points,
        "faces/face_uv_grids": _scale_points,
        "edges/edge_lengths": lambda array, middle, scale: array * scale,
        "edges/edge_u_grids": _scale_points,
        "graph/arc_u_grids": _scale_points,
        "coedges/coedge_grids": _scale_points,
        "coedges/coedge_frames": _scale_frames,
    }
)
"""What `unit_box` does to the arrays that have a size or a place, with the box's middle and the factor."""


def _arcs(features: BrepFeatures, options: EncodeOptions) -> FaceGraph:
    if options.both_directions:
        return directed_arcs(features.graph, collapse=options.collapse, kept=options.kept_edge)
    return collapse_arcs(features.graph, options.kept_edge) if options.collapse else features.graph


def _arc_coedges(features: BrepFeatures, options: EncodeOptions) -> Int32:
    return arc_coedges(_arcs(features, options), features.coedges(options.coedge_order))


def _arc_grids(features: BrepFeatures, options: EncodeOptions) -> Float64:
    coedges = features.coedges(options.coedge_order)
    return along_coedges(features.brep.edge_samples(options.curve_grid), coedges, _arc_coedges(features, options))


def _face_grids(features: BrepFeatures, options: EncodeOptions) -> Float64:
    brep = features.brep
    if options.face_mask == "closed" and not options.orient_grids:
        return brep.face_samples(*options.face_grid_shape)
    grids = brep.face_samples(*options.face_grid_shape, closed=options.face_mask == "closed")
    if options.orient_grids:
        grids = grids.copy()
        backwards = brep.face_reversed()
        grids[backwards] = grids[backwards, ::-1]
    return grids


def _coedge_grids(features: BrepFeatures, options: EncodeOptions, n: int) -> Float64:
    grids: Float64 = features.brep.coedge_samples(n)[features.coedges(options.coedge_order).order]
    return grids


def _convexities(features: BrepFeatures, options: EncodeOptions) -> Int32:
    brep = features.brep
    if options.convexity == "middle":
        return brep.edge_convexities(options.smooth_degrees)
    return mean_convexities(brep, options.smooth_degrees)


def mean_convexities(brep: BrepAccess, smooth_degrees: float) -> Int32:
    """(E,) int32: convexity by BRepNet's rule, 1 convex, 2 concave, 3 smooth, 0 where an edge has not two coedges.

    Notes
    -----
    Ten points uniform in the parameter; smooth where the mean cosine of the angle between the two normals is more than
    that of `smooth_degrees`, else by the sign of the sum of (left × right normal) · tangent. Seams are smooth.
    """
    coedges = arrange(brep.topology(), n_edges=brep.n_edges, walked=False)
    samples = brep.coedge_samples(10, by_length=False)
    tangent, left, right = samples[..., 3:6], samples[..., 6:9], samples[..., 9:12]
    cosine = np.einsum("cnk,cnk->cn", left, right).mean(axis=1)
    side = np.einsum("cnk,cnk->c", np.cross(left, right), tangent)
    code = np.where(cosine > np.cos(np.radians(smooth_degrees)), 3, np.where(side > 0, 1, 2))
    code[np.isnan(cosine)] = 0
    mated = coedges.mate != np.arange(len(coedges.mate))
    out = np.zeros(brep.n_edges, np.int32)
    out[coedges.edge[mated]] = code[mated]
    return out


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


def _scale_factors(features: BrepFeatures, options: EncodeOptions) -> Float64:
    return scale_factors(compute(features, "faces/face_uv_grids", options), features.coedges(options.coedge_order))


_ARRAYS: Mapping[str, Callable[[BrepFeatures, EncodeOptions], NDArray[Any]]] = MappingProxyType(
    {
        "faces/face_indices": lambda f, o: np.arange(f.brep.n_faces, dtype=np.int32),
        "faces/face_types": lambda f, o: f.brep.face_types(),
        "faces/face_areas": lambda f, o: f.brep.face_areas(),
        "faces/face_centroids": lambda f, o: f.brep.face_centroids(),
        "faces/face_loops": lambda f, o: f.brep.face_loops(),
        "faces/face_neighborscount": lambda f, o: neighbour_counts(f.graph),
        "faces/face_reversed": lambda f, o: f.brep.face_reversed(),
        "faces/face_rational": lambda f, o: f.brep.face_rational(),
        "faces/face_discretization": lambda f, o: face_discretization(f.brep, o.point_samples),
        "faces/face_uv_grids": _face_grids,
        "edges/edge_indices": lambda f, o: np.arange(f.brep.n_edges, dtype=np.int32),
        "edges/edge_types": lambda f, o: f.brep.edge_types(),
        "edges/edge_lengths": lambda f, o: f.brep.edge_lengths(exact=o.exact_lengths),
        "edges/edge_dihedral_angles": lambda f, o: f.brep.edge_dihedral_angles(),
        "edges/edge_convexities": _convexities,
        "edges/edge_rational": lambda f, o: f.brep.edge_rational(),
        "edges/edge_closed": lambda f, o: f.brep.edge_closed(),
        "edges/edge_u_grids": lambda f, o: f.brep.edge_samples(o.curve_grid),
        "graph/edges_source": lambda f, o: _arcs(f, o).source,
        "graph/edges_destination": lambda f, o: _arcs(f, o).destination,
        "graph/arc_edge": lambda f, o: _arcs(f, o).edge,
        "graph/arc_coedge": _arc_coedges,
        "graph/arc_u_grids": _arc_grids,
        "faceface/extended_adjacency": lambda f, o: extended_adjacency(f.hops),
        "faceface/face_pair_edges_path": lambda f, o: shortest_edge_paths(f.graph, f.hops, max_length=o.path_length),
        "faceface/d2_distance": _distances,
        "faceface/a3_distance": _angles,
        "coedges/next": lambda f, o: f.coedges(o.coedge_order).following,
        "coedges/mate": lambda f, o: f.coedges(o.coedge_order).mate,
        "coedges/face": lambda f, o: f.coedges(o.coedge_order).face,
        "coedges/edge": lambda f, o: f.coedges(o.coedge_order).edge,
        "coedges/reversed": lambda f, o: f.coedges(o.coedge_order).backwards,
        "coedges/coedge_grids": lambda f, o: _coedge_grids(f, o, o.coedge_grid),
        "coedges/coedge_frames": lambda f, o: frames(_coedge_grids(f, o, 3)),
        "coedges/coedge_scales": _scale_factors,
    }
)

ARRAY_KEYS: tuple[str, ...] = tuple(_ARRAYS)
"""Keys of all row arrays that `compute` returns."""


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
