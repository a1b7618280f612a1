"""The page on a scheduler that was already running: its numbers, seen by a real browser, and nothing from elsewhere."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from distributed import Client, LocalCluster

from dflow.monitor import events
from dflow.monitor.plugin import DflowMonitor
from tests import browser

HOSTILE = "<script>window.hacked=1</script>.step"


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0", protocol="tcp"
        ) as cluster,
        Client(cluster) as client,
    ):
        client.register_plugin(DflowMonitor())
        client.register_plugin(DflowMonitor())  # a second flow's registration changes nothing
        send(client)
        yield client


def send(client: Client) -> None:
    run = "run-1"
    client.log_event(events.TOPIC, events.run_started(run, "bolts & <b>nuts</b>"))
    client.log_event(events.TOPIC, events.task_total(run, "encode", 5000))
    client.log_event(
        events.TOPIC, events.batch_finished(run, "encode", n_succeeded=1234, failures={"crash": 3, "timeout": 2})
    )
    at = events.file_in_flight(run, "encode", HOSTILE, seconds=12.0, host="node-7", child_bytes=300 * 1024 * 1024)
    client.log_event(events.TOPIC, at)
    deadline = time.monotonic() + 10
    while not fetch(client)["runs"][-1:] or not fetch(client)["runs"][-1]["in_flight"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def base(client: Client) -> str:
    return str(client.dashboard_link).rsplit("/", 1)[0]


def fetch(client: Client) -> Any:
    with urllib.request.urlopen(base(client) + "/dflow.json", timeout=10) as answer:
        return json.load(answer)


def test_json_gives_the_numbers(client: Client) -> None:
    run = fetch(client)["runs"][-1]
    assert run["tasks"]["encode"]["done"] == 1239
    assert run["failures"] == {"crash": 3, "timeout": 2}
    assert len(fetch(client)["workers"]) == 1


def test_metrics_are_served_where_prometheus_client_is_installed(client: Client) -> None:
    pytest.importorskip("prometheus_client")
    with urllib.request.urlopen(base(client) + "/dflow/metrics", timeout=10) as answer:
        text = answer.read().decode()
    assert 'kind="crash"' in text
    assert 'state="succeeded",task="encode"} 1234.0' in text


def test_built_in_pages_still_work(client: Client) -> None:
    with urllib.request.urlopen(base(client) + "/status", timeout=10) as answer:
        assert answer.status == 200


@pytest.mark.slow
@pytest.mark.browser
def test_browser_shows_the_same_numbers(client: Client) -> None:
    reason = browser.why_not_here()
    if reason:
        pytest.skip(reason)
    with browser.chromium() as driver:
        driver.get(base(client) + "/dflow")
        text = wait_for_text(driver, "1,239 of 5,000 items")
        assert "5 failed" in text
        assert "bolts & <b>nuts</b>" in text  # as text, not as markup
        assert "timeout" in text
        assert "node-7" in text
        assert HOSTILE in text
        assert driver.execute_script("return window.hacked") is None
        assert browser.console_errors(driver) == []
        assert browser.requested_hosts(driver) == {"127.0.0.1"}
        client.log_event(events.TOPIC, events.batch_finished("run-1", "encode", n_succeeded=1000))
        wait_for_text(driver, "2,239 of 5,000 items")


DEEP_TEXT = """
function texts(node) {
  let out = node.nodeType === 3 ? node.textContent : '';
  if (node.tagName === 'STYLE' || node.tagName === 'SCRIPT') return '';
  for (const child of (node.shadowRoot ? [...node.shadowRoot.childNodes] : [])) out += texts(child) + ' ';
  for (const child of node.childNodes) out += texts(child) + ' ';
  return out;
}
return texts(document.body).replace(/\\s+/g, ' ');
"""


def wait_for_text(driver: Any, wanted: str) -> str:
    deadline = time.monotonic() + 30
    text = ""
    while time.monotonic() < deadline:
        text = driver.execute_script(DEEP_TEXT).replace("\u00a0", " ")
        if wanted in text:
            return str(text)
        time.sleep(0.2)
    raise AssertionError(f"{wanted!r} is not on the page: {text[:2000]}")
