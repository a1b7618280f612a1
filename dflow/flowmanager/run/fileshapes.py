"""Find arrays without a group whose shape differs from file to file, while files are encoded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from dflow.errors import SchemaError
from dflow.records import SampleLayout, SampleRecord
from dflow.schema import FILE_GROUP

_MOST_SHAPES = 2
_USUAL_SHARE = 0.9

_Shape = tuple[int, ...]


class FileShapes:
    """Counts the shapes of each array of group ``file`` in the samples of a run.

    More than two shapes of an array, of which none is that of nine in ten samples, are a mistake of the task. The
    merge rejects single files that differ.
    """

    def __init__(self) -> None:
        self._arrays: dict[int, tuple[SampleLayout, tuple[tuple[str, _Shape], ...]]] = {}
        self._counts: dict[str, Counter[_Shape]] = {}
        self._examples: dict[str, dict[_Shape, SampleRecord]] = {}

    def note(self, samples: Iterable[SampleRecord]) -> None:
        """Count the shapes of finished samples.

        Raises
        ------
        SchemaError
            If the shape of an array differs from file to file; the message has the group to save it under.
        """
        for sample in samples:
            for name, shape in self._shaped(sample.layout):
                counts = self._counts.setdefault(name, Counter())
                counts[shape] += 1
                if len(self._examples.setdefault(name, {})) <= _MOST_SHAPES:
                    self._examples[name].setdefault(shape, sample)
                if len(counts) > _MOST_SHAPES and max(counts.values()) < _USUAL_SHARE * counts.total():
                    raise SchemaError(_message(name, self._examples[name]))

    def _shaped(self, layout: SampleLayout) -> tuple[tuple[str, _Shape], ...]:
        known = self._arrays.get(id(layout))
        if known is None:
            arrays = ((array.name, array.trailing) for array in layout.arrays if array.group == FILE_GROUP)
            known = self._arrays[id(layout)] = layout, tuple((name, shape) for name, shape in arrays if shape)
        return known[1]


def _message(name: str, examples: Mapping[_Shape, SampleRecord]) -> str:
    shapes = ", ".join(f"{'×'.join(map(str, shape))} in {sample.source}" for shape, sample in examples.items())
    (first, *_) = examples.values()
    groups = [
        group
        for group in first.layout.groups
        if all(sample.row_count(group) == shape[0] for shape, sample in examples.items())
    ]
    if groups:
        advice = f"It has one entry per row of group {groups[0]!r}: save_data('{groups[0]}/{name}', array)"
    else:
        advice = f"Save it under a group, whose rows are its entries: save_data('{name}_rows/{name}', array)"
    return (
        f"the array {name!r}, saved without a group, differs in shape from file to file ({shapes}), but an array "
        f"without a group has one shape in all files. {advice}"
    )
