"""The pages of a cluster that dflow starts, Dask's own included: whom they answer, directly and behind a proxy."""

from __future__ import annotations

import asyncio
import json
import logging
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dask
import pytest
from distributed import Client
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.web import Application, RequestHandler
from tornado.websocket import websocket_connect

from dflow.flowmanager.cluster.clusters import _LastingCluster
from dflow.monitor.plugin import DflowMonitor
from dflow.monitor.preload import offer_pages
from tests import browser
from tests.flowmanager.cluster.webproxy import proxy, serving

PAGES = ("/status", "/info/main/workers.html", "/json/index.html", "/metrics", "/health", "/individual-workers", "/")
PAGES = (*PAGES, "/dflow", "/dflow.json", "/individual-dflow", "/sitemap.json")
SOCKETS = ("/dflow/live", "/status/ws", "/dflow/ws", "/individual-workers/ws")


@contextmanager
def pages_of_a_cluster(**settings: Any) -> Iterator[str]:
    """The address of the pages of a cluster as dflow starts it, without workers."""
    offer_pages()
    with (
        dask.config.set(settings),
        _LastingCluster(
            n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0", silence_logs=logging.CRITICAL
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        client.register_plugin(DflowMonitor())
        yield f"127.0.0.1:{cluster.scheduler.http_server.port}"


@pytest.fixture(scope="module")
def pages() -> Iterator[str]:
    with pages_of_a_cluster() as address:
        yield address


def get(url: str, **headers: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def live(url: str, **headers: str) -> dict[str, Any]:
    """What the live socket answers to a page's first message."""

    async def ask() -> dict[str, Any]:
        socket = await websocket_connect(HTTPRequest(url.replace("http", "ws"), headers=headers))
        await socket.write_message("")
        answer = json.loads(str(await socket.read_message()))
        socket.close()
        assert await socket.read_message() is None
        return answer

    return asyncio.run(ask())


@pytest.mark.parametrize("path", [*PAGES, *SOCKETS])
def test_every_page_refuses_another_host_and_another_page(pages: str, path: str) -> None:
    if path not in ("/sitemap.json", *SOCKETS):  # the first of the two fails in Dask
        assert get(f"http://{pages}{path}")[0] == 200
    status, text = get(f"http://{pages}{path}", Host=f"evil.example:{pages.partition(':')[2]}")
    assert status == 403
    assert "allow_hosts" in text
    assert get(f"http://{pages}{path}", Origin="http://evil.example")[0] == 403


def test_the_live_socket_answers_its_own_page(pages: str) -> None:
    assert live(f"http://{pages}/dflow/live", Origin=f"http://{pages}")["n_workers"] == 0
    with pytest.raises(HTTPClientError, match="403"):
        live(f"http://{pages}/dflow/live", Origin="http://evil.example")


@pytest.mark.parametrize("forward_host", [True, False])
@pytest.mark.parametrize("setting", ["distributed.dashboard.link", "dflow.allow_hosts"])
def test_pages_answer_behind_a_proxy_whose_name_is_listed(setting: str, forward_host: bool) -> None:
    public = {"Host": "hub.example", "Origin": "https://hub.example"}
    value = "https://hub.example/user/a/proxy/{port}/status" if setting.endswith("link") else ["hub.example"]
    with (
        pages_of_a_cluster(**{setting: value}) as target,
        serving(proxy(target, forward_host=forward_host)) as port,
    ):
        base = f"http://127.0.0.1:{port}/user/a/proxy"
        assert get(f"{base}/dflow", Host="hub.example")[0] == 200
        assert get(f"{base}/status", **public)[0] == 200
        assert live(f"{base}/dflow/live", **public)["n_workers"] == 0
        assert get(f"{base}/status", Host="hub.example", Origin="https://evil.example")[0] == 403


def test_a_proxy_whose_name_is_not_listed_is_refused_with_the_way_out(pages: str) -> None:
    with serving(proxy(pages, forward_host=True)) as port:
        status, text = get(f"http://127.0.0.1:{port}/user/a/proxy/dflow", Host="hub.example")
        assert status == 403
        assert "hub.example" in text
        assert "allow_hosts" in text


ATTACK = """
<script>
window.got = []
const target = new URLSearchParams(location.search).get("target")
const note = (name, value) => window.got.push([name, value])
async function attack() {
  for (const path of ["/dflow.json", "/dflow", "/status", "/json/counts.json"])
    await fetch(`http://${target}${path}`).then(r => r.text()).then(t => note("fetch " + path, t), () => note(path, ""))
  for (const path of ["/dflow/live", "/status/ws", "/dflow/ws"])
    await new Promise(done => {
      const socket = new WebSocket(`ws://${target}${path}`)
      socket.onopen = () => { note("socket " + path, "open"); done() }
      socket.onerror = () => { note(path, ""); done() }
    })
  await new Promise(done => {
    const picture = new Image()
    picture.onload = () => { note("picture", "loaded"); done() }
    picture.onerror = () => { note("picture", ""); done() }
    picture.src = `http://${target}/statics/images/dask-logo.svg`
  })
  window.over = true
}
attack()
</script>"""


class _Attacker(RequestHandler):
    def get(self) -> None:
        self.finish(ATTACK)


@pytest.mark.slow
@pytest.mark.browser
def test_a_foreign_page_in_a_browser_gets_nothing_and_the_page_behind_a_proxy_works() -> None:
    reason = browser.why_not_here()
    if reason:
        pytest.skip(reason)
    with (
        browser.chromium() as driver,
        serving(Application([("/", _Attacker)])) as foreign,
        pages_of_a_cluster(**{"dflow.allow_hosts": ["localhost:*"]}) as target,
        serving(proxy(target, forward_host=False)) as other_host,
        serving(proxy(target, forward_host=True)) as same_host,
    ):
        driver.get(f"http://127.0.0.1:{foreign}/?target={target}")
        for _ in range(600):
            if driver.execute_script("return window.over"):
                break
            asyncio.run(asyncio.sleep(0.1))
        got = driver.execute_script("return window.got")
        assert len(got) == 8
        assert [what for what, text in got if text] == []
        driver.get(f"http://{target}/dflow")
        browser.wait_for_text(driver, "No flow has run")
        for name, port in (("localhost", other_host), ("127.0.0.1", same_host)):
            driver.get(f"http://{name}:{port}/user/a/proxy/dflow")
            browser.wait_for_text(driver, "No flow has run")
