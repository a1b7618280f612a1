"""Which requests the web pages answer: the explorer's, a viewer's, and those of the Dask dashboard.

A page of another site, open in the same browser, may send requests to a server on this machine. It can read the
answers where it has pointed its own name at this machine (DNS rebinding), and talk over a WebSocket in any case. So a
request must name a known host, and what another page sends must come from a known one.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from collections.abc import Iterable, Iterator, Mapping
from email.message import Message
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

import dask
from tornado.routing import Matcher, Rule
from tornado.web import Application, RequestHandler

LOCAL = "127.0.0.1"
SETTING = "dflow.allow_hosts"
"""The key in Dask's configuration that lists further names, each ``name`` or ``name:port``; ``*`` stands for any text.

In ``~/.config/dask/dflow.yaml``, in the environment (``DASK_DFLOW__ALLOW_HOSTS``), or by ``dask.config.set``.
"""
_EVERYWHERE = ("", "0.0.0.0", "::")


def is_local(address: str) -> bool:
    """Whether a server that listens at `address` can be reached from this machine only."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def known_names(address: str) -> set[str]:
    """Return the names and addresses of a server that listens at `address`, as written in a URL."""
    names = {"localhost", address or LOCAL}
    if is_local(address):
        names.add(LOCAL)
    if address in _EVERYWHERE:
        import psutil

        full = socket.getfqdn()
        names |= {socket.gethostname(), full, full.partition(".")[0]}
        families = (socket.AF_INET, socket.AF_INET6)
        cards = psutil.net_if_addrs().values()
        names |= {card.address.partition("%")[0] for cards in cards for card in cards if card.family in families}
    return {in_url(name) for name in names}


def best_name(address: str) -> str:
    """Return the server's name for the URL that is printed."""
    return socket.gethostname() if address in _EVERYWHERE else in_url(address)


def in_url(name: str) -> str:
    """Return a name or address as written in a URL: IPv6 in brackets."""
    return f"[{name}]" if ":" in name else name


class KnownHosts:
    """The hosts of one server: its own names at any port (a tunnel may change it), and those that the user has listed.

    Listed are those of `SETTING`, ``BOKEH_ALLOW_WS_ORIGIN``, Dask's own list of WebSocket origins unless it is its
    default, and the host of ``distributed.dashboard.link``. They are read when the server starts.

    Parameters
    ----------
    address : where the server listens
    allow_hosts : further names, written as in `SETTING`
    """

    def __init__(self, address: str, allow_hosts: Iterable[str] = ()) -> None:
        self._own = {name.lower() for name in known_names(address)}
        listed = map(_split, (*allow_hosts, *_configured()))
        self._listed = [(name, port) for name, port in listed if name]

    def refusal(self, headers: Mapping[str, str] | Message) -> str:
        """Return why a request with these headers is not answered, "" if it is."""
        host = headers.get("Host")
        if host is None:  # no browser
            return ""
        if not (_split(host)[0] in self._own or self._lists(host)):
            return f"the host {host!r} is not known"
        sender = headers.get("Origin")
        if sender is None and _is_fetched_elsewhere(headers):
            sender = headers.get("Referer", "another site's page")
        if sender is None:
            return ""
        origin = urlsplit(sender)
        if origin.netloc and (origin.netloc.lower() == host.lower() or self._lists(origin.netloc, origin.scheme)):
            return ""
        return f"the page that sent the request, {sender!r}, is of another host"

    def _lists(self, netloc: str, scheme: str = "") -> bool:
        name, port = _split(netloc)
        port = port or {"http": "80", "https": "443"}.get(scheme, "")
        return any(fnmatchcase(name, known) and known_port in ("", "*", port) for known, known_port in self._listed)


def _is_fetched_elsewhere(headers: Mapping[str, str] | Message) -> bool:
    """Whether a page of another origin has loaded this as a picture, a script and so on; a link may lead here."""
    elsewhere = headers.get("Sec-Fetch-Site") in ("cross-site", "same-site")
    return elsewhere and headers.get("Sec-Fetch-Mode") != "navigate"


def _split(netloc: str) -> tuple[str, str]:
    """Return name and port of ``name:port`` or of a URL, each "" if absent; an IPv6 address is in brackets."""
    netloc = urlsplit(netloc).netloc if "://" in netloc else netloc
    found = re.fullmatch(r"(\[[^\]]*\]|[^:]*)(?::(\d+|\*)?)?", netloc.strip().lower())
    return (found[1], found[2] or "") if found else ("", "")


def _configured() -> Iterator[str]:
    for listed in (dask.config.get(SETTING, []), os.environ.get("BOKEH_ALLOW_WS_ORIGIN", "")):
        yield from _names(listed)
    origins = "distributed.scheduler.dashboard.bokeh-application.allow_websocket_origin"
    yield from (name for name in _names(dask.config.get(origins, [])) if name != "*")
    link = _filled(str(dask.config.get("distributed.dashboard.link", "")))
    if "://" in link:
        yield link


def _names(listed: Any) -> list[str]:
    """Return the names of a list, or of a text with commas."""
    names = listed if isinstance(listed, (list, tuple, set)) else str(listed or "").split(",")
    return [str(name).strip() for name in names]


def _filled(link: str) -> str:
    """Fill environment variables into the template of a link; its own fields may be missing: those hosts are known."""
    fields = {"scheme": "http", "host": "", "port": "0", **os.environ}
    try:
        return link.format(**fields)
    except (KeyError, IndexError, ValueError):
        return ""


def guard(application: Application, hosts: KnownHosts, path: str = "") -> None:
    """Make an application refuse requests of unknown hosts, WebSockets and its nested applications included.

    `path` is a regular expression of the paths that are guarded, "" for all; where all are, a second call does nothing.
    """
    rules = application.default_router.rules
    if not any(isinstance(rule.matcher, _Refused) and rule.matcher.guards_all for rule in rules):
        rules.insert(0, Rule(_Refused(hosts, path), _RefusingHandler))


class _Refused(Matcher):
    def __init__(self, hosts: KnownHosts, path: str) -> None:
        self._hosts = hosts
        self._path = re.compile(path)
        self.guards_all = not path

    def match(self, request: Any) -> dict[str, Any] | None:
        """Return None if the rule does not apply, as tornado expects."""
        reason = self._hosts.refusal(request.headers) if self._path.match(request.path) else ""
        return {"target_kwargs": {"reason": reason}} if reason else None


class _RefusingHandler(RequestHandler):
    def initialize(self, reason: str) -> None:
        self.refusal = reason

    def prepare(self) -> None:
        """Answer every method with 403."""
        self.set_status(403, "Unknown host")
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.finish(f"{refusal_text(self.refusal)}\n")


def refusal_text(reason: str) -> str:
    """Return the message of a refusal."""
    return (
        f"dflow refuses this request: {reason}. If it is this machine's name, or a proxy's in front of it, list it in "
        "allow_hosts and start again: `dflow: {allow_hosts: [name]}` in ~/.config/dask/dflow.yaml, or "
        "DASK_DFLOW__ALLOW_HOSTS=name in the environment, or dflow explore --allow-host name"
    )
