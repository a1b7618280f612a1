"""The inputs of published networks, array by array as their authors' own preprocessing makes them.

A network is a recipe (which arrays, with which options) and a rearrangement of these arrays to the names, shapes and
order of its authors' files. The recipe's arrays are what a flow stores; `pack` works on them as well as on fresh ones.

Conventions are those of the papers and of the repositories AutodeskAILab/UV-Net (``process/solid_to_graph.py``),
AutodeskAILab/BRepNet (``pipeline/extract_brepnet_data_from_step.py``), whjdark/AAGNet (``dataset/AAGExtractor.py``) and
AutodeskAILab/occwl, which all three build on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dflow.cadencoder.access import BrepAccess
from dflow.cadencoder.options import EncodeOptions
from dflow.cadencoder.recipes import Recipe
from dflow.errors import GeometryError, RecipeError

Array = NDArray[Any]

_FACE_ATTRIBUTES = ("faces/face_types", "faces/face_areas", "faces/face_rational")
_EDGE_ATTRIBUTES = (
    "edges/edge_types",
    "edges/edge_lengths",
    "edges/edge_convexities",
    "edges/edge_closed",
    "edges/edge_rational",
)
_ARCS = ("graph/edges_source", "graph/edges_destination")
_COEDGES = ("coedges/next", "coedges/mate", "coedges/face", "coedges/edge", "coedges/reversed")
_LINE, _CIRCLE, _ELLIPSE, _BSPLINE = 0, 1, 2, 6
_CONVEX, _CONCAVE, _SMOOTH = 1, 2, 3


@dataclass(frozen=True, slots=True)
class Network:
    """A published network's input.

    Parameters
    ----------
    recipe : the arrays that it is made of, with their options
    pack : returns the authors' arrays, by their names, from the recipe's by their keys
    """

    recipe: Recipe
    pack: Callable[[Mapping[str, Array]], dict[str, Array]]


def _uvnet(arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {
        "x": _zeroed(arrays["faces/face_uv_grids"]),
        "e": _zeroed(arrays["graph/arc_u_grids"]),
        "src": arrays["graph/edges_source"],
        "dst": arrays["graph/edges_destination"],
        "n_solids": np.array(1, np.int32),
    }


def _brepnet(arrays: Mapping[str, Array]) -> dict[str, Array]:
    backwards = arrays["coedges/reversed"].astype(np.float32)
    return {
        "face_features": _face_features(arrays),
        "edge_features": _edge_features(arrays),
        "face_point_grids": _channels_first(arrays["faces/face_uv_grids"]),
        "coedge_point_grids": _channels_first(arrays["coedges/coedge_grids"]),
        "coedge_features": backwards[:, None],
        "coedge_lcs": _zeroed(arrays["coedges/coedge_frames"]),
        "coedge_scale_factors": arrays["coedges/coedge_scales"],
        "coedge_reverse_flags": backwards,
        **{name: arrays[f"coedges/{name}"] for name in ("next", "mate", "face", "edge")},
    }


def _aagnet(arrays: Mapping[str, Array]) -> dict[str, Array]:
    features = _edge_features(arrays)[arrays["graph/arc_edge"]]
    return {
        "edges": np.stack([arrays[key] for key in _ARCS]),
        "num_nodes": np.array(len(arrays["faces/face_types"]), np.int32),
        "graph_face_attr": np.concatenate([_face_features(arrays), arrays["faces/face_centroids"]], axis=1),
        "graph_face_grid": _channels_first(arrays["faces/face_uv_grids"]),
        # The published feature list names the two B-spline features a second time.
        "graph_edge_attr": np.concatenate([features, features[:, 7:9]], axis=1),
        "graph_edge_grid": _channels_first(arrays["coedges/coedge_grids"][arrays["graph/arc_coedge"]]),
    }


def _brepmfr(arrays: Mapping[str, Array]) -> dict[str, Array]:
    angles = arrays["edges/edge_dihedral_angles"][arrays["graph/arc_edge"]]
    hops = arrays["faceface/extended_adjacency"]
    grids = _zeroed(arrays["graph/arc_u_grids"])
    n_faces = len(arrays["faces/face_types"])
    return {
        "src": arrays["graph/edges_source"],
        "dst": arrays["graph/edges_destination"],
        "node_data": _zeroed(arrays["faces/face_uv_grids"]),
        "face_area": arrays["faces/face_areas"],
        "face_type": _MFR_FACE_CODES[arrays["faces/face_types"]],
        "face_loop": np.clip(arrays["faces/face_loops"], 1, 255),
        "face_adj": np.clip(arrays["faces/face_neighborscount"], 1, 127),
        "edge_data": np.concatenate([grids, np.ones((*grids.shape[:2], 1), grids.dtype)], axis=-1),
        "edge_type": _MFR_EDGE_CODES[arrays["edges/edge_types"]][arrays["graph/arc_edge"]],
        "edge_len": arrays["edges/edge_lengths"][arrays["graph/arc_edge"]],
        "edge_ang": _zeroed(angles),
        "edge_conv": np.where(angles < 0, 1, 2).astype(np.int32),
        "edges_path": _arc_paths(arrays),
        "spatial_pos": np.clip(hops, 0, 62).astype(np.int32).reshape(n_faces, n_faces),
        "d2_distance": arrays["faceface/d2_distance"].reshape(n_faces, n_faces, -1),
        "angle_distance": arrays["faceface/a3_distance"].reshape(n_faces, n_faces, -1),
    }


_MFR_FACE_CODES = np.full(17, 5, np.int32)
_MFR_FACE_CODES[:4] = 1, 2, 3, 4

_MFR_EDGE_CODES = np.full(9, 5, np.int32)
_MFR_EDGE_CODES[[0, 1, 2, 5, 6]] = 1, 2, 3, 4, 4


def _arc_paths(arrays: Mapping[str, Array]) -> Array:
    """(F, F, M) int32: the arcs of a shortest path between two faces, −1 behind its end."""
    source, destination = (arrays[key].astype(np.int64) for key in _ARCS)
    n_faces = len(arrays["faces/face_types"])
    edges = arrays["faceface/face_pair_edges_path"].reshape(n_faces, n_faces, -1)
    paths = np.full(edges.shape, -1, np.int32)
    key = arrays["graph/arc_edge"] * np.int64(n_faces) + source
    order = np.argsort(key)
    here = np.repeat(np.arange(n_faces)[:, None], n_faces, axis=1)
    for step in range(edges.shape[2]):
        going = edges[..., step] >= 0
        arc = order[np.searchsorted(key[order], edges[going, step] * np.int64(n_faces) + here[going])]
        paths[going, step] = arc
        here[going] = destination[arc]
    return paths


def _face_features(arrays: Mapping[str, Array]) -> Array:
    """(F, 7) float32: plane, cylinder, cone, sphere, torus, area, rational spline."""
    kinds = arrays["faces/face_types"][:, None] == np.arange(5)
    values = [arrays["faces/face_areas"], arrays["faces/face_rational"]]
    return np.column_stack([kinds, *values]).astype(np.float32)


def _edge_features(arrays: Mapping[str, Array]) -> Array:
    """(E, 10) float32: concave, convex, smooth, length, circle, closed, ellipse, B-spline, rational B-spline, line."""
    kind, convexity = arrays["edges/edge_types"], arrays["edges/edge_convexities"]
    rational = arrays["edges/edge_rational"] != 0
    columns = [
        *(convexity == code for code in (_CONCAVE, _CONVEX, _SMOOTH)),
        arrays["edges/edge_lengths"],
        kind == _CIRCLE,
        arrays["edges/edge_closed"],
        kind == _ELLIPSE,
        (kind == _BSPLINE) & ~rational,
        (kind == _BSPLINE) & rational,
        kind == _LINE,
    ]
    return np.column_stack(columns).astype(np.float32)


def _zeroed(array: Array) -> Array:
    """NaN as zero: what the published code gives where a normal or an edge's curve does not exist."""
    return np.where(np.isnan(array), np.zeros(1, array.dtype), array)


def _channels_first(grids: Array) -> Array:
    return np.ascontiguousarray(np.moveaxis(_zeroed(grids), -1, 1))


_GRAPH = {"collapse": True, "kept_edge": "highest", "both_directions": True}
_SCALED = {"face_mask": "open", "convexity": "mean", "exact_lengths": False, "unit_box": True}

NETWORKS: Mapping[str, Network] = MappingProxyType(
    {
        "uvnet": Network(
            Recipe(
                "uvnet",
                ("faces/face_uv_grids", *_ARCS, "graph/arc_u_grids"),
                EncodeOptions(orient_grids=True, face_grid=10, curve_grid=10).override(_GRAPH),
            ),
            _uvnet,
        ),
        "brepnet": Network(
            Recipe(
                "brepnet",
                (
                    *_FACE_ATTRIBUTES,
                    "faces/face_uv_grids",
                    *_EDGE_ATTRIBUTES,
                    *_COEDGES,
                    "coedges/coedge_grids",
                    "coedges/coedge_frames",
                    "coedges/coedge_scales",
                ),
                EncodeOptions(
                    orient_grids=True, face_grid=10, coedge_grid=10, degenerate_edges=True, coedge_order="walked"
                ).override(_SCALED),
            ),
            _brepnet,
        ),
        "aagnet": Network(
            Recipe(
                "aagnet",
                (
                    *_FACE_ATTRIBUTES,
                    "faces/face_centroids",
                    "faces/face_uv_grids",
                    *_EDGE_ATTRIBUTES,
                    *_ARCS,
                    "graph/arc_edge",
                    "graph/arc_coedge",
                    "coedges/coedge_grids",
                ),
                EncodeOptions(orient_grids=True, face_grid=5, coedge_grid=5).override(_GRAPH | _SCALED),
            ),
            _aagnet,
        ),
        "brepmfr": Network(
            Recipe(
                "brepmfr",
                (
                    "faces/face_types",
                    "faces/face_areas",
                    "faces/face_loops",
                    "faces/face_neighborscount",
                    "faces/face_uv_grids",
                    "edges/edge_types",
                    "edges/edge_lengths",
                    "edges/edge_dihedral_angles",
                    *_ARCS,
                    "graph/arc_edge",
                    "graph/arc_u_grids",
                    "faceface/extended_adjacency",
                    "faceface/face_pair_edges_path",
                    "faceface/d2_distance",
                    "faceface/a3_distance",
                ),
                EncodeOptions(
                    orient_grids=True,
                    face_grid=5,
                    curve_grid=5,
                    path_length=16,
                    collapse=True,
                    both_directions=True,
                    unit_box=True,
                ),
            ),
            _brepmfr,
        ),
    }
)
"""UV-Net (Jayaraman et al. 2021), BRepNet (Lambourne et al. 2021), AAGNet (Wu et al. 2024): their authors' arrays; and
BrepMFR (Zhang et al. 2024).

The authors of BrepMFR published their network (repository zhangshuming0668/BrepMFR), not what makes its input, so that
entry is dflow's own mapping to the network's tables: it can be trained on, but weights trained elsewhere need the data
that they were trained on. Types are numbered from 1 on, as row 0 is for padding: faces 1 plane, 2 cylinder, 3 cone,
4 sphere, 5 all others; edges 1 line, 2 circle, 3 ellipse, 4 spline, 5 all others; edges are 1 concave or 2 convex,
smooth ones by the sign of their angle. Counts keep within their tables (loops 255, neighbours 127). Distances are whole
hops, 62 where there is no path. Arcs run both ways, one a pair of faces; paths are rows of arcs. The seventh channel of
the edges' grids is 1. Sizes are those of the unit box.
"""


def find_network(name: str) -> Network:
    """Return the network of that name.

    Raises
    ------
    RecipeError
        If there is none; the message lists the existing ones.
    """
    network = NETWORKS.get(name)
    if network is None:
        raise RecipeError(f"there is no network {name!r}; the networks are {', '.join(NETWORKS)}")
    return network


def pack_network(arrays: Mapping[str, Array], network: str) -> dict[str, Array]:
    """A network's input from the arrays that `BrepEncoder.encode` returned, or a flow stored, for it.

    Parameters
    ----------
    arrays
        By their keys, of one sample.
    network
        "uvnet", "brepnet", "aagnet" or "brepmfr".

    Returns
    -------
    dict
        See `network_arrays`.

    Raises
    ------
    RecipeError
        If there is no such network, or arrays are missing.
    """
    found = find_network(network)
    if missing := [key for key in found.recipe.keys if key not in arrays]:
        raise RecipeError(
            f"{network} is made of {len(found.recipe.keys)} arrays, and {missing[0]} is missing; encode the files with "
            f"encode(network={network!r})"
        )
    return found.pack(arrays)


def refuse_unless_one_solid(brep: BrepAccess, network: str) -> None:
    """Raise `GeometryError` for a shape that is not one closed, manifold solid.

    Notes
    -----
    The published codes differ here: UV-Net's takes the first solid of a file and drops the rest, BRepNet's takes a
    file's solids for one, AAGNet's stops at several. Here one rule holds for all, and nothing is dropped.
    """
    if brep.n_bodies != 1 or brep.n_solids != 1:
        sheets = brep.n_bodies - brep.n_solids
        raise GeometryError(
            f"{network} takes one solid, and the shape has {brep.n_solids} solids and {sheets} sheet bodies; encode "
            "every solid on its own: get_brep(body_index), or create_flow(sample='body')"
        )
    if not brep.is_closed():
        raise GeometryError(
            f"{network} takes closed solids, and a shell of this one is open; mend the file, or leave it out"
        )
    topology = brep.topology()
    if (np.bincount(topology.coedge_edge, minlength=brep.n_edges) > 2).any():
        raise GeometryError(
            f"{network} takes manifold solids, and an edge of this one is used more than twice; mend the file, or "
            f"leave it out"
        )
