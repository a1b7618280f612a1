"""The state of a run: values by source, outputs by name, and the limit of failures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dflow.errors import TooManyFailuresError, WiringError
from dflow.flowmanager import flowtask
from dflow.flowmanager.plan.batch import BodyValues, PackedValue, unpack_value
from dflow.flowmanager.plan.settings import FlowSettings
from dflow.flowmanager.plan.tasks import spec_of
from dflow.flowmanager.plan.wiring import FLOW_INPUT, Source, plan
from dflow.flowmanager.run import flowrun
from dflow.flowmanager.run.flowrun import MAX_ALIKE, FlowRun, StepResult, pick, source_values, user_line
from dflow.records import ErrorRecord, ItemRecord
from dflow.storage.paths import FlowPaths


@flowtask.transform(name="cut", inputs=["part"], outputs=["half", "rest"])
def cut(part):
    return part


@flowtask.custom(name="join", inputs=["half", "rest", "scale"])
def join(half, rest, scale):
    return half


def make_run(folder: Path, *tasks: Callable[..., Any], max_failures: float | None = None, **inputs: Any) -> FlowRun:
    """A run of these tasks in which nothing has begun."""
    specs = tuple(spec_of(task) for task in tasks)
    settings = FlowSettings(FlowPaths.of(folder, "f"), specs, max_failures=max_failures)
    unused: Any = SimpleNamespace()
    return FlowRun(settings, plan(specs, tuple(inputs)), inputs, unused, unused, unused, unused, unused)


def cut_run(folder: Path) -> FlowRun:
    """A run whose first step gave two parts, a skipped item and a failed one."""
    run = make_run(folder, cut, join, part=[1, 2, 3, 4], scale={"by": 2})
    records = [
        ItemRecord(0, "1", "succeeded", value=(10, 11)),
        ItemRecord(1, "2", "skipped", value=(20, 21)),
        ItemRecord(2, "3", "failed"),
        ItemRecord(3, "4", "succeeded", value=BodyValues(((0, (40, 41)), (2, (42, 43))))),
    ]
    run.results[0] = StepResult(run.plan.steps[0], records=records)
    return run


@pytest.mark.parametrize(
    ("value", "outputs", "key", "expected"),
    [
        ((1, 2), ["one"], "one", (1, 2)),
        ((1, 2), ["a", "b"], "b", 2),
        ([1, 2], ["a", "b"], "a", 1),
        ({"b": 2, "a": 1}, ["a", "b"], "b", 2),
        ({"one": 5}, ["one"], "one", 5),
        ({"other": 5}, ["one"], "one", {"other": 5}),
    ],
)
def test_outputs_are_picked_by_name_or_position(value, outputs, key, expected):
    assert pick(value, outputs, key, "task") == expected


@pytest.mark.parametrize("value", [5, None, "ab", (1, 2, 3), {"a": 1}, {"a": 1, "c": 2}])
def test_another_number_of_outputs_is_an_error(value):
    message = rf"Task 'cut' declares the outputs \['a', 'b'\], but returned {type(value).__name__}; return a tuple"
    with pytest.raises(WiringError, match=message):
        pick(value, ["a", "b"], "a", "cut")


def test_a_source_is_an_input_or_what_succeeded_items_returned(tmp_path):
    run = cut_run(tmp_path)
    assert run.value(Source(FLOW_INPUT, "scale")) == {"by": 2}
    assert source_values(run, Source(0, "half")) == [10, 40, 42]
    assert source_values(run, Source(0, "rest")) == [11, 41, 43]
    assert source_values(run, Source(FLOW_INPUT, "scale")) == [{"by": 2}]


def test_a_call_over_the_list_gives_its_value_as_it_is(tmp_path):
    @flowtask.custom(name="table", parallel_execution=False)
    def table(parts):
        return parts

    run = make_run(tmp_path, table, parts=[1])
    run.results[0] = StepResult(run.plan.steps[0], value={"rows": [1, 2]})
    assert run.value(Source(0, "table")) == {"rows": [1, 2]}


def test_shared_values_are_packed_as_soon_as_they_are_known(tmp_path):
    run = cut_run(tmp_path)
    step = run.plan.steps[1]
    shared = dict(run.shared(step))
    assert isinstance(shared["scale"], PackedValue)
    assert {key: unpack_value(value) for key, value in shared.items()} == {"rest": [11, 41, 43], "scale": {"by": 2}}
    run.results.clear()
    assert [key for key, _ in run.shared(step)] == ["scale"]


def test_a_value_is_needed_where_a_later_task_takes_it(tmp_path):
    run = make_run(tmp_path, cut, join, part=[1], scale=1)
    assert [run.needs_value(step) for step in run.plan.steps] == [True, False]


def ended(n: int, status: Any = "failed", kind: str = "exception", line: int = 7, **values: Any) -> list[ItemRecord]:
    """Items that ended, failed ones with an error of that kind that was raised in that line."""
    traceback = f'Traceback:\n  File "/home/user/tasks.py", line {line}, in encode\n    f(x)\nTypeError: no\n'
    error = ErrorRecord(kind, "no", "cut", "f", 0, exception="TypeError", traceback=traceback)
    return [ItemRecord(0, "f", status, error=error if status == "failed" else None, **values)] * n


@pytest.mark.parametrize(("limit", "n_allowed"), [(3, 3), (0, 0), (0.25, 25), (1.0, 1)])
def test_failures_are_counted_up_to_a_number_or_a_share(tmp_path, limit, n_allowed):
    run = make_run(tmp_path, cut, part=[1], max_failures=limit)
    run.n_submitted = 100
    run.count(ended(n_allowed))
    run.count([])
    with pytest.raises(
        TooManyFailuresError, match=rf"{n_allowed + 1} of 100 files failed, more than .*run the flow again"
    ):
        run.count(ended(1))


def test_without_a_limit_all_files_may_fail(tmp_path):
    run = make_run(tmp_path, cut, part=[1])
    run.count(ended(10**4, kind="timeout"))
    assert run.n_failed == 10**4


def test_first_failures_of_the_user_s_code_that_are_alike_stop_the_run(tmp_path):
    run = make_run(tmp_path, cut, part=[1])
    run.n_submitted = 100
    run.count(ended(5, kind="timeout"))
    run.count(ended(MAX_ALIKE - 1))
    with pytest.raises(TooManyFailuresError) as caught:
        run.count(ended(3))
    message = str(caught.value)
    assert message.startswith(
        f"The first {MAX_ALIKE} files failed alike and none succeeded: TypeError: no (/home/user/"
    )
    assert "tasks.py, line 7). Correct task 'cut' and run the flow again, or pass max_failures=100 " in message
    assert 'File "/home/user/tasks.py", line 7' in caught.value.__notes__[0]
    assert run.n_untried == 100 - 5 - MAX_ALIKE - 2


@pytest.mark.parametrize(
    "others",
    [
        ended(1, status="succeeded"),
        ended(1, status="skipped"),
        ended(1, line=8),
        ended(1, status="succeeded", reused=True),
    ],
    ids=["one succeeded", "one was skipped", "one failed in another line", "one is reused"],
)
def test_a_run_goes_on_where_not_all_first_failures_are_alike(tmp_path, others):
    run = make_run(tmp_path, cut, part=[1])
    run.count([*ended(MAX_ALIKE // 2), *others, *ended(MAX_ALIKE)])
    run.count(ended(10 * MAX_ALIKE))


@pytest.mark.parametrize(
    "kind", ["too_big", "timeout", "out_of_memory", "crash", "unreadable", "geometry", "no_geometry", "kernel_error"]
)
def test_failures_that_the_files_cause_never_stop_a_run(tmp_path, kind):
    run = make_run(tmp_path, cut, part=[1])
    run.count(ended(10 * MAX_ALIKE, kind=kind))


def test_failures_of_an_earlier_run_do_not_count_as_first_ones(tmp_path):
    run = make_run(tmp_path, cut, part=[1])
    run.count(ended(10 * MAX_ALIKE, reused=True))


def test_a_number_of_failures_that_the_user_allows_switches_it_off(tmp_path):
    run = make_run(tmp_path, cut, part=[1], max_failures=10**6)
    run.count(ended(10 * MAX_ALIKE))


def test_the_user_s_line_is_the_innermost_outside_of_libraries():
    frames = ["/home/user/tasks.py", "/home/user/help.py", "/x/site-packages/numpy/core.py", flowrun.__file__]
    text = "".join(f'  File "{file}", line {n}, in f\n    x\n' for n, file in enumerate(frames, 1))
    assert user_line(text) == "/home/user/help.py, line 2"
    assert user_line("TypeError: no") == ""
