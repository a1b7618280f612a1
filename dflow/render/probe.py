"""Which renderer does this process use? dflow's own (`software`), unless VTK is asked for and works.

A preview in software costs less than one in VTK with Mesa's software rasteriser, needs no graphics library and is the
same on every machine; ``DFLOW_RENDERER=vtk`` asks for VTK all the same (a graphics card, large pictures). VTK 9.6 ends
the process with a segmentation fault when the EGL library is missing or gives no context (measured with libEGL
hidden), so a short-lived process tries first.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import Literal

_log = logging.getLogger(__name__)

RENDERER_VARIABLE = "DFLOW_RENDERER"
PROBE_SECONDS = 60.0
"""A driver that takes longer to draw 64 pixels would take longer than the encoding."""

_PROBE = """
from dflow.render.offscreen import OffscreenWindow
window = OffscreenWindow((8, 8))
if window.blank().min() < 255:
    raise SystemExit("the picture is not white")
"""


@dataclass(frozen=True, slots=True)
class Renderer:
    """`name` of the renderer in use; `reason` says why it is not VTK where VTK was asked for, else empty."""

    name: Literal["vtk", "software"]
    reason: str = ""


@functools.cache
def available_renderer() -> Renderer:
    """The renderer of this process; where VTK is asked for, the first call takes about 0.4 s, further ones nothing.

    Raises
    ------
    ValueError
        If the environment variable ``DFLOW_RENDERER`` names no renderer.
    """
    wish = os.environ.get(RENDERER_VARIABLE, "")
    if wish not in ("", "vtk", "software"):
        raise ValueError(f"{RENDERER_VARIABLE} is {wish!r}; it may be 'vtk' or 'software'")
    if wish != "vtk":
        return Renderer("software")
    reason = missing_library() or failed_trial()
    if reason:
        _log.warning("previews are drawn in software: %s", reason)
        return Renderer("software", reason)
    return Renderer("vtk")


def missing_library() -> str:
    """Why EGL cannot work, seen without starting a process; "" when it may work."""
    try:
        ctypes.CDLL("libEGL.so.1")
    except OSError as error:
        return f"EGL cannot be loaded ({error})"
    return ""


def failed_trial() -> str:
    """Draw an empty picture with VTK in another process: why that failed, "" when it worked."""
    try:
        trial = subprocess.run(
            [sys.executable, "-c", _PROBE], capture_output=True, timeout=PROBE_SECONDS, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        return f"VTK drew nothing within {PROBE_SECONDS:.0f} s"
    except OSError as error:
        return f"no process to try VTK in ({error})"
    if trial.returncode == 0:
        return ""
    ending = f"exit code {trial.returncode}" if trial.returncode > 0 else f"ended by signal {-trial.returncode}"
    return f"VTK cannot draw here ({ending}) {_last_words(trial.stderr)}".strip()


def _last_words(output: bytes) -> str:
    """The last line of a log, without colours, times and addresses."""
    lines = re.sub(r"\x1b\[[\d;]*m", "", output.decode(errors="replace")).strip().splitlines()
    return re.sub(r"\s*\(0x[0-9a-f]+\)", "", lines[-1].rpartition("| ")[2]) if lines else ""
