"""The rules of an item's fate, without any process: events in, decisions out."""

from __future__ import annotations

import os
import platform
from dataclasses import replace
from pathlib import Path

import pytest

from dflow.flowmanager.plan.batch import Batch, BodyValues, Feed, Item, Limits, TaskCall
from dflow.flowmanager.worker.faults import Fault
from dflow.flowmanager.worker.outcome import ItemOutcome
from dflow.flowmanager.worker.wire import ItemDone, PreviewDone, Run, UnitDone, UnitStarted
from dflow.records import ErrorRecord, SampleLayout, SampleRecord
from dflow.storage.paths import FlowPaths

CRASH = Fault("crash", "ended by SIGSEGV", 11, "stack")
DONE = ItemDone(2.0, 1.5)
ITEM = Item(4, "a.step", "/x/a.step", content_hash="hash")
VALUE_ERROR = Fault("exception", "no good", exception="ValueError")
NO_MEMORY = replace(VALUE_ERROR, kind="out_of_memory")


def outcome(
    sample: str = "file", max_retries: int = 1, keep_value: bool = True, retry_timeouts: bool = False
) -> ItemOutcome:
    call = TaskCall("encode", "transform", b"", (Feed("item"), Feed("storage")), keep_value, is_last_stage=True)
    limits = Limits(max_retries=max_retries, retry_timeouts=retry_timeouts)
    batch = Batch(0, call, (ITEM,), FlowPaths(Path("/x"), "f"), limits, sample=sample)  # type: ignore[arg-type]
    return ItemOutcome(batch, ITEM)


def sample(body: int = -1) -> SampleRecord:
    return SampleRecord(f"s_{max(body, 0)}", "a.step", body, SampleLayout(), ())


def done(body: int = -1, **options) -> UnitDone:
    return UnitDone(body, "succeeded", f"value {body}", sample(body), **options)


def tell(item: ItemOutcome, *messages) -> ItemOutcome:
    item.request(0)
    for message in messages:
        item.event(message)
    return item


def test_success_carries_value_sample_times_and_hash():
    item = tell(outcome(), done(), DONE)
    assert item.state == "finished"
    record = item.record()
    assert (record.status, record.value, record.samples) == ("succeeded", "value -1", (sample(),))
    assert (record.seconds, record.cpu_seconds, record.content_hash) == (2.0, 1.5, "hash")
    assert (record.item_index, record.item, record.error) == (4, "a.step", None)


def test_a_value_nobody_needs_is_dropped():
    assert tell(outcome(keep_value=False), done(), DONE).record().value is None


def test_skipped_is_neither_success_nor_failure():
    record = tell(outcome(), UnitDone(-1, "skipped"), DONE).record()
    assert (record.status, record.samples, record.error) == ("skipped", (), None)


def test_a_deterministic_failure_is_final_at_once():
    item = tell(outcome(), UnitDone(-1, "failed", error=VALUE_ERROR), DONE)
    assert item.state == "finished"
    error = item.record().error
    assert error is not None
    assert (error.kind, error.file, error.item_index, error.seconds, error.attempts) == (
        "exception",
        "a.step",
        4,
        2.0,
        1,
    )


@pytest.mark.parametrize(("kind", "asked"), [("crash", False), ("timeout", True), ("out_of_memory", False)])
def test_what_may_be_the_machines_fault_is_tried_again(kind, asked):
    item = outcome(retry_timeouts=asked)
    assert item.request(77) == Run(ITEM, (), 77)
    item.fault(replace(CRASH, kind=kind), 3.0)
    assert item.state == "retry"
    record = tell(item, done(), DONE).record()
    assert (record.status, record.seconds) == ("succeeded", 5.0)


def test_time_that_ran_out_is_final_unless_another_try_was_asked_for():
    item = outcome()
    item.request(0)
    item.fault(replace(CRASH, kind="timeout"), 3.0)
    assert item.state == "finished"
    error = item.record().error
    assert error is not None
    assert (error.kind, error.attempts) == ("timeout", 1)


def test_the_second_crash_is_final_and_counted():
    item = outcome()
    item.request(0)
    item.fault(CRASH, 3.0)
    item.request(0)
    item.fault(CRASH, 4.0)
    assert item.state == "finished"
    error = item.record().error
    assert error is not None
    assert (error.kind, error.signal, error.attempts, error.seconds, error.traceback) == ("crash", 11, 2, 7.0, "stack")


def test_without_retries_the_first_crash_is_final():
    item = outcome(max_retries=0)
    item.request(0)
    item.fault(CRASH, 3.0)
    assert item.state == "finished"


def test_a_memory_error_that_was_caught_is_tried_again_too():
    item = tell(outcome(), UnitDone(-1, "failed", error=NO_MEMORY), DONE)
    assert item.state == "retry"
    item = tell(item, UnitDone(-1, "failed", error=NO_MEMORY), DONE)
    assert item.state == "finished"
    error = item.record().error
    assert error is not None
    assert (error.kind, error.attempts) == ("out_of_memory", 2)


@pytest.mark.parametrize("kind", ["crash", "timeout", "out_of_memory"])
def test_a_preview_that_kills_the_child_is_a_note(kind):
    item = tell(outcome(), done(preview=True))
    item.fault(replace(CRASH, kind=kind), 9.0)
    assert item.state == "finished"
    record = item.record()
    assert (record.status, record.samples) == ("succeeded", (sample(),))
    assert record.notes == (f"no preview: {kind}: ended by SIGSEGV",)


def test_preview_time_is_counted_apart():
    record = tell(outcome(), done(preview=True), PreviewDone(0.5), DONE).record()
    assert (record.seconds, record.preview_seconds, record.notes) == (2.0, 0.5, ())


def test_bodies_become_samples_and_values_each():
    messages = [message for body in (0, 1) for message in (UnitStarted(body), done(body))]
    record = tell(outcome("body"), *messages, DONE).record()
    assert record.samples == (sample(0), sample(1))
    assert record.value == BodyValues(((0, "value 0"), (1, "value 1")))


def test_a_failed_body_fails_the_file_and_keeps_the_others():
    failed = UnitDone(1, "failed", error=VALUE_ERROR)
    item = tell(outcome("body"), UnitStarted(0), done(0), UnitStarted(1), failed, UnitStarted(2), done(2), DONE)
    record = item.record()
    assert record.status == "failed"
    assert record.samples == (sample(0), sample(2))
    assert record.error is not None
    assert record.error.message == "1 of 3 bodies failed (1); body 1: no good"
    assert item.finished_bodies == (0, 2)


def test_after_a_body_that_crashes_for_good_the_file_goes_on_behind_it():
    item = tell(outcome("body"), UnitStarted(0), done(0), UnitStarted(1))
    item.fault(CRASH, 1.0)
    assert item.state == "retry"
    assert item.request(0).skip == (0,)
    item.event(UnitStarted(1))
    item.fault(CRASH, 1.0)
    assert item.state == "open"
    assert item.request(0).skip == (0, 1)
    for message in (UnitStarted(2), done(2), DONE):
        item.event(message)
    assert item.state == "finished"
    record = item.record()
    assert (record.status, record.samples) == ("failed", (sample(0), sample(2)))
    assert record.error is not None
    assert (record.error.kind, record.error.signal) == ("crash", 11)


def test_a_file_that_crashes_while_it_is_opened_has_no_bodies():
    item = outcome("body", max_retries=0)
    item.request(0)
    item.fault(CRASH, 1.0)
    assert item.state == "finished"
    assert (item.record().status, item.record().samples) == ("failed", ())


def test_all_bodies_skipped_is_skipped():
    item = tell(outcome("body"), UnitStarted(0), UnitDone(0, "skipped"), DONE)
    assert item.record().status == "skipped"


def test_giving_up_ends_it_with_that_error():
    item = outcome()
    item.give_up(replace(VALUE_ERROR, kind="infrastructure"))
    item.log(("a line",))
    error = item.record().error
    assert error is not None
    assert (item.state, error.kind, error.file, error.logs) == ("finished", "infrastructure", "a.step", ("a line",))


def test_an_error_record_is_complete():
    item = tell(outcome(max_retries=0), UnitDone(-1, "failed", error=VALUE_ERROR), DONE)
    item.log(("a line",))
    assert item.record().error == ErrorRecord(
        "exception",
        "no good",
        "encode",
        "a.step",
        4,
        exception="ValueError",
        seconds=2.0,
        worker_pid=os.getpid(),
        host=platform.node(),
        logs=("a line",),
    )
