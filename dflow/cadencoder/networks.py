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
_SCALED = {"face_mask": "open", "convexity": "mean", "unit_box": True}

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
    }
)
"""UV-Net (Jayaraman et al. 2021), BRepNet (Lambourne et al. 2021) and AAGNet (Wu et al. 2024)."""


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
        "uvnet", "brepnet" or "aagnet".

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
