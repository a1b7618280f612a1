"""The start of a worker: thread caps, versions, and nodes that only a worker of the same versions begins."""

from __future__ import annotations

import os
import pickle
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tornado.web import Application

from dflow._version import __version__
from dflow.flowmanager import preload
from dflow.flowmanager.preload import call_verified, cap_threads, decisive_versions, describe_worker


def test_thread_caps_leave_the_user_s_choice_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    cap_threads()
    assert os.environ["OMP_NUM_THREADS"] == "3"
    assert os.environ["OPENBLAS_NUM_THREADS"] == "1"


def test_worker_description_names_the_kernel_s_version() -> None:
    assert describe_worker()["cadquery-ocp"][0].isdigit()


def test_decisive_versions_are_part_of_a_worker_s_description() -> None:
    described = describe_worker()
    decisive = decisive_versions()
    assert decisive["numpy"] == np.__version__
    assert decisive["dflow-cad"].startswith(__version__)
    assert described["python"].startswith(decisive["python"] + ".")
    assert all(described[name] == version for name, version in decisive.items() if name != "python")


def test_a_node_is_called_where_the_versions_agree() -> None:
    assert call_verified(decisive_versions(), pickle.dumps(len), {"a": 1, "b": 2}) == 2


def test_nothing_is_unpickled_where_the_versions_differ(tmp_path: Any) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "unpickled"),)

    packed = pickle.dumps(Trap())
    with pytest.raises(RuntimeError, match=r"not begun: this worker has .*'numpy': .*, the client .*'numpy': '0'"):
        call_verified({**decisive_versions(), "numpy": "0"}, packed, {})
    assert not (tmp_path / "unpickled").exists()


def test_a_missing_package_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    assert preload._version.__wrapped__("no-such-package") == "absent"


def test_a_package_that_is_imported_from_elsewhere_shows_both_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "__version__", "99.0")
    assert preload._version.__wrapped__("numpy").startswith("99.0 (installed: ")


class Worker:
    """A Dask worker, as far as `dask_setup` uses one."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []
        self.http_application = Application()
        self.http_server = SimpleNamespace(address="127.0.0.1")

    def log_event(self, topic: str, message: Any) -> None:
        self.events.append((topic, message))


def test_a_worker_reports_itself_also_where_its_child_does_not_start(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(**_: Any) -> int:
        raise OSError("no processes left")

    monkeypatch.setattr("dflow.flowmanager.worker.worker.prewarm", fail)
    for variable in preload.THREAD_VARIABLES:
        monkeypatch.setenv(variable, "1")
    worker = Worker()
    preload.dask_setup(worker)
    assert worker.events == [("dflow-worker", describe_worker())]
    assert "no processes left" in caplog.text
    assert len(worker.http_application.default_router.rules) == 2  # the guard, and the rule for all paths
