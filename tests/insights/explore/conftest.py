"""One small flow for all tests of the explorer's pages."""

from __future__ import annotations

import pytest

from dflow.insights.explore.flow_data import FlowData
from tests.insights.explore.flows import make_flow
from tests.insights.explore.serving import running_server


@pytest.fixture(scope="session")
def explored_flow(tmp_path_factory):
    """Paths of a finished flow."""
    return make_flow(tmp_path_factory.mktemp("explored"))


@pytest.fixture(scope="session")
def data(explored_flow):
    """The flow, opened."""
    opened = FlowData(explored_flow.flow_file)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def port(explored_flow):
    """The port of a server of the flow."""
    with running_server(explored_flow.flow_file) as found:
        yield found
