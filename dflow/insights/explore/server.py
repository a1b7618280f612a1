"""The server of the explorer page."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Collection
from typing import Any

from bokeh.application import Application
from bokeh.application.handlers.function import FunctionHandler
from bokeh.server.server import BaseServer
from bokeh.server.tornado import BokehTornado
from bokeh.server.util import bind_sockets
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop

from dflow.errors import ServerError
from dflow.insights.explore.flow_data import ReloadedFlow
from dflow.insights.explore.page import ExplorePage
from dflow.insights.explore.routes import PolicyHeaders, routes
from dflow.plaintext import get_logger
from dflow.webhosts import LOCAL, KnownHosts, best_name, guard, in_url, is_local

_log = get_logger(__name__)


class ExploreServer(BaseServer):
    """A Bokeh server of a flow's pages, in the current event loop.

    Parameters
    ----------
    flow : the flow to show
    port : 0 takes any free one; the attribute `port` is the one in use
    address : where to listen
    allow_hosts : further ``name`` or ``name:port`` of browsers' requests, besides those of `dflow.webhosts.SETTING`

    Raises
    ------
    OSError
        If the port is in use, or this machine does not have the address.
    """

    def __init__(self, flow: ReloadedFlow, port: int, *, address: str, allow_hosts: Collection[str]) -> None:
        _try_port(address, port)
        sockets, port = bind_sockets(address, port)
        application = _application(flow)
        guard(application, KnownHosts(address, allow_hosts))
        http_server = HTTPServer(application)
        http_server.add_sockets(sockets)
        super().__init__(IOLoop.current(), application, http_server)


def start_server(
    flow_file: str | os.PathLike[str],
    port: int = 5006,
    *,
    address: str = LOCAL,
    allow_hosts: tuple[str, ...] = (),
) -> ExploreServer:
    """Start serving; the caller runs the event loop (``server.io_loop.start()``) and stops the server.

    Parameters
    ----------
    flow_file : the `.flow` file
    port : 0 takes any free one, which is then ``server.port``
    address : where to listen; addresses other than the default admit other machines
    allow_hosts : further ``name`` or ``name:port`` of browsers' requests, besides those of `dflow.webhosts.SETTING`

    Raises
    ------
    DflowError
        If the flow or its dataset is missing or damaged.
    ServerError
        If the port is in use, or this machine does not have the address.
    """
    flow = ReloadedFlow(flow_file)
    try:
        server = ExploreServer(flow, port, address=address, allow_hosts=allow_hosts)
    except OSError as error:
        flow.close()
        message = (
            f"cannot serve at {in_url(address)}:{port} ({error.strerror or error}); choose another port with --port"
        )
        raise ServerError(message) from error
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


def _stop_on_interrupt(server: ExploreServer) -> None:
    """Make Ctrl-C stop the loop between two callbacks; as an exception it can be lost in a callback's clean-up."""
    loop = server.io_loop
    try:
        loop.asyncio_loop.add_signal_handler(signal.SIGINT, loop.stop)
    except (AttributeError, NotImplementedError, RuntimeError, ValueError):  # Windows, or not the main thread
        _log.debug("Ctrl-C arrives as an exception here")


def _try_port(address: str, port: int) -> None:
    """Raise OSError if the port cannot be bound, because `bind_sockets` would leave a socket open."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        trial.bind((address, port))
        trial.listen(1)


def _application(flow: ReloadedFlow) -> BokehTornado:
    """Return the application of pages and routes."""

    def open_page(document: Any) -> None:
        ExplorePage(flow.current()).attach(document)

    application = BokehTornado(
        {"/": Application(FunctionHandler(open_page))},
        extra_websocket_origins=["*"],  # the guard has checked the origin
        extra_patterns=routes(flow),
        unused_session_lifetime_milliseconds=60_000,
        check_unused_sessions_milliseconds=10_000,
    )
    application.add_transform(PolicyHeaders)
    return application
