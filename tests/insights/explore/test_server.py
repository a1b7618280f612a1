"""What the server answers, to whom, and what it refuses."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dflow.errors import FlowFileError, ServerError
from dflow.insights.explore import start_server
from dflow.insights.explore.flow_data import ReloadedFlow
from dflow.insights.explore.hosts import best_name, is_local, known_names
from dflow.insights.explore.page import ExplorePage
from dflow.insights.explore.routes import PAGE_POLICY, PART_POLICY
from tests.dataset.synthetic import random_parts, write_parts
from tests.insights.explore.flows import HOSTILE, N_PARTS
from tests.insights.explore.serving import running_server

PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(64)


@pytest.fixture(scope="module")
def port(explored_flow):
    with running_server(explored_flow.flow_file) as found:
        yield found


def _get(port: int, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), content


def test_pictures_and_meshes_are_served_by_file_id(port):
    status, headers, content = _get(port, "/thumb?id=0")
    assert (status, headers["Content-Type"]) == (200, "image/png")
    assert content.startswith(b"\x89PNG")
    status, headers, content = _get(port, "/mesh?id=4")
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
    status, _, content = _get(strangers_port, f"/thumb?id={row}")
    assert (status, PICTURE in content) == (404, False)
    status, _, content = _get(strangers_port, f"/mesh?id={row}")
    assert (status, PICTURE in content) == (404, False)
    assert _get(strangers_port, f"/part?id={row}")[0] == 200


def test_only_what_begins_like_a_preview_is_served(strangers_port):
    assert _get(strangers_port, f"/thumb?id={len(NOT_PREVIEWS)}")[::2] == (200, PICTURE)
    assert _get(strangers_port, f"/mesh?id={len(NOT_PREVIEWS)}")[0] == 404  # a picture is no mesh


@pytest.mark.parametrize("query", ["", "?id=", "?id=-1", "?id=../x", "?id=999999999", "?id=7", "?id=%C2%B2", "?id=1e3"])
def test_what_is_not_there_is_not_found(port, query):
    assert _get(port, f"/thumb{query}")[0] == 404


def test_a_parts_page_holds_its_data_as_data(port):
    status, headers, content = _get(port, "/part?id=0")
    page = content.decode()
    assert status == 200
    assert headers["Content-Security-Policy"] == PART_POLICY
    assert HOSTILE not in page
    part = json.loads(re.search(r'id="data">(.*?)</script>', page, re.S).group(1))
    assert part["name"] == f"{HOSTILE}.step"
    assert part["last"] == N_PARTS - 1


def test_scripts_are_our_own_files_only(port):
    for name in ("part_view.js", "part.js", "part.css"):
        status, _, content = _get(port, f"/assets/{name}")
        assert status == 200
        assert len(content) > 500
    assert _get(port, "/assets/part.html")[0] == 404
    assert _get(port, "/assets/..%2fviewer.py")[0] == 404


def test_the_page_loads_nothing_from_another_host(port):
    status, headers, content = _get(port, "/")
    page = content.decode()
    assert status == 200
    assert headers["Content-Security-Policy"] == PAGE_POLICY
    assert headers["X-Content-Type-Options"] == "nosniff"
    sources = re.findall(r"""(?:src|href)=["']([^"']+)""", page)
    assert sources
    assert all(not re.match(r"(\w+:)?//", source) for source in sources)


@pytest.mark.parametrize("path", ["/part?id=0", "/thumb?id=0", "/mesh?id=0", "/", "/assets/part.js"])
def test_another_host_name_is_refused(port, path):
    status, headers, content = _get(port, path, Host=f"evil.example:{port}")
    assert status == 403
    assert b"--allow-host" in content
    assert headers["Content-Type"].startswith("text/plain")
    assert _get(port, path, Host=f"localhost:{port}")[0] == 200


def test_a_websocket_from_another_origin_is_refused(port):
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Origin": "http://evil.example",
    }
    assert _get(port, "/ws", **headers)[0] == 403


@pytest.mark.parametrize(
    ("address", "local", "wanted"),
    [
        ("127.0.0.1", True, {"127.0.0.1", "localhost"}),
        ("localhost", True, {"127.0.0.1", "localhost"}),
        ("::1", True, {"[::1]", "localhost"}),
        ("127.1.2.3", True, {"127.1.2.3", "localhost"}),
        ("0.0.0.0", False, {socket.gethostname(), "127.0.0.1", "localhost"}),
        ("::", False, {socket.gethostname(), "127.0.0.1", "localhost"}),
        ("cluster.example", False, {"cluster.example", "localhost"}),
    ],
)
def test_a_server_knows_its_names(address, local, wanted):
    assert is_local(address) == local
    assert wanted <= known_names(address)
    assert "evil.example" not in known_names(address)


def test_a_server_on_all_addresses_is_reached_by_the_machines_name(explored_flow, capsys):
    with running_server(explored_flow.flow_file, address="0.0.0.0", allow_hosts=("tunnel:1",)) as port:
        for name in (f"{socket.gethostname()}:{port}", f"localhost:{port}", "tunnel:1"):
            assert _get(port, "/", Host=name)[0] == 200
        assert _get(port, "/", Host=f"evil.example:{port}")[0] == 403


def test_an_address_of_ip_6_stands_in_brackets(explored_flow):
    try:
        with socket.socket(socket.AF_INET6) as trial:
            trial.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 here")
    with running_server(explored_flow.flow_file, address="::1") as port:
        connection = http.client.HTTPConnection("::1", port, timeout=60)
        connection.request("GET", "/thumb?id=0")
        assert connection.getresponse().status == 200
        connection.close()
    assert best_name("::1") == "[::1]"


def test_a_port_in_use_is_named(explored_flow):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServerError, match=rf"127\.0\.0\.1:{port} .*--port"):
            start_server(explored_flow.flow_file, port)


def test_a_missing_flow_is_an_error_before_anything_is_served(tmp_path):
    with pytest.raises(FlowFileError, match="does not exist"):
        start_server(tmp_path / "no.flow", 0)


def test_a_run_that_replaces_the_dataset_is_seen_by_the_next_page(tmp_path):
    paths = write_parts(random_parts(7), tmp_path / "now", "again")
    flow = ReloadedFlow(paths.flow_file)
    old = flow.current()
    page = ExplorePage(old)
    assert flow.current() is old
    with running_server(paths.flow_file) as port:
        assert _get(port, "/part?id=6")[0] == 200
        assert _get(port, "/part?id=8")[0] == 404
        later = write_parts(random_parts(9), tmp_path / "later", "again")
        os.replace(paths.root, tmp_path / "gone")
        assert flow.current() is old
        os.replace(later.root, paths.root)
        assert _get(port, "/part?id=8")[0] == 200
    assert flow.current().n_files == 9
    page.histograms[0].select.value = "std of edges/edge_lengths"
    assert "reload this page" in page.status.text
    page.status.text = ""
    page.scatter.selects[0].value = "min of edges/edge_lengths"
    assert "reload this page" in page.status.text
    flow.close()
