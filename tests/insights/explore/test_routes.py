"""Pictures, meshes, pages of parts and scripts: what is served, and what is not found."""

from __future__ import annotations

import json
import os
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dflow.insights.explore.routes import PART_POLICY
from tests.dataset.synthetic import random_parts, write_parts
from tests.insights.explore.flows import HOSTILE, N_PARTS
from tests.insights.explore.serving import get, running_server

PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(64)


def test_pictures_and_meshes_are_served_by_file_id(port):
    status, headers, content = get(port, "/thumb?id=0")
    assert (status, headers["Content-Type"]) == (200, "image/png")
    assert content.startswith(b"\x89PNG")
    status, headers, content = get(port, "/mesh?id=4")
    assert status == 200
    assert content.startswith(b"glTF")


NOT_PREVIEWS = ("absolute", "parent", "link", "folder of links", "text", "pipe", "folder", "url", "null")


@pytest.fixture(scope="module")
def strangers_port(tmp_path_factory):
    """A flow whose tables name what is none of its business, a row a way; the last row's preview is sound."""
    folder = tmp_path_factory.mktemp("stranger")
    secret = folder / "elsewhere" / "secret.png"
    secret.parent.mkdir()
    secret.write_bytes(PICTURE)
    paths = write_parts(random_parts(len(NOT_PREVIEWS) + 1), folder, "stranger")
    cache = paths.stream_cache
    (cache / "folder").mkdir(parents=True)
    (cache / "link.png").symlink_to(secret)
    (cache / "links").symlink_to(secret.parent)
    (cache / "text.png").write_text("root:x:0:0")
    (cache / "good.png").write_bytes(PICTURE)
    os.mkfifo(cache / "pipe.png")
    names = [
        str(secret),
        "../../elsewhere/secret.png",
        *(f"stream_cache/{n}" for n in ("link.png", "links/secret.png")),
    ]
    names += [f"stream_cache/{n}" for n in ("text.png", "pipe.png", "folder")]
    names += [secret.as_uri(), "stream_cache/\0.png", "stream_cache/good.png"]
    table = pq.read_table(paths.infoset)
    for column in ("stream_cache_png", "stream_cache_3d"):
        table = table.set_column(table.column_names.index(column), column, pa.array(names))
    pq.write_table(table, paths.infoset)
    with running_server(paths.flow_file) as found:
        yield found


@pytest.mark.timeout(60)
@pytest.mark.parametrize("row", range(len(NOT_PREVIEWS)), ids=NOT_PREVIEWS)
def test_a_strangers_tables_make_it_serve_nothing_else(strangers_port, row):
    status, _, content = get(strangers_port, f"/thumb?id={row}")
    assert (status, PICTURE in content) == (404, False)
    status, _, content = get(strangers_port, f"/mesh?id={row}")
    assert (status, PICTURE in content) == (404, False)
    assert get(strangers_port, f"/part?id={row}")[0] == 200


def test_only_what_begins_like_a_preview_is_served(strangers_port):
    assert get(strangers_port, f"/thumb?id={len(NOT_PREVIEWS)}")[::2] == (200, PICTURE)
    assert get(strangers_port, f"/mesh?id={len(NOT_PREVIEWS)}")[0] == 404  # a picture is no mesh


@pytest.mark.parametrize("query", ["", "?id=", "?id=-1", "?id=../x", "?id=999999999", "?id=7", "?id=%C2%B2", "?id=1e3"])
def test_what_is_not_there_is_not_found(port, query):
    assert get(port, f"/thumb{query}")[0] == 404


def test_a_parts_page_holds_its_data_as_data(port):
    status, headers, content = get(port, "/part?id=0")
    page = content.decode()
    assert status == 200
    assert headers["Content-Security-Policy"] == PART_POLICY
    assert HOSTILE not in page
    part = json.loads(re.search(r'id="data">(.*?)</script>', page, re.S).group(1))
    assert part["name"] == f"{HOSTILE}.step"
    assert part["last"] == N_PARTS - 1


def test_scripts_are_our_own_files_only(port):
    for name in ("part_view.js", "part.js", "part.css"):
        status, _, content = get(port, f"/assets/{name}")
        assert status == 200
        assert len(content) > 500
    assert get(port, "/assets/part.html")[0] == 404
    assert get(port, "/assets/..%2fviewer.py")[0] == 404
