"""The page on a scheduler that was already running: its numbers, seen by a real browser, and nothing from elsewhere."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from distributed import Client, LocalCluster, Scheduler
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

from dflow.monitor import events
from dflow.monitor.plugin import DflowMonitor
from tests import browser
from tests.monitor.snapshots import base, fetch

HIDDEN = """
Object.defineProperty(document, 'hidden', {value: arguments[0], configurable: true})
document.dispatchEvent(new Event('visibilitychange'))
"""
HOSTILE = "<script>window.hacked=1</script>.step"


STATE: events.TaskState = {
    "task": "encode",
    "unit": "files",
    "total": 5000,
    "succeeded": 1234,
    "skipped": 0,
    "failed": 5,
    "reused": 0,
    "bytes": 3 * 1024**2,
    "seconds": 12.0,
    "finished": False,
}


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
        cluster.workers[0].metrics = {events.METRIC: lambda _: METRIC}
        send(client)
        yield client


METRIC: events.WorkerMetric = {
    "host": "node-7",
    "child_bytes": 300 * 1024**2,
    "in_flight": [{"run": "run-1", "task": "encode", "file": HOSTILE, "seconds": 12.0}],
}


def send(client: Client) -> None:
    client.log_event(events.TOPIC, events.run_started("run-1", "bolts & <b>nuts</b>"))
    client.log_event(events.TOPIC, events.progress_made("run-1", [STATE], {"crash": 3, "timeout": 2}))
    deadline = time.monotonic() + 60
    while not fetch(client)["runs"][-1:] or not fetch(client)["runs"][-1]["in_flight"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_json_gives_the_numbers(client: Client) -> None:
    run = fetch(client)["runs"][-1]
    assert run["tasks"]["encode"]["done"] == 1239
    assert run["failures"] == {"crash": 3, "timeout": 2}
    assert run["bytes_encoded"] == 3 * 1024**2
    assert [f["file"] for f in run["in_flight"]] == [HOSTILE]
    assert 12.0 <= run["in_flight"][0]["seconds"] < 60.0
    (worker,) = fetch(client)["workers"]
    assert (worker["host"], worker["child_bytes"]) == ("node-7", 300 * 1024**2)
    assert worker["bytes"] > 10_000_000


def ask_live(client: Client, n: int, between: Callable[[], None], **headers: str) -> list[dict[str, Any]]:
    """The answers to `n` questions of an open page, with a call between two."""

    async def ask() -> list[dict[str, Any]]:
        address = base(client).replace("http", "ws") + "/dflow/live"
        page = await websocket_connect(HTTPRequest(address, headers=headers))
        answers = []
        for number in range(n):
            if number:
                await asyncio.to_thread(between)
            await page.write_message("")
            answers.append(json.loads(str(await page.read_message())))
        page.close()
        assert await page.read_message() is None
        return answers

    return asyncio.run(ask())


def test_an_open_page_is_told_everything_once_and_then_what_is_new(client: Client) -> None:
    first, second = ask_live(client, 2, lambda: None)
    assert set(first) == {"run", "in_flight", "workers", "n_workers"}
    run, known = first["run"], fetch(client)["runs"][-1]
    assert {name: run[name] for name in ("flow", "tasks", "failures", "files_done", "files", "bytes_encoded")} == {
        name: known[name] for name in ("flow", "tasks", "failures", "files_done", "files", "bytes_encoded")
    }
    assert [flying["file"] for flying in first["in_flight"]] == [HOSTILE]
    (bar,) = first["workers"]
    assert (bar["worker"].partition(":")[0], bar["child"], first["n_workers"]) == ("node-7", 300, 1)
    assert bar["own"] > 10
    assert "n_workers" not in second
    assert set(second) <= {"run", "in_flight", "workers"}


def test_an_answer_brings_the_parts_that_changed(client: Client) -> None:
    more = {**STATE, "succeeded": 1240}

    def change() -> None:
        client.log_event(events.TOPIC, events.progress_made("run-1", [more], {"crash": 3, "timeout": 2}))

    try:
        answer = ask_live(client, 2, change)[1]
        assert answer["run"]["files_done"] == 1245
    finally:
        client.log_event(events.TOPIC, events.progress_made("run-1", [STATE], {"crash": 3, "timeout": 2}))


PAGES = ["/dflow", "/individual-dflow", "/dflow.json", "/dflow/metrics", "/dflow/autoload.js?bokeh-autoload-element=1"]


def test_the_page_and_its_socket_answer_their_own_origin_only(client: Client) -> None:
    own = base(client)
    assert ask_live(client, 1, lambda: None, Origin=own)
    for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example", "Origin": "http://evil.example"}):
        with pytest.raises(HTTPClientError, match="403"):
            ask_live(client, 1, lambda: None, **headers)
        for path in PAGES:
            with pytest.raises(urllib.error.HTTPError, match="403") as refused:
                urllib.request.urlopen(urllib.request.Request(own + path, headers=headers), timeout=60)
            assert b"allow_hosts" in refused.value.read()
            refused.value.close()


def test_the_other_pages_of_a_scheduler_that_dflow_did_not_start_stay_as_they_are(client: Client) -> None:
    request = urllib.request.Request(base(client) + "/status", headers={"Host": "elsewhere.example"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status == 200


def test_metrics_are_served_where_prometheus_client_is_installed(client: Client) -> None:
    pytest.importorskip("prometheus_client")
    with urllib.request.urlopen(base(client) + "/dflow/metrics", timeout=60) as answer:
        text = answer.read().decode()
    assert 'kind="crash"' in text
    assert 'state="succeeded",task="encode"} 1234.0' in text


def test_a_dashboard_below_a_prefix_has_the_pages_there() -> None:
    async def paths() -> dict[str, int]:
        async with Scheduler(
            port=0, host="127.0.0.1", dashboard_address="127.0.0.1:0", http_prefix="/mine"
        ) as scheduler:
            await scheduler.register_scheduler_plugin(DflowMonitor(), idempotent=True)
            wanted = ["mine/dflow", "mine/dflow.json", "mine/individual-dflow", "mine/status"]
            wanted += ["dflow.json", "mine/dflow/live", "dflow/live"]
            found = {}
            for path in wanted:
                url = f"http://127.0.0.1:{scheduler.http_server.port}/{path}"
                found[path] = (await AsyncHTTPClient().fetch(url, raise_error=False)).code
            return found

    found = list(asyncio.run(paths()).values())
    assert found == [200, 200, 200, 200, 404, 400, 404]  # 400: it is there, and wants a WebSocket


def test_a_scheduler_whose_dashboard_is_off_still_gives_the_numbers() -> None:
    async def codes() -> list[int]:
        async with Scheduler(port=0, host="127.0.0.1", dashboard=False, dashboard_address="127.0.0.1:0") as scheduler:
            await scheduler.register_scheduler_plugin(DflowMonitor(), idempotent=True)
            url = f"http://127.0.0.1:{scheduler.http_server.port}/dflow"
            return [(await AsyncHTTPClient().fetch(url + end, raise_error=False)).code for end in (".json", "")]

    assert asyncio.run(codes()) == [200, 404]


def test_built_in_pages_still_work(client: Client) -> None:
    with urllib.request.urlopen(base(client) + "/status", timeout=60) as answer:
        assert answer.status == 200


@pytest.mark.slow
@pytest.mark.browser
def test_browser_shows_the_same_numbers(client: Client) -> None:
    reason = browser.why_not_here()
    if reason:
        pytest.skip(reason)
    with browser.chromium() as driver:
        driver.get(base(client) + "/dflow")
        text = browser.wait_for_text(driver, "1,239 of 5,000 files")
        assert "3.0 MB encoded" in text
        assert "5 failed" in text
        assert "bolts & <b>nuts</b>" in text  # as text, not as markup
        assert "timeout" in text
        assert "node-7" in text
        assert HOSTILE in text
        assert driver.execute_script("return window.hacked") is None
        assert browser.console_errors(driver) == []
        assert browser.requested_hosts(driver) == {"127.0.0.1"}
        more: events.TaskState = {**STATE, "succeeded": 2234}
        client.log_event(events.TOPIC, events.progress_made("run-1", [more], {"crash": 345, "timeout": 2}))
        browser.wait_for_text(driver, "2,239 of 5,000 files")
        browser.wait_for_text(driver, "crash 345")  # the table, with as many rows as before
        driver.execute_script(HIDDEN, True)
        client.log_event(events.TOPIC, events.progress_made("run-1", [{**more, "succeeded": 3234}], {"crash": 346}))
        time.sleep(2.5)
        assert "2,239 of 5,000 files" in browser.text_of(driver)  # nobody looks: nothing is asked
        driver.execute_script(HIDDEN, False)
        browser.wait_for_text(driver, "3,239 of 5,000 files")
        driver.get(base(client) + "/individual-dflow")
        browser.wait_for_text(driver, "3,239 of 5,000 files")
        assert browser.console_errors(driver) == []
