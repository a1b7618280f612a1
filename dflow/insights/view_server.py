"""A local server for one part's view, to which the browser reports the clicked faces."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from dflow.errors import ServerError
from dflow.webhosts import KnownHosts, refusal_text

PORTS = range(8000, 8100)
MAX_SELECTION_BYTES = 1_000_000


class ViewServer:
    """Serves one page under a path that cannot be guessed, and receives the selection from it.

    Runs in a thread of its own from construction to `close`.

    Parameters
    ----------
    page : returns the page's HTML; called for every request
    on_selection : called with the selected face indices, in the server's thread
    host, port : where to listen; None takes the first free port from 8000 to 8099

    Raises
    ------
    ServerError
        If the port is in use, or all of them are.
    """

    def __init__(
        self,
        page: Callable[[], str],
        on_selection: Callable[[list[int]], None],
        *,
        host: str = "127.0.0.1",
        port: int | None = None,
    ) -> None:
        self._path = f"/{secrets.token_urlsafe(16)}/"
        handler = _handler(self._path, KnownHosts(host), page, on_selection)
        self._server = _bind(host, PORTS if port is None else range(port, port + 1), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="dflow-view", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The address of the page."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}{self._path}"

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _bind(host: str, ports: range, handler: type[BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
    for port in ports:
        try:
            return ThreadingHTTPServer((host, port), handler)
        except OSError as error:
            last = error
    raise ServerError(
        f"no port from {ports.start} to {ports.stop - 1} is free at {host} ({last}); pass another port= to CADViewer, "
        "or terminate() viewers that are no longer used"
    ) from last


def _handler(
    path: str, hosts: KnownHosts, page: Callable[[], str], on_selection: Callable[[list[int]], None]
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self._is_refused():
                return
            if self.path != path:
                self.send_error(404)
                return
            self._send(200, "text/html", page())

        def _is_refused(self) -> bool:
            reason = hosts.refusal(self.headers)
            if reason:
                self._send(403, "text/plain", refusal_text(reason))
            return bool(reason)

        def _send(self, status: int, kind: str, text: str) -> None:
            content = text.encode("utf-8", "backslashreplace")
            self.send_response(status)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self) -> None:
            if self._is_refused():
                return
            faces = self._read_faces() if self.path == f"{path}selection" else None
            if faces is None:
                self.send_error(404)
                return
            on_selection(faces)
            self.send_response(204)
            self.end_headers()

        def _read_faces(self) -> list[int] | None:
            length = self.headers.get("Content-Length", "")
            if not length.isdigit() or int(length) > MAX_SELECTION_BYTES:
                return None
            try:
                faces = json.loads(self.rfile.read(int(length)))
            except ValueError:
                return None
            fits = isinstance(faces, list) and all(type(face) is int and face >= 0 for face in faces)
            return faces if fits else None

        def log_message(self, format: str, *_arguments: Any) -> None:
            """Log nothing, since it would appear in a notebook's output."""

    return Handler
