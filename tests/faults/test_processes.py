"""Processes that die under a flow: children, nurseries, workers, nannies, the scheduler; the dataset is the same."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dflow.errors import ClusterError
from tests.faults import gates
from tests.faults.cases import Case, assert_whole, failures
from tests.faults.daskcluster import fork_server_above, kill_and_wait, worker_above

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

HELD = "p07"


def in_encode(case: Case, place: str = HELD) -> int:
    """Wait until a child works on the held part; its process id."""
    return gates.arrival(case.gates, place)


def kill_child(case: Case) -> None:
    kill_and_wait(in_encode(case))


def kill_child_after_saving(case: Case) -> None:
    kill_and_wait(in_encode(case, f"{HELD}-saved"))


def kill_fork_server(case: Case) -> None:
    kill_and_wait(fork_server_above(in_encode(case)))


def kill_worker(case: Case) -> None:
    kill_and_wait(worker_above(in_encode(case)))


def kill_worker_after_saving(case: Case) -> None:
    kill_and_wait(worker_above(in_encode(case, f"{HELD}-saved")))


def stop_child_and_kill_worker(case: Case) -> None:
    """The child cannot notice anything: it is frozen when its worker dies, and thawed afterwards."""
    child = in_encode(case, f"{HELD}-saved")
    os.kill(child, signal.SIGSTOP)
    kill_and_wait(worker_above(child))


@pytest.mark.parametrize(
    ("strike", "place"),
    [
        (kill_child, HELD),
        (kill_child_after_saving, f"{HELD}-saved"),
        (kill_fork_server, HELD),
        (kill_worker, HELD),
        (kill_worker_after_saving, f"{HELD}-saved"),
        (stop_child_and_kill_worker, f"{HELD}-saved"),
    ],
)
def test_a_process_that_dies_in_encode_costs_nothing(
    case: Case,
    undisturbed: Callable[..., dict[str, Any]],
    tabulate: Callable[..., None],
    strike: Callable[[Case], None],
    place: str,
) -> None:
    gates.hold(case.gates, place)
    output = case.run_struck(strike)
    assert not isinstance(output, BaseException), output
    equal = case.outputs() == undisturbed()
    tabulate(strike.__name__.replace("_", " ") + " in encode", "went on", "nothing failed", equal)
    assert_whole(case, output, 12)
    assert failures(output) == {}
    assert equal


def test_a_file_that_always_kills_its_child_is_lost_alone_and_retried_when_asked(
    case: Case, undisturbed: Callable[..., dict[str, Any]], tabulate: Callable[..., None]
) -> None:
    gates.hold(case.gates, HELD)

    def kill_twice(case: Case) -> None:
        kill_and_wait(in_encode(case))
        gates.forget(case.gates, HELD)
        kill_and_wait(in_encode(case))

    output = case.run_struck(kill_twice)
    equal = case.outputs() == undisturbed(HELD)
    tabulate("kill child each time", "went on without the file", "crash (SIGKILL), 2 attempts", equal)
    assert_whole(case, output, 12)
    assert failures(output) == {HELD: "crash"}
    (error,) = output.errors
    assert (error.signal, error.attempts) == (signal.SIGKILL, 2)
    assert equal
    retried, _, _ = case.flow().retry(kinds=["crash"], progress=False)
    assert (retried.counts.reused, retried.counts.failed) == (11, 0)
    assert case.outputs() == undisturbed()


def hold_merge(folder: str, dask_worker: Any) -> None:
    """On a worker: make shards wait at a gate before they are written, and once more when they are."""
    from dflow.dataset.merge import nodes
    from tests.faults.gates import stand

    original = nodes.run_shard

    def held(job: Any) -> Any:
        stand(folder, "shard")
        record = original(job)
        stand(folder, "shard-written")
        return record

    nodes.run_shard = held
    dask_worker.restore_merge = lambda: setattr(nodes, "run_shard", original)


def restore_merge(dask_worker: Any) -> None:
    getattr(dask_worker, "restore_merge", lambda: None)()


@pytest.mark.parametrize("place", ["shard", "shard-written"])
def test_a_worker_that_dies_in_merge_costs_nothing(
    case: Case, undisturbed: Callable[..., dict[str, Any]], tabulate: Callable[..., None], place: str
) -> None:
    client = case.arguments["cluster"]
    client.run(hold_merge, str(case.gates))
    try:
        gates.hold(case.gates, place)
        output = case.run_struck(lambda case: kill_and_wait(gates.arrival(case.gates, place)))
    finally:
        client.run(restore_merge)
    assert not isinstance(output, BaseException), output
    equal = case.outputs() == undisturbed()
    tabulate(f"kill worker in merge ({place})", "went on", "nothing failed", equal)
    assert_whole(case, output, 12)
    assert equal


def test_a_nanny_and_its_worker_that_die_at_once_cost_nothing(
    tmp_path: Path,
    dask_cluster: Any,
    undisturbed: Callable[..., dict[str, Any]],
    tabulate: Callable[..., None],
) -> None:
    case = Case(tmp_path, {"cluster": dask_cluster.address}).prepare()
    gates.hold(case.gates, HELD)
    output = case.run_struck(lambda case: dask_cluster.kill_node(in_encode(case)))
    assert not isinstance(output, BaseException), output
    equal = case.outputs() == undisturbed()
    tabulate("kill nanny and worker in encode", "went on with the other worker", "nothing failed", equal)
    assert_whole(case, output, 12)
    assert equal


def test_a_lost_scheduler_ends_the_flow_with_a_clear_error_and_the_next_run_goes_on(
    tmp_path: Path,
    dask_cluster: Any,
    client: Any,
    undisturbed: Callable[..., dict[str, Any]],
    tabulate: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dflow.flowmanager.cluster.clusterengine.LOST_SECONDS", 1.0)
    case = Case(tmp_path, {"cluster": dask_cluster.address}).prepare()
    gates.hold(case.gates, "p11")

    def strike(case: Case) -> None:
        in_encode(case, "p11")
        gates.wait_until(lambda: len(list((case.root / "encoded").glob("*.data"))) >= 8, "nothing is encoded")
        dask_cluster.kill_scheduler()

    error = case.run_struck(strike)
    assert isinstance(error, ClusterError), error
    assert "run the flow again" in str(error)
    assert not (case.root / "lock.json").exists()
    case.arguments["cluster"] = client
    output = case.run()
    equal = case.outputs() == undisturbed()
    tabulate("kill scheduler", f"ended with ClusterError; next run reused {output.counts.reused}", "-", equal)
    assert_whole(case, output, 12)
    assert output.counts.reused > 0
    assert equal
