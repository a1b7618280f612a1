"""Samples speak for themselves: what a run finished is known to the next one, also where its journal is lost."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import dflow
from dflow.flowmanager import flowtask
from dflow.storage import OptStorage
from dflow.storage.paths import sample_name
from tests.flowmanager.flowparts import encode, gather, label, tree_bytes, write_sources

CONTENTS = {f"f{n}": " ".join(["2"] * n) for n in range(1, 7)}


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    return write_sources(tmp_path / "in", CONTENTS)


def run(tmp_path: Path, *tasks: Any, **arguments: Any) -> Any:
    arguments = {"debug": True, "export_visualization": False, **arguments}
    flow = dflow.create_flow("found", [gather, *tasks], tmp_path / "out", **arguments)
    return flow.process({"sources": [str(tmp_path / "in")]}, progress=False)[0]


def root(tmp_path: Path) -> Path:
    return tmp_path / "out" / "flows" / "found"


def lose_journal(tmp_path: Path) -> None:
    (root(tmp_path) / ".dflow" / "journal.jsonl").unlink()


def data_file(tmp_path: Path, stem: str) -> Path:
    return root(tmp_path) / "encoded" / f"{sample_name(f'../../../in/{stem}.txt')}.data"


@pytest.mark.parametrize(("tasks", "storage_type"), [((encode,), "optimized"), ((encode, label), "json")])
def test_without_a_journal_nothing_finished_is_encoded_again(tmp_path, sources, tasks, storage_type):
    run(tmp_path, *tasks, storage_type=storage_type)
    before = tree_bytes(root(tmp_path) / "found.dataset"), tree_bytes(root(tmp_path) / "encoded")
    lose_journal(tmp_path)
    output = run(tmp_path, *tasks, storage_type=storage_type)
    assert (output.counts.succeeded, output.counts.reused) == (6, 6)
    assert (tree_bytes(root(tmp_path) / "found.dataset"), tree_bytes(root(tmp_path) / "encoded")) == before
    assert "6 items were found finished" in (root(tmp_path) / "flow_log.log").read_text()
    assert run(tmp_path, *tasks, storage_type=storage_type).counts.reused == 6  # by the journal, now


def change_source(tmp_path: Path) -> None:
    (tmp_path / "in" / "f3.txt").write_text("9 9 9")


def write_again(tmp_path: Path) -> None:
    """As a task leaves it that saved its store and was killed before it returned."""
    store = OptStorage(data_file(tmp_path, "f3"))
    store.save_metadata("n_numbers", 3)
    store.close()


def damage(tmp_path: Path) -> None:
    path = data_file(tmp_path, "f3")
    path.write_bytes(path.read_bytes()[:-40])


def swap(tmp_path: Path) -> None:
    data_file(tmp_path, "f3").write_bytes(data_file(tmp_path, "f4").read_bytes())


@pytest.mark.parametrize("harm", [change_source, write_again, damage, swap])
def test_a_sample_counts_only_whole_and_of_this_content(tmp_path, sources, harm):
    run(tmp_path, encode)
    lose_journal(tmp_path)
    harm(tmp_path)
    output = run(tmp_path, encode)
    assert (output.counts.succeeded, output.counts.reused) == (6, 5)
    lose_journal(tmp_path)
    assert run(tmp_path, encode).counts.reused == 6


def test_another_pipeline_and_a_missing_picture_are_done_again(tmp_path, sources):
    run(tmp_path, encode)
    lose_journal(tmp_path)
    assert run(tmp_path, encode, label).counts.reused == 0
    lose_journal(tmp_path)
    assert run(tmp_path, encode, label, export_visualization=True).counts.reused == 0


def test_a_later_task_gets_what_was_returned_and_a_value_that_is_lost_is_made_again(tmp_path, sources):
    @flowtask.transform(name="encode", inputs=["file", "storage"], outputs=["encoded"])
    def encode_long(file, storage):
        storage.save_data("rows/values", [1.0])
        return file if file.endswith("f3.txt") else "x" * 10_000

    @flowtask.custom(inputs=["encoded"], outputs=["n"], parallel_execution=False)
    def count(encoded):
        return [len(each) for each in encoded]

    first = run(tmp_path, encode_long, count)
    lose_journal(tmp_path)
    again = run(tmp_path, encode_long, count)
    assert again.counts.reused == 1  # the value of the others is too long for a sample's seal
    results = [next(task for task in each.task_instances if task.name == "count").results for each in (first, again)]
    assert results[0] == results[1]
    lose_journal(tmp_path)
    assert run(tmp_path, encode_long).counts.reused == 6


def test_a_source_that_is_changed_while_it_is_encoded_leaves_no_sealed_sample(tmp_path, sources):
    @flowtask.transform(name="encode", inputs=["file", "storage"], outputs=["encoded"])
    def encode_and_touch(file, storage):
        storage.save_data("rows/values", [1.0])
        if file.endswith("f3.txt") and not os.path.exists(f"{file}.done"):
            Path(f"{file}.done").write_text("")
            text = Path(file).read_text()
            Path(file).write_text("8")
            Path(file).write_text(text)

    run(tmp_path, encode_and_touch)
    lose_journal(tmp_path)
    assert run(tmp_path, encode_and_touch).counts.reused == 5


def test_bodies_count_together(tmp_path):
    from dflow.demo.parts import write_parts

    parts = write_parts(tmp_path / "in", n_parts=2)

    @flowtask.extract(name="gather", inputs=["sources"], outputs=["files"])
    def gather_parts(sources):
        return [str(path) for path in parts]

    @flowtask.transform(name="encode", inputs=["file", "cad_loader", "storage"], outputs=["encoded"])
    def encode_body(file, cad_loader, storage):
        storage.save_data("faces/n", [float(cad_loader.create_from_file(file).get_face_count())])

    def again() -> Any:
        flow = dflow.create_flow("found", [gather_parts, encode_body], tmp_path / "out", debug=True, sample="body",
                                 export_visualization=False)  # fmt: skip
        return flow.process({"sources": [str(tmp_path / "in")]}, progress=False)[0]

    assert again().counts.reused == 0
    lose_journal(tmp_path)
    assert again().counts.reused == 2
    next((root(tmp_path) / "encoded").glob("*.data")).unlink()
    lose_journal(tmp_path)
    assert again().counts.reused == 1
