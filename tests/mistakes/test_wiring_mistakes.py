"""Mistakes in the wiring: orders, wrong objects, addresses. Each message says what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dflow
from dflow.cadencoder import BrepEncoder
from dflow.dataset import DatasetExplorer, DatasetLoader
from dflow.demo.parts import box, write_step
from dflow.errors import (
    DatasetNotFoundError,
    SourceNotFoundError,
    WiringError,
)
from dflow.flowmanager import flowtask
from dflow.storage import MemoryStorage
from tests.mistakes.flows import count, gather, make, measure, run, says

# Wiring


def test_tasks_in_the_wrong_order_are_told_the_right_one(tmp_path: Path) -> None:
    with pytest.raises(WiringError) as caught:
        run(make(tmp_path, measure, gather), sources=[str(tmp_path)])
    says(caught.value, ("'gather'", "stands behind task 'measure'", "Give tasks in the order ['gather', 'measure']"))


def test_a_task_before_the_one_that_makes_its_input_is_told_the_right_order(tmp_path: Path) -> None:
    @flowtask.custom(name="sum_up", inputs=["measured"], parallel_execution=False)
    def sum_up(measured):
        return len(measured)

    with pytest.raises(WiringError) as caught:
        run(make(tmp_path, gather, sum_up, measure), sources=[str(tmp_path)])
    says(caught.value, ("outputs ['measured']", "behind task 'sum_up'", "order ['gather', 'measure', 'sum_up']"))


@pytest.mark.parametrize(
    "inputs", [["part", "scale", "storage"], ["storage", "part", "scale"], ["part", "storage", "scale"]]
)
def test_parameters_in_another_order_than_the_inputs_are_bound_by_name(tmp_path: Path, inputs: list[str]) -> None:
    if inputs[0] == "storage":
        inputs = ["part", *[name for name in inputs if name != "part"]]

    @flowtask.transform(name="scaled", inputs=inputs)
    def scaled(storage, scale, part, factor=1):
        storage.save_metadata("part", part)
        return part * scale * factor

    assert run(make(tmp_path, scaled), part=[1, 2], scale=10).task_instances[0].results == [10, 20]


def failure(tmp_path: Path, task: Callable[..., Any], part: Path) -> str:
    """The message of the only failure of a task over one part."""
    (error,) = run(make(tmp_path, task), files=[str(part)]).errors
    return error.message


@pytest.fixture
def part(tmp_path: Path) -> Path:
    path = tmp_path / "box.step"
    write_step(box(0, 0, 0, 1, 2, 3), path)
    return path


def test_a_loader_that_is_used_as_the_storage_is_named(tmp_path: Path, part: Path) -> None:
    @flowtask.transform(name="swapped", inputs=["cad_file"])
    def swapped(path, store, loader):
        store.save_metadata("n", 1)

    says(
        failure(tmp_path, swapped, part),
        ("the CAD loader has no 'save_metadata'", "which is a storage's", "the storage as `storage`"),
    )


def test_a_storage_that_is_used_as_the_loader_is_named(tmp_path: Path, part: Path) -> None:
    @flowtask.transform(name="swapped", inputs=["cad_file"])
    def swapped(path, store, loader):
        loader.create_from_file(path)

    says(
        failure(tmp_path, swapped, part),
        (
            "the storage has no 'create_from_file'",
            "which is the CAD loader's",
            "injected as the parameter `cad_loader`",
        ),
    )


def test_a_loader_that_is_used_as_a_model_is_named(tmp_path: Path, part: Path) -> None:
    @flowtask.transform(name="direct", inputs=["cad_file"])
    def direct(cad_file, cad_loader):
        return cad_loader.get_brep()

    says(
        failure(tmp_path, direct, part),
        ("the CAD loader has no 'get_brep'", "which is a model's", "`cad_loader.create_from_file(path)` returns"),
    )


def test_a_model_in_place_of_its_brep_is_named(part: Path) -> None:
    model = dflow.CadLoader().create_from_file(part)
    with pytest.raises(TypeError) as caught:
        BrepEncoder(model)  # type: ignore[arg-type]
    says(caught.value, ("brep is CadModel", "expected a Brep", "pass model.get_brep()"))


@pytest.mark.parametrize("wrong", ["part.step", MemoryStorage(), None])
def test_another_object_in_place_of_a_brep_is_named(wrong: Any) -> None:
    with pytest.raises(TypeError) as caught:
        BrepEncoder(wrong)
    says(caught.value, (f"brep is {type(wrong).__name__}", "expected a Brep", "the brep is CadModel.get_brep()"))


def test_another_object_in_place_of_a_storage_is_named(part: Path) -> None:
    brep = dflow.CadLoader().create_from_file(part).get_brep()
    with pytest.raises(TypeError) as caught:
        BrepEncoder(brep, "out")  # type: ignore[arg-type]
    says(caught.value, ("storage is str", "expected a DataStorage or None", "pass the task's parameter `storage`"))


def test_another_number_of_outputs_than_declared_is_named(tmp_path: Path) -> None:
    @flowtask.transform(inputs=["part"], outputs=["half", "rest"])
    def halve(part):
        return part

    @flowtask.custom(inputs=["rest"], parallel_execution=False)
    def total(rest):
        return len(rest)

    with pytest.raises(WiringError) as caught:
        run(make(tmp_path, halve, total), parts=[1])
    says(caught.value, ("returned int", "declares the outputs ['half', 'rest']", "return a tuple or a dictionary"))


# Addresses

URL = "s3://bucket/parts.dataset"


@pytest.mark.parametrize(
    "opened",
    [
        lambda: DatasetExplorer(flow_output_file="https://host/parts.flow"),
        lambda: DatasetExplorer(merged_store_path=URL),
        lambda: DatasetLoader(merged_store_path=URL, parquet_file_path="s3://bucket/parts.infoset"),
    ],
)
def test_an_address_of_a_dataset_is_refused(opened: Callable[[], Any]) -> None:
    with pytest.raises(DatasetNotFoundError) as caught:
        opened()
    says(caught.value, ("is an address", "expected the path of a local or mounted dataset", "mount what it names"))


def test_an_address_that_reaches_the_loader_is_refused(tmp_path: Path) -> None:
    @flowtask.transform(name="opened", inputs=["cad_file", "cad_loader"])
    def opened(cad_file, cad_loader):
        cad_loader.create_from_file(cad_file)

    (error,) = run(make(tmp_path, opened), files=["https://host/a.step"]).errors
    assert error.kind in ("unreadable", "vanished")
    says(error.message, ("an address", "expected the path of a local or mounted file", "mount what it names, or copy"))


def test_an_address_is_refused_by_the_built_in_gatherers(tmp_path: Path) -> None:
    from dflow.flowmanager.gathering import gather_cad_files
    from dflow.hoops.files import LocalStorageProvider

    with pytest.raises(SourceNotFoundError) as caught:
        run(make(tmp_path, gather_cad_files, measure), sources=["s3://bucket/parts"])
    says(caught.value, ("s3://bucket/parts", "is an address", "copy its files into a folder"))
    with pytest.raises(SourceNotFoundError) as caught:
        LocalStorageProvider("s3://bucket/parts")
    says(caught.value, ("is an address", "expected the path of a local or mounted folder", "mount what it names"))


def test_what_the_user_s_own_extract_takes_is_not_judged(tmp_path: Path) -> None:
    taken = []

    @flowtask.extract(inputs=["databases"], outputs=["parts"])
    def rows(databases):
        taken.extend(databases)
        return [1, 2]

    sources = ["postgresql://host/parts", "SELECT * FROM parts", {"table": "parts"}]
    assert run(make(tmp_path, rows, count), databases=sources).counts.succeeded == 2
    assert taken == sources
