"""What every Dask worker runs when it starts: ``dask worker … --preload dflow.flowmanager.preload``.

Caps the native libraries' threads before they are loaded, starts the worker's warm child so that the first file does
not wait for the kernel, and reports what this worker is made of to the scheduler's event log (topic ``dflow-worker``).
"""

from __future__ import annotations

import functools
import importlib.metadata
import logging
import os
import platform
import socket
import sys
from typing import Any

LOGGER = logging.getLogger(__name__)

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
PACKAGES = ("dflow-cad", "cadquery-ocp", "dask", "distributed", "zarr", "xarray", "numpy", "pyarrow")


def cap_threads(n_threads: int = 1) -> None:
    """Give native libraries `n_threads`, for this process and its children, unless the user has set a number."""
    for variable in THREAD_VARIABLES:
        os.environ.setdefault(variable, str(n_threads))


def describe_worker() -> dict[str, str]:
    """Host, Python and the versions of the packages that decide what a sample looks like ("absent" where missing)."""
    versions = {name: _version(name) for name in PACKAGES}
    return {"host": socket.gethostname(), "python": platform.python_version(), "executable": sys.executable, **versions}


@functools.cache  # each costs a walk along `sys.path`, and what is loaded stays what it is
def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def dask_setup(worker: Any) -> None:
    """Dask calls this in the new worker's process."""
    from dflow.flowmanager.worker.worker import prewarm

    cap_threads()
    worker.log_event("dflow-worker", describe_worker())
    try:
        prewarm()
    except OSError as error:  # the first batch will say so for each of its files; the worker itself is sound
        LOGGER.warning("the worker's child did not start: %s", error)
