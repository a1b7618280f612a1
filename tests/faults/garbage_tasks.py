"""A task that saves a good sample and then, for some files, returns what no caller can want."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np

from dflow.flowmanager import flowtask
from tests.faults.held_tasks import encode as good_encode

MIB = 1024**2


class OneWay:
    """Can be pickled, and raises where it is unpickled."""

    def __reduce__(self):
        return int, ("no number",)


class Liar:
    """Claims to be whatever is asked, and raises when it is looked at."""

    def __getstate__(self):
        raise RuntimeError("no state")

    __eq__ = __bool__ = __len__ = __iter__ = __repr__ = __getstate__
    __hash__ = None


def endless():
    value = []
    value.append(value)
    return value


def deep():
    value = []
    for _ in range(100_000):
        value = [value]
    return value


def scribble():
    """Write nonsense into every descriptor that the process has."""
    for fd in range(3, 64):
        try:
            os.write(fd, b"\0garbage" * 100)
        except OSError:
            pass


REFUSED = {
    "p01": threading.Lock,
    "p02": lambda: bytes(65 * MIB),
    "p03": lambda: "x" * (65 * MIB),
    "p04": Liar,
    "p05": deep,
    "p06": lambda: {"a": (n for n in range(3))},
}
"""Returned by these files: the flow must refuse it, and the file fails."""

TAKEN = {
    "p00": OneWay,
    "p08": endless,
    "p09": lambda: "\ud800 no UTF-8 \0",
    "p10": lambda: np.array([None, {"x": float("nan")}], dtype=object),
    "p11": lambda: {float("nan"): {1: b"\xff"}, None: [2**200, -0.0]},
}
"""Odd, but somebody may want it: the file succeeds."""

SCRIBBLER = "p07"


@flowtask.transform(name="encode", inputs=["file", "cad_loader", "storage", "gates"], outputs=["encoded"])
def encode(file, cad_loader, storage, gates):
    stem = Path(file).stem
    path = good_encode(file, cad_loader, storage, gates)
    if stem == SCRIBBLER:
        scribble()
    made = {**REFUSED, **TAKEN}.get(stem)
    return path if made is None else made()
