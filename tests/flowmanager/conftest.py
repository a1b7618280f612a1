"""One small cluster for all flow tests of a session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from distributed import Client

from dflow.flowmanager.cluster.clusters import resolve


@pytest.fixture(scope="session")
def shared_client() -> Iterator[Client]:
    """A client of a local cluster with two workers."""
    connection = resolve("local", max_workers=2)
    yield connection.client
    connection.close()


@pytest.fixture(params=["debug", "cluster"])
def engine_arguments(request: pytest.FixtureRequest) -> dict[str, object]:
    """`create_flow` arguments for both engines: the synchronous scheduler here, and the shared cluster."""
    if request.param == "debug":
        return {"debug": True}
    return {"cluster": request.getfixturevalue("shared_client")}
