"""Arrays without a group: which shapes stop a run, and which files are left to the merge."""

from __future__ import annotations

from itertools import permutations

import pytest

from dflow.errors import SchemaError
from dflow.flowmanager.run.fileshapes import FileShapes
from dflow.records import SampleRecord
from tests.dataset.samples import record_of


def _samples(lengths: list[int], **rows: int) -> list[SampleRecord]:
    forms = {"file/scores": ("float64", (0,)), **{f"{group}/x": ("int32", ()) for group in rows}}
    return [
        record_of(f"{i}.step", {**forms, "file/scores": ("float64", (n,))}, {g: c * n for g, c in rows.items()})
        for i, n in enumerate(lengths)
    ]


@pytest.mark.parametrize("lengths", [[1] * 50, [1, 2] * 25, [1] * 18 + [2, 3], [2, 1, 1, 1]])
def test_one_or_two_shapes_and_rare_others_are_left_to_the_merge(lengths: list[int]) -> None:
    FileShapes().note(_samples(lengths))


@pytest.mark.parametrize("lengths", list(permutations([1, 2, 3])))
def test_three_shapes_stop_a_run_in_any_order(lengths: tuple[int, ...]) -> None:
    with pytest.raises(SchemaError, match="differs in shape from file to file"):
        FileShapes().note(_samples(list(lengths)))


def test_a_frequent_shape_among_others_does_not_hide_the_mistake() -> None:
    shapes = FileShapes()
    shapes.note(_samples([6, 6, 6, 8, 6, 6]))
    with pytest.raises(SchemaError, match=r"6 in 0\.step, 8 in 3\.step, 10 in 0\.step"):
        shapes.note(_samples([10]))


def test_values_without_dimensions_and_rows_are_not_counted() -> None:
    forms = {"file/mass": ("float64", ()), "faces/x": ("int32", ())}
    FileShapes().note(record_of(f"{n}.step", forms, {"faces": n}) for n in range(9))


@pytest.mark.parametrize(
    ("rows", "key"),
    [
        ({"faces": 1}, "faces/scores"),
        ({"edges": 2, "faces": 1}, "faces/scores"),
        ({"edges": 2}, "scores_rows/scores"),
    ],
)
def test_the_group_with_as_many_rows_in_every_file_is_named(rows: dict[str, int], key: str) -> None:
    with pytest.raises(SchemaError, match=rf"save_data\('{key}', array\)"):
        FileShapes().note(_samples([4, 7, 5], **rows))
