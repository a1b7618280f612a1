"""``dflow errors`` on a summary as flows leave it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dflow.flowmanager.history.freshness import LASTING_KINDS, LIMIT_KINDS
from dflow.flowmanager.reports.flowfiles import ADVICE, error_entries
from dflow.records import ErrorRecord, cause
from tests.cli.programs import HOSTILE, invoke


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    errors = [
        ErrorRecord(
            "timeout", f"part_{i}.step took longer than {i + 100} s", "encode", f"../part_{i}.step", i, seconds=i + 100
        )
        for i in range(3)
    ]
    errors.append(
        ErrorRecord("exception", "bad \x1b[31mword", "encode", HOSTILE, 3, "ValueError", "Trace\n  \x1b[2Jline")
    )
    errors.append(ErrorRecord("surrogate", b"\xff".decode("utf-8", "surrogateescape"), "encode", "s.step", 4))
    (tmp_path / "error_summary.json").write_text(json.dumps(error_entries(errors)))
    (tmp_path / "f.flow").write_text('{"flow_name": "f"}')
    return tmp_path


def test_kinds_come_with_counts_and_advice_and_like_messages_together(flow):
    result = invoke("errors", flow)
    assert result.exit_code == 3
    lines = result.output.splitlines()
    assert lines[1].split()[:2] == ["3", "timeout"]
    assert ADVICE["timeout"] in lines[1]
    assert sum("took longer than" in line for line in lines) == 1
    assert "part_0.step took longer than 100 s" in result.output


@pytest.mark.parametrize(
    ("message", "file", "expected"),
    [
        ("/a/b/c.step: the file is empty", "../b/c.step", "the file is empty"),
        ("/a/b/new\nline: x.step: it is odd\nmore", "../b/new\nline: x.step", "it is odd"),
        ("c.step: it is odd", "c.step", "it is odd"),
        ("edge 8 has no curve\n  in c.step: see there", "../b/c.step", "edge 8 has no curve"),
        ("/other/c.step: is missing beside it", "../b/c.step", "/other/c.step: is missing beside it"),
        ("the process was ended by SIGSEGV", "../b/c.step", "the process was ended by SIGSEGV"),
        ("", "c.step", ""),
        ("no file at all: really", "", "no file at all: really"),
    ],
)
def test_the_cause_is_the_message_without_the_files_own_path(message, file, expected):
    assert cause(message, file) == expected


def test_an_exception_of_the_task_is_shown_with_its_type_and_once_for_all_files(tmp_path):
    errors = [
        ErrorRecord("exception", f"'{name}.step'", "encode", f"../{name}.step", n, "KeyError")
        for n, name in enumerate(("bolt", "nut"))
    ]
    errors.append(ErrorRecord("exception", "KeyError", "encode", "../c.step", 2, "KeyError"))  # raised without a text
    errors.append(ErrorRecord("unreadable", "it is odd", "encode", "../d.step", 3, "UnreadableFileError"))
    (tmp_path / "error_summary.json").write_text(json.dumps(error_entries(errors)))
    (tmp_path / "f.flow").write_text('{"flow_name": "f"}')
    lines = [" ".join(line.split()) for line in invoke("errors", tmp_path).output.splitlines()]
    assert lines[-3:] == [
        "2 exception KeyError: 'bolt.step' ../bolt.step",
        "1 exception KeyError ../c.step",
        "1 unreadable it is odd ../d.step",
    ]


def test_a_long_path_leaves_room_for_the_cause(tmp_path):
    folder = "deep/" * 40
    errors = [ErrorRecord("unreadable", f"/{folder}a.step: the file is empty", "encode", f"../{folder}a.step", 0)]
    (tmp_path / "error_summary.json").write_text(json.dumps(error_entries(errors)))
    (tmp_path / "f.flow").write_text('{"flow_name": "f"}')
    assert "  the file is empty  " in invoke("errors", tmp_path).output


def test_nothing_hostile_reaches_the_terminal_in_any_form(flow):
    for options in ([], ["--json"], ["--files"], ["--traceback"]):
        result = invoke("errors", flow, *options)
        assert result.exit_code == 3
        assert "\x1b" not in result.output
    shown = invoke("errors", flow, "--traceback").output
    assert r"evil\x1b[2J\n[bold]x<b>.txt" in shown
    assert r"  \x1b[2Jline" in shown


def test_kinds_and_patterns_choose(flow):
    result = invoke("errors", flow / "f.flow", "--kind", "timeout", "--files")
    assert result.output.split() == [f"../part_{i}.step" for i in range(3)]
    assert invoke("errors", flow, "--match", "part_[12]", "--files").output.split() == [
        "../part_1.step",
        "../part_2.step",
    ]
    nothing = invoke("errors", flow, "--kind", "crash")
    assert (nothing.exit_code, nothing.output) == (0, "Nothing of that kind failed.\n")
    assert invoke("errors", flow, "--match", "(").exit_code == 2


def test_an_unknown_kind_is_a_usage_error_with_the_nearest_and_all(flow):
    result = invoke("errors", flow, "--kind", "timeout,excepton")
    assert result.exit_code == 2
    for part in ("'excepton' is no kind of failure", "is 'exception' meant?", "3 timeout", "worker_lost"):
        assert part in " ".join(result.stderr.split())
    assert invoke("errors", flow, "--kind", "timeout,surrogate", "--files").output.split()[-1] == "s.step"
    assert invoke("errors", flow, "--kind", "bad_key").exit_code == 0  # raised by dflow, though not here


def test_files_that_are_still_there_are_absolute_paths(flow):
    (flow.parent / "part_1.step").write_text("")
    try:
        listed = invoke("errors", flow, "--match", "part_[12]", "--files").output.split()
    finally:
        (flow.parent / "part_1.step").unlink()
    assert listed == [str(flow.parent / "part_1.step"), "../part_2.step"]


def test_what_another_allowance_may_cure_is_listed_with_the_command(flow):
    shown = invoke("errors", flow, "--limit", "2").output.splitlines()
    start = next(i for i, line in enumerate(shown) if line.startswith("3 too slow"))
    assert "--kinds timeout --timeout-seconds" in shown[start]
    assert [line.split() for line in shown[start + 1 : start + 3]] == [
        ["102.0", "s", "../part_2.step"],
        ["101.0", "s", "../part_1.step"],
    ]
    assert "… and 1 more" in shown[start + 3]
    assert "too big" not in "\n".join(shown)
    entries = [ErrorRecord("too_big", "9 GiB", "encode", "huge.step", 0)]
    (flow / "error_summary.json").write_text(json.dumps(error_entries(entries)))
    assert "1 too big; with another allowance: dflow retry" in invoke("errors", flow).output


def test_json_is_the_whole_entry(flow):
    entries = json.loads(invoke("errors", flow, "--kind", "exception", "--json").output)
    assert [entry["file"] for entry in entries] == [HOSTILE]
    assert entries[0]["exception"] == "ValueError"
    assert entries[0]["advice"] == ADVICE["exception"]


def test_more_messages_than_asked_for_are_counted(flow):
    assert "… and 2 more messages (--limit)" in invoke("errors", flow, "--limit", "1").output


def test_a_flow_without_failures_is_exit_code_zero(flow):
    (flow / "error_summary.json").write_text("[]")
    result = invoke("errors", flow)
    assert (result.exit_code, result.output) == (0, "Nothing failed.\n")


@pytest.mark.parametrize(
    ("content", "shown"), [("{", "is damaged"), ('{"a": 1}', "not a list of failures"), (None, "no")]
)
def test_a_missing_or_damaged_summary_is_one_line(flow, content, shown):
    (flow / "error_summary.json").unlink()
    if content is not None:
        (flow / "error_summary.json").write_text(content)
    result = invoke("errors", flow)
    assert result.exit_code == 1
    assert shown in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_every_kind_that_a_flow_records_has_its_advice():
    others = {"exception", "bad_return", "infrastructure", "vanished", "damaged_store"}
    assert LASTING_KINDS | LIMIT_KINDS | others <= set(ADVICE)
