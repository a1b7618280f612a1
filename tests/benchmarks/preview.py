"""What a preview costs beside encoding a part, in CPU time of one process.

    python -m tests.benchmarks.preview [--files 20]

Prints, for machined parts and for electronic components: reading, encoding (recipe "uvnet" into a store that is
written, as a flow's task does it), tessellation, drawing, packing both files, and writing them; then all that is the
preview's as a share of reading and encoding. Each stage runs once a part, as in a flow: caches are cold. Files are
written in memory (see `disk`); the last line adds what the disk takes more, now, to create a new file: two of them are
the preview's, one the sample's.
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
from dflow.render.glb import pack_glb
from dflow.render.mesh import clean_arrays
from dflow.render.png import encode_indexed_png
from dflow.render.software import PALETTE, draw
from dflow.render.view import fit_view
from dflow.storage import OptStorage
from dflow.storage.atomic import write_whole
from tests.benchmarks.disk import new_file_seconds, quiet_folder

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
CORPORA = {"mfcad": "mfcad/step/*.step", "kicad": "kicad/*/*.step"}
STAGES = ("read", "encode", "tessellate", "draw", "pack", "write")
SIZE = (256, 256)


def measure_part(path: Path, folder: Path) -> np.ndarray:
    """CPU seconds of the stages."""
    marks = [time.process_time()]
    model = CadLoader().create_from_file(str(path))
    brep = model.get_brep()
    marks.append(time.process_time())
    with OptStorage(folder / path.stem) as storage:
        BrepEncoder(brep, storage).encode("uvnet")
        storage.compress_store()
    marks.append(time.process_time())
    mesh = model.get_mesh()
    marks.append(time.process_time())
    arrays = clean_arrays(mesh)
    drawing = draw(arrays, fit_view(arrays, SIZE[0] / SIZE[1]), SIZE)
    marks.append(time.process_time())
    png, glb = encode_indexed_png(drawing.codes, PALETTE), pack_glb(arrays)
    marks.append(time.process_time())
    write_whole(folder / f"{path.stem}.png", [png])
    write_whole(folder / f"{path.stem}.glb", [glb])
    marks.append(time.process_time())
    return np.diff(marks)


def measure_corpus(pattern: str, n_files: int, folder: Path) -> np.ndarray:
    """(files, 6) CPU seconds of every n-th file that can be read."""
    paths = sorted(DATA.glob(pattern))
    chosen = paths[:: max(1, len(paths) // n_files)][:n_files]
    found = []
    measure_part(chosen[0], folder)  # imports and the first window
    for path in chosen:
        try:
            found.append(measure_part(path, folder))
        except CadError as error:
            print(f"left out {path.name}: {error}")
    return np.array(found)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=20, help="files of each corpus")
    n_files = parser.parse_args().files
    with quiet_folder() as folder, tempfile.TemporaryDirectory() as disk:
        in_memory, on_disk = new_file_seconds(folder), new_file_seconds(Path(disk))
        print(
            f"a new file: {1e3 * in_memory:.3f} ms where samples are written here, {1e3 * on_disk:.3f} ms on the disk"
        )
        for name, pattern in CORPORA.items():
            seconds = measure_corpus(pattern, n_files, folder)
            total = seconds.sum(axis=0)
            stages = "  ".join(f"{s} {1e3 * t / len(seconds):.2f} ms" for s, t in zip(STAGES, total, strict=True))
            print(f"{name}: {len(seconds)} files  {stages}")
            work, preview = total[:2].sum(), total[2:].sum()
            more = len(seconds) * max(on_disk - in_memory, 0.0)
            with_disk = (preview + 2 * more) / (work + more)
            print(f"{name}: preview {preview / work:.1%} of reading and encoding, wanted < 15 %")
            print(f"{name}: with what the disk takes more for new files now, {with_disk:.1%}")


if __name__ == "__main__":
    main()
