"""Facts about one host and the files that it should see, gathered on workers and client alike.

`gather_facts` reads the file system, so it runs in a thread with a time limit: a dead mount blocks for ever.
`dflow.flowmanager.cluster.findings` derives findings from them.
"""

from __future__ import annotations

import asyncio
import functools
import os
import resource
import shutil
import socket
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from distributed.system import MEMORY_LIMIT

from dflow.cadaccess.kernel.check import kernel_problem
from dflow.flowmanager.preload import describe_worker
from dflow.storage.paths import TEMPORARY_PREFIX

GATHER_SECONDS = 30.0
"""Time limit for the file system: one that takes longer for a handful of names would stall a flow."""

SourceKind = Literal["file", "folder", "empty folder"]


@dataclass(frozen=True, slots=True)
class Question:
    """What to check on a host: whether it sees `sources` (path and its kind on the client) and shares `folder`.

    `token` is the content of the file `probe_path` that the client left in `folder`; without one only the free space of
    `folder` is measured.
    """

    sources: tuple[tuple[str, SourceKind], ...] = ()
    folder: str = ""
    token: str = ""


@dataclass(frozen=True, slots=True)
class HostFacts:
    """The facts of one process.

    `address` is the worker's, "" for the client; `unseen` pairs sources with what is wrong with them; `folder_fault`
    is why the folder is not the client's, "" where it is; `answer` names the file that was left there; the bytes are
    -1 where unknown; `open_files` is the soft limit of file descriptors; `hung` is true where the file system did not
    answer in time (then the rest is unknown); `folder` is the question's; `kernel_loads` is true where the kernel was
    loaded for this process before.
    """

    host: str
    address: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    unseen: tuple[tuple[str, str], ...] = ()
    folder_fault: str = ""
    answer: str = ""
    folder: str = ""
    folder_free_bytes: int = -1
    temporary_folder: str = ""
    temporary_free_bytes: int = -1
    memory_bytes: int = -1
    open_files: int = -1
    hung: bool = False
    kernel_loads: bool = False


@dataclass(frozen=True, slots=True)
class KernelFacts:
    """Whether the CAD kernel loads on a host; `fault` is the reason where it does not."""

    host: str
    fault: str = ""


def kind_of_source(path: str) -> SourceKind:
    """Return the kind of a source on this host.

    Raises
    ------
    OSError
        If it does not exist, or cannot be read.
    """
    if not os.path.isdir(path):
        with open(path, "rb", buffering=0) as file:
            file.read(1)
        return "file"
    with os.scandir(path) as entries:
        return "empty folder" if next(entries, None) is None else "folder"


def probe_path(folder: str, token: str) -> str:
    """Return the file that the client leaves in a folder for workers to find."""
    return os.path.join(folder, f"{TEMPORARY_PREFIX}probe-{token}")


def gather_facts(question: Question, address: str = "") -> HostFacts:
    """Return the facts of this host; one small file stays in the folder, which the client removes."""
    folder_fault, answer = _check_folder(question) if question.token else ("", "")
    faults = ((path, _source_fault(path, kind)) for path, kind in question.sources)
    temporary = tempfile.gettempdir()
    return HostFacts(
        host=socket.gethostname(),
        address=address,
        versions=describe_worker(),
        unseen=tuple((path, fault) for path, fault in faults if fault),
        folder_fault=folder_fault,
        answer=answer,
        folder=question.folder,
        folder_free_bytes=free_bytes(question.folder),
        temporary_folder=temporary,
        temporary_free_bytes=free_bytes(temporary),
        memory_bytes=int(MEMORY_LIMIT),
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        kernel_loads=_load_kernel.cache_info().currsize > 0,
    )


async def gather_facts_on_worker(question: Question, dask_worker: Any = None) -> HostFacts:
    """Run `gather_facts` in a thread of a worker, for `Client.run`."""
    address = str(getattr(dask_worker, "address", ""))
    try:
        return await asyncio.wait_for(asyncio.to_thread(gather_facts, question, address), GATHER_SECONDS)
    except TimeoutError:
        return HostFacts(socket.gethostname(), address, hung=True)


def check_kernel() -> KernelFacts:
    """Load the kernel in a separate process; takes seconds."""
    return KernelFacts(socket.gethostname(), kernel_problem() or "")


async def check_kernel_on_worker() -> KernelFacts:
    """Run `check_kernel` in a thread of a worker, for `Client.run`."""
    return await asyncio.to_thread(check_kernel)


async def load_kernel_on_worker() -> KernelFacts:
    """Check once per worker whether the kernel loads, for `Client.run`."""
    fault = ""
    try:
        await asyncio.to_thread(_load_kernel)
    except ImportError as error:
        fault = str(error)
    return KernelFacts(socket.gethostname(), fault)


@functools.cache  # keeps no errors: a kernel that was repaired is found
def _load_kernel() -> None:
    fault = kernel_problem()
    if fault:
        raise ImportError(fault)


def free_bytes(folder: str) -> int:
    """Return the free bytes of the disk of `folder`, -1 where unknown."""
    try:
        return shutil.disk_usage(folder).free if folder else -1
    except OSError:
        return -1


def _source_fault(path: str, expected: SourceKind) -> str:
    try:
        found = kind_of_source(path)
    except FileNotFoundError:
        return "is not there"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if found == expected:
        return ""
    return f"is an {found}" if found == "empty folder" else f"is a {found}, on the client it is a {expected}"


def _check_folder(question: Question) -> tuple[str, str]:
    """Return what is wrong with the shared folder, and the name of the answer that was left in it."""
    if not os.path.isdir(question.folder):
        return "is not there", ""
    try:
        with open(probe_path(question.folder, question.token), encoding="ascii") as file:
            if file.read() != question.token:
                return "shows other contents than the client wrote", ""
    except FileNotFoundError:
        return "is another folder than the client's: a file that the client wrote there does not show", ""
    except OSError as error:
        return f"cannot be read: {error.strerror}", ""
    answer = f"{TEMPORARY_PREFIX}answer-{uuid.uuid4().hex}"
    try:
        with open(os.path.join(question.folder, answer), "x", encoding="ascii") as file:
            file.write(question.token)
    except OSError as error:
        return f"cannot be written: {error.strerror}", ""
    return "", answer
