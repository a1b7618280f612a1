"""A headless Chromium for tests that look at pages, and what its console said."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from typing import Any

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,900",
)


def why_not_here() -> str | None:
    """Why no browser can be started here, None where one can."""
    missing = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"no {' and no '.join(missing)} (Debian: apt-get install chromium chromium-driver)" if missing else None


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """A selenium driver of a fresh Chromium with a profile of its own."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    with tempfile.TemporaryDirectory() as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium") or ""
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        driver.set_script_timeout(60)
        try:
            yield driver
        finally:
            driver.quit()


def console_errors(driver: Any) -> list[str]:
    """What the page's console reported as errors so far."""
    return [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]


def requested_hosts(driver: Any) -> set[str]:
    """Hosts that the page asked for anything."""
    import json
    from urllib.parse import urlparse

    hosts = set()
    for entry in driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            url = urlparse(message["params"]["request"]["url"])
            if url.scheme in ("http", "https", "ws", "wss"):
                hosts.add(url.hostname or "")
    return hosts


DEEP_TEXT = """
function texts(node) {
  let out = node.nodeType === 3 ? node.textContent : '';
  if (node.tagName === 'STYLE' || node.tagName === 'SCRIPT') return '';
  for (const child of (node.shadowRoot ? [...node.shadowRoot.childNodes] : [])) out += texts(child) + ' ';
  for (const child of node.childNodes) out += texts(child) + ' ';
  return out;
}
return texts(document.body).replace(/\\s+/g, ' ');
"""


def text_of(driver: Any) -> str:
    """The page's text, shadow trees included."""
    return str(driver.execute_script(DEEP_TEXT).replace("\u00a0", " "))


def wait_for_text(driver: Any, wanted: str) -> str:
    """The page's text, once it holds `wanted`."""
    deadline = time.monotonic() + 60
    text = ""
    while time.monotonic() < deadline:
        text = text_of(driver)
        if wanted in text:
            return text
        time.sleep(0.2)
    raise AssertionError(f"{wanted!r} is not on the page: {text[:2000]}")
