"""Drawings of a flow: its tasks before a run, its batches afterwards."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import dflow
from dflow.flowmanager import flowtask
from dflow.flowmanager.plan.tasks import spec_of
from dflow.flowmanager.plan.wiring import plan
from dflow.flowmanager.reports.drawing import Box, FlowDrawing, draw_batches, draw_plan
from dflow.flowmanager.reports.flowoutput import Counts, FlowOutput, TaskOutcome
from tests.flowmanager.flowparts import encode, gather, label


def test_the_plan_is_drawn_without_graphviz_before_and_after_a_run(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")

    @flowtask.transform(inputs=["part"])
    def same(part):
        return part

    flow = dflow.create_flow("drawn", [same], tmp_path, debug=True, export_visualization=False)
    before = flow.visualize()
    assert [box.text for box in before.boxes] == ["part", "same\ntransform"]
    assert before.arrows == ((0, 1),)
    flow.process(inputs={"parts": [1, 2]}, progress=False)
    after = flow.visualize(tmp_path / "flow.svg")
    assert [box.text for box in after.boxes] == ["same-000000", "same-000001"]
    ET.parse(tmp_path / "flow.svg")
    flow.visualize(tmp_path / "flow.png")
    assert (tmp_path / "flow.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in flow._repr_svg_()


def test_an_arrow_leads_from_each_value_to_the_task_that_takes_it():
    @flowtask.custom(inputs=["labelled", "files", "scale"])
    def compare(labelled, files, scale):
        return scale

    drawing = draw_plan(plan([spec_of(each) for each in (gather, encode, label, compare)], ["sources", "scale"]))
    names = [box.text.partition("\n")[0] for box in drawing.boxes]
    assert names == ["sources", "scale", "gather", "encode", "label", "compare"]
    assert {(names[a], names[b]) for a, b in drawing.arrows} == {
        ("sources", "gather"),
        ("gather", "encode"),
        ("encode", "label"),
        ("label", "compare"),
        ("gather", "compare"),
        ("scale", "compare"),
    }
    assert drawing.title == "gather -> encode -> label -> compare"


def outcomes(*tasks: tuple[str, str, int]) -> FlowOutput:
    return FlowOutput("f", {}, [TaskOutcome(name, kind, "", 1.0, n_nodes=n) for name, kind, n in tasks], 1.0, Counts(9))


def test_batches_of_chained_transforms_are_joined_one_by_one_others_all_with_all():
    drawing = draw_batches(
        outcomes(("gather", "extract", 1), ("a", "transform", 2), ("b", "transform", 2), ("merge", "export", 1))
    )
    assert [box.column for box in drawing.boxes] == [0, 1, 1, 2, 2, 3]
    assert drawing.arrows == ((0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 5))


def test_more_batches_than_are_shown_are_counted_and_none_is_reused():
    drawing = draw_batches(outcomes(("a", "transform", 10), ("b", "custom", 0)), most=3)
    assert [box.text for box in drawing.boxes] == [
        "a-000000",
        "a-000001",
        "a-000002",
        "... 7 more",
        "b\n(reused)",
    ]


def test_names_are_text_in_any_script(recwarn):
    name = "$x$ \u65e5\u672c <b>&"
    svg = FlowDrawing([Box(0, 0, name, "data")], [], name).svg
    assert {node.text for node in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")} == {name}
    assert list(recwarn) == []
