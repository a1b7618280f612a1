"""Routes beside the bokeh page: pictures, meshes, pages of parts, scripts and styles."""

from __future__ import annotations

import importlib.resources
from pathlib import Path
from typing import Any

from tornado.web import HTTPError, OutputTransform, RequestHandler

from dflow.checksums import is_sealed
from dflow.errors import UnknownKeyError
from dflow.insights.catalog import PartEntry
from dflow.insights.explore.flow_data import ReloadedFlow
from dflow.insights.explore.part import part_data
from dflow.insights.part_page import script_json
from dflow.render.glb import MAGIC
from dflow.render.png import SIGNATURE
from dflow.storage.paths import read_regular

ASSETS = {"part_view.js": "text/javascript", "part.js": "text/javascript", "part.css": "text/css"}
PART_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; frame-ancestors 'self'; base-uri 'none'; form-action 'none'"
)
PAGE_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; frame-ancestors 'self'; base-uri 'none'"
)
"""BokehJS needs inline scripts and eval; loading from and sending to other hosts stays forbidden."""


class PolicyHeaders(OutputTransform):
    """Adds the content security policy to every response."""

    def transform_first_chunk(self, status_code: int, headers: Any, chunk: bytes, finishing: bool) -> Any:
        """Add the headers that the handler did not set itself."""
        headers.setdefault("Content-Security-Policy", PAGE_POLICY)
        headers.setdefault("X-Content-Type-Options", "nosniff")
        headers.setdefault("Referrer-Policy", "no-referrer")
        return status_code, headers, chunk


class PartHandler(RequestHandler):
    """Serves one part, named by the query's integer ``id``."""

    def initialize(self, flow: ReloadedFlow) -> None:
        """Called by tornado with the route's arguments."""
        self.data = flow.current()

    def entry(self) -> PartEntry:
        """The part that the query names."""
        text = self.get_query_argument("id", "")
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise HTTPError(404)
        try:
            return self.data.parts.entry(int(text))
        except UnknownKeyError as error:
            raise HTTPError(404) from error


class PictureHandler(PartHandler):
    """Serves a part's preview."""

    def get(self) -> None:
        """Send the PNG."""
        entry = self.entry()
        content = _content(entry.png, SIGNATURE)
        self.set_header("Content-Type", "image/png")
        self.set_header("Cache-Control", "private, max-age=60")
        self.finish(content)


class MeshHandler(PartHandler):
    """Serves a part's mesh."""

    def get(self) -> None:
        """Send the binary glTF."""
        entry = self.entry()
        content = _content(entry.glb, MAGIC.to_bytes(4, "little"))
        try:
            is_sealed(content)
        except ValueError as error:
            raise HTTPError(404, reason="The mesh is damaged") from error
        self.set_header("Content-Type", "model/gltf-binary")
        self.finish(content)


class PartPageHandler(PartHandler):
    """Serves a part's page."""

    def get(self) -> None:
        """Send the page, with its data inside."""
        content = script_json(part_data(self.data, self.entry().file_id))
        self.set_header("Content-Security-Policy", PART_POLICY)
        self.finish(asset_text("part.html").replace("DATA", content, 1))


class AssetHandler(RequestHandler):
    """Serves the scripts and styles among `ASSETS`."""

    def get(self, name: str) -> None:
        """Send one of the files."""
        if name not in ASSETS:
            raise HTTPError(404)
        self.set_header("Content-Type", ASSETS[name])
        self.finish(asset_text(name))


def _content(path: Path | None, signature: bytes) -> bytes:
    """Read a preview; 404 if it is not a regular file or lacks the signature, since a table may name any file."""
    try:
        content = b"" if path is None else read_regular(path)
    except OSError as error:
        raise HTTPError(404) from error
    if not content.startswith(signature):
        raise HTTPError(404)
    return content


def asset_text(name: str) -> str:
    """Read a file of ``dflow/insights/static``."""
    return importlib.resources.files("dflow.insights").joinpath(f"static/{name}").read_text("utf-8")


def routes(flow: ReloadedFlow) -> list[tuple[Any, ...]]:
    """Return tornado's routes of a flow."""
    arguments = {"flow": flow}
    return [
        (r"/thumb", PictureHandler, arguments),
        (r"/mesh", MeshHandler, arguments),
        (r"/part", PartPageHandler, arguments),
        (r"/assets/([a-z_]+\.[a-z]+)", AssetHandler),
    ]
