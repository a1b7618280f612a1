"""The log of a flow: one line per event."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from dflow.errors import OutputFolderError
from dflow.flowmanager.reports.flowlog import FlowLog, one_line
from dflow.records import ItemRecord
from tests.flowmanager.reports.facts import ERROR


def test_one_event_is_one_line_in_the_log(tmp_path):
    log = FlowLog(tmp_path / "flow_log.log")
    log.write("two\nlines", "WARNING")
    log.items("encode", [ItemRecord(0, "odd\nname", "failed", error=ERROR), ItemRecord(1, "b", "skipped")])
    log.close()
    lines = (tmp_path / "flow_log.log").read_text().splitlines()
    assert len(lines) == 3
    assert "ERROR encode failed" in lines[1]
    assert "[timeout]" in lines[1]
    assert "encode skipped" in lines[2]


FULL = Path("/dev/full")
"""A file on which every write fails."""


def lines_of(path: Path) -> list[str]:
    """The lines without their time."""
    return [line.partition(" ")[2] for line in path.read_text().splitlines()]


def test_a_line_names_task_result_time_item_and_notes(tmp_path: Path) -> None:
    log = FlowLog(tmp_path / "log")
    records = [
        ItemRecord(0, "a", "succeeded", seconds=1.5, notes=("no preview", "late")),
        ItemRecord(1, "b", "succeeded", reused=True),
    ]
    log.items("encode", records)
    log.close()
    assert lines_of(tmp_path / "log") == [
        "INFO encode succeeded 1.500s a (no preview; late)",
        "INFO encode reused 0.000s b",
    ]


def test_lines_about_the_flow_also_go_to_its_logger(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = FlowLog(tmp_path / "log")
    with caplog.at_level(logging.INFO, logger="dflow.flow"):
        log.write("starts")
        log.write("stopped", "ERROR")
    log.close()
    assert lines_of(tmp_path / "log") == ["INFO FLOW starts", "ERROR FLOW stopped"]
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("INFO", "starts"),
        ("ERROR", "stopped"),
    ]


@pytest.mark.parametrize(
    ("text", "shown"), [("a\r\nb", "a | b"), ("\x1b[2J", r"\x1b[2J"), ("\udcff", r"\udcff"), ("n\u00fct", "n\u00fct")]
)
def test_text_is_one_line_that_a_terminal_does_not_obey(text: str, shown: str) -> None:
    assert one_line(text) == shown


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
def test_a_full_disk_loses_lines_but_not_the_flow() -> None:
    log = FlowLog(FULL)
    log.write("lost")
    log.items("encode", [ItemRecord(0, "a", "succeeded")])
    log.close()


def test_a_log_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OutputFolderError, match="Cannot write"):
        FlowLog(tmp_path)
