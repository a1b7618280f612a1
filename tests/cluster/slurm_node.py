"""A real Slurm on this machine, in a folder of its own, for as long as a test needs it.

Runs munge, slurmctld and slurmd directly, without systemd, as root; ports and state are the test's own. The recipe
is the one that single-node CI setups use: munge authentication, no process tracking by cgroups, one partition.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo")

CONFIGURATION = """\
ClusterName=local
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmUser=root
SlurmdUser=root
ReturnToService=2
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SchedulerParameters=sched_interval=1,bf_interval=1
InactiveLimit=0
KillWait=2
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmdSpoolDir={folder}/spool
StateSaveLocation={folder}/state
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs={n_cpus} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
"""


def why_not_here() -> str | None:
    """Why a Slurm cannot be started here, None where it can."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None and not Path("/usr/sbin", name).exists()]
    if missing:
        return f"Slurm is not installed: no {', '.join(missing)} (Debian: apt-get install slurm-wlm munge)"
    if os.geteuid() != 0:
        return "starting a Slurm needs root"
    return None


@dataclass(frozen=True, slots=True)
class SlurmNode:
    """A running Slurm: `configuration` belongs into the environment as SLURM_CONF."""

    folder: Path
    configuration: Path
    n_cpus: int

    def run(self, *command: str) -> str:
        """Output of a Slurm command against this controller."""
        environment = {**os.environ, "SLURM_CONF": str(self.configuration)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def running_jobs(self) -> list[str]:
        """Ids of the jobs that run now, oldest first."""
        return sorted(self.run("squeue", "--noheader", "--states=RUNNING", "--format=%i").split(), key=int)

    def jobs(self) -> dict[str, str]:
        """The state of each job of the last minutes, by its id."""
        words = self.run("squeue", "--noheader", "--states=all", "--format=%i %T").split()
        return dict(zip(words[::2], words[1::2], strict=True))


@contextlib.contextmanager
def slurm_node(folder: Path, n_cpus: int = 4) -> Iterator[SlurmNode]:
    """Start munge, slurmctld and slurmd below `folder`; stop them and every job at the end.

    `n_cpus` may be more than the machine has.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("spool", "state"):
        (folder / name).mkdir(exist_ok=True)
    configuration = folder / "slurm.conf"
    ports = free_ports(2)
    configuration.write_text(
        CONFIGURATION.format(
            host=socket.gethostname().split(".")[0],
            folder=folder,
            n_cpus=n_cpus,
            controller_port=ports[0],
            node_port=ports[1],
        ),
        encoding="utf-8",
    )
    node = SlurmNode(folder, configuration, n_cpus)
    munge = start_munge(folder)
    environment = {**os.environ, "SLURM_CONF": str(configuration), "PATH": os.environ["PATH"] + ":/usr/sbin"}
    try:
        for daemon in ("slurmctld", "slurmd"):
            subprocess.run([daemon], env=environment, check=True, timeout=60, capture_output=True)
        wait_until_idle(node)
        yield node
    finally:
        with contextlib.suppress(RuntimeError, subprocess.TimeoutExpired):
            node.run("scancel", "--full", "--user=root")
        for daemon in ("slurmd", "slurmctld"):
            stop(folder / f"{daemon}.pid")
        munge.terminate()
        munge.wait(timeout=10)


def start_munge(folder: Path) -> subprocess.Popen[bytes]:
    """A munged with a key and socket of its own."""
    key, log = folder / "munge.key", folder / "munged.log"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    folder.chmod(0o755)
    process = subprocess.Popen(
        [
            shutil.which("munged") or "/usr/sbin/munged",
            "--foreground",
            "--force",
            f"--key-file={key}",
            f"--socket={folder}/munge.socket",
            f"--pid-file={folder}/munged.pid",
            f"--log-file={log}",
            f"--seed-file={folder}/munge.seed",
        ],
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 20
    while not (folder / "munge.socket").exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"munged did not start: {log.read_text(encoding='utf-8') if log.exists() else ''}")
        time.sleep(0.05)
    return process


def wait_until_idle(node: SlurmNode, timeout_seconds: float = 60.0) -> None:
    """Wait until the node takes jobs."""
    deadline = time.monotonic() + timeout_seconds
    state = ""
    while time.monotonic() < deadline:
        with contextlib.suppress(RuntimeError):
            state = node.run("sinfo", "--noheader", "--format=%T").strip()
            if state == "idle":
                return
        time.sleep(0.2)
    log = (node.folder / "slurmd.log").read_text(encoding="utf-8")[-2000:]
    raise RuntimeError(f"the Slurm node is {state or 'silent'} after {timeout_seconds:.0f} s\n{log}")


def stop(pid_file: Path) -> None:
    """End a daemon by its pid file and wait until it is gone."""
    if not pid_file.exists():
        return
    pid = int(pid_file.read_text(encoding="utf-8"))
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            os.kill(pid, 0)
            time.sleep(0.1)
        os.kill(pid, signal.SIGKILL)


def free_ports(n: int) -> list[int]:
    """Ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(n)]
    try:
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()
