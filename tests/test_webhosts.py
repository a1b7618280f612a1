"""Names of a server, and which requests it answers."""

from __future__ import annotations

import socket

import dask
import pytest

from dflow.webhosts import SETTING, KnownHosts, best_name, is_local, known_names, refusal_text

LINK = "distributed.dashboard.link"
HUB = "https://hub.example/user/a/proxy/{port}/status"


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


def test_an_address_of_ip_6_stands_in_brackets():
    assert best_name("::1") == "[::1]"
    assert not KnownHosts("::1").refusal({"Host": "[::1]:5006", "Origin": "http://[::1]:5006"})


@pytest.mark.parametrize(
    ("headers", "is_answered"),
    [
        ({}, True),
        ({"Host": "localhost:8787"}, True),
        ({"Host": "LOCALHOST"}, True),
        ({"Host": "localhost:9000", "Origin": "http://localhost:9000"}, True),  # a tunnel
        ({"Host": "evil.example"}, False),
        ({"Host": "localhost.evil.example:8787"}, False),
        ({"Host": "127.0.0.1.evil.example"}, False),
        ({"Host": "evil.example@localhost"}, False),
        ({"Host": "localhost:80:80"}, False),
        ({"Host": ""}, False),
        ({"Host": "evil.example", "Origin": "http://evil.example"}, False),
        ({"Host": "localhost:8787", "Origin": "http://evil.example"}, False),
        ({"Host": "localhost:8787", "Origin": "http://localhost:9999"}, False),  # another server of this machine
        ({"Host": "localhost:8787", "Origin": "null"}, False),  # a sandboxed frame, a file
        ({"Host": "localhost:8787", "Origin": "file://"}, False),
        ({"Host": "localhost:8787", "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}, True),
        ({"Host": "localhost:8787", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, True),  # a link
        ({"Host": "localhost:8787", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, False),  # a picture
        ({"Host": "localhost:8787", "Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"}, False),
    ],
)
def test_a_local_server_answers_its_own_pages(headers, is_answered):
    assert (KnownHosts("127.0.0.1").refusal(headers) == "") == is_answered


@pytest.mark.parametrize(
    "settings",
    [
        {SETTING: ["hub.example"]},
        {SETTING: "other.example, hub.example:443"},
        {SETTING: "https://hub.example/"},
        {SETTING: ["*.example"]},
        {LINK: HUB},
        {LINK: "{scheme}://{HUB_NAME}/proxy/{port}/status"},
        {"distributed.scheduler.dashboard.bokeh-application.allow_websocket_origin": ["hub.example"]},
        {},
    ],
)
def test_listed_names_are_known_whichever_way_a_proxy_passes_them(settings, monkeypatch):
    monkeypatch.setenv("HUB_NAME", "hub.example")
    if not settings:
        monkeypatch.setenv("BOKEH_ALLOW_WS_ORIGIN", "lab.example,hub.example")
    with dask.config.set(settings):
        hosts = KnownHosts("127.0.0.1")
    origin = {"Origin": "https://hub.example"}
    if SETTING not in settings or ":443" not in settings[SETTING]:
        assert not hosts.refusal({"Host": "hub.example", **origin})
    assert not hosts.refusal({"Host": "127.0.0.1:8787", **origin})  # a proxy that puts its own target there
    assert hosts.refusal({"Host": "evil.org"})
    assert hosts.refusal({"Host": "127.0.0.1:8787", "Origin": "https://hub.example.evil.org"})
    assert hosts.refusal({"Host": "127.0.0.1:8787", "Origin": "http://localhost:9999"})


def test_a_port_that_is_listed_counts():
    hosts = KnownHosts("127.0.0.1", ["hub.example:8000"])
    assert not hosts.refusal({"Host": "hub.example:8000"})
    assert hosts.refusal({"Host": "hub.example:9000"})


@pytest.mark.parametrize("link", ["/user/a/proxy/{port}/status", "{ABSENT}/status", "{", "{scheme}://{host}:{port}/"])
def test_a_link_without_a_name_adds_none(link):
    with dask.config.set({LINK: link}):
        hosts = KnownHosts("127.0.0.1")
    assert hosts.refusal({"Host": ":0"})
    assert hosts.refusal({"Host": "evil.example"})
    assert not hosts.refusal({"Host": "localhost:1"})


def test_dasks_default_of_all_origins_lists_none():
    import distributed  # noqa: F401 (its defaults)

    assert KnownHosts("127.0.0.1").refusal({"Host": "localhost", "Origin": "http://evil.example"})


def test_the_message_names_the_way_out():
    reason = KnownHosts("127.0.0.1").refusal({"Host": "hub.example"})
    text = refusal_text(reason)
    assert "hub.example" in text
    for way in ("allow_hosts", "DASK_DFLOW__ALLOW_HOSTS", "--allow-host"):
        assert way in text


def test_the_variable_of_the_message_sets_it():
    found = dask.config.collect_env({"DASK_DFLOW__ALLOW_HOSTS": "hub.example:8000"})
    with dask.config.set(found):
        assert not KnownHosts("127.0.0.1").refusal({"Host": "hub.example:8000"})
