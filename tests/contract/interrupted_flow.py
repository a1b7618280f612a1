"""A program whose flow takes a while: the tests end it in all sorts of ways."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import dflow
from dflow.flowmanager import flowtask


@flowtask.extract(name="gather", inputs=["sources"], outputs=["files"])
def gather(sources):
    return sorted(str(path) for source in sources for path in Path(source).glob("**/*.step"))


@flowtask.transform(name="encode", inputs=["cad_file", "cad_loader", "storage"], outputs=["encoded"])
def encode(cad_file, cad_loader, storage):
    cad_loader.create_from_file(cad_file)
    time.sleep(0.4)
    storage.save_metadata("stem", Path(cad_file).stem)
    return storage.get_file_path("")


if __name__ == "__main__":
    flow = dflow.create_flow("interrupted", [gather, encode], sys.argv[2], max_workers=2, export_visualization=False)
    print("starts", flush=True)
    output, _, _ = flow.process(inputs={"sources": [sys.argv[1]]}, progress=False)
    print("ended", output.counts.succeeded, output.counts.failed, flush=True)
