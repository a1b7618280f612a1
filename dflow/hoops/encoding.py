"""HOOPS AI's encoding of a file in one call."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from dflow.cadaccess.loader import CadLoader
from dflow.cadencoder.encoder import BrepEncoder
from dflow.storage.base import DataStorage


def encode_cad_data(
    specifications: Mapping[str, Any] | None,
    cad_file: str | os.PathLike[str],
    cad_loader: CadLoader,
    storage: DataStorage,
) -> tuple[int, int]:
    """Read a file, save its arrays, and return its numbers of faces and edges.

    Parameters
    ----------
    specifications : ``recipe`` is one of `dflow.cadencoder.RECIPES`, by default "uvnet"; other keys are options of
        `BrepEncoder.encode`, and those that dflow does not have are refused there
    cad_file : a STEP, IGES or BREP file
    cad_loader : the task's loader
    storage : the task's storage
    """
    options = dict(specifications or {})
    brep = cad_loader.create_from_file(cad_file).get_brep()
    BrepEncoder(brep, storage).encode(options.pop("recipe", "uvnet"), **options)
    return brep.n_faces, brep.n_edges
