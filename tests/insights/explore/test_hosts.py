"""Names of a server, and requests that name another host."""

from __future__ import annotations

import http.client
import socket

import pytest

from dflow.insights.explore.hosts import best_name, is_local, known_names
from tests.insights.explore.serving import get, running_server


@pytest.mark.parametrize("path", ["/part?id=0", "/thumb?id=0", "/mesh?id=0", "/", "/assets/part.js"])
def test_another_host_name_is_refused(port, path):
    status, headers, content = get(port, path, Host=f"evil.example:{port}")
    assert status == 403
    assert b"--allow-host" in content
    assert headers["Content-Type"].startswith("text/plain")
    assert get(port, path, Host=f"localhost:{port}")[0] == 200


@pytest.mark.parametrize(
    ("address", "local", "wanted"),
    [
        ("127.0.0.1", True, {"127.0.0.1", "localhost"}),
        ("localhost", True, {"127.0.0.1", "localhost"}),
        ("::1", True, {"[::1]", "localhost"}),
        ("127.1.2.3", True, {"127.1.2.3", "localhost"}),
        ("0.0.0.0", False, {socket.gethostname(), "127.0.0.1", "localhost"}),
        ("::", False, {socket.gethostname(), "127.0.0.1", "localhost"}),
        ("cluster.example", False, {"cluster.example", "localhost"}),
    ],
)
def test_a_server_knows_its_names(address, local, wanted):
    assert is_local(address) == local
    assert wanted <= known_names(address)
    assert "evil.example" not in known_names(address)


def test_a_server_on_all_addresses_is_reached_by_the_machines_name(explored_flow, capsys):
    with running_server(explored_flow.flow_file, address="0.0.0.0", allow_hosts=("tunnel:1",)) as port:
        for name in (f"{socket.gethostname()}:{port}", f"localhost:{port}", "tunnel:1"):
            assert get(port, "/", Host=name)[0] == 200
        assert get(port, "/", Host=f"evil.example:{port}")[0] == 403


def test_an_address_of_ip_6_stands_in_brackets(explored_flow):
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
    assert best_name("::1") == "[::1]"
