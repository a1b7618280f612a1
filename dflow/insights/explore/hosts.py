"""Host names under which browsers may reach a server; requests that name another host are refused, because a foreign
page could point its own name at this machine (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection
from typing import Any

from tornado.routing import Matcher, Rule
from tornado.web import RequestHandler

LOCAL = "127.0.0.1"
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

        names |= {socket.gethostname(), socket.getfqdn()}
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


def refuse_foreign(hosts: Collection[str]) -> Rule:
    """Return the rule that answers requests by names other than `hosts` (``name:port``); it must come first."""
    return Rule(_Foreign(hosts), _RefusingHandler)


class _Foreign(Matcher):
    def __init__(self, hosts: Collection[str]) -> None:
        self._hosts = hosts

    def match(self, request: Any) -> dict[str, Any] | None:
        """Return None if the rule does not apply, as tornado expects."""
        return None if request.host in self._hosts else {}


class _RefusingHandler(RequestHandler):
    def prepare(self) -> None:
        """Answer every method with 403."""
        self.set_status(403, "Unknown host name")
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(
            f"dflow explore refuses requests to the host {self.request.host!r}. If it is this machine, start it again "
            f"with --allow-host {self.request.host}\n"
        )
