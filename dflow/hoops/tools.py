"""`HOOPSTools`: HOOPS AI's calls on an opened model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from dflow.cadaccess.model import CadModel
from dflow.localpath import home_path


class HOOPSTools:
    """HOOPS AI's names of exports, and of adaptations that have no effect because dflow does not need them.

    Has no state; may be called from the thread that may use the model.
    """

    def brep_options(self) -> dict[str, Any]:
        """Return the options of the boundary representation under HOOPS AI's names."""
        return {"force_compute_uv": True, "force_compute_3d": True}

    def tessellation_options(self) -> dict[str, Any]:
        """Return the options of the mesh: none."""
        return {}

    def adapt_brep(self, model: CadModel, brep_options: dict[str, Any] | None = None) -> CadModel:
        """Return the model itself; its curves and surfaces are always complete.

        Parameters
        ----------
        model : an opened file
        brep_options : has no effect
        """
        return model

    def adapt_tessellation(self, model: CadModel, options: dict[str, Any] | None = None) -> CadModel:
        """Return the model itself; its mesh is made on first use.

        Parameters
        ----------
        model : an opened file
        options : has no effect
        """
        return model

    def exportOBJ(self, model: CadModel, path: str | os.PathLike[str]) -> int:
        """Call `CadModel.export_obj`.

        Parameters
        ----------
        model : an opened file
        path : the new file
        """
        return model.export_obj(path)

    def exportSTEP(self, model: CadModel, path: str | os.PathLike[str], overwrite: bool = False) -> int:
        """Call `CadModel.export_step`.

        Parameters
        ----------
        model : an opened file
        path : the new file
        overwrite : whether to replace an existing file

        Raises
        ------
        FileExistsError
            If the file exists and `overwrite` is False.
        """
        if not overwrite and Path(home_path(path)).exists():
            raise FileExistsError(f"{path} exists; exportSTEP(model, path, overwrite=True) replaces it")
        return model.export_step(path)
