"""Two hosts and more on one machine: each a network, mount and host name of its own, where root may make them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from distributed import Client

from tests.faults.daskcluster import unused_port
from tests.faults.programs import REPOSITORY

_ADDRESS = f"10.{213 + os.getpid() // 250 % 40}.{os.getpid() % 250}"
"""Of this test process: several may make hosts at the same time."""


class Hosts:
    """A scheduler on this host, and workers on others that `start` adds; `close` ends and removes all of them.

    Without the right to make namespaces a host is a process at a loopback address of its own, and `mount` skips.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._log = (folder / "log").open("wb")
        self._empty: list[str] = []
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self._tag = f"d{os.getpid() % 10_000}"
        self.has_namespaces = os.geteuid() == 0 and self._make_bridge()
        address = f"{_ADDRESS}.1" if self.has_namespaces else "127.0.0.1"
        port = unused_port()
        self.address = f"tcp://{address}:{port}"
        arguments = ["--host", address, "--port", str(port), "--no-dashboard"]
        self.scheduler = self._run([sys.executable, "-m", "distributed.cli.dask_scheduler", *arguments])

    def start(self, name: str, *mounts: str, **environment: str) -> None:
        """Start a worker on a new host, after `mounts` (arguments of ``mount``) on it."""
        number = len(self.workers) + 2
        host = f"{_ADDRESS}.{number}" if self.has_namespaces else f"127.0.0.{number}"
        worker = [sys.executable, "-m", "distributed.cli.dask_worker", self.address, "--host", host, "--no-nanny"]
        worker += ["--nthreads", "1", "--no-dashboard", "--death-timeout", "20", "--name", name]
        worker += ["--local-directory", str(self._folder / name)]
        if self.has_namespaces:
            self._make_host(name, number)
            steps = [f"hostname {name}", *(f"mount {mount}" for mount in mounts), f"exec {' '.join(worker)}"]
            inside = ["unshare", "--mount", "--uts", "sh", "-c", " && ".join(steps)]
            worker = ["ip", "netns", "exec", self._space(name), *inside]
        elif mounts:
            pytest.skip("mounts need root")
        self.workers[name] = self._run(worker, **environment)

    def mount(self, name: str, arguments: str) -> None:
        """Mount something on a running host."""
        if not self.has_namespaces:
            pytest.skip("mounts need root")
        command = ["nsenter", "--target", str(self.workers[name].pid), "--mount", "mount", *arguments.split()]
        subprocess.run(command, check=True, capture_output=True)

    def unmount(self, name: str, folder: str) -> None:
        """Undo `mount`."""
        command = ["nsenter", "--target", str(self.workers[name].pid), "--mount", "umount", "--lazy", folder]
        subprocess.run(command, check=True, capture_output=True)

    def stop(self, name: str) -> None:
        """End a host's worker."""
        self.workers[name].kill()
        self.workers[name].wait()

    def make_empty(self, name: str) -> list[str]:
        """Make a host without a worker; return the words to put before a command that is to run on it."""
        self._make_host(name, 200)
        self._empty.append(name)
        return ["ip", "netns", "exec", self._space(name)]

    def cut(self, name: str) -> None:
        """Take the host off the network: nothing is refused, packets vanish."""
        subprocess.run(["ip", "link", "set", self._link(name), "down"], check=True)

    def client(self, n_workers: int) -> Client:
        """A client, once so many workers are there."""
        client = Client(self.address, set_as_default=False, timeout=30)
        client.wait_for_workers(n_workers, timeout=60)
        return client

    def close(self) -> None:
        for process in (*self.workers.values(), self.scheduler):
            process.kill()
            process.wait()
        self._log.close()
        if self.has_namespaces:
            for name in (*self.workers, *self._empty):
                subprocess.run(["ip", "netns", "delete", self._space(name)], check=False)
            subprocess.run(["ip", "link", "delete", f"{self._tag}br"], check=False)

    def _run(self, command: list[str], **environment: str) -> subprocess.Popen[bytes]:
        paths = {"PYTHONPATH": str(REPOSITORY), **environment}
        return subprocess.Popen(
            command, stdout=self._log, stderr=self._log, cwd=self._folder, env={**os.environ, **paths}
        )

    def _space(self, name: str) -> str:
        return f"{self._tag}-{name}"

    def _link(self, name: str) -> str:
        return f"{self._tag}{name}"[:15]

    def _make_bridge(self) -> bool:
        bridge = f"{self._tag}br"
        commands = [
            f"ip link add {bridge} type bridge",
            f"ip address add {_ADDRESS}.1/24 dev {bridge}",
            f"ip link set {bridge} up",
            "unshare --mount --uts true",
        ]
        if all(subprocess.run(command.split(), capture_output=True).returncode == 0 for command in commands):
            return True
        subprocess.run(["ip", "link", "delete", bridge], capture_output=True)
        return False

    def _make_host(self, name: str, number: int) -> None:
        space, link = self._space(name), self._link(name)
        for command in (
            f"ip netns add {space}",
            f"ip link add {link} type veth peer name eth0 netns {space}",
            f"ip link set {link} master {self._tag}br up",
            f"ip -n {space} address add {_ADDRESS}.{number}/24 dev eth0",
            f"ip -n {space} link set eth0 up",
            f"ip -n {space} link set lo up",
        ):
            subprocess.run(command.split(), check=True, capture_output=True)
