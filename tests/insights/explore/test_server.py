"""What the server answers, to whom, and what it refuses."""

from __future__ import annotations

import http.client
import os
import re
import socket

import pytest

from dflow.errors import FlowFileError, ServerError
from dflow.insights.explore import start_server
from dflow.insights.explore.flow_data import ReloadedFlow
from dflow.insights.explore.page import ExplorePage
from dflow.insights.explore.routes import PAGE_POLICY
from tests.dataset.synthetic import random_parts, write_parts
from tests.insights.explore.serving import get, running_server


def test_the_page_loads_nothing_from_another_host(port):
    status, headers, content = get(port, "/")
    page = content.decode()
    assert status == 200
    assert headers["Content-Security-Policy"] == PAGE_POLICY
    assert headers["X-Content-Type-Options"] == "nosniff"
    sources = re.findall(r"""(?:src|href)=["']([^"']+)""", page)
    assert sources
    assert all(not re.match(r"(\w+:)?//", source) for source in sources)


def test_a_websocket_from_another_origin_is_refused(port):
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Origin": "http://evil.example",
    }
    assert get(port, "/ws", **headers)[0] == 403


@pytest.mark.parametrize("path", ["/part?id=0", "/thumb?id=0", "/mesh?id=0", "/", "/assets/part.js"])
def test_another_host_name_is_refused(port, path):
    status, headers, content = get(port, path, Host=f"evil.example:{port}")
    assert status == 403
    assert b"allow_hosts" in content
    assert headers["Content-Type"].startswith("text/plain")
    assert get(port, path, Host=f"localhost:{port}")[0] == 200
    assert get(port, path, Origin="http://evil.example")[0] == 403


def test_a_server_on_all_addresses_is_reached_by_the_machines_name(explored_flow):
    with running_server(explored_flow.flow_file, address="0.0.0.0", allow_hosts=("tunnel:1",)) as port:
        for name in (f"{socket.gethostname()}:{port}", f"localhost:{port}", "tunnel:1"):
            assert get(port, "/", Host=name)[0] == 200
        assert get(port, "/", Host=f"evil.example:{port}")[0] == 403


def test_a_server_at_an_address_of_ip_6_answers(explored_flow):
    try:
        with socket.socket(socket.AF_INET6) as trial:
            trial.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 here")
    with running_server(explored_flow.flow_file, address="::1") as port:
        connection = http.client.HTTPConnection("::1", port, timeout=60)
        connection.request("GET", "/thumb?id=0")
        assert connection.getresponse().status == 200
        connection.close()


def test_a_port_in_use_is_named(explored_flow):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServerError, match=rf"127\.0\.0\.1:{port} .*--port"):
            start_server(explored_flow.flow_file, port)


def test_a_missing_flow_is_an_error_before_anything_is_served(tmp_path):
    with pytest.raises(FlowFileError, match="does not exist"):
        start_server(tmp_path / "no.flow", 0)


def test_a_run_that_replaces_the_dataset_is_seen_by_the_next_page(tmp_path):
    paths = write_parts(random_parts(7), tmp_path / "now", "again")
    flow = ReloadedFlow(paths.flow_file)
    old = flow.current()
    page = ExplorePage(old)
    assert flow.current() is old
    with running_server(paths.flow_file) as port:
        assert get(port, "/part?id=6")[0] == 200
        assert get(port, "/part?id=8")[0] == 404
        later = write_parts(random_parts(9), tmp_path / "later", "again")
        os.replace(paths.root, tmp_path / "gone")
        assert flow.current() is old
        os.replace(later.root, paths.root)
        assert get(port, "/part?id=8")[0] == 200
    assert flow.current().n_files == 9
    page.histograms[0].select.value = "std of edges/edge_lengths"
    assert "reload this page" in page.status.text
    page.status.text = ""
    page.scatter.selects[0].value = "min of edges/edge_lengths"
    assert "reload this page" in page.status.text
    flow.close()
