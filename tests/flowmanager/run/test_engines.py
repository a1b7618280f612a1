"""The engines of a run: which one computes what, and what is left of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dflow.errors import FlowCancelledError
from dflow.flowmanager import flowtask
from dflow.flowmanager.cluster.clusterengine import ClusterEngine
from dflow.flowmanager.cluster.engine import SynchronousEngine
from dflow.flowmanager.plan.settings import FlowSettings
from dflow.flowmanager.plan.tasks import spec_of
from dflow.flowmanager.reports.flowlog import FlowLog
from dflow.flowmanager.reports.progress import Progress
from dflow.flowmanager.run import engines
from dflow.flowmanager.run.engines import Engines
from dflow.storage.paths import FlowPaths


@flowtask.transform(name="engines_same", inputs=["part"])
def same(part):
    return part


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Engines]]:
    """Makes engines of runs that have not begun, each with a folder of its own."""
    logs: list[FlowLog] = []

    def make_engines(name: str = "f", **settings: Any) -> Engines:
        paths = FlowPaths.of(tmp_path, name)
        paths.root.mkdir(parents=True)
        logs.append(FlowLog(paths.log))
        return Engines(FlowSettings(paths, (spec_of(same),), **settings), Progress("f", []), logs[-1])

    yield make_engines
    for log in logs:
        log.close()


def test_debugging_computes_everything_in_this_process(make):
    made = make(debug=True)
    assert isinstance(made.light(), SynchronousEngine)
    assert made.heavy() is made.light()
    assert made.isolation == "inline"
    assert make("b").isolation == "process"


def test_a_handful_of_nodes_starts_no_cluster(make, monkeypatch):
    monkeypatch.setattr(engines, "is_foreign", lambda cluster: False)
    made = make()
    assert isinstance(made.light(), SynchronousEngine)
    assert (made.dashboard, made.suffix("engines_same"), made.deaths()) == ("", "", ())
    assert made.describe() == {"scheduler": None, "workers": {}}
    made.close()


@pytest.mark.parametrize("debug", [False, True])
def test_after_cancel_no_work_is_begun(make, debug):
    made = make(debug=debug)
    made.cancel()
    with pytest.raises(FlowCancelledError, match="run it again"):
        made.heavy()


def test_a_given_cluster_is_used_from_the_first_node_on_and_left_open(make, shared_client):
    made = make(cluster=shared_client)
    engine = made.light()
    assert isinstance(engine, ClusterEngine)
    assert made.heavy() is engine
    assert made.dashboard == shared_client.dashboard_link
    described = made.describe()
    assert described["scheduler"] == shared_client.scheduler.address
    assert set(described["workers"]) == set(shared_client.scheduler_info(n_workers=-1)["workers"])
    assert made.describe(with_workers=False)["workers"] == {}
    made.close()
    assert shared_client.status == "running"
    assert made.describe() == {"scheduler": None, "workers": {}}


def test_two_runs_of_one_flow_have_different_keys_until_the_first_is_closed(make, shared_client):
    first, second = (make(name, cluster=shared_client) for name in "ab")
    first.heavy()
    second.heavy()
    assert first.suffix("engines_same") == ""
    assert second.suffix("engines_same")
    assert first.run_id != second.run_id
    first.close()
    second.close()
    third = make("c", cluster=shared_client)
    third.heavy()
    assert third.suffix("engines_same") == ""
    third.close()
