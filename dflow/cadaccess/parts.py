"""The import path of `dflow.demo.parts` in earlier notebooks."""

from __future__ import annotations

from dflow.demo.parts import write_parts

__all__ = ["write_parts"]
