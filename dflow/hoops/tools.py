"""`HOOPSTools`: HOOPS AI's calls on an opened model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from dflow.cadaccess.model import CadModel
from dflow.errors import NoGeometryError, VendorOnlyError
from dflow.render import render_sample


class HOOPSTools:
    """HOOPS AI's names of exports, and of adaptations that have no effect because dflow does not need them.

    Has no state; may be called from the thread that may use the model.
    """

    def brep_options(self) -> dict[str, Any]:
        """Return the options of the boundary representation under HOOPS AI's names."""
        return {"force_compute_uv": True, "force_compute_3d": True}

    def tesselation_options(self) -> dict[str, Any]:
        """Call `tessellation_options`."""
        return self.tessellation_options()

    def adapt_tesselation(self, model: CadModel, options: dict[str, Any] | None = None) -> CadModel:
        """Call `adapt_tessellation`.

        Parameters
        ----------
        model : an opened file
        options : has no effect
        """
        return self.adapt_tessellation(model, options)

    def apply_filter(self, model: CadModel, *args: Any, **kwargs: Any) -> CadModel:
        """Return the model itself: filters of the vendor's reader have no counterpart.

        Parameters
        ----------
        model : an opened file
        *args, **kwargs : have no effect
        """
        return model

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
        if not overwrite and Path(path).exists():
            raise FileExistsError(f"{path} exists; exportSTEP(model, path, overwrite=True) replaces it")
        return model.export_step(path)

    def exportStreamCache(
        self, model: CadModel, path: str | os.PathLike[str], is_white_background: bool = True, overwrite: bool = False
    ) -> tuple[str, str]:
        """Write the model's picture and its mesh, and return both paths.

        Parameters
        ----------
        model : an opened file
        path : of the mesh; without a suffix it gets ``.scs``
        is_white_background : names the picture ``…_white.png`` instead of ``….png``; it is transparent in both cases
        overwrite : whether to replace existing files

        Returns
        -------
        (picture, mesh). The mesh is binary glTF whatever its suffix; ``dflow`` and any glTF viewer read it.

        Raises
        ------
        FileExistsError
            If one of the files exists and `overwrite` is False.
        NoGeometryError
            If the model has nothing to draw.
        """
        mesh = Path(path)
        mesh = mesh if mesh.suffix else mesh.with_suffix(".scs")
        picture = mesh.with_name(f"{mesh.stem}{'_white' if is_white_background else ''}.png")
        for file in (mesh, picture):
            if file.exists() and not overwrite:
                raise FileExistsError(f"{file} exists; exportStreamCache(model, path, overwrite=True) replaces it")
        mesh.parent.mkdir(parents=True, exist_ok=True)
        report = render_sample(model.get_mesh(), picture, mesh, size=(512, 512))
        if report.note:
            raise NoGeometryError(f"{model.get_filesource()}: {report.note}")
        return str(picture), str(mesh)

    def extract_holes(self, model: CadModel) -> dict[str, Any]:
        """Raise `VendorOnlyError`: holes are read from native feature trees, which STEP files do not have.

        Parameters
        ----------
        model : an opened file
        """
        raise VendorOnlyError(
            "extract_holes reads feature trees of native files, which STEP, IGES and BREP do not have: train a face "
            "segmentation on labelled parts instead (docs, Train), or select cylinders by "
            "model.get_brep().face_types() == 1"
        )
