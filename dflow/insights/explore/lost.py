"""What a page does when its server is gone: it says so, and loads itself again when the server answers."""

from __future__ import annotations

from bokeh.document import Document
from bokeh.events import ConnectionLost, DocumentReady
from bokeh.models import CustomJS

_WAIT = """
if (!window.dflowWaits) {
  window.dflowWaits = true;
  const banner = document.createElement("div");
  banner.id = "dflow-lost";
  banner.textContent = "The server does not answer. This page loads anew, with all parts selected, when it does.";
  banner.style.cssText = "position:fixed;top:0;left:0;right:0;z-index:9999;padding:8px;text-align:center;" +
    "font:14px system-ui,sans-serif;color:#fff;background:#b3361e";
  document.body.append(banner);
  const again = () => setTimeout(ask, 1000);
  const ask = () => fetch("assets/part.css", {cache: "no-store"})
    .then(answer => answer.ok ? location.reload() : again(), again);
  ask();
}
"""

# A page that the browser took out of its cache (the back button) has lost its connection without an event.
_CACHED = 'window.addEventListener("pageshow", event => { if (event.persisted) location.reload(); });'


def come_back(document: Document) -> None:
    """Have a document's page load anew after a lost connection.

    Bokeh would connect the page to a new session that does not know its models (the server was started again, or has
    dropped the session of a machine that slept): it would look alive and answer nothing.
    """
    document.js_on_event(ConnectionLost, CustomJS(code=_WAIT))
    document.js_on_event(DocumentReady, CustomJS(code=_CACHED))
    if hasattr(document, "config"):  # bokeh 3.8 on: older ones connect anew only once, and say nothing
        document.config.reconnect_session = False
        document.config.notify_connection_status = False
