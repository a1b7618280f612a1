"""B: task decorators and what they are fed."""

from __future__ import annotations

import cloudpickle
import pytest

import dflow
from dflow.flowmanager import flowtask
from dflow.storage import DataStorage
from tests.cadaccess import solids
from tests.parity import tasks


def run(folder, functions, inputs, **arguments):
    flow = dflow.create_flow("small", functions, folder, debug=True, export_visualization=False, **arguments)
    return flow.process(inputs=inputs, progress=False)[0]


def results(output):
    return [task.results for task in output.task_instances]


@flowtask.transform(name="keep", inputs=["item"], outputs=["kept"])
def keep(item, cad_loader, storage):
    storage.save_metadata("item", str(item))
    return item


def test_b01_extract_takes_its_four_arguments(tmp_path):
    @flowtask.extract(name="list", inputs=["folders"], outputs=["files"], parallel_execution=False)
    def gather(folders):
        return [f"{folder}.step" for folder in folders]

    assert results(run(tmp_path, [gather, keep], {"folders": ["a", "b"]}))[0] == ["a.step", "b.step"]


def test_b02_extract_runs_once_a_source_or_with_the_whole_list(tmp_path):
    calls = []

    @flowtask.extract(inputs=["cad_datasources"], outputs=["files"])
    def once_each(source):
        calls.append(source)
        return [f"{source}/1", f"{source}/2"]

    @flowtask.extract(inputs=["sources"], outputs=["files"])
    def whole(sources):
        calls.append(sources)
        return [f"{source}/1" for source in sources]

    each = run(tmp_path / "each", [once_each, keep], {"cad_datasources": ["a", "b"]})
    together = run(tmp_path / "whole", [whole, keep], {"sources": ["a", "b"]})
    assert calls == ["a", "b", ["a", "b"]]
    assert results(each)[0] == ["a/1", "a/2", "b/1", "b/2"]
    assert results(together)[0] == ["a/1", "b/1"]


def test_b03_transform_runs_once_an_item(tmp_path):
    seen = []

    @flowtask.transform(name="see", inputs=["item"], outputs=["seen"], parallel_execution=True)
    def see(item):
        seen.append(item)
        return item

    run(tmp_path, [see], {"item": [3, 1, 2]})
    assert sorted(seen) == [1, 2, 3]


def test_b04_loader_and_storage_are_injected_by_name(tmp_path):
    @flowtask.transform(inputs=["storage", "cad_file", "cad_loader"])
    def named(store, file, loader):
        assert isinstance(store, DataStorage)
        assert callable(loader.create_from_file)
        return file

    assert results(run(tmp_path, [named], {"cad_file": ["a.step"]}))[0] == ["a.step"]


def test_b05_loader_and_storage_are_injected_by_position(tmp_path):
    @flowtask.transform(inputs=["cad_dataset"])
    def positional(file, loader, store):
        assert isinstance(store, DataStorage)
        assert callable(loader.create_from_file)
        return file

    assert results(run(tmp_path, [positional], {"cad_dataset": ["a.step"]}))[0] == ["a.step"]


def test_b06_a_sequential_custom_task_gets_the_whole_list(tmp_path):
    @flowtask.custom(name="total", inputs=["kept"], outputs=["sum"], parallel_execution=False)
    def total(numbers):
        return sum(numbers)

    assert results(run(tmp_path, [keep, total], {"item": [1, 2, 3]}))[1] == [6]


def test_b07_a_custom_task_that_raises_stops_the_flow(tmp_path):
    @flowtask.custom(inputs=["kept"], parallel_execution=False)
    def gate(numbers):
        raise RuntimeError(f"only {len(numbers)}")

    with pytest.raises(RuntimeError, match="only 2"):
        run(tmp_path, [keep, gate], {"item": [1, 2]})
    assert not list(tmp_path.rglob("*.dataset"))


def test_b08_none_skips_the_file(tmp_path):
    @flowtask.transform(inputs=["item"])
    def odd(item):
        return item if item % 2 else None

    output = run(tmp_path, [odd], {"item": [1, 2, 3, 4]})
    assert results(output)[0] == [1, 3]
    assert (output.counts.succeeded, output.counts.skipped, output.counts.failed) == (2, 2, 0)


def test_b09_the_return_value_is_not_what_finds_the_stores(finished):
    returned = finished.output.task_instances[1].results[0]
    assert len(returned) == 2
    assert all(isinstance(count, int) for count in returned)
    assert len(list(finished.root.glob("encoded/*.data"))) == 12


def test_b10_a_task_is_named_after_its_function():
    @flowtask.transform
    def plain(item):
        return item

    assert dflow.create_flow("named", [plain], "out").specifications["tasks"] == ["plain"]


def test_b11_a_decorated_function_is_still_a_function():
    assert tasks.gather("no such folder") == []
    factor = 3

    @flowtask.transform(inputs=["item"])
    def triple(item):
        return factor * item

    assert cloudpickle.loads(cloudpickle.dumps(triple))(2) == 6


def test_b12_equal_stems_get_stores_of_their_own(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        solids.write_step(solids.box(), tmp_path / folder / "part.step")
    run(tmp_path / "out", [tasks.gather, tasks.encode], {"cad_datasources": [str(tmp_path / "a"), str(tmp_path / "b")]})
    assert len(list(tmp_path.rglob("encoded/*.data"))) == 2


def test_b13_one_loader_serves_all_files_of_a_process(tmp_path):
    seen, mark = [], object()

    @flowtask.transform(inputs=["item"])
    def note(item, cad_loader):
        seen.append(cad_loader.get_general_options().get("mark") is mark)
        cad_loader.set_general_options({"mark": mark})
        return item

    run(tmp_path / "one", [note], {"item": [1, 2, 3]})
    run(tmp_path / "two", [note], {"item": [1, 2]})
    assert seen == [False, True, True, True, True]


@pytest.mark.parametrize(("sample", "rows"), [("body", 3), ("file", 1)])
def test_b14_every_body_is_a_sample_where_asked(tmp_path, sample, rows):
    shapes = solids.compound(solids.box(), solids.cylinder(), solids.sphere())
    (tmp_path / "cad").mkdir()
    solids.write_step(shapes, tmp_path / "cad" / "three.step")
    output = run(
        tmp_path / "out", [tasks.gather, tasks.encode], {"cad_datasources": [str(tmp_path / "cad")]}, sample=sample
    )
    assert (output.counts.succeeded, output.counts.samples) == (1, rows)
