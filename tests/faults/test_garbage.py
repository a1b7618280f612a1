"""A task that returns garbage, through a whole flow: each file is recorded for itself, and the dataset is whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dflow.flowmanager import flowtask
from tests.faults.cases import Case, assert_whole, failures
from tests.faults.garbage_tasks import REFUSED, SCRIBBLER, encode
from tests.faults.held_tasks import gather

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def test_a_task_that_returns_garbage_loses_those_files_alone(
    case: Case, undisturbed: Callable[..., dict[str, Any]], tabulate: Callable[..., None]
) -> None:
    case.tasks = (gather, encode)
    output = case.run()
    lost = {**dict.fromkeys(REFUSED, "bad_return"), SCRIBBLER: "crash"}
    equal = case.outputs() == undisturbed(*lost)
    tabulate("task returns garbage", "went on without those files", "bad_return, crash", equal)
    assert failures(output) == lost
    assert_whole(case, output, 12)
    assert equal
    again = case.run()
    assert again.counts.samples == output.counts.samples
    assert failures(again) == lost
    assert case.outputs() == undisturbed(*lost)


@flowtask.transform(name="follow", inputs=["encoded", "storage"], outputs=["followed"])
def follow(encoded: Any, storage: Any) -> str:
    """A later task that takes the garbage."""
    storage.save_metadata("returned", type(encoded).__name__)
    return str(len(str(encoded)))


def test_garbage_reaches_only_the_next_tasks_child(case: Case) -> None:
    case.tasks = (gather, encode, follow)
    output = case.run()
    found = failures(output)
    assert {stem: found.get(stem) for stem in REFUSED} == dict.fromkeys(REFUSED, "bad_return")
    assert_whole(case, output, 12)
    assert output.counts.succeeded == 12 - len(found)
