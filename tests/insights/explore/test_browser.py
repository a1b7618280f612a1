"""The pages in headless Chromium: load, brush, search, open a part; no errors, no foreign host, no hostile script."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Callable

import numpy as np
import pytest

from tests.insights.explore.flows import HOSTILE, N_PARTS
from tests.insights.explore.serving import running_server

pytestmark = [pytest.mark.slow, pytest.mark.browser]

# Bokeh keeps its elements in nested shadow roots.
_FIND = """
const found = [];
const visit = root => {
  for (const element of root.querySelectorAll("*")) {
    if (element.matches(arguments[0])) found.push(element);
    if (element.shadowRoot) visit(element.shadowRoot);
  }
};
visit(document);
return found;
"""
_READ_PIXELS = "GPU stall due to ReadPixels"
"""Now and then said by the software renderer where a test reads a picture back."""
_IDLE = "return Bokeh.documents[0].is_idle"
_STATUS = "return Bokeh.documents[0].roots()[0].children[0].children[3].text"


@pytest.fixture
def chromium():
    webdriver = pytest.importorskip("selenium.webdriver")
    paths = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in paths:
        pytest.skip("Chromium is not installed: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = paths[0]
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1350,1200",
                     "--use-angle=swiftshader", "--enable-unsafe-swiftshader"):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(paths[1]))
    yield driver
    driver.quit()


def _find(driver, selector: str, count: int = 1):
    return _wait(lambda: (found := driver.execute_script(_FIND, selector)) and len(found) >= count and found)


def _wait(condition, seconds: float = 60.0):
    limit = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < limit, "the page did not get there in time"
        time.sleep(0.05)
    return result


def _drag(driver, element, start: int, end: int) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    half = (end - start) // 2
    drag = ActionChains(driver).move_to_element_with_offset(element, start, 0).click_and_hold()
    drag.move_by_offset(half, 5).move_by_offset(end - start - half, 5).release().perform()


def _insist(gesture: Callable[[], None], condition: Callable[[], object]) -> None:
    """Make a gesture, as a user does: once more where it came while the page was still being laid out."""
    for _ in range(4):
        gesture()
        with contextlib.suppress(AssertionError):
            _wait(condition, 10.0)
            return
    _wait(condition)


def _shown(driver) -> list[str]:
    """Ids of the parts whose pictures are on screen."""
    return driver.execute_script(
        _FIND.replace("return found", "return found.map(e => e.href.split('=')[1])"), "a.dflow-part"
    )


def _assert_quiet(driver, port: int) -> None:
    """No warning or error on the console, no request to another host, no script of a file's name."""
    told = [entry for entry in driver.get_log("browser") if entry["level"] in ("WARNING", "SEVERE")]
    assert [entry for entry in told if _READ_PIXELS not in entry["message"]] == []
    for entry in driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            url = message["params"]["request"]["url"]
            assert url.startswith((f"http://127.0.0.1:{port}/", "data:", "blob:")), url
    assert driver.title != "owned"


def test_a_brush_and_a_search_move_the_page(chromium, port):
    from selenium.webdriver.common.keys import Keys

    chromium.get(f"http://127.0.0.1:{port}/")
    _find(chromium, "a.dflow-part", 24)
    histogram = _find(chromium, ".bk-Figure", 5)[0]
    assert f"<b>{N_PARTS}</b>" in chromium.execute_script(_STATUS)
    _wait(lambda: chromium.execute_script(_IDLE))
    _insist(lambda: _drag(chromium, histogram, -40, 40), lambda: "face_count from" in chromium.execute_script(_STATUS))
    _wait(lambda: _shown(chromium) != [str(i) for i in range(24)])
    _wait(lambda: [row.text.split()[0] for row in _find(chromium, ".slick-row", 10)[:10]] == _shown(chromium)[:10])
    search = _find(chromium, "input[type=text]")[0]
    search.send_keys("part_00001", Keys.ENTER)
    _wait(lambda: f"<b>{N_PARTS}</b>" not in chromium.execute_script(_STATUS))
    _wait(lambda: len(chromium.execute_script(_FIND, "a.dflow-part")) < 11)
    for tab in _find(chromium, ".bk-tab", 3)[1:]:
        tab.click()
    _assert_quiet(chromium, port)


_RANGES = """
return [...Bokeh.documents[0]._all_models.values()].filter(model => model.type === "Figure")
  .map(plot => [plot.x_range.start, plot.x_range.end, plot.y_range.start, plot.y_range.end]);
"""


def test_axes_follow_the_variables_that_are_chosen(chromium, port, data):
    from selenium.webdriver.support.ui import Select

    chromium.get(f"http://127.0.0.1:{port}/")
    _find(chromium, "a.dflow-part", 24)
    _wait(lambda: chromium.execute_script(_IDLE))
    menus = _find(chromium, "select", 6)
    Select(menus[0]).select_by_value("volume")
    Select(menus[4]).select_by_value("max of faces/face_areas")
    Select(menus[5]).select_by_value("volume")
    edges = data.variable("volume").edges
    areas, volumes = data.numbers("max of faces/face_areas"), data.numbers("volume")

    def ends_fit() -> bool:
        ranges = chromium.execute_script(_RANGES)
        x0, x1, y0, y1 = ranges[-1]
        histogram = np.allclose(ranges[0][:2], [edges[0], edges[-1]])
        return histogram and all(
            low < values[np.isfinite(values)].min() and high < 1.1 * values[np.isfinite(values)].max()
            for values, low, high in ((areas, x0, x1), (volumes, y0, y1))
        )

    _wait(ends_fit)
    before = chromium.execute_script(_STATUS)
    scatter = _find(chromium, ".bk-Figure", 5)[4]
    _insist(lambda: _drag(chromium, scatter, -120, 60), lambda: chromium.execute_script(_STATUS) != before)
    time.sleep(0.5)
    _wait(ends_fit)  # also after the points have changed
    _assert_quiet(chromium, port)


def test_a_page_says_that_its_server_is_gone_and_comes_back_with_it(chromium, explored_flow):
    with running_server(explored_flow.flow_file) as port:
        chromium.get(f"http://127.0.0.1:{port}/")
        search = _find(chromium, "input[type=text]")[0]
        search.send_keys("part_00001\n")
        _wait(lambda: f"<b>{N_PARTS}</b>" not in chromium.execute_script(_STATUS))
    banner = _wait(lambda: chromium.find_elements("id", "dflow-lost"))[0]
    assert "server does not answer" in banner.text
    with running_server(explored_flow.flow_file, port):
        _wait(lambda: not chromium.find_elements("id", "dflow-lost"))
        _wait(lambda: f"<b>{N_PARTS}</b>" in (chromium.execute_script(f"try {{ {_STATUS} }} catch {{ return '' }}")))
        search = _find(chromium, "input[type=text]")[0]
        search.send_keys("part_00001\n")
        _wait(lambda: f"<b>{N_PARTS}</b>" not in chromium.execute_script(_STATUS))


def test_a_page_that_the_back_button_brings_answers(chromium, port):
    chromium.get(f"http://127.0.0.1:{port}/")
    _find(chromium, "a.dflow-part", 24)
    chromium.get(f"http://127.0.0.1:{port}/part?id=0")
    chromium.back()
    for text in ("part_00001\n", "part_000010\n"):
        _wait(lambda: chromium.execute_script("return typeof Bokeh !== 'undefined' && Bokeh.documents.length > 0"))
        before = _wait(lambda: chromium.execute_script(f"try {{ {_STATUS} }} catch {{ return '' }}"))
        search = _find(chromium, "input[type=text]")[0]
        search.clear()
        search.send_keys(text)
        _wait(lambda before=before: chromium.execute_script(_STATUS) != before)


def test_hostile_names_are_shown_as_text(chromium, port):
    chromium.get(f"http://127.0.0.1:{port}/")
    parts = _find(chromium, "a.dflow-part", 24)
    assert parts[0].text.endswith(HOSTILE + ".step")
    cells = _find(chromium, ".slick-cell", 50)
    assert any(HOSTILE in cell.text for cell in cells)
    assert chromium.execute_script(_FIND, "img[onerror]") == []
    tabs = _find(chromium, ".bk-tab", 3)
    tabs[1].click()
    _wait(lambda: any(HOSTILE in cell.text for cell in chromium.execute_script(_FIND, ".slick-cell")))
    _assert_quiet(chromium, port)


def test_a_parts_page_draws_the_part_and_links_graph_and_faces(chromium, port):
    chromium.get(f"http://127.0.0.1:{port}/part?id=0")
    chromium.execute_async_script("const done = arguments[0]; window.ready.then(done, done)")
    assert chromium.find_element("id", "name").text == f"0: {HOSTILE}.step"
    drawn = chromium.execute_script(
        "const pixels = new Uint8Array(4), gl = view.gl, c = view.canvas;"
        "gl.readPixels(c.width / 2, c.height / 2, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, pixels); return Array.from(pixels)"
    )
    assert drawn[:3] != [255, 255, 255]
    chromium.find_elements("css selector", "circle")[3].click()
    assert chromium.find_element("id", "face").text.startswith("face 3:")
    assert chromium.execute_script("return Array.from(view.selected)") == [3]
    chromium.find_element("id", "canvas").click()
    face = chromium.execute_script("return Array.from(view.selected)")
    assert len(face) == 1
    assert chromium.find_element("id", "face").text.startswith(f"face {face[0]}:")
    _assert_quiet(chromium, port)


def test_a_part_without_preview_and_faces_says_so(chromium, port):
    chromium.get(f"http://127.0.0.1:{port}/part?id={N_PARTS // 2}")
    chromium.execute_async_script("const done = arguments[0]; window.ready.then(done, done)")
    assert chromium.find_element("id", "instead").text == "no preview"
    assert chromium.find_elements("id", "canvas") == []
    assert chromium.find_element("id", "graph-note").text == "This part has no faces."
    cells = [cell.text for cell in chromium.find_elements("css selector", "#values td")]
    assert "nan" not in cells[: cells.index("content_hash")]
    _assert_quiet(chromium, port)


def test_the_viewers_page_of_its_own_runs_without_a_server(chromium, explored_flow, tmp_path):
    from dflow.dataset import DatasetExplorer
    from dflow.insights import DatasetViewer

    with DatasetExplorer(explored_flow.flow_file) as explorer:
        viewer = DatasetViewer.from_explorer(explorer)
        viewer.show_preview_as_3d([0, 4, 9], color_by="face_types", save_path=tmp_path / "parts.html")
    chromium.get((tmp_path / "parts.html").as_uri())
    assert chromium.execute_script("return views.map(view => view !== null)") == [True, True, False]
    captions = [element.text for element in chromium.find_elements("css selector", "figcaption")]
    assert captions[0].endswith(f"0: {HOSTILE}.step")
    assert "no 3D data" in captions[2]
    assert [e for e in chromium.get_log("browser") if e["level"] == "SEVERE"] == []
    assert chromium.title == "dflow parts"


def test_a_click_in_a_served_view_selects_faces(chromium, explored_flow):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    from dflow.insights import CADViewer

    with CADViewer() as viewer:
        viewer.load_scs_file(next(explored_flow.stream_cache.glob("*.glb")))
        chromium.get(viewer.get_viewer_url())
        canvas = chromium.find_element("css selector", "canvas")
        ActionChains(chromium).move_to_element_with_offset(canvas, 0, -120).click().perform()
        _wait(lambda: len(viewer.get_selected_faces()) == 1)
        more = ActionChains(chromium).key_down(Keys.CONTROL).move_to_element_with_offset(canvas, 0, 150).click()
        more.key_up(Keys.CONTROL).perform()
        _wait(lambda: len(viewer.get_selected_faces()) == 2)
