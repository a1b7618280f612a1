"""`HOOPSTools`: the calls that scripts written for HOOPS AI make on an opened model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from dflow.cadaccess.model import CadModel


class HOOPSTools:
    """Adaptations that dflow does not need (accepted, without effect) and exports, under HOOPS AI's names.

    Without state; any thread that may use the model may call it.
    """

    def brep_options(self) -> dict[str, Any]:
        """The boundary representation's options with HOOPS AI's names."""
        return {"force_compute_uv": True, "force_compute_3d": True}

    def tessellation_options(self) -> dict[str, Any]:
        """The mesh's options."""
        return {}

    def adapt_brep(self, model: CadModel, brep_options: dict[str, Any] | None = None) -> CadModel:
        """The model itself: curves and surfaces are always complete here.

        Parameters
        ----------
        model : an opened file
        brep_options : has no effect
        """
        return model

    def adapt_tessellation(self, model: CadModel, options: dict[str, Any] | None = None) -> CadModel:
        """The model itself: a mesh is made when asked.

        Parameters
        ----------
        model : an opened file
        options : has no effect
        """
        return model

    def exportOBJ(self, model: CadModel, path: str | os.PathLike[str]) -> int:
        """`CadModel.export_obj`.

        Parameters
        ----------
        model : an opened file
        path : of the new file
        """
        return model.export_obj(path)

    def exportSTEP(self, model: CadModel, path: str | os.PathLike[str], overwrite: bool = False) -> int:
        """`CadModel.export_step`.

        Parameters
        ----------
        model : an opened file
        path : of the new file
        overwrite : whether a file that is there may be replaced

        Raises
        ------
        FileExistsError
            There is a file, and `overwrite` was not asked for.
        """
        if not overwrite and Path(path).exists():
            raise FileExistsError(f"{path} is there already; exportSTEP(model, path, overwrite=True) replaces it")
        return model.export_step(path)
