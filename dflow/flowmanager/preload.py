"""The start of every Dask worker: ``dask worker … --preload dflow.flowmanager.preload``.

Caps the native libraries' threads before they are loaded, guards the worker's pages (`dflow.webhosts`), starts the
worker's warm child so that the first file does not wait for the kernel, and reports the worker's host and versions to
the scheduler's event log (topic ``dflow-worker``).
"""

from __future__ import annotations

import functools
import importlib.metadata
import os
import pickle
import platform
import socket
import sys
from typing import Any

from dflow._version import __version__ as dflow_version
from dflow.plaintext import get_logger
from dflow.webhosts import KnownHosts, guard

LOGGER = get_logger(__name__)

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
PACKAGES = ("dflow-cad", "cadquery-ocp", "dask", "distributed", "zarr", "xarray", "numpy", "pyarrow")

SAME_VERSIONS = ("dflow-cad", "cadquery-ocp", "numpy")
"""Packages of which another version changes or breaks a dataset."""


def cap_threads(n_threads: int = 1) -> None:
    """Limit native libraries to `n_threads`, in this process and its children, unless the user has set a number."""
    for variable in THREAD_VARIABLES:
        os.environ.setdefault(variable, str(n_threads))


def describe_worker() -> dict[str, str]:
    """Return the host, Python and the versions of the packages that shape a sample ("absent" where missing)."""
    versions = {name: _version(name) for name in PACKAGES}
    return {"host": socket.gethostname(), "python": platform.python_version(), "executable": sys.executable, **versions}


@functools.cache
def decisive_versions() -> dict[str, str]:
    """Return the versions that worker and client must share: Python's up to the minor one, and `SAME_VERSIONS`."""
    python = ".".join(platform.python_version_tuple()[:2])
    return {"python": python, **{name: _version(name) for name in SAME_VERSIONS}}


def call_verified(expected: dict[str, str], packed: bytes, values: dict[Any, Any]) -> Any:
    """Unpickle a node's task and call it with `values`.

    Raises
    ------
    RuntimeError
        If this process's decisive versions are not the `expected` ones; nothing has been unpickled then.
    """
    found = decisive_versions()
    if found != expected:
        raise RuntimeError(f"not begun: this worker has {found}, the client {expected}")
    return pickle.loads(packed)(values)


@functools.cache  # each call walks along `sys.path`; a loaded package does not change
def _version(package: str) -> str:
    """Return the installed version; where another is imported in its place, both."""
    try:
        installed = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        installed = "absent"
    imported = _imported_version(package) or installed
    return installed if imported == installed else f"{imported} (installed: {installed})"


def _imported_version(package: str) -> str:
    if package == "dflow-cad":
        return dflow_version
    return str(getattr(sys.modules.get(package), "__version__", "")) if package == "numpy" else ""


def dask_setup(worker: Any) -> None:
    """Prepare a new worker; Dask calls this in its process."""
    from dflow.flowmanager.worker.worker import prewarm

    cap_threads()
    guard(worker.http_application, KnownHosts(worker.http_server.address))
    worker.log_event("dflow-worker", describe_worker())
    try:
        prewarm()
    except OSError as error:  # the first batch reports it for each of its files; the worker itself works
        LOGGER.warning("the worker's child did not start: %s", error)
