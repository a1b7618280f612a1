"""What all fault tests share: the undisturbed flow, clusters to harm, and the table of what was seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed import Client

from dflow.flowmanager.cluster.clusters import resolve
from tests.faults.cases import Case
from tests.faults.daskcluster import DaskCluster

_TABLE = pytest.StashKey[list[tuple[str, ...]]]()
_HEADS = ("fault", "what the flow did", "recorded as", "dataset equal")


@pytest.fixture(scope="session")
def client() -> Iterator[Client]:
    """A local cluster of two workers; what is killed there is replaced by its nanny."""
    connection = resolve("local", max_workers=2)
    yield connection.client
    connection.close()


@pytest.fixture
def dask_cluster(tmp_path: Path) -> Iterator[DaskCluster]:
    """A scheduler and two workers with their nannies, as processes that can all be killed."""
    cluster = DaskCluster(tmp_path / "dask")
    yield cluster
    cluster.close()


@pytest.fixture
def case(tmp_path: Path, client: Client) -> Case:
    """A flow on the shared cluster, once the workers that an earlier test killed are back."""
    client.wait_for_workers(2, timeout=60)
    return Case(tmp_path, {"cluster": client}).prepare()


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, Any]]:
    """The outputs of a flow that nothing happened to, from the same sources less `lost` ones (stems)."""
    made: dict[frozenset[str], dict[str, Any]] = {}

    def outputs(*lost: str) -> dict[str, Any]:
        key = frozenset(lost)
        if key not in made:
            case = Case(tmp_path_factory.mktemp("undisturbed"), {"debug": True}).prepare()
            for stem in lost:
                (case.sources / f"{stem}.txt").unlink()
            case.run()
            made[key] = case.outputs()
        return made[key]

    return outputs


@pytest.fixture
def tabulate(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Add a row to the table of faults at the end of the test session."""
    rows = request.config.stash.setdefault(_TABLE, [])

    def add(fault: str, seen: str, recorded: str, equal: bool) -> None:
        rows.append((fault, seen, recorded, "yes" if equal else "NO"))

    return add


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the table."""
    rows = config.stash.get(_TABLE, [])
    if not rows:
        return
    table = [_HEADS, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(_HEADS))]
    terminalreporter.section("faults")
    for row in table:
        terminalreporter.write_line(" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))
