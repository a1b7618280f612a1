"""``run.json`` and ``report.html``: what they say of a run, and that names on the page are text."""

from __future__ import annotations

import json
import threading
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import dflow
from dflow.errors import FlowCancelledError, TooManyFailuresError
from dflow.flowmanager import flowtask
from dflow.flowmanager.reports.runreport import duration, report_page
from dflow.storage.container import size_and_directory_crc
from tests import browser
from tests.flowmanager.flowparts import encode, gather, write_sources
from tests.flowmanager.reports.facts import facts_with

HOSTILE = (
    '日本\u202e"\'><script>document.title="run"</script><img src="http://elsewhere.invalid/x" onerror="alert(1)">&amp;'
)


class Elements(HTMLParser):
    """The elements of a page, and what they refer to."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the tag and the names of its attributes."""
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)


def test_names_on_the_page_are_text_and_nothing_is_fetched() -> None:
    page = Elements(report_page(facts_with(HOSTILE)))
    assert page.tags.isdisjoint({"script", "img", "link", "iframe", "a"})
    assert page.tags == Elements(report_page(facts_with("plain"))).tags
    assert not {name for name in page.attributes if name.startswith("on") or name in ("src", "href", "srcset")}


@pytest.mark.browser
def test_browser_shows_the_page_without_errors(tmp_path: Path) -> None:
    reason = browser.why_not_here()
    if reason:
        pytest.skip(reason)
    page = tmp_path / "report.html"
    page.write_text(report_page(facts_with(HOSTILE)), encoding="utf-8")
    with browser.chromium() as driver:
        driver.get(page.as_uri())
        text = browser.wait_for_text(driver, "300 files: 299 succeeded")
        assert driver.title.startswith("Flow 日本")
        assert '<script>document.title="run"</script>' in text
        assert browser.console_errors(driver) == []
        assert browser.requested_hosts(driver) == set()


def test_a_flow_leaves_its_facts_and_a_run_without_work_leaves_the_report(tmp_path, engine_arguments) -> None:
    sources = write_sources(tmp_path / "in", {"a": "1 2", "b": "3", "c": ""})
    flow = dflow.create_flow("told", [gather, encode], tmp_path, export_visualization=False, **engine_arguments)
    flow.process(inputs={"sources": [str(sources)]}, progress=False)
    paths = flow.settings.paths
    facts, report = json.loads(paths.run_file.read_text()), paths.report.read_bytes()
    assert facts["status"] == "finished"
    assert facts["counts"] == {
        "submitted": 3, "succeeded": 2, "skipped": 1, "failed": 0, "reused": 0, "samples": 2,
    }  # fmt: skip
    done = {task["task"]: task for task in facts["tasks"]}
    assert list(done) == ["gather", "encode", "merge"]
    assert done["encode"]["bytes"] == sum(size_and_directory_crc(p)[0] for p in paths.encoded.glob("*.data"))
    assert sum(host["items"] for host in facts["hosts"]) == sum(w["items"] for w in facts["timeline"]["workers"]) > 0
    assert facts["timeline"]["done"]["encode"][-1][1] == 3
    assert "3 files: 2 succeeded (0 reused), 1 skipped, 0 failed; 2 samples." in report.decode()

    flow.process(inputs={"sources": [str(sources)]}, progress=False)
    assert json.loads(paths.run_file.read_text())["counts"]["reused"] == 3
    assert paths.report.read_bytes() == report

    write_sources(sources, {"d": "4"})
    flow.process(inputs={"sources": [str(sources)]}, progress=False)
    assert "4 files: 3 succeeded" in paths.report.read_text()


GO, BEGUN = threading.Event(), threading.Event()


@flowtask.transform(name="wait", inputs=["item", "storage"], outputs=["done"])
def wait_at_two(item: int, storage: Any) -> int:
    if item == 2:
        BEGUN.set()
        GO.wait(30)
    storage.save_metadata("item", item)
    return item


def test_a_cancelled_run_leaves_a_report_of_what_it_did(tmp_path) -> None:
    GO.clear()
    BEGUN.clear()
    flow = dflow.create_flow("ended", [wait_at_two], tmp_path, debug=True)
    running = flow.start(inputs={"items": list(range(500))})
    assert BEGUN.wait(30)
    running.cancel()
    GO.set()
    with pytest.raises(FlowCancelledError):
        running.wait(60)
    facts = json.loads(flow.settings.paths.run_file.read_text())
    assert facts["status"] == "cancelled"
    assert facts["error"].startswith("FlowCancelledError")
    assert 2 <= facts["counts"]["succeeded"] == facts["counts"]["submitted"] < 500
    assert ">Cancelled " in flow.settings.paths.report.read_text()
    assert not flow.settings.paths.flow_file.exists()


@flowtask.transform(name="fail", inputs=["item"], outputs=["done"])
def fail(item: int) -> int:
    raise ValueError(item)


def test_a_run_with_too_many_failures_says_why_it_ended(tmp_path) -> None:
    flow = dflow.create_flow("ended", [fail], tmp_path, debug=True, max_failures=1)
    with pytest.raises(TooManyFailuresError):
        flow.process(inputs={"items": list(range(500))}, progress=False)
    facts = json.loads(flow.settings.paths.run_file.read_text())
    n_failed = facts["counts"]["failed"]
    assert 1 < n_failed < 500
    assert (facts["status"], facts["failures"]) == ("failed", {"exception": n_failed})
    assert f"TooManyFailuresError: {n_failed} of 500 files failed" in flow.settings.paths.report.read_text()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0032, "3.2 ms"), (12.44, "12.4 s"), (119.99, "120.0 s"), (185, "3 min"), (7500, "2 h 05 min")],
)
def test_durations_read_well(seconds: float, text: str) -> None:
    assert duration(seconds) == text
