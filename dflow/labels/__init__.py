"""Labels of faces from other files, joined to the faces that they belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dflow.lazy import attach

if TYPE_CHECKING:
    from dflow.errors import LabelError
    from dflow.labels.joining import FaceLabels, JoinReport, join
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "FaceLabels": "dflow.labels.joining",
            "JoinReport": "dflow.labels.joining",
            "LabelError": "dflow.errors",
            "join": "dflow.labels.joining",
        },
    )

__all__ = ["FaceLabels", "JoinReport", "LabelError", "join"]
