"""`run_batch`: every item gets its record, whatever it does to its process. Real processes throughout."""

from __future__ import annotations

import bdb
import ctypes
import os
import pickle
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dflow.cadaccess import CadLoader
from dflow.cadaccess.parts import box, write_step
from dflow.flowmanager import worker
from dflow.flowmanager.batch import Batch, BodyValues, Feed, Item, Limits, PackedValue, pack_value, unpack_value
from dflow.flowmanager.samples import work_folder
from dflow.records import BatchResult, ErrorRecord, ItemRecord
from dflow.storage import JsonStorageHandler, OptStorage, describe_file
from dflow.storage.paths import TEMPORARY_PREFIX
from tests.flowmanager.batches import QUICK, make_batch, wait_until

MIB = 1024**2


@pytest.fixture(scope="module", autouse=True)
def _no_child_left_behind() -> Iterator[None]:
    yield
    worker.shutdown()


@pytest.fixture
def part(tmp_path) -> str:
    path = tmp_path / "part.step"
    write_step(box(0, 0, 0, 1, 2, 3), path)
    return str(path)


@pytest.fixture
def two_bodies(tmp_path) -> str:
    from OCP.BRep import BRep_Builder
    from OCP.TopoDS import TopoDS_Compound

    compound, builder = TopoDS_Compound(), BRep_Builder()
    builder.MakeCompound(compound)
    builder.Add(compound, box(0, 0, 0, 1, 2, 3))
    builder.Add(compound, box(10, 0, 0, 4, 5, 6))
    path = tmp_path / "two.step"
    write_step(compound, path)
    return str(path)


def errors_of(result: BatchResult) -> list[ErrorRecord]:
    return [record.error for record in result.items if record.error is not None]


def statuses(result: BatchResult) -> list[str]:
    return [record.status for record in result.items]


def data_files(batch: Batch) -> set[str]:
    return {path.name for path in batch.paths.encoded.iterdir()}


def follow(batch: Batch, result: BatchResult, function: Callable[..., Any], *feeds: Any, **options: Any) -> Batch:
    """The next stage's batch: what succeeded, with its value and its samples' names."""
    later = make_batch(function, [], batch.paths.root, *feeds, stage=batch.call.stage + 1, **options)
    items = [
        Item(record.item_index, record.item, record.value, sample_names=record.parked)
        for record in result.items
        if record.status == "succeeded"
    ]
    return replace(later, items=tuple(items), storage_type=batch.storage_type, sample=batch.sample)


# What happens to good items


def double(value):
    return 2 * value


def test_items_come_back_in_order_with_their_values(tmp_path):
    result = worker.run_batch(make_batch(double, range(50), tmp_path))
    assert [record.value for record in result.items] == [2 * n for n in range(50)]
    assert [record.item_index for record in result.items] == list(range(50))
    assert set(statuses(result)) == {"succeeded"}
    assert (result.task, result.worker_pid, result.child_restarts) == ("encode", os.getpid(), 0)


def test_a_result_pickles_and_compares_by_value(tmp_path):
    result = worker.run_batch(make_batch(touchy, ["ok", "raise"], tmp_path))
    assert pickle.loads(pickle.dumps(result)) == result


def areas(path, storage):
    storage.save_data("faces/areas", np.arange(5, dtype=np.float32))
    return storage.get_file_path("")


def test_a_store_that_nobody_compressed_is_sealed_once(tmp_path):
    batch = make_batch(areas, ["a.step", "b.step"], tmp_path, "item", "storage")
    result = worker.run_batch(batch)
    for record in result.items:
        (sample,) = record.samples
        assert record.value == str(batch.paths.data_file(sample.name))
        assert describe_file(record.value) == sample
        assert (sample.source, sample.body, sample.row_count("faces")) == (record.item, -1, 5)
        metadata = OptStorage(record.value).get_metadata()
        assert (metadata["Item"], metadata["Flow name"]) == (record.item, "test")
    assert len(data_files(batch)) == 2


def test_stores_are_byte_equal_however_they_are_run(tmp_path):
    found = []
    for folder, isolation in (("a", "process"), ("b", "inline")):
        batch = make_batch(areas, [tmp_path / folder / "x"], tmp_path / folder, "item", "storage", isolation=isolation)
        (record,) = worker.run_batch(batch).items
        found.append((record.samples, batch.paths.data_file(record.samples[0].name).read_bytes()))
    assert found[0] == found[1]


def test_a_store_is_fresh_even_where_an_earlier_run_left_one(tmp_path):
    def more(path, storage):
        storage.save_data("edges/lengths", np.ones(3))

    batch = make_batch(areas, ["a.step"], tmp_path, "item", "storage")
    worker.run_batch(batch)
    (record,) = worker.run_batch(make_batch(more, ["a.step"], tmp_path, "item", "storage")).items
    assert record.samples[0].layout.groups == ("edges",)


def closing(path, storage):
    storage.save_data("faces/areas", np.ones(2))
    storage.compress_store()
    storage.close()


@pytest.mark.parametrize("kind", ["optimized", "json"])
def test_a_user_may_close_the_store(tmp_path, kind):
    (record,) = worker.run_batch(make_batch(closing, ["a.step"], tmp_path, "item", "storage", storage_type=kind)).items
    assert record.status == "succeeded", record.error
    assert record.samples[0].row_count("faces") == 2


def undecided(value, storage):
    storage.set_schema({"version": "1.0", "domain": "d", "groups": {}})
    if value == "number":
        storage.save_metadata("n", 1)
    if value == "compressed":
        storage.compress_store()


def test_none_without_writing_is_skipped(tmp_path):
    batch = make_batch(undecided, ["nothing", "number", "compressed"], tmp_path, "item", "storage")
    result = worker.run_batch(batch)
    assert statuses(result) == ["skipped", "succeeded", "succeeded"]
    assert data_files(batch) == {f"{record.samples[0].name}.data" for record in result.items[1:]}


def nothing(value):
    return None


@pytest.mark.parametrize(
    ("kind", "status"), [("transform", "skipped"), ("extract", "succeeded"), ("custom", "succeeded")]
)
def test_only_transforms_skip(tmp_path, kind, status):
    assert statuses(worker.run_batch(make_batch(nothing, [1], tmp_path, kind=kind))) == [status]


def listing(source):
    yield f"{source}/a"
    yield f"{source}/b"


def test_a_generator_of_an_extract_becomes_a_list(tmp_path):
    (record,) = worker.run_batch(make_batch(listing, ["x"], tmp_path, kind="extract")).items
    assert isinstance(record.value, PackedValue)
    assert unpack_value(record.value) == ["x/a", "x/b"]


def scaled(value, *, scale, offset):
    return value * scale + offset


def test_further_values_come_from_the_item_or_are_shared(tmp_path):
    batch = make_batch(scaled, [1, 2], tmp_path)
    feeds = (Feed("item"), Feed("key", "scale", "scale"), Feed("key", "offset", "offset"))
    items = tuple(replace(item, inputs=(("scale", 10 * item.value),)) for item in batch.items)
    shared = (("offset", pack_value(0.5)), ("scale", None))
    result = worker.run_batch(replace(batch, call=replace(batch.call, feeds=feeds), items=items, shared=shared))
    assert [record.value for record in result.items] == [10.5, 40.5]


class Pair:
    """A user's class: the worker never needs to know it."""

    def __init__(self, left, right):
        self.left, self.right = left, right


def pair(value):
    return Pair(value, -value)


def left(value):
    return value.left


def test_values_of_users_classes_reach_the_next_task(tmp_path):
    first = make_batch(pair, [3], tmp_path)
    result = worker.run_batch(first)
    assert isinstance(result.items[0].value, PackedValue)
    assert [record.value for record in worker.run_batch(follow(first, result, left, "item")).items] == [3]


# Stages


def extend(path, storage):
    storage.save_data("faces/doubled", 2 * storage.load_data("faces/areas"))


@pytest.mark.parametrize("kind", ["optimized", "json", "memory"])
def test_a_later_transform_reads_and_extends_the_same_sample(tmp_path, kind):
    first = make_batch(areas, ["a.step", "b.step"], tmp_path, "item", "storage", is_last_stage=False, storage_type=kind)
    parked = worker.run_batch(first)
    assert [record.samples for record in parked.items] == [(), ()]
    assert all(record.parked for record in parked.items)
    result = worker.run_batch(follow(first, parked, extend, "item", "storage"))
    assert statuses(result) == ["succeeded", "succeeded"], errors_of(result)
    if kind == "memory":
        assert data_files(first) == set()
        return
    for record in result.items:
        (sample,) = record.samples
        assert [array.key for array in sample.layout.arrays] == ["faces/areas", "faces/doubled"]
        assert describe_file(first.paths.data_file(sample.name)) == sample
    if kind == "json":
        store = JsonStorageHandler(first.paths.encoded / result.items[0].samples[0].name)
        np.testing.assert_array_equal(store.load_data("faces/doubled"), 2 * np.arange(5))


def once(path, storage):
    assert "edges" not in storage.get_keys()
    storage.save_data("edges/lengths", np.ones(2))
    storage.compress_store()
    marker = Path(path).with_suffix(".tried")
    if not marker.exists():
        marker.touch()
        os.abort()


def test_a_stage_that_is_tried_again_starts_from_what_the_earlier_one_left(tmp_path):
    first = make_batch(areas, [tmp_path / "a.step"], tmp_path, "item", "storage", is_last_stage=False)
    parked = worker.run_batch(first)
    result = worker.run_batch(follow(first, parked, once, "item", "storage", limits=replace(QUICK, max_retries=1)))
    assert statuses(result) == ["succeeded"], errors_of(result)
    assert result.child_restarts == 1
    assert result.items[0].samples[0].layout.groups == ("edges", "faces")


# Models


def open_only(path, cad_loader, storage):
    cad_loader.create_from_file(path)
    storage.save_data("faces/areas", np.ones(6))


def own_count(path, cad_loader, storage):
    storage.save_metadata("face_count", 99)
    cad_loader.create_from_file(path)
    storage.save_metadata("body_count", 98)


def values_of(record: ItemRecord) -> dict[str, Any]:
    return record.samples[0].value_map()


def test_counts_of_the_opened_model_are_recorded(tmp_path, part):
    batch = make_batch(open_only, [part], tmp_path, "item", "cad_loader", "storage")
    (record,) = worker.run_batch(batch).items
    assert values_of(record) == {"face_count": 6, "edge_count": 12, "body_count": 1}


def test_a_users_count_wins(tmp_path, part):
    batch = make_batch(own_count, [part], tmp_path, "item", "cad_loader", "storage")
    (record,) = worker.run_batch(batch).items
    assert values_of(record) == {"face_count": 99, "edge_count": 12, "body_count": 98}


def open_both(paths, cad_loader, storage):
    for path in (*paths, *paths):
        cad_loader.create_from_file(path)
    storage.save_data("faces/areas", np.ones(18))


def test_counts_of_several_models_add_up(tmp_path, part, two_bodies):
    batch = make_batch(open_both, [[part, two_bodies]], tmp_path, "item", "cad_loader", "storage")
    (record,) = worker.run_batch(batch).items
    assert values_of(record) == {"face_count": 36, "edge_count": 72, "body_count": 6}


def by_body(path, cad_loader, storage):
    model = cad_loader.create_from_file(path)
    storage.save_data("faces/areas", np.asarray(model.get_brep().face_areas()))
    return float(np.sum(model.get_brep().face_areas()))


def test_bodies_become_samples_each(tmp_path, two_bodies):
    batch = make_batch(by_body, [two_bodies], tmp_path, "item", "cad_loader", "storage", sample="body")
    (record,) = worker.run_batch(batch).items
    assert [sample.body for sample in record.samples] == [0, 1]
    assert [sample.name[-2:] for sample in record.samples] == ["_0", "_1"]
    assert [sample.value_map()["body_count"] for sample in record.samples] == [1, 1]
    assert [sample.row_count("faces") for sample in record.samples] == [6, 6]
    assert isinstance(record.value, BodyValues)
    np.testing.assert_allclose([value for _, value in record.value.values], [22.0, 148.0])


def opened_once(path, cad_loader, storage):
    model = cad_loader.create_from_file(path)
    storage.save_metadata("model", str(id(model._source)))


def test_a_file_is_read_once_for_all_its_bodies(tmp_path, two_bodies):
    batch = make_batch(opened_once, [two_bodies], tmp_path, "item", "cad_loader", "storage", sample="body")
    (record,) = worker.run_batch(batch).items
    assert len({sample.value_map()["model"] for sample in record.samples}) == 1


def fragile_first(path, cad_loader, storage):
    if cad_loader.create_from_file(path).get_brep().volume() < 10:
        os.abort()
    storage.save_metadata("fine", True)


def test_a_body_that_crashes_costs_only_itself(tmp_path, two_bodies, part):
    batch = make_batch(fragile_first, [two_bodies], tmp_path, "item", "cad_loader", "storage", sample="body")
    (record,) = worker.run_batch(batch).items
    assert record.status == "failed"
    assert [sample.body for sample in record.samples] == [1]
    assert record.error is not None
    assert (record.error.kind, record.error.signal) == ("crash", 6)
    assert "body 0" in record.error.message
    assert data_files(batch) == {f"{record.samples[0].name}.data"}


def body_again(value, storage):
    storage.save_metadata("area", value)
    return value


def test_a_later_stage_goes_body_by_body_with_each_bodys_value(tmp_path, two_bodies):
    options = {"sample": "body", "is_last_stage": False}
    first = make_batch(by_body, [two_bodies], tmp_path, "item", "cad_loader", "storage", **options)
    result = worker.run_batch(follow(first, worker.run_batch(first), body_again, "item", "storage"))
    assert statuses(result) == ["succeeded"], errors_of(result)
    areas = [sample.value_map()["area"] for sample in result.items[0].samples]
    np.testing.assert_allclose(areas, [22.0, 148.0])


def open_again(area, cad_loader, storage):
    identity = os.path.join(storage.load_metadata("folder"), os.path.basename(storage.load_metadata("Item")))
    storage.save_metadata("volume", cad_loader.create_from_file(identity).get_brep().volume())


def remember_folder(path, cad_loader, storage):
    cad_loader.create_from_file(path)
    storage.save_metadata("folder", os.path.dirname(path))


def test_a_later_stage_that_opens_the_file_gets_the_body_whose_turn_it_is(tmp_path, two_bodies):
    options = {"sample": "body", "is_last_stage": False}
    first = make_batch(remember_folder, [two_bodies], tmp_path, "item", "cad_loader", "storage", **options)
    result = worker.run_batch(follow(first, worker.run_batch(first), open_again, "item", "cad_loader", "storage"))
    assert statuses(result) == ["succeeded"], errors_of(result)
    volumes = [sample.value_map()["volume"] for sample in result.items[0].samples]
    np.testing.assert_allclose(volumes, [6.0, 120.0])


def test_previews_are_drawn_and_timed_apart(tmp_path, part, monkeypatch):
    options = {"export_visualization": True}
    batch = make_batch(open_only, [part], tmp_path, "item", "cad_loader", "storage", **options)
    (record,) = worker.run_batch(batch).items
    assert (record.status, record.notes) == ("succeeded", ())
    assert record.preview_seconds > 0
    name = record.samples[0].name
    assert batch.paths.preview(name).read_bytes().startswith(b"\x89PNG")
    assert batch.paths.mesh(name).read_bytes().startswith(b"glTF")


def spoil_mesh(path, cad_loader, storage):
    model = cad_loader.create_from_file(path)
    storage.save_metadata("path", str(path))
    model.get_mesh = {"raise": lambda: 1 / 0, "abort": os.abort, "hang": lambda: time.sleep(60)}[Path(path).stem]


def test_a_preview_never_fails_its_item(tmp_path, part):
    paths = [str(tmp_path / f"{what}.step") for what in ("raise", "abort", "hang")]
    for path in paths:
        Path(path).write_bytes(Path(part).read_bytes())
    limits = replace(QUICK, preview_seconds=1.0)
    options = {"export_visualization": True, "limits": limits}
    result = worker.run_batch(make_batch(spoil_mesh, paths, tmp_path, "item", "cad_loader", "storage", **options))
    assert statuses(result) == ["succeeded"] * 3, errors_of(result)
    notes = [record.notes[0] for record in result.items]
    assert [note.split(":")[1].strip() for note in notes] == ["ZeroDivisionError", "crash", "timeout"]
    assert all(record.samples for record in result.items)


# Faults


def touchy(value):
    print("about to", value)
    match value:
        case "segv":
            ctypes.string_at(0)
        case "abort":
            os.abort()
        case "exit":
            os._exit(3)
        case "sys.exit":
            sys.exit("leaving")
        case "kill":
            os.kill(os.getpid(), 9)
        case "raise":
            raise ValueError("no good")
        case "generator":
            return {"numbers": (n for n in range(3))}
        case "enormous":
            return b"x" * (65 * MIB)
        case "garbage":
            for fd in range(3, 64):
                try:
                    os.write(fd, b"garbage" * 10)
                except OSError:
                    pass
        case "close":
            os.closerange(3, 64)
            time.sleep(60)
        case "fork":
            if os.fork() == 0:
                time.sleep(60)
    return value


FAULTS = {
    "segv": ("crash", 11, ""),
    "abort": ("crash", 6, ""),
    "exit": ("crash", 0, ""),
    "sys.exit": ("exception", 0, "SystemExit"),
    "kill": ("crash", 9, ""),
    "raise": ("exception", 0, "ValueError"),
    "generator": ("bad_return", 0, "BadReturnError"),
    "enormous": ("bad_return", 0, "BadReturnError"),
    "garbage": ("crash", 0, ""),
    "close": ("crash", 9, ""),
}


def test_each_fault_costs_exactly_its_item(tmp_path):
    values = [value for fault in FAULTS for value in (fault, f"ok after {fault}")]
    result = worker.run_batch(make_batch(touchy, values, tmp_path, limits=QUICK))
    assert statuses(result) == ["failed", "succeeded"] * len(FAULTS)
    assert [record.value for record in result.items[1::2]] == values[1::2]
    found = {Path(error.file).name: (error.kind, error.signal, error.exception) for error in errors_of(result)}
    assert found == FAULTS
    for index, error in enumerate(errors_of(result)):
        assert (error.item_index, error.worker_pid, error.task) == (2 * index, os.getpid(), "encode")
        assert error.logs[0].startswith("about to"), error
        assert len(error.traceback) <= 4096
    by_name = {Path(error.file).name: error for error in errors_of(result)}
    assert "string_at" in by_name["segv"].traceback
    assert "touchy" in by_name["abort"].traceback
    assert "exit code 3" in by_name["exit"].message
    assert by_name["raise"].traceback.endswith("ValueError: no good\n")


def test_the_same_faults_inline_where_no_process_is_at_stake(tmp_path):
    values = ["ok", "raise", "sys.exit", "generator", "ok again"]
    result = worker.run_batch(make_batch(touchy, values, tmp_path, isolation="inline"))
    assert statuses(result) == ["succeeded", "failed", "failed", "failed", "succeeded"]
    assert [error.kind for error in errors_of(result)] == ["exception", "exception", "bad_return"]


def hang(value):
    if value == "sleep":
        time.sleep(60)
    if value == "gil":
        ctypes.PyDLL(None).sleep(60)
    if value == "loop":
        while True:
            pass


def test_hangs_end_in_time_even_while_they_hold_the_interpreter(tmp_path):
    limits = replace(QUICK, timeout_seconds=0.5)
    started = time.monotonic()
    result = worker.run_batch(make_batch(hang, ["sleep", "gil", "loop"], tmp_path, kind="custom", limits=limits))
    assert time.monotonic() - started < 10
    for error in errors_of(result):
        assert (error.kind, error.message) == ("timeout", "not finished within 0.5 s")
        assert "in hang" in error.traceback
        assert error.seconds == pytest.approx(0.5, abs=1.0)
    assert len(errors_of(result)) == 3


def hog(value):
    blocks = []
    while True:
        blocks.append(np.ones(16 * MIB // 8))


def hog_at_once(value):
    return float(np.ones(1 << 40).sum())


def hog_in_a_subprocess(value):
    import subprocess

    code = "import time; block = b'x' * (1 << 30); time.sleep(60)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("function", [hog, hog_at_once, hog_in_a_subprocess])
def test_too_much_memory_is_noticed_and_named(tmp_path, function):
    limits = replace(QUICK, memory_bytes=700 * MIB, timeout_seconds=60)
    result = worker.run_batch(make_batch(function, [1], tmp_path, limits=limits))
    (error,) = errors_of(result)
    assert error.kind == "out_of_memory"
    assert result.peak_child_bytes < 2500 * MIB
    assert worker.run_batch(make_batch(double, [1], tmp_path)).items[0].value == 2


def second_time_lucky(folder):
    tries = Path(folder, "tries")
    n_tries = int(tries.read_text()) if tries.exists() else 0
    tries.write_text(str(n_tries + 1))
    if n_tries == 0:
        os.abort()
    return n_tries


def test_a_crash_that_does_not_come_back_is_no_failure(tmp_path):
    batch = make_batch(second_time_lucky, [tmp_path], tmp_path, limits=replace(QUICK, max_retries=1))
    result = worker.run_batch(batch)
    assert statuses(result) == ["succeeded"]
    assert result.child_restarts == 1


def slow(seconds):
    time.sleep(seconds)
    return seconds


def test_the_second_try_has_a_larger_allowance_and_comes_after_the_others(tmp_path):
    limits = replace(QUICK, timeout_seconds=1.0, max_retries=1, retry_factor=3.0)
    result = worker.run_batch(make_batch(slow, [1.5, 0.0, 60.0], tmp_path, limits=limits))
    assert statuses(result) == ["succeeded", "succeeded", "failed"]
    (error,) = errors_of(result)
    assert (error.kind, error.attempts, error.message) == ("timeout", 2, "not finished within 3 s")


def refuse(value):
    with open(value, "a") as file:
        file.write("x")
    raise ValueError("never")


def test_deterministic_failures_are_not_tried_again(tmp_path):
    marker = str(tmp_path / "marker")
    worker.run_batch(make_batch(refuse, [marker], tmp_path, limits=replace(QUICK, max_retries=3)))
    assert Path(marker).read_text() == "x"


def crash_while_writing(path, storage):
    storage.save_data("faces/areas", np.ones(5))
    storage.compress_store()
    name = os.path.basename(storage.get_file_path(""))
    folder = os.path.dirname(storage.get_file_path(""))
    Path(folder, f"{TEMPORARY_PREFIX}{name}").write_bytes(b"half")
    os.abort()


def raise_after_writing(path, storage):
    storage.save_data("faces/areas", np.ones(5))
    storage.compress_store()
    raise ValueError("too late")


@pytest.mark.parametrize(
    ("function", "kind"),
    [(crash_while_writing, "optimized"), (raise_after_writing, "optimized"), (raise_after_writing, "json")],
)
def test_a_failed_item_leaves_nothing_behind(tmp_path, function, kind):
    batch = make_batch(function, ["a.step"], tmp_path, "item", "storage", storage_type=kind)
    assert statuses(worker.run_batch(batch)) == ["failed"]
    assert data_files(batch) == set()
    assert list(work_folder(batch.paths).iterdir()) == []


def test_a_crash_in_a_task_without_storage_leaves_the_sample_alone(tmp_path):
    batch = make_batch(areas, ["abort"], tmp_path, "item", "storage")
    worker.run_batch(batch)
    assert statuses(worker.run_batch(make_batch(touchy, ["abort"], tmp_path, kind="custom"))) == ["failed"]
    assert len(data_files(batch)) == 1


def no_space(path, storage):
    raise OSError(28, "No space left on device")


def test_a_full_disk_is_the_machines_fault(tmp_path):
    (error,) = errors_of(worker.run_batch(make_batch(no_space, ["a"], tmp_path, "item", "storage")))
    assert error.kind == "infrastructure"


def test_a_function_that_cannot_be_loaded_fails_every_item_with_the_reason(tmp_path):
    for isolation in ("process", "inline"):
        batch = make_batch(double, [1, 2], tmp_path, isolation=isolation)
        broken = replace(batch, call=replace(batch.call, function=b"cno_such_module\nf\n."))
        result = worker.run_batch(broken)
        assert [error.exception for error in errors_of(result)] == ["ModuleNotFoundError"] * 2
        assert statuses(worker.run_batch(batch)) == ["succeeded"] * 2


def test_a_function_that_crashes_while_it_is_loaded_fails_every_item(tmp_path):
    batch = make_batch(double, [1, 2], tmp_path)
    result = worker.run_batch(replace(batch, call=replace(batch.call, function=b"cos\nabort\n)R.")))
    assert [error.kind for error in errors_of(result)] == ["crash", "crash"]
    assert statuses(worker.run_batch(batch)) == ["succeeded"] * 2


def test_where_no_child_can_be_started_the_items_say_so(tmp_path, monkeypatch):
    worker.shutdown()
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    monkeypatch.setattr("dflow.flowmanager.processes._NURSERY", ("/nowhere/python",))
    result = worker.run_batch(make_batch(double, [1, 2], tmp_path))
    assert [error.kind for error in errors_of(result)] == ["infrastructure"] * 2


def wait_for_ever(marker):
    if marker:
        Path(marker).touch()
        time.sleep(600)
    return marker


@pytest.mark.parametrize("stop", [worker.cancel, worker.shutdown])
def test_cancelling_gives_up_what_is_under_way_and_nothing_more(tmp_path, stop):
    marker = tmp_path / "waiting"

    def stop_when_waiting() -> None:
        wait_until(marker.exists, 60.0)
        stop()

    batch = make_batch(wait_for_ever, ["", str(marker), ""], tmp_path, limits=replace(QUICK, timeout_seconds=600))
    stopper = threading.Thread(target=stop_when_waiting)
    stopper.start()
    result = worker.run_batch(batch)
    stopper.join()
    assert statuses(result) == ["succeeded", "failed", "failed"]
    assert [error.kind for error in errors_of(result)] == ["cancelled"] * 2
    assert statuses(worker.run_batch(make_batch(double, [1], tmp_path))) == ["succeeded"]


def test_threads_of_one_worker_have_a_child_each(tmp_path):
    def run(value: float) -> BatchResult:
        return worker.run_batch(make_batch(slow, [value], tmp_path))

    with ThreadPoolExecutor(2) as threads:
        results = list(threads.map(run, [0.5, 0.6]))
    assert [statuses(result) for result in results] == [["succeeded"], ["succeeded"]]


def flood(n_lines):
    for number in range(n_lines):
        print("line", number)
        print("error", number, file=sys.stderr)
    os.write(1, b"native\n" * 1000)
    return n_lines


def test_what_items_print_is_theirs_and_bounded(tmp_path):
    result = worker.run_batch(make_batch(flood, [0, 5_000, 1], tmp_path))
    assert [record.value for record in result.items] == [0, 5_000, 1]
    few, many, one = (record.logs for record in result.items)
    assert few[0] == "native"
    assert many[0] == "line 0"
    assert many[-1] == "native"
    assert sum(map(len, many)) < QUICK.max_log_bytes + 100
    assert one[:2] == ("line 0", "error 0")


@pytest.mark.parametrize("error", [KeyboardInterrupt, bdb.BdbQuit])
def test_inline_the_keyboard_and_the_debugger_get_through(tmp_path, error):
    def stop(value, storage):
        raise error

    batch = make_batch(stop, ["a"], tmp_path, "item", "storage", isolation="inline")
    with pytest.raises(error):
        worker.run_batch(batch)
    assert data_files(batch) == set()


def test_files_that_crash_the_kernel_cost_only_themselves(tmp_path, shared_data, part):
    killers = [
        "dodgy/U009.stp",
        "dodgy/Twi044.stp",
        "broken/segv_line_direction_typeconfusion.step",
    ]
    paths = [str(shared_data / "cad" / name) for name in killers]
    values = [part, paths[0], paths[1], part, paths[2], part]
    limits = Limits(timeout_seconds=60)
    result = worker.run_batch(make_batch(open_only, values, tmp_path, "item", "cad_loader", "storage", limits=limits))
    assert statuses(result) == ["succeeded", "failed", "failed", "succeeded", "failed", "succeeded"]
    for error in errors_of(result):
        assert (error.kind, error.signal, error.attempts) == ("crash", 11, 2)
        assert "in open_only" in error.traceback


def test_counts_agree_with_the_loader(part):
    model = CadLoader().create_from_file(part)
    assert (model.get_face_count(), model.get_edge_count(), model.get_body_count()) == (6, 12, 1)
