"""What a preview costs beside encoding a part, in CPU time of one process.

    python -m tests.benchmarks.preview [--files 20]

Prints, for machined parts and for electronic components: reading, encoding (recipe "uvnet"), tessellation, and
rendering with both files written; then rendering, and rendering with tessellation, as shares of reading and encoding.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from dflow.cadaccess import CadLoader
from dflow.cadencoder import BrepEncoder
from dflow.errors import CadError
from dflow.render import available_renderer, render_sample

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
CORPORA = {"mfcad": "mfcad/step/*.step", "kicad": "kicad/*/*.step"}
STAGES = ("read", "encode", "tessellate", "render")


def measure_part(path: Path, folder: Path) -> np.ndarray:
    """CPU seconds of the four stages."""
    marks = [time.process_time()]
    model = CadLoader().create_from_file(str(path))
    brep = model.get_brep()
    marks.append(time.process_time())
    BrepEncoder(brep).encode("uvnet")
    marks.append(time.process_time())
    mesh = model.get_mesh()
    marks.append(time.process_time())
    render_sample(mesh, folder / "part.png", folder / "part.glb")
    marks.append(time.process_time())
    return np.diff(marks)


def measure_corpus(pattern: str, n_files: int) -> np.ndarray:
    """(files, 4) CPU seconds of every n-th file that can be read."""
    paths = sorted(DATA.glob(pattern))
    chosen = paths[:: max(1, len(paths) // n_files)][:n_files]
    found = []
    with tempfile.TemporaryDirectory() as folder:
        measure_part(chosen[0], Path(folder))  # imports and the first window
        for path in chosen:
            try:
                found.append(measure_part(path, Path(folder)))
            except CadError as error:
                print(f"left out {path.name}: {error}")
    return np.array(found)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=20, help="files of each corpus")
    n_files = parser.parse_args().files
    renderer = available_renderer()
    print(f"renderer: {renderer.name} {renderer.reason}")
    for name, pattern in CORPORA.items():
        seconds = measure_corpus(pattern, n_files)
        total = seconds.sum(axis=0)
        stages = "  ".join(f"{s} {1e3 * t / len(seconds):.1f} ms" for s, t in zip(STAGES, total, strict=True))
        base = total[0] + total[1]
        print(f"{name}: {len(seconds)} files  {stages}")
        print(
            f"{name}: render {total[3] / base:.1%} of reading and encoding, {total[2:].sum() / base:.1%} with the mesh"
        )


if __name__ == "__main__":
    main()
