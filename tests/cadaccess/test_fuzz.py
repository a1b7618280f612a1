"""Mutated STEP files never take down the caller and never give a number that is not one where none is documented."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

_CHILD = """
import sys, warnings
import numpy as np
warnings.simplefilter("ignore")
from dflow.cadaccess import CadLoader
from dflow.errors import CadError
for path in sys.stdin:
    path = path.rstrip("\\n")
    try:
        brep = CadLoader().create_from_file(path).get_brep()
        grid, edges = brep.face_samples(4, 4), brep.edge_samples(4)
        brep.edge_convexities(), brep.topology(), brep.volume(), brep.bounding_box(), brep.surface_samples(4, 0)
        arrays = (grid[..., :3], grid[..., 6], edges, brep.face_areas(), brep.edge_lengths(), brep.face_centroids())
        outcome = "ok" if all(np.isfinite(a).all() for a in arrays) else "nonfinite"
    except CadError as error:
        outcome = error.kind
    except Exception as error:
        outcome = "exception:" + type(error).__name__ + ":" + str(error)[:120].replace("\\n", " ")
    print(outcome, flush=True)
"""


def mutate(content: bytes, generator: np.random.Generator) -> bytes:
    """One of: bytes flipped, references swapped, entities dropped, numbers made huge, NaN or negative, truncation."""
    lines = content.split(b"\n")
    kind = int(generator.integers(6))
    if kind == 0:
        data = bytearray(content)
        for at in generator.integers(0, len(data), int(generator.integers(1, 8))):
            data[at] ^= 1 << int(generator.integers(8))
        return bytes(data)
    if kind == 1:
        return content[: int(generator.integers(1, len(content)))]
    if kind == 2:
        for at in generator.integers(0, len(lines), int(generator.integers(1, 4))):
            lines[at] = b""
        return b"\n".join(lines)
    chosen = [i for i, line in enumerate(lines) if b"#" in line and b"(" in line]
    for i in generator.choice(chosen, min(len(chosen), int(generator.integers(1, 4)))):
        lines[i] = (
            _change_reference(lines, int(i), chosen, generator) if kind == 3 else _change_number(lines[i], generator)
        )
    return b"\n".join(lines)


def _change_reference(lines: list[bytes], row: int, chosen: list[int], generator: np.random.Generator) -> bytes:
    import re

    references = list(re.finditer(rb"#\d+", lines[row]))[1:]
    others = re.findall(rb"#\d+", lines[int(generator.choice(chosen))])
    if not references or not others:
        return lines[row]
    old = references[int(generator.integers(len(references)))]
    return lines[row][: old.start()] + others[0] + lines[row][old.end() :]


def _change_number(line: bytes, generator: np.random.Generator) -> bytes:
    import re

    numbers = list(re.finditer(rb"-?\d+\.\d*(?:[Ee][-+]?\d+)?", line))
    if not numbers:
        return line
    old = numbers[int(generator.integers(len(numbers)))]
    new = [b"1.E+300", b"-1.", b"0.", b"NAN", b"1.E-300", b"-" + old.group(), b"1.E+12"][int(generator.integers(7))]
    return line[: old.start()] + new + line[old.end() :]


class Child:
    """A process that reads paths and says what became of them; started anew when the kernel takes it down."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def ask(self, path: Path, seconds: float = 10.0) -> str:
        import selectors

        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _CHILD],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{path}\n")
        process.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            answer = process.stdout.readline().strip() if selector.select(seconds) else "timeout"
        if not answer or answer == "timeout":
            self.close()
        return answer or "crash"

    def close(self) -> None:
        if self._process is None:
            return
        self._process.kill()
        self._process.communicate()
        self._process = None


def run_mutations(seeds: list[Path], count: int, folder: Path) -> list[tuple[int, str]]:
    """(number, outcome) of `count` seeded mutations."""
    outcomes, child = [], Child()
    try:
        for number in range(count):
            generator = np.random.default_rng([number, 2026])
            path = folder / "mutated.step"
            path.write_bytes(mutate(seeds[number % len(seeds)].read_bytes(), generator))
            outcomes.append((number, child.ask(path)))
    finally:
        child.close()
    return outcomes


def _seeds(shared_data: Path) -> list[Path]:
    names = (
        "cad/foxtrot/cube_hole.step",
        "cad/mayo/cube.step",
        "cad/asitus_canrec/canrec_008.stp",
        "cad/cadquery/red_cube_blue_cylinder.step",
        "mfcad/step/0-0-0-2-10-23.step",
        "kicad/LED_THT/LED_D5.0mm_FlatTop.step",
    )
    return [shared_data / name for name in names]


ALLOWED = {"ok", "unreadable", "no_geometry", "kernel_error", "geometry", "too_big", "crash", "timeout"}


def test_a_few_mutations_end_in_a_known_way(shared_data: Path, tmp_path: Path) -> None:
    outcomes = run_mutations(_seeds(shared_data), 40, tmp_path)
    assert [o for o in outcomes if o[1] not in ALLOWED] == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_three_hundred_mutations_end_in_a_known_way(shared_data: Path, tmp_path: Path) -> None:
    outcomes = run_mutations(_seeds(shared_data), 300, tmp_path)
    assert [o for o in outcomes if o[1] not in ALLOWED] == []


@pytest.mark.long
def test_three_thousand_mutations_end_in_a_known_way(shared_data: Path, tmp_path: Path) -> None:
    outcomes = run_mutations(_seeds(shared_data), 3000, tmp_path)
    assert [o for o in outcomes if o[1] not in ALLOWED] == []
