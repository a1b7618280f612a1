"""The command line: ``dflow`` and its commands, one module each."""

from __future__ import annotations

from dflow.cli.main import main

__all__ = ["main"]
