"""Shapes to arrays: `BrepEncoder` and the feature functions behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dflow.lazy import attach

if TYPE_CHECKING:
    from dflow.cadaccess.codes import EDGE_TYPES, FACE_TYPES
    from dflow.cadencoder.encoder import BrepEncoder, network_arrays
    from dflow.cadencoder.networks import NETWORKS, Network, pack_network
    from dflow.cadencoder.options import EncodeOptions
    from dflow.cadencoder.recipes import RECIPES, Recipe
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "BrepEncoder": "dflow.cadencoder.encoder",
            "EDGE_TYPES": "dflow.cadaccess.codes",
            "EncodeOptions": "dflow.cadencoder.options",
            "NETWORKS": "dflow.cadencoder.networks",
            "Network": "dflow.cadencoder.networks",
            "FACE_TYPES": "dflow.cadaccess.codes",
            "RECIPES": "dflow.cadencoder.recipes",
            "Recipe": "dflow.cadencoder.recipes",
            "network_arrays": "dflow.cadencoder.encoder",
            "pack_network": "dflow.cadencoder.networks",
        },
    )

__all__ = [
    "BrepEncoder",
    "EDGE_TYPES",
    "EncodeOptions",
    "FACE_TYPES",
    "NETWORKS",
    "Network",
    "RECIPES",
    "Recipe",
    "network_arrays",
    "pack_network",
]
