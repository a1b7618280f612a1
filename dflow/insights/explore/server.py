"""Serving the pages of a flow from this machine."""

from __future__ import annotations

import logging
import os
import signal
import socket
from typing import Any

from bokeh.application import Application
from bokeh.application.handlers.function import FunctionHandler
from bokeh.server.server import Server

from dflow.errors import ServerError
from dflow.insights.explore.hosts import LOCAL, best_name, in_url, is_local, known_names, refuse_foreign
from dflow.insights.explore.page import ExplorePage
from dflow.insights.explore.routes import PolicyHeaders, routes
from dflow.insights.explore.served import ServedFlow

_log = logging.getLogger(__name__)


def start_server(
    flow_file: str | os.PathLike[str],
    port: int = 5006,
    *,
    address: str = LOCAL,
    allow_hosts: tuple[str, ...] = (),
) -> Server:
    """Begin to serve; the caller runs the event loop (``server.io_loop.start()``) and stops the server.

    Parameters
    ----------
    flow_file : the `.flow` file
    port : 0 takes any free one (``server.port`` tells)
    address : where to listen; anything but the default lets other machines in
    allow_hosts : further ``name:port`` under which browsers may reach this server, when `address` is not local

    Raises
    ------
    DflowError
        If the flow or its dataset is missing or damaged.
    ServerError
        If the port is in use or the address is not this machine's.
    """
    flow = ServedFlow(flow_file)
    try:
        _try_port(address, port)
        server, hosts = _bind(flow, port, address)
    except OSError as error:
        flow.close()
        message = (
            f"cannot serve at {in_url(address)}:{port} ({error.strerror or error}); choose another port with --port"
        )
        raise ServerError(message) from error
    hosts.update(f"{name}:{server.port}" for name in known_names(address))
    hosts.update(allow_hosts)
    server._tornado._websocket_origins.update(hosts)
    server.start()
    return server


def serve(
    flow_file: str | os.PathLike[str],
    port: int = 5006,
    address: str = LOCAL,
    *,
    allow_hosts: tuple[str, ...] = (),
    open_browser: bool = False,
) -> None:
    """Serve until interrupted with Ctrl-C. Arguments and errors as `start_server`."""
    server = start_server(flow_file, port, address=address, allow_hosts=allow_hosts)
    url = f"http://{best_name(address)}:{server.port}/"
    print(f"dflow explore: {url}  (Ctrl-C ends it)", flush=True)
    if not is_local(address):
        _log.warning("%s can be reached from other machines; there is no password", url)
    if open_browser:
        server.io_loop.add_callback(server.show, "/")
    try:
        _stop_on_interrupt(server)
        server.io_loop.start()
    except KeyboardInterrupt:
        pass
    finally:
        server.stop()


def _stop_on_interrupt(server: Server) -> None:
    """Let Ctrl-C stop the loop between two callbacks: as an exception it can be lost in a callback's clean-up."""
    loop = server.io_loop
    try:
        loop.asyncio_loop.add_signal_handler(signal.SIGINT, loop.stop)
    except (AttributeError, NotImplementedError, RuntimeError, ValueError):  # Windows, or not the main thread
        _log.debug("Ctrl-C arrives as an exception here")


def _try_port(address: str, port: int) -> None:
    """Raise OSError where the port cannot be had; bokeh would leave a socket open."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        trial.bind((address, port))
        trial.listen(1)


def _bind(flow: ServedFlow, port: int, address: str) -> tuple[Server, set[str]]:
    hosts: set[str] = set()

    def open_page(document: Any) -> None:
        ExplorePage(flow.current()).attach(document)

    server = Server(
        {"/": Application(FunctionHandler(open_page))},
        port=port,
        address=address,
        extra_patterns=routes(flow),
        unused_session_lifetime_milliseconds=60_000,
        check_unused_sessions_milliseconds=10_000,
    )
    server._tornado.add_transform(PolicyHeaders)
    server._tornado.default_router.rules.insert(0, refuse_foreign(hosts))  # bokeh's own routes too
    return server, hosts
