"""`HOOPSTools`: the calls that scripts written for HOOPS AI make between loading and encoding."""

from __future__ import annotations

from typing import Any

from dflow.cadaccess.model import CadModel


class HOOPSTools:
    """Options and adaptations that dflow does not need; each call is accepted and changes nothing."""

    def brep_options(self) -> dict[str, Any]:
        """The boundary representation's options with HOOPS AI's names."""
        return {"force_compute_uv": True, "force_compute_3d": True}

    def tessellation_options(self) -> dict[str, Any]:
        """The mesh's options."""
        return {}

    def adapt_brep(self, model: CadModel, brep_options: dict[str, Any] | None = None) -> CadModel:
        """The model itself: curves and surfaces are always complete here."""
        return model

    def adapt_tessellation(self, model: CadModel, options: dict[str, Any] | None = None) -> CadModel:
        """The model itself: a mesh is made when asked."""
        return model
