"""A server in a thread of the test's process, and requests to it."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dflow.insights.explore import start_server


@contextlib.contextmanager
def running_server(flow_file: Path, port: int = 0, **where: Any) -> Iterator[int]:
    """Serve a flow, at 127.0.0.1 unless `where` says otherwise (arguments of `start_server`); yields the port."""
    started: threading.Event = threading.Event()
    found: dict = {}

    def run() -> None:
        asyncio.set_event_loop(asyncio.new_event_loop())
        try:
            found["server"] = start_server(flow_file, port, **where)
            found["loop"] = found["server"].io_loop
        except BaseException as error:
            found["error"] = error
            raise
        finally:
            started.set()
        found["loop"].start()
        found["server"].stop()
        found["loop"].close(all_fds=True)

    thread = threading.Thread(target=run)
    thread.start()
    started.wait(60)
    if "error" in found:
        raise found["error"]
    try:
        yield found["server"].port
    finally:
        found["loop"].add_callback(found["loop"].stop)
        thread.join(30)


def get(port: int, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and content of a request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), content
