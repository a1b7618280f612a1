"""Recipes: the arrays that a family of networks uses, with their options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from dflow.cadencoder.options import EncodeOptions
from dflow.errors import RecipeError

_FACES = ("faces/face_types", "faces/face_areas", "faces/face_centroids", "faces/face_loops")
_EDGES = ("edges/edge_types", "edges/edge_lengths", "edges/edge_dihedral_angles", "edges/edge_convexities")
_GRAPH = ("graph/edges_source", "graph/edges_destination", "graph/arc_edge")
_GRIDS = ("faces/face_uv_grids", "edges/edge_u_grids")
_PAIRS = (
    "faceface/extended_adjacency",
    "faceface/face_pair_edges_path",
    "faceface/d2_distance",
    "faceface/a3_distance",
)
_COEDGES = ("coedges/next", "coedges/mate", "coedges/face", "coedges/edge", "coedges/reversed")


@dataclass(frozen=True, slots=True)
class Recipe:
    """The keys (``group/array``) of a recipe's arrays, in order, and its default options.

    Parameters
    ----------
    name : the argument of `BrepEncoder.encode`
    keys : of the arrays, in order
    options : its default options
    """

    name: str
    keys: tuple[str, ...]
    options: EncodeOptions


RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        recipe.name: recipe
        for recipe in (
            Recipe("minimal", _FACES + _EDGES, EncodeOptions()),
            Recipe("uvnet", _GRAPH + _FACES + _EDGES + _GRIDS, EncodeOptions(face_grid=10, curve_grid=10)),
            Recipe(
                "brepmfr",
                _GRAPH + _FACES + _EDGES + _GRIDS + ("faces/face_neighborscount",) + _PAIRS,
                EncodeOptions(face_grid=5, curve_grid=5, path_length=32),
            ),
            Recipe("brepnet", _FACES + _EDGES + _COEDGES, EncodeOptions()),
        )
    }
)
"""Arrays of the kinds that UV-Net (Jayaraman et al. 2021), BrepMFR (Zhang et al. 2024) and BRepNet (Lambourne et al.
2021) read, and the attributes alone; all in dflow's own conventions, for networks that are trained on them. What the
published networks themselves read is in `dflow.cadencoder.networks`.

The conventions of all recipes: sizes in mm, where the file has them; face grids along the surface's own u and v, with
outward normals, and 1 in or on the trimmed face; edge grids along the edge's curve; one arc per physical edge, from the
lower face to the higher; convexity by the edge's middle, 0 on seams; coedges in stored order; no degenerate edges.
"""


def find_recipe(name: str) -> Recipe:
    """Return the recipe of that name.

    Raises
    ------
    RecipeError
        If there is none; the message lists the existing ones.
    """
    recipe = RECIPES.get(name)
    if recipe is None:
        raise RecipeError(f"there is no recipe {name!r}; the recipes are {', '.join(RECIPES)}")
    return recipe
