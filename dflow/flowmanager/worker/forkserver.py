"""The fork server: a process that imports the CAD kernel once and forks a warm child on demand.

Importing the kernel takes seconds, a fork milliseconds: files that kill their process cost little time. Started by the
worker (see `dflow.flowmanager.worker.processes`); it has one thread, opens no file, and runs no user code.

Over the control socket (``SOCK_SEQPACKET``) it receives ``fork`` with two descriptors (the child's connection, and the
end of the pipe for its output) and replies with the child's process id; on ``reap <pid>`` it waits for a child that has
ended and replies with its wait status. When the control socket closes because the worker has ended, in whatever way, it
kills its children's process groups and ends. Children die with it (``PR_SET_PDEATHSIG``).
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import signal
import socket
import sys
import traceback

from dflow.flowmanager.worker.child import run_child
from dflow.flowmanager.worker.execution import load_previews
from dflow.flowmanager.worker.memory import adopt_orphans, end_orphans, has_children

PREVIEWS = "previews"
"""The argument for a fork server whose children draw previews."""

WARM_NAMES = (
    ("numpy", "ma"),  # numpy imports it on first use
    ("dflow.storage", "OptStorage"),
    ("dflow.cadaccess", "CadLoader"),
    ("dflow.cadencoder", "BrepEncoder"),
)
"""Imported before the first fork: arrays, storage and the kernel."""


def warm_up() -> None:
    """Import what children need; an import that fails is printed, and fails again in the item that needs it."""
    for module, name in WARM_NAMES:
        try:
            getattr(importlib.import_module(module), name)
        except Exception:
            print(f"{module}.{name} cannot be imported:\n{traceback.format_exc()}", file=sys.stderr)


def warm_up_previews() -> None:
    """Import what tessellates parts and draws previews, so that not every child has to."""
    try:
        load_previews()
    except Exception:
        print(f"previews cannot be drawn:\n{traceback.format_exc()}", file=sys.stderr)


def serve(control: socket.socket) -> None:
    """Fork and reap until the control socket closes."""
    children: set[int] = set()
    try:
        while True:
            request, descriptors, _flags, _address = socket.recv_fds(control, 64, 2)
            if not request:
                return
            if request == b"fork":
                pid = _fork(control, descriptors)
                children.add(pid)
                control.send(b"%d" % pid)
            else:
                pid = int(request.removeprefix(b"reap "))
                _pid, status = os.waitpid(pid, 0)
                children.discard(pid)
                if has_children():  # what it had started and a crash has orphaned
                    end_orphans(children)
                control.send(b"%d" % status)
    except (ConnectionError, BrokenPipeError):
        return
    finally:
        for pid in children:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)


def _fork(control: socket.socket, descriptors: list[int]) -> int:
    """Fork one child and return its process id; never returns in the child."""
    server_pid = os.getpid()
    pid = os.fork()
    if pid == 0:
        control.close()
        run_child(*descriptors, parent_pid=server_pid)
    for descriptor in descriptors:
        os.close(descriptor)
    with contextlib.suppress(OSError):  # the child does the same: either may come first
        os.setpgid(pid, pid)
    return pid


def main() -> None:
    """Run the process; its arguments are dflow's folder, the control socket's descriptor, and PREVIEWS or nothing."""
    os.dup2(2, 1)  # the kernel prints to stdout while it is being imported
    control = socket.socket(fileno=int(sys.argv[2]))
    control.set_inheritable(False)
    warm_up()
    if sys.argv[3:] == [PREVIEWS]:
        warm_up_previews()
    adopt_orphans()
    gc.collect()
    gc.freeze()  # keeps the collector from touching, and so copying, the pages that all children share
    sys.stdout.flush()
    sys.stderr.flush()
    with contextlib.suppress(OSError):
        control.send(b"ready")
        serve(control)
    os._exit(0)
