"""One item in this process: units, their order, and failures that are messages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dflow.cadaccess import CadLoader
from dflow.demo.parts import box, write_step
from dflow.flowmanager.plan.batch import Batch, Limits, unpack_value
from dflow.flowmanager.worker import execution
from dflow.flowmanager.worker.execution import prepare_call, run_item
from dflow.flowmanager.worker.wire import WHOLE_FILE, ItemDone, Reply, UnitDone, UnitStarted
from tests.cadaccess.solids import compound
from tests.flowmanager.batches import double, make_batch


def run(batch: Batch, *, skip: tuple[int, ...] = ()) -> tuple[list[Reply], ItemDone]:
    """What the batch's only item emits, and its end."""
    call = prepare_call(batch, batch.call.function)
    emitted: list[Reply] = []
    (item,) = batch.items
    return emitted, run_item(call, item, skip, emitted.append)


def unit_of(batch: Batch) -> UnitDone:
    """The only unit of the batch's only item."""
    (unit,), done = run(batch)
    assert done.error is None
    assert isinstance(unit, UnitDone)
    return unit


def numbers(value: int) -> Iterator[int]:
    yield from range(value)


def leave(value: int) -> None:
    raise SystemExit(3)


class Own:
    """Cannot be pickled."""

    def __reduce__(self) -> Any:
        raise TypeError("stays here")


def own(value: int) -> Any:
    return Own()


def write(value: int, storage: Any) -> None:
    storage.save_metadata("n", value)


def only_set_schema(value: int, storage: Any) -> None:
    storage.set_schema({"version": "1.0", "domain": "d"})


def test_an_item_is_one_unit_with_its_value_and_times(tmp_path):
    (unit,), done = run(make_batch(double, [21], tmp_path))
    assert unit == UnitDone(WHOLE_FILE, "succeeded", 42)
    assert done.seconds >= 0.0
    assert done.cpu_seconds >= 0.0
    assert done.peak_bytes > 10 * 1024**2
    assert (done.error, done.leaving) == (None, False)


def test_a_value_that_nobody_takes_is_checked_and_dropped(tmp_path):
    assert unit_of(make_batch(double, [21], tmp_path, keep_value=False)).value is None
    failed = unit_of(make_batch(own, [1], tmp_path, keep_value=False))
    assert failed.error is not None
    assert (failed.status, failed.error.kind) == ("failed", "bad_return")
    assert "the returned Own cannot be handed on: TypeError: stays here" in failed.error.message


def test_a_generator_becomes_a_list(tmp_path):
    assert unpack_value(unit_of(make_batch(numbers, [3], tmp_path)).value) == [0, 1, 2]


def test_a_value_beyond_the_limit_fails(tmp_path):
    unit = unit_of(make_batch(numbers, [1000], tmp_path, limits=Limits(max_value_bytes=100)))
    assert unit.error is not None
    assert (unit.error.kind, "more than 100 bytes" in unit.error.message) == ("bad_return", True)


def test_leaving_the_interpreter_is_a_failure_like_any_other(tmp_path):
    unit = unit_of(make_batch(leave, [1], tmp_path))
    assert unit.error is not None
    assert (unit.error.kind, unit.error.exception) == ("exception", "SystemExit")


@pytest.mark.parametrize(("function", "status"), [(write, "succeeded"), (only_set_schema, "skipped")])
def test_none_from_a_transform_that_saved_nothing_skips(tmp_path, function, status):
    batch = make_batch(function, [1], tmp_path, "item", "storage")
    unit = unit_of(batch)
    assert unit.status == status
    assert (unit.sample is not None) == (status == "succeeded")
    assert len(list(batch.paths.encoded.iterdir())) == (status == "succeeded")


def test_a_sample_is_sealed_after_the_last_stage_and_parked_before(tmp_path):
    sealed = unit_of(make_batch(write, [1], tmp_path, "item", "storage"))
    parked = unit_of(make_batch(write, [2], tmp_path, "item", "storage", is_last_stage=False))
    assert sealed.sample is not None
    assert sealed.parked == ""
    assert sealed.sample.value_map()["n"] == 1
    assert (parked.sample, bool(parked.parked)) == (None, True)


@pytest.fixture
def two_boxes(tmp_path: Path) -> str:
    path = tmp_path / "two.step"
    write_step(compound(box(0, 0, 0, 1, 1, 1), box(5, 0, 0, 1, 1, 1)), path)
    return str(path)


def n_bodies(path: str, cad_loader: Any) -> int:
    return int(cad_loader.create_from_file(path).get_body_count())


def body_batch(path: str, root: Path) -> Batch:
    return make_batch(n_bodies, [path], root, "item", "cad_loader", sample="body")


def test_bodies_are_announced_and_done_one_by_one(tmp_path, two_boxes):
    emitted, done = run(body_batch(two_boxes, tmp_path))
    assert [(type(each), each.body) for each in emitted if isinstance(each, (UnitStarted, UnitDone))] == [
        (UnitStarted, 0),
        (UnitDone, 0),
        (UnitStarted, 1),
        (UnitDone, 1),
    ]
    assert [unit.value for unit in emitted if isinstance(unit, UnitDone)] == [1, 1]
    assert done.error is None


def test_bodies_that_are_done_are_left_out(tmp_path, two_boxes):
    emitted, _ = run(body_batch(two_boxes, tmp_path), skip=(0,))
    assert [each.body for each in emitted if isinstance(each, UnitDone)] == [1]


def test_a_file_that_cannot_be_opened_fails_before_its_first_body(tmp_path):
    emitted, done = run(body_batch(str(tmp_path / "gone.step"), tmp_path))
    assert emitted == []
    assert done.error is not None
    assert done.error.kind == "vanished"


def test_a_thread_keeps_one_loader_and_closes_its_models(tmp_path, two_boxes):
    batch = make_batch(n_bodies, [two_boxes], tmp_path, "item", "cad_loader")
    first, second = (prepare_call(batch, batch.call.function) for _ in range(2))
    assert first.loader is second.loader
    assert isinstance(first.loader, CadLoader)
    run(batch)
    assert len(first.loader.opened) == 0


def test_models_of_one_file_count_once(two_boxes):
    loader = CadLoader()
    models = [loader.create_from_file(two_boxes) for _ in range(2)]
    assert execution._of_distinct_files(models) == models[:1]
