"""Hosts that fail while others work: a full or lost disk, a missing mount, a late host without it, a cut network."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed import Client

from dflow.errors import ClusterError
from dflow.flowmanager import flowtask
from tests.faults import gates
from tests.faults.cases import Case, assert_whole, failures
from tests.faults.held_tasks import gather
from tests.faults.hosts import Hosts
from tests.faults.programs import REPOSITORY

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]

Undisturbed = Callable[..., dict[str, Any]]
HELD = "p11"
N_FILES = 12


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """A scheduler with one sound host; each test adds a second one."""
    made = Hosts(tmp_path_factory.mktemp("network") / "hosts")
    try:
        made.start("sound")
        yield made
    finally:
        made.close()


@pytest.fixture
def client(hosts: Hosts) -> Iterator[Client]:
    client = hosts.client(1)
    yield client
    client.close()


@pytest.fixture
def case(tmp_path: Path, client: Client) -> Case:
    case = Case(tmp_path, {"cluster": client}).prepare()
    (case.root / "encoded").mkdir(parents=True)
    return case


def log_of(case: Case) -> str:
    return (case.root / "flow_log.log").read_text()


FAULTS = {
    "disk full": ("-t tmpfs -o size=4k none {out}/flows/struck/encoded", "No space left on device"),
    "disk read-only": ("-t tmpfs -o ro none {out}/flows/struck/encoded", "Read-only file system"),
    "sources not mounted": ("-t tmpfs none {base}/in", "which this process reads"),
}


@pytest.mark.parametrize(
    "fault", ["disk full", *(pytest.param(each, marks=pytest.mark.long) for each in list(FAULTS)[1:])]
)
def test_what_one_host_cannot_do_another_does(
    hosts: Hosts, case: Case, undisturbed: Undisturbed, tabulate: Callable[..., None], fault: str
) -> None:
    mount, reason = FAULTS[fault]
    name = f"odd{len(hosts.workers)}"
    hosts.start(name)
    case.arguments["cluster"].wait_for_workers(2, timeout=60)
    gates.hold(case.gates, HELD)

    def strike(case: Case) -> None:
        gates.arrival(case.gates, HELD)
        hosts.mount(name, mount.format(out=case.out, base=case.base))

    output = case.run_struck(strike)
    hosts.stop(name)
    assert not isinstance(output, BaseException), output
    equal = case.outputs() == undisturbed()
    log = log_of(case)
    tabulate(f"{fault} on one of two hosts", "its files were done elsewhere", "nothing failed", equal)
    assert_whole(case, output, N_FILES)
    assert (output.counts.failed, equal) == (0, True)
    assert f"Host {name}" not in log or reason in log


def test_a_host_that_fails_thrice_is_shunned_and_one_file_of_no_host_is_the_files_fault(
    hosts: Hosts, case: Case, tabulate: Callable[..., None]
) -> None:
    """The odd host has no scratch folder that takes files; one file is forbidden everywhere."""

    @flowtask.transform(name="encode", inputs=["file", "storage"], outputs=["encoded"])
    def encode_by_scratch(file, storage):
        import tempfile
        import time

        if file.endswith("p05.txt"):
            raise PermissionError(13, "Permission denied", file)
        with tempfile.TemporaryFile() as scratch:
            scratch.write(bytes(100_000))
        time.sleep(0.1)
        storage.save_data("rows/values", [1.0])
        return "done"

    scratch = case.base / "scratch"
    scratch.mkdir()
    name = f"odd{len(hosts.workers)}"
    hosts.start(name, f"-t tmpfs -o size=16k none {scratch}", TMPDIR=str(scratch))
    case.arguments["cluster"].wait_for_workers(2, timeout=60)
    case.tasks = (gather, encode_by_scratch)
    flow = case.flow()
    output, _, _ = flow.process(inputs={"sources": [str(case.sources)]}, progress=False)
    hosts.stop(name)
    log = log_of(case)
    (error,) = output.errors
    tabulate("scratch disk dead on one of two hosts", "the host was named", f"{error.kind}: p05", True)
    assert "its scratch folder" in log
    assert error.kind == "exception"
    assert "folders can be written" in error.message


def test_a_late_host_without_the_mount_gets_no_work(
    hosts: Hosts, case: Case, undisturbed: Undisturbed, tabulate: Callable[..., None]
) -> None:
    gates.hold(case.gates, HELD)
    name = f"odd{len(hosts.workers)}"

    def strike(case: Case) -> None:
        gates.arrival(case.gates, HELD)
        hosts.start(name, f"-t tmpfs none {case.out}")
        gates.wait_until(lambda: "does no work for this flow" in log_of(case), "the late host was not refused")

    output = case.run_struck(strike)
    hosts.stop(name)
    assert not isinstance(output, BaseException), output
    assert failures(output) == {}
    equal = case.outputs() == undisturbed()
    tabulate("late host without the flow's folder", "refused and named", "nothing failed", equal)
    assert_whole(case, output, N_FILES)
    assert f"host {name}: {case.root} is not there" in log_of(case)
    assert equal


def test_with_no_host_left_the_flow_ends_and_goes_on_when_one_is_mended(
    hosts: Hosts, case: Case, undisturbed: Undisturbed, tabulate: Callable[..., None]
) -> None:
    gates.hold(case.gates, HELD)
    encoded = case.root / "encoded"

    def strike(case: Case) -> None:
        gates.arrival(case.gates, HELD)
        hosts.mount("sound", f"-t tmpfs -o ro none {encoded}")

    began = time.monotonic()
    ended = case.run_struck(strike)
    seconds = time.monotonic() - began
    hosts.unmount("sound", str(encoded))
    assert isinstance(ended, ClusterError), ended
    assert "No host is left" in str(ended)
    assert "Read-only file system" in str(ended)
    assert seconds < 30
    output = case.run()
    equal = case.outputs() == undisturbed()
    tabulate(
        "disk read-only on the only host", f"ended with ClusterError; then reused {output.counts.reused}", "-", equal
    )
    assert_whole(case, output, N_FILES)
    assert equal


PROGRAM = """
import sys
sys.path.insert(0, {repository!r})
from pathlib import Path
from tests.faults.cases import Case
case = Case(Path({base!r}), {{"cluster": {address!r}}})
try:
    output = case.run()
    print(output.counts.succeeded, output.counts.reused)
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.long
def test_what_workers_finish_behind_a_cut_is_known_to_the_next_run(
    hosts: Hosts, case: Case, undisturbed: Undisturbed, tabulate: Callable[..., None]
) -> None:
    if not hosts.has_namespaces:
        pytest.skip("cutting a network needs root")
    gates.hold(case.gates, HELD)
    inside = hosts.make_empty("away")
    script = PROGRAM.format(repository=str(REPOSITORY), base=str(case.base), address=hosts.address)
    command = [*inside, sys.executable, "-c", script]
    client = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={**os.environ})
    gates.arrival(case.gates, HELD)
    hosts.cut("away")
    gates.release(case.gates)
    printed, _ = client.communicate(timeout=120)
    assert printed.startswith("ClusterError Lost the scheduler"), printed
    assert "run the flow again" in printed
    n_finished = len(list((case.root / "encoded").glob("*.data")))
    output = case.run()
    equal = case.outputs() == undisturbed()
    seen = f"ended with ClusterError; of {n_finished} finished {output.counts.reused} were reused"
    tabulate("client cut off the network", seen, "-", equal)
    assert output.counts.reused == n_finished
    assert equal
