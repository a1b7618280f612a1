"""The benchmarks' tasks, in a module of their own: a child imports what its tasks' module imports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dflow.flowmanager import flowtask


@flowtask.transform(name="noop", inputs=["part"])
def noop(part: int) -> int:
    """Nothing: all that is left is orchestration."""
    return part


@flowtask.extract(name="gather", inputs=["sources"], outputs=["files"])
def gather(sources: list[str]) -> list[str]:
    """All STEP files of the sources."""
    return [str(path) for source in sources for path in sorted(Path(source).glob("*.step"))]


@flowtask.transform(name="encode", inputs=["cad_file", "cad_loader", "storage"], outputs=["encoded"])
def encode(cad_file: str, cad_loader: Any, storage: Any) -> str:
    """The recipe `uvnet`."""
    from dflow.cadencoder import BrepEncoder

    BrepEncoder(cad_loader.create_from_file(cad_file).get_brep(), storage).encode("uvnet")
    storage.compress_store()
    return str(storage.get_file_path(""))
