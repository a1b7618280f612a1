"""Pictures, 3D views and pages of datasets.

* `DatasetViewer`: pictures and 3D views of a dataset's parts
* `CADViewer`, `quick_view`: one part in 3D
* `ColorPalette`, `group_predictions_by_label`: colours for classes of faces
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dflow.lazy import attach

if TYPE_CHECKING:
    from dflow.insights.cad_viewer import CADViewer, quick_view
    from dflow.insights.palette import ColorPalette, group_predictions_by_label
    from dflow.insights.viewer import DatasetViewer
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "CADViewer": "dflow.insights.cad_viewer",
            "ColorPalette": "dflow.insights.palette",
            "DatasetViewer": "dflow.insights.viewer",
            "group_predictions_by_label": "dflow.insights.palette",
            "quick_view": "dflow.insights.cad_viewer",
        },
    )

__all__ = [
    "CADViewer",
    "ColorPalette",
    "DatasetViewer",
    "group_predictions_by_label",
    "quick_view",
]
