"""Whose fault a failure is, decided by evidence."""

from __future__ import annotations

from pathlib import Path

import pytest

from dflow.flowmanager.run.elsewhere import MOST_ALIKE, Elsewhere, Trial
from dflow.records import BatchResult, ErrorRecord, ItemRecord

A, B = "tcp://10.0.0.1:1", "tcp://10.0.0.2:1"
HOSTS = frozenset({"10.0.0.1", "10.0.0.2"})


@pytest.fixture
def blamed() -> list[Trial]:
    return []


@pytest.fixture
def elsewhere(blamed: list[Trial]) -> Elsewhere:
    return Elsewhere(blamed.append)


def failed(kind: str, index: int = 0, exception: str = "PermissionError") -> ItemRecord:
    return ItemRecord(index, "a.step", "failed", error=ErrorRecord(kind, "denied", "t", "a.step", index, exception))


def on(worker: str, **changes: object) -> BatchResult:
    return BatchResult("t", 0, (), host=worker[6:14], worker=worker, **changes)  # type: ignore[arg-type]


def test_what_another_host_does_is_the_first_hosts_fault(elsewhere, blamed):
    assert elsewhere.judge(failed("infrastructure"), on(A), "/no", HOSTS, 1.0) == "again"
    assert elsewhere.tried(0) == {"10.0.0.1"}
    assert elsewhere.judge(ItemRecord(0, "a.step", "succeeded"), on(B), "/no", HOSTS, 2.0) == "final"
    assert [(trial.worker, trial.begun) for trial in blamed] == [(A, 1.0)]
    assert not elsewhere.has_trials


@pytest.mark.parametrize(
    ("unread", "exception", "kind"),
    [((0,), "OSError", "unreadable"), ((), "PermissionError", "exception"), ((), "OSError", "infrastructure")],
)
def test_what_fails_on_two_hosts_is_not_a_hosts_fault_and_says_so(elsewhere, blamed, unread, exception, kind):
    record = failed("infrastructure", exception=exception)
    assert elsewhere.judge(record, on(A, unread=unread), "/no", HOSTS, 1.0) == "again"
    assert elsewhere.judge(record, on(B, unread=unread), "/no", HOSTS, 2.0) == "final"
    error = elsewhere.final(record, on(B, unread=unread)).error
    assert error is not None
    assert error.kind == kind
    assert "failed alike on 10.0.0.1 and 10.0.0.2, where the flow's folders can be written" in error.message
    assert blamed == []


def test_with_one_host_ten_thousand_files_are_tried_once(elsewhere):
    one = frozenset({"10.0.0.1"})
    decisions = {elsewhere.judge(failed("infrastructure", n), on(A), "/no", one, 1.0) for n in range(10_000)}
    assert decisions == {"final"}


def test_files_that_all_fail_alike_are_no_longer_tried_twice(elsewhere):
    n_again = 0
    for index in range(200):
        if elsewhere.judge(failed("infrastructure", index), on(A), "/no", HOSTS, 1.0) == "again":
            n_again += 1
            assert elsewhere.judge(failed("infrastructure", index), on(B), "/no", HOSTS, 1.0) == "final"
    assert n_again == MOST_ALIKE


@pytest.mark.parametrize("kind", ["vanished", "infrastructure"])
def test_a_file_that_this_process_reads_is_the_hosts_fault_at_once(elsewhere, blamed, tmp_path: Path, kind):
    (tmp_path / "a.step").write_text("x")
    result = on(A, unread=(0,))
    assert elsewhere.judge(failed(kind), result, str(tmp_path / "a.step"), HOSTS, 1.0) == "again"
    assert "which this process reads" in blamed[0].reason
    (tmp_path / "a.step").unlink()
    if kind == "vanished":
        assert elsewhere.judge(failed(kind), result, str(tmp_path / "a.step"), HOSTS, 2.0) == "final"


def test_a_batchs_host_fault_and_a_missing_kernel_send_items_elsewhere(elsewhere, blamed):
    assert elsewhere.judge(failed("infrastructure"), on(A, host_fault="full"), "/no", HOSTS, 1.0) == "again"
    assert blamed == []
    assert elsewhere.judge(failed("kernel_missing"), on(A), "/no", HOSTS, 1.0) == "again"
    assert len(blamed) == 1
    assert elsewhere.judge(failed("unreadable"), on(A), "/no", HOSTS, 1.0) == "final"
