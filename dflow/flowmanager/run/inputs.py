"""The inputs of a flow's last run, kept in its folder for a later `Flow.retry` and ``dflow run``."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from dflow.flowmanager.plan.items import looks_like_a_path
from dflow.flowmanager.reports.flowfiles import write_json
from dflow.storage.paths import FlowPaths

INPUTS_NAME = "inputs.json"


def remember_inputs(paths: FlowPaths, inputs: Mapping[str, Any]) -> None:
    """Write a run's inputs, paths made absolute; inputs that JSON cannot hold remove those of the run before."""
    kept = {
        key: [_absolute(each) for each in value] if isinstance(value, list) else value for key, value in inputs.items()
    }
    try:
        json.dumps(kept)
    except (TypeError, ValueError):
        (paths.state / INPUTS_NAME).unlink(missing_ok=True)
    else:
        write_json(paths.state / INPUTS_NAME, kept)


def remembered_inputs(paths: FlowPaths) -> dict[str, Any] | None:
    """Return the inputs of the last run in this folder, None where they are unknown."""
    try:
        content = json.loads((paths.state / INPUTS_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _absolute(source: Any) -> Any:
    return os.path.abspath(source) if looks_like_a_path(source) else source
