"""The local server of one view: who reaches it, and which selections it accepts."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request

import pytest

from dflow.errors import ServerError
from dflow.insights import CADViewer
from dflow.render import write_glb
from tests.render import shapes


@pytest.fixture
def mesh_file(tmp_path):
    write_glb(shapes.box(), tmp_path / "part.glb")
    return tmp_path / "part.glb"


def _data(page: str) -> dict:
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.S).group(1))


def _ask(url: str, body: bytes | None = None, **headers: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode() if error.code == 403 else ""


def test_a_served_page_reports_what_is_selected(mesh_file):
    with CADViewer() as viewer:
        viewer.load_scs_file(mesh_file)
        assert viewer.get_selected_faces() == []
        url = viewer.get_viewer_url()
        assert viewer.get_viewer_url() == url == viewer.get_status()["url"]
        status, page = _ask(url)
        assert status == 200
        assert _data(page)["served"] is True
        assert _ask(url + "selection", b"[5, 2, 77]") == (204, "")
        assert viewer.get_selected_faces() == [2, 5]
        for wrong in (b"{}", b'["x"]', b"[-1]", b"[true]", b"not json"):
            assert _ask(url + "selection", wrong)[0] == 404
        guessed = url.split("/")
        assert _ask("/".join([*guessed[:3], "guess", ""]))[0] == 404
        assert viewer.get_selected_faces() == [2, 5]
    with pytest.raises(urllib.error.URLError):
        _ask(url)


def test_other_hosts_and_other_pages_are_refused_even_with_the_path(mesh_file):
    with CADViewer() as viewer:
        viewer.load_scs_file(mesh_file)
        url = viewer.get_viewer_url()
        for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
            for path, body in ((url, None), (url + "selection", b"[1]")):
                status, text = _ask(path, body, **headers)
                assert status == 403
                assert "allow_hosts" in text
        assert viewer.get_selected_faces() == []


def test_a_taken_port_is_named(mesh_file):
    with CADViewer() as first:
        first.load_scs_file(mesh_file)
        port = int(first.get_viewer_url().split(":")[2].split("/")[0])
        with pytest.raises(ServerError, match=f"no port from {port} to {port} is free"):
            CADViewer(port=port).get_viewer_url()
        with CADViewer() as second:
            assert f":{port}/" not in second.get_viewer_url()
