"""A web proxy before a server of this machine, as jupyter-server-proxy is one: pages and WebSockets below a path."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler, websocket_connect


class _Proxy(WebSocketHandler):
    """Passes on what comes, with the browser's headers; the target's own host in place of the browser's if told so."""

    def initialize(self, target: str, forward_host: bool) -> None:
        self.target, self.forward_host = target, forward_host

    def _request(self, scheme: str, path: str) -> HTTPRequest:
        headers = self.request.headers.copy()
        for name in [name for name in headers if name.startswith("Sec-Websocket-")]:
            if name != "Sec-Websocket-Protocol":
                del headers[name]
        if not self.forward_host:
            headers["Host"] = self.target
        url = f"{scheme}://{self.target}/{path}" + (f"?{self.request.query}" if self.request.query else "")
        return HTTPRequest(url, headers=headers, decompress_response=False, follow_redirects=False)

    async def get(self, path: str) -> None:
        if self.request.headers.get("Upgrade", "").lower() == "websocket":
            await super().get(path)
            return
        answer = await AsyncHTTPClient().fetch(self._request("http", path), raise_error=False)
        self.set_status(answer.code)
        self.set_header("Content-Type", answer.headers.get("Content-Type", "text/plain"))
        await RequestHandler.finish(self, answer.body)

    def check_origin(self, origin: str) -> bool:
        return True

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        return subprotocols[0] if subprotocols else None

    async def open(self, path: str) -> None:  # type: ignore[override]
        request = self._request("ws", path)
        offered = request.headers.pop("Sec-Websocket-Protocol", "")
        names = [name.strip() for name in offered.split(",")] if offered else None
        for name in ("Connection", "Upgrade"):
            request.headers.pop(name, None)
        self.behind = await websocket_connect(request, subprotocols=names)
        self.pump = asyncio.ensure_future(self._pump())

    async def _pump(self) -> None:
        while (message := await self.behind.read_message()) is not None:
            await self.write_message(message, binary=isinstance(message, bytes))
        self.close()

    async def on_message(self, message: Any) -> None:  # type: ignore[override]
        while not hasattr(self, "behind"):
            await asyncio.sleep(0.01)
        await self.behind.write_message(message, binary=isinstance(message, bytes))

    def on_close(self) -> None:
        if hasattr(self, "behind"):
            self.behind.close()


@contextmanager
def serving(application: Application) -> Iterator[int]:
    """Serve an application in a thread; gives the port."""
    loop = asyncio.new_event_loop()
    sockets = bind_sockets(0, "127.0.0.1")

    async def serve() -> None:
        HTTPServer(application).add_sockets(sockets)

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(serve(), loop).result(30)
    try:
        yield sockets[0].getsockname()[1]
    finally:

        async def stop() -> None:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            if others:
                await asyncio.wait(others, timeout=5)  # sockets that are being closed
            for each in others:
                each.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(stop(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        for each in sockets:
            each.close()
        loop.close()


def proxy(target: str, *, forward_host: bool) -> Application:
    """An application that shows ``target`` (``name:port``) below ``/user/a/proxy/``."""
    return Application([(r"/user/a/proxy/(.*)", _Proxy, {"target": target, "forward_host": forward_host})])
