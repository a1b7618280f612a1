"""A self-contained page of parts, which untrusted text cannot break out of."""

from __future__ import annotations

import json
import re

from dflow.insights.part_page import PagePart, frame_page, part_page, script_json

HOSTILE = "</script><script>alert(1)</script><!--<img src=x onerror=alert(2)>"


def _data(page: str) -> dict:
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.S).group(1))


def test_text_from_outside_cannot_leave_its_script_element():
    page = part_page([PagePart(HOSTILE, None, face_labels=[HOSTILE])], legend=[((1, 2, 3), HOSTILE)])
    assert page.count("<script") == 2
    assert page.count("</script>") == 2
    assert "alert(1)</" not in page
    assert _data(page)["parts"][0]["label"] == HOSTILE
    assert json.loads(script_json({"a": "\u2028<&>"})) == {"a": "\u2028<&>"}


def test_the_frame_of_a_notebook_is_sandboxed_and_quoted():
    frame = frame_page('<p title="x">&</p>', width="100%", height=10)
    assert frame.startswith('<iframe sandbox="allow-scripts" srcdoc="&lt;p title=&quot;x&quot;&gt;&amp;amp;'[:73])
    assert frame.count('"') == 6
