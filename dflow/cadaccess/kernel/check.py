"""Check whether the CAD kernel can be loaded, and name the system packages that are missing where it cannot.

The kernel's wheel contains everything but the libraries of the graphics stack, which minimal Linux images lack.
``python -m dflow.cadaccess.kernel.check`` exits with 1 and prints the line that installs them.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import re
import subprocess
import sys

from dflow.errors import KernelMissingError

LIBRARIES = ("libGL.so.1", "libX11.so.6", "libxcb.so.1", "libexpat.so.1")
"""Shared libraries that the kernel is linked against on Linux and its wheel does not contain."""

PACKAGES = "libgl1 libx11-6 libxcb1 libexpat1"
"""Debian's and Ubuntu's packages with the shared libraries that the kernel is linked against."""

INSTALL_LINES = (
    ("Debian, Ubuntu", f"apt-get install -y {PACKAGES}"),
    ("Fedora, RHEL", "dnf install -y mesa-libGL libX11 libxcb expat"),
)


INSTALL_KERNEL = f"{sys.executable} -m pip install --force-reinstall cadquery-ocp"


def missing_library(error: str) -> str | None:
    """Return the shared library that an import error names, None where it names none."""
    found = re.search(r"(lib[\w.+-]+\.so[.\d]*): cannot open shared object file", error)
    return found.group(1) if found else None


@functools.cache  # keeps no errors
def require_kernel() -> None:
    """Check that the kernel and the system libraries that it needs are installed.

    Takes milliseconds and does not load the kernel; where a library seems to be missing, the kernel is loaded in
    another process to make sure.

    Raises
    ------
    KernelMissingError
        Naming what is missing and the line that installs it.
    """
    try:
        if importlib.util.find_spec("OCP") is None:
            raise ModuleNotFoundError("No module named 'OCP'")
        for library in LIBRARIES if sys.platform == "linux" else ():
            ctypes.CDLL(library)
    except (OSError, ImportError) as error:
        problem = kernel_problem()
        if problem is not None:
            raise KernelMissingError(problem) from error


def kernel_problem(timeout_seconds: float = 120.0) -> str | None:
    """Return why the kernel does not load, as a message; None where it loads.

    The import runs in a process of its own, so that a partly loaded kernel does not stay in this one.
    """
    program = "import OCP.gp, OCP.STEPControl"
    try:
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=timeout_seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return f"importing the CAD kernel took longer than {timeout_seconds:.0f} s: is the file system very slow?"
    if done.returncode == 0:
        return None
    return explain(done.stderr)


def explain(error: str) -> str:
    """Return what an import's error output means and what to do about it."""
    library = missing_library(error)
    if library is None:
        last = error.strip().splitlines()[-1] if error.strip() else "no message"
        return f"the CAD kernel does not load: {last}. Install it with: {INSTALL_KERNEL}"
    lines = "\n".join(f"  {system}:  {line}" for system, line in INSTALL_LINES)
    return f"the CAD kernel needs the system library {library}, which is not here. Install it (as root) with\n{lines}"


def main() -> int:
    """Print the problem, if any; 0 where the kernel loads."""
    problem = kernel_problem()
    if problem:
        print(problem, file=sys.stderr)
    return 1 if problem else 0


if __name__ == "__main__":
    raise SystemExit(main())
