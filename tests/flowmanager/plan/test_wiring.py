"""Wiring: which task is fed by what, decided without running anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any, List, Optional, Union  # noqa: UP035 - the annotations users write

import pytest

from dflow.errors import WiringError
from dflow.flowmanager import flowtask
from dflow.flowmanager.plan.tasks import spec_of
from dflow.flowmanager.plan.wiring import FLOW_INPUT, Source, annotation_is_sequence, plan, takes_whole_list


@flowtask.extract(name="gather", inputs=["sources"], outputs=["files"])
def gather(sources):
    return sources


@flowtask.transform(name="encode", inputs=["cad_file", "cad_loader", "storage"], outputs=["encoded"])
def encode(cad_file, cad_loader, storage):
    return cad_file


@flowtask.transform(inputs=["cad_dataset"])
def encode_by_position(path, a_loader, a_store):
    return path


@flowtask.custom(inputs=["encoded_files"], outputs=["summary"], parallel_execution=False)
def aggregate(encoded_files):
    return len(encoded_files)


def specs(*functions: Any):
    return [spec_of(function) for function in functions]


def kinds(step):
    return [feed.kind for feed in step.feeds]


def test_the_page_wires_files_to_cad_file():
    wired = plan(specs(gather, encode), ["sources"])
    assert wired.steps[0].item == Source(FLOW_INPUT, "sources")
    assert wired.steps[0].whole
    assert wired.steps[1].item == Source(0, "files")
    assert kinds(wired.steps[1]) == ["item", "cad_loader", "storage"]
    assert wired.steps[1].is_last_stage
    assert [chain.kind for chain in wired.chains] == ["gather", "items"]


def test_loader_and_storage_are_injected_by_position_behind_one_input():
    assert kinds(plan(specs(gather, encode_by_position), ["sources"]).steps[1]) == ["item", "cad_loader", "storage"]


def test_injected_names_are_found_wherever_they_stand():
    @flowtask.transform(inputs=["cad_dataset"])
    def other_order(storage, path, cad_loader):
        return path

    assert kinds(plan(specs(gather, other_order), ["sources"]).steps[1]) == ["storage", "item", "cad_loader"]


def test_parameters_with_defaults_are_left_alone_and_later_ones_go_by_keyword():
    @flowtask.transform(inputs=["cad_dataset"])
    def with_default(path, scale=2.0, storage=None):
        return path

    feeds = plan(specs(gather, with_default), ["sources"]).steps[1].feeds
    assert [(feed.kind, feed.keyword) for feed in feeds] == [("item", ""), ("storage", "storage")]


def test_bare_decorators_take_names_from_the_function():
    @flowtask.extract
    def find(source: str):
        return [source]

    @flowtask.transform
    def measure(path, storage):
        return path

    wired = plan(specs(find, measure), ["sources"])
    assert [step.task.name for step in wired.steps] == ["find", "measure"]
    assert not wired.steps[0].whole
    assert kinds(wired.steps[1]) == ["item", "storage"]


def test_chained_transforms_form_one_stage_with_numbered_stores():
    @flowtask.transform(inputs=["encoded", "storage"], outputs=["labelled"])
    def label(path, storage):
        return path

    @flowtask.transform(inputs=["files", "storage"])
    def from_the_file(path, storage):
        return path

    wired = plan(specs(gather, encode, label, from_the_file, aggregate), ["sources"])
    assert [[step.task.name for step in chain.steps] for chain in wired.chains] == [
        ["gather"],
        ["encode", "label", "from_the_file"],
        ["aggregate"],
    ]
    assert [(step.stage, step.is_last_stage) for step in wired.steps[1:4]] == [(0, False), (1, False), (2, True)]
    assert wired.steps[3].item == Source(0, "files")
    assert wired.steps[4].here
    assert wired.steps[4].whole


def test_a_further_flow_input_is_an_extra():
    @flowtask.transform(inputs=["cad_file", "labels", "storage"])
    def with_labels(cad_file, labels, storage):
        return cad_file

    step = plan(specs(gather, with_labels), ["sources", "labels"]).steps[1]
    assert step.extras == (("labels", Source(FLOW_INPUT, "labels")),)
    assert kinds(step) == ["item", "key", "storage"]


def test_an_unknown_further_name_is_named():
    @flowtask.transform(inputs=["cad_file", "labels", "storage"])
    def with_labels(cad_file, labels, storage):
        return cad_file

    with pytest.raises(WiringError, match=r"'with_labels' takes 'labels', which nothing provides.*'sources', 'files'"):
        plan(specs(gather, with_labels), ["sources"])


def test_an_unfed_parameter_is_named():
    @flowtask.custom(inputs=["files"])
    def two(path, threshold):
        return path

    with pytest.raises(WiringError, match="nothing feeds its parameter 'threshold'"):
        plan(specs(gather, two), ["sources"])


def test_an_input_that_nobody_takes_is_named():
    with pytest.raises(WiringError, match="No task takes the flow's input 'surces'"):
        plan(specs(gather, encode), ["sources", "surces"])


def test_no_inputs_and_ambiguous_inputs_are_errors():
    with pytest.raises(WiringError, match="has no inputs"):
        plan(specs(gather), [])
    with pytest.raises(WiringError, match="not among the flow's inputs"):
        plan(specs(gather), ["a", "b"])


def test_before_inputs_are_known_unknown_names_are_taken_as_inputs():
    assert plan(specs(gather, encode)).input_keys == ("sources",)


def test_sequential_tasks_cannot_have_a_store():
    @flowtask.custom(inputs=["files", "storage"], parallel_execution=False)
    def no(files, storage):
        return files

    with pytest.raises(WiringError, match="takes storage, which"):
        plan(specs(gather, no), ["sources"])


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (list[str], True),
        (List[str], True),  # noqa: UP006
        ("List[str]", True),
        ("typing.Sequence[Path]", True),
        ("list[str] | None", True),
        ("Optional[List[str]]", True),
        (Optional[list], True),  # noqa: UP045
        (str, False),
        ("str", False),
        (Path, False),
        ("pathlib.Path", False),
        (Union[str, Path], False),  # noqa: UP007
        ("str | Path", False),
        (dict, None),
        ("Whatever", None),
        (int, None),
        (Any, None),
    ],
)
def test_annotations_tell_sequences_from_single_values(annotation, expected):
    assert annotation_is_sequence(annotation) is expected


@pytest.mark.parametrize(
    ("parameter", "annotation", "whole"),
    [
        ("sources", None, True),
        ("source", None, False),
        ("sources", "str", False),
        ("source", "List[str]", True),
    ],
)
def test_an_annotation_beats_the_name(parameter, annotation, whole):
    namespace: dict[str, Any] = {}
    exec(f"def f({parameter}{': ' + repr(annotation) if annotation else ''}): return []", namespace)
    task = spec_of(flowtask.extract(inputs=["sources"])(namespace["f"]))
    assert takes_whole_list(task, "sources") is whole


def test_parameters_are_bound_by_name_and_the_others_by_position():
    @flowtask.transform(inputs=["cad_file", "cad_loader", "storage", "scale"])
    def mixed(storage, path, loader, scale=1.0):
        return path

    feeds = plan(specs(gather, mixed), ["sources", "scale"]).steps[1].feeds
    assert [(feed.kind, feed.key) for feed in feeds] == [
        ("storage", ""),
        ("item", ""),
        ("cad_loader", ""),
        ("key", "scale"),
    ]


def test_an_input_with_a_parameter_s_name_does_not_fill_an_earlier_one():
    @flowtask.custom(inputs=["part", "scale"], parallel_execution=False)
    def scaled(part, offset=0.0, scale=1.0):
        return part

    feeds = plan(specs(scaled), ["part", "scale"]).steps[0].feeds
    assert [(feed.kind, feed.key, feed.keyword) for feed in feeds] == [("item", "", ""), ("key", "scale", "scale")]


def test_an_extract_task_may_follow_another_or_a_transform_that_feeds_it():
    @flowtask.extract(name="unpack", inputs=["archives"], outputs=["folders"])
    def unpack(archives):
        return archives

    @flowtask.extract(name="list_files", inputs=["encoded"], outputs=["parts"])
    def list_files(encoded):
        return encoded

    assert [step.item.step for step in plan(specs(unpack, gather), ["archives"]).steps] == [FLOW_INPUT, 0]
    assert plan(specs(gather, encode, list_files), ["sources"]).steps[2].item == Source(1, "encoded")


def test_a_list_of_items_behind_what_works_on_them_is_a_wrong_order():
    with pytest.raises(WiringError, match=r"stands behind .*Give tasks in the order \['gather', 'encode'\]"):
        plan(specs(encode, gather), ["sources"])


def test_a_later_task_may_output_a_name_that_the_flow_s_inputs_have():
    @flowtask.custom(name="look", inputs=["parts"], outputs=["seen"])
    def look(parts):
        return parts

    @flowtask.custom(name="choose", inputs=["parts"], outputs=["parts"])
    def choose(parts):
        return parts

    steps = plan(specs(look, choose, look), ["parts"]).steps
    assert [step.item for step in steps] == [
        Source(FLOW_INPUT, "parts"),
        Source(FLOW_INPUT, "parts"),
        Source(1, "parts"),
    ]
