"""dflow: folders of CAD files become datasets that machines learn from."""

from __future__ import annotations

from dflow._version import __version__

__all__ = ["__version__"]
