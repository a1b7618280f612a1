"""`run_batch` and what becomes of good items: values, stores, stages, models, bodies. Real processes throughout."""

from __future__ import annotations

import gzip
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dflow.cadaccess import CadLoader
from dflow.demo.parts import box, write_step
from dflow.flowmanager.plan.batch import Batch, BodyValues, Feed, Item, Limits, PackedValue, pack_value, unpack_value
from dflow.flowmanager.worker import worker
from dflow.records import BatchResult, ItemRecord
from dflow.storage import JsonStorageHandler, OptStorage, describe_file
from tests.cadaccess import solids
from tests.flowmanager.batches import QUICK, areas, data_files, double, errors_of, make_batch, statuses


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


def test_items_come_back_in_order_with_their_values(tmp_path):
    result = worker.run_batch(make_batch(double, range(50), tmp_path))
    assert [record.value for record in result.items] == [2 * n for n in range(50)]
    assert [record.item_index for record in result.items] == list(range(50))
    assert set(statuses(result)) == {"succeeded"}
    assert (result.task, result.worker_pid, result.child_restarts) == ("encode", os.getpid(), 0)


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
        (tmp_path / folder).mkdir()
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


def whole(read_path: str) -> dict[str, Any]:
    """What is recorded of shapes without a defect."""
    return {"read_path": read_path, "n_defects": 0, "defect_names": "none"}


def values_of(record: ItemRecord) -> dict[str, Any]:
    return record.samples[0].value_map()


def test_counts_of_the_opened_model_are_recorded(tmp_path, part):
    batch = make_batch(open_only, [part], tmp_path, "item", "cad_loader", "storage")
    (record,) = worker.run_batch(batch).items
    assert values_of(record) == {"face_count": 6, "edge_count": 12, "body_count": 1, **whole("text")}


def test_a_users_count_wins(tmp_path, part):
    batch = make_batch(own_count, [part], tmp_path, "item", "cad_loader", "storage")
    (record,) = worker.run_batch(batch).items
    assert values_of(record) == {"face_count": 99, "edge_count": 12, "body_count": 98, **whole("text")}


def open_all(paths, cad_loader, storage):
    for path in paths:
        cad_loader.create_from_file(path)
    storage.save_data("faces/areas", np.ones(18))


def spellings(path: str) -> list[str]:
    """The file, and other ways to name it or its content: by way of its folder, by a link, a copy and packed."""
    folder, name = os.path.split(path)
    linked, copied, packed = (os.path.join(folder, f"{kind}-{name}") for kind in ("link", "copy", "packed"))
    os.symlink(path, linked)
    shutil.copyfile(path, copied)
    Path(packed).write_bytes(gzip.compress(Path(path).read_bytes()))
    return [path, os.path.join(folder, ".", name), os.path.relpath(path), linked, copied, packed]


@pytest.mark.parametrize("kind", ["read from its text", "brep"])
def test_a_file_that_is_opened_again_counts_once_and_different_files_add_up(tmp_path, part, two_bodies, kind):
    if kind == "brep":
        part = solids.write_brep(solids.box(1, 2, 3), tmp_path / "part.brep")
    first, second = spellings(str(part)), spellings(two_bodies)
    opened = [[*first, *first], [*first, *second, *first]]
    batch = make_batch(open_all, opened, tmp_path, "item", "cad_loader", "storage")
    alone, both = worker.run_batch(batch).items
    path = "none" if kind == "brep" else "text"
    assert values_of(alone) == {"face_count": 6, "edge_count": 12, "body_count": 1, **whole(path)}
    paths = ", ".join(sorted([path, "planar"]))
    assert values_of(both) == {"face_count": 18, "edge_count": 36, "body_count": 3, **whole(paths)}


def open_links(path, cad_loader, storage):
    folder, name = os.path.split(path)
    models = [cad_loader.create_from_file(each) for each in (path, os.path.join(folder, f"link-{name}"))]
    cad_loader.create_from_file(os.path.join(folder, f"copy-{name}"))
    storage.save_metadata("volumes", str([round(model.get_brep().volume()) for model in models]))


def test_body_by_body_a_link_to_the_file_is_the_file(tmp_path, two_bodies):
    spellings(two_bodies)
    batch = make_batch(open_links, [two_bodies], tmp_path, "item", "cad_loader", "storage", sample="body")
    (record,) = worker.run_batch(batch).items
    assert [sample.value_map()["volumes"] for sample in record.samples] == ["[6, 6]", "[120, 120]"]
    assert [sample.value_map()["face_count"] for sample in record.samples] == [6, 6]
    assert [sample.value_map()["body_count"] for sample in record.samples] == [1, 1]


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


def loaded_for_previews(path, cad_loader, storage):
    storage.save_metadata("path", str(path))
    return {"dflow.cadaccess.tessellation.mesh", "dflow.render.sample"} <= set(sys.modules)


@pytest.mark.parametrize("previews", [True, False])
def test_what_previews_need_is_loaded_before_any_item_s_time_counts(tmp_path, part, previews):
    """Also in the children of a process that has not loaded it, as nobody had asked for previews so far."""
    worker.shutdown()
    worker.prewarm(previews=False)
    feeds = ("item", "cad_loader", "storage")
    batch = make_batch(loaded_for_previews, [part], tmp_path, *feeds, export_visualization=previews)
    assert worker.run_batch(batch).items[0].value is previews


def spoil_mesh(path, cad_loader, storage):
    model = cad_loader.create_from_file(path)
    storage.save_metadata("path", str(path))
    model.get_mesh = {"raise": lambda: 1 / 0, "abort": os.abort, "hang": lambda: time.sleep(60)}[Path(path).stem]


def test_a_preview_never_fails_its_item(tmp_path, part):
    paths = [str(tmp_path / f"{what}.step") for what in ("raise", "abort", "hang")]
    for path in paths:
        Path(path).write_bytes(Path(part).read_bytes())
    limits = replace(QUICK, preview_seconds=2.0)
    options = {"export_visualization": True, "limits": limits}
    result = worker.run_batch(make_batch(spoil_mesh, paths, tmp_path, "item", "cad_loader", "storage", **options))
    assert statuses(result) == ["succeeded"] * 3, errors_of(result)
    notes = [record.notes[0] for record in result.items]
    assert [note.split(":")[1].strip() for note in notes] == ["ZeroDivisionError", "crash", "timeout"]
    assert all(record.samples for record in result.items)


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
    crash, *named = errors_of(result)
    assert (crash.kind, crash.signal, crash.attempts) == ("crash", 11, 2)
    assert "in open_only" in crash.traceback
    # The kernel would crash on these, too: their damaged faces are found before it transfers them.
    assert [error.kind for error in named] == ["geometry", "geometry"]
    assert all("face #" in error.message for error in named)


def test_counts_agree_with_the_loader(part):
    model = CadLoader().create_from_file(part)
    assert (model.get_face_count(), model.get_edge_count(), model.get_body_count()) == (6, 12, 1)
