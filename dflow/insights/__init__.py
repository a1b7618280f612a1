"""Looking at datasets: previews, 3D views, colours, the explorer page.

* `DatasetViewer`: pictures and 3D views of a dataset's parts
* `CADViewer`, `quick_view`: one part in 3D
* `ColorPalette`, `group_predictions_by_label`: colours for classes of faces
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dflow.insights.cad_viewer import CADViewer, quick_view
    from dflow.insights.palette import ColorPalette, group_predictions_by_label
    from dflow.insights.viewer import DatasetViewer

__all__ = ["CADViewer", "ColorPalette", "DatasetViewer", "group_predictions_by_label", "quick_view"]

_HOMES = {
    "CADViewer": "cad_viewer",
    "ColorPalette": "palette",
    "DatasetViewer": "viewer",
    "group_predictions_by_label": "palette",
    "quick_view": "cad_viewer",
}


def __getattr__(name: str) -> Any:
    # Lazy: matplotlib, pandas and the renderer come in when they are used.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
