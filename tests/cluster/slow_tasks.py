"""Tasks whose files take a moment each, so that a test can interfere while they run."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from dflow.cadencoder import BrepEncoder
from dflow.flowmanager import flowtask


@flowtask.extract(name="gather", inputs=["sources"], outputs=["files"])
def gather(sources: list[str]) -> list[str]:
    return sorted(str(path) for source in sources for path in Path(source).rglob("*.step"))


@flowtask.transform(name="encode", inputs=["cad_file", "cad_loader", "storage"], outputs=["encoded"])
def encode_slowly(cad_file: str, cad_loader: Any, storage: Any) -> str:
    time.sleep(float(os.environ.get("SLOW_TASK_SECONDS", "0.25")))
    BrepEncoder(cad_loader.create_from_file(cad_file).get_brep(), storage).encode("minimal")
    return str(storage.get_file_path(""))
