"""The wiring plan: what feeds each task, from the tasks' declarations and the names of the flow's inputs.

Rules
-----
* A name that an earlier task outputs, or that is among the flow's inputs, is fed from there (the nearest earlier one).
* A task's first input that nothing produces is fed from the nearest earlier task's output, the flow's input for the
  first.
* Parameters are bound by name where they have an input's name, the others by position in the order of the inputs.
* ``cad_loader`` and ``storage`` are injected: by name, or by position behind HOOPS AI's single input.
* Any other unknown name is a `WiringError` that names the gap.
"""

from __future__ import annotations

import collections.abc
import inspect
import os
import re
import types
import typing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from dflow.errors import WiringError
from dflow.flowmanager.plan.batch import Feed
from dflow.flowmanager.plan.tasks import INJECTED, TaskSpec, positional_parameters

FLOW_INPUT = -1
"""The step index of what the user passes to ``process(inputs=…)``."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a value comes from: the output `key` of step `step`, or the flow's input `key`."""

    step: int
    key: str


@dataclass(frozen=True, slots=True)
class Step:
    """One task in its place.

    `item` is what its first input is fed from; `feeds` fill its parameters in order; `extras` are the sources of the
    further named inputs. `whole` tasks take the list, others one item per call; `here`: in the calling process. `stage`
    counts the storage-taking steps before this one; `is_last_stage` marks the last of them.
    """

    index: int
    task: TaskSpec
    item: Source
    feeds: tuple[Feed, ...]
    extras: tuple[tuple[str, Source], ...] = ()
    whole: bool = False
    here: bool = False
    stage: int = 0
    is_last_stage: bool = False

    @property
    def takes_storage(self) -> bool:
        """Whether stores are injected."""
        return any(feed.kind == "storage" for feed in self.feeds)

    @property
    def opens_files(self) -> bool:
        """Whether the CAD loader is injected."""
        return any(feed.kind == "cad_loader" for feed in self.feeds)


@dataclass(frozen=True, slots=True)
class Chain:
    """Steps that follow each other item by item: one batch goes through all of them without waiting for the others.

    `kind` "gather": an extract task, whose returned lists become items; "here": one call in the calling process;
    "items": a chain of per-item tasks.
    """

    kind: Literal["gather", "here", "items"]
    steps: tuple[Step, ...]

    @property
    def source(self) -> Source:
        """Where the chain's items come from."""
        return self.steps[0].item


@dataclass(frozen=True, slots=True)
class Plan:
    """The wiring of a whole flow."""

    steps: tuple[Step, ...]
    chains: tuple[Chain, ...]
    input_keys: tuple[str, ...]

    @property
    def writes_samples(self) -> bool:
        """Whether any task takes a store."""
        return any(step.takes_storage for step in self.steps)


def plan(tasks: Sequence[TaskSpec], input_keys: Iterable[str] | None = None) -> Plan:
    """Wire `tasks`, which run in list order, to each other and to the flow's inputs.

    Parameters
    ----------
    tasks
        The flow's tasks, in order.
    input_keys
        Names in ``process(inputs=…)``; None before they are known: then names that nothing produces count as inputs.

    Raises
    ------
    WiringError
        Naming the task, the input that is missing, and what there is.
    """
    keys = None if input_keys is None else tuple(input_keys)
    if keys is not None and not keys:
        raise WiringError('The flow has no inputs: call process(inputs={"sources": [...]}) with at least one entry.')
    steps: list[Step] = []
    for task in tasks:
        steps.append(_wire(len(steps), task, steps, keys))
    steps = _number_stages(steps)
    found = keys if keys is not None else _assumed_keys(steps)
    if keys is not None:
        _check_order(steps, keys)
    _check_all_inputs_used(steps, found)
    return Plan(tuple(steps), _chains(steps), found)


def _wire(index: int, task: TaskSpec, earlier: Sequence[Step], keys: tuple[str, ...] | None) -> Step:
    declared, bound = _bind(task)
    first = next((name for name in declared if name not in INJECTED), None)
    if first is None:
        raise WiringError(f"Task {task.name!r} has no input beside {' and '.join(INJECTED)}; name what it works on.")
    item = _first_source(task, first, earlier, keys)
    extras = tuple(
        (name, _further_source(task, name, earlier, keys))
        for name in declared
        if name not in INJECTED and name != first
    )
    feeds = tuple(replace(feed, kind="item", key="") if feed.key == first else feed for feed in bound)
    whole = takes_whole_list(task, item.key)
    step = Step(index, task, item, feeds, extras, whole=whole, here=not task.parallel and task.kind != "transform")
    if step.takes_storage and (step.here or task.kind == "extract"):
        raise WiringError(f"Task {task.name!r} takes storage, which belongs to tasks that are called once per item.")
    if step.here and any(feed.kind == "cad_loader" for feed in feeds):
        raise WiringError(f"Task {task.name!r} takes cad_loader, but is sequential; leave parallel_execution on.")
    return step


def _bind(task: TaskSpec) -> tuple[tuple[str, ...], list[Feed]]:
    """Return the task's input names, and a feed for each parameter that is filled, in the order of the parameters."""
    parameters = positional_parameters(task.function)
    declared = task.inputs
    if declared is None:
        declared = tuple(p.name for p in parameters if p.default is inspect.Parameter.empty or p.name in INJECTED)
    named = {p.name for p in parameters if p.name in declared or p.name in INJECTED}
    waiting = [name for name in declared if name not in named]
    spare = [name for name in INJECTED if name not in declared and name not in named]
    feeds: list[Feed] = []
    skipped = False
    for parameter in parameters:
        name = parameter.name if parameter.name in named else waiting.pop(0) if waiting else None
        if name is None and parameter.default is not inspect.Parameter.empty:
            skipped = True
            continue
        if name is None and task.kind == "transform" and spare:
            name = spare.pop(0)
        if name is None:
            raise WiringError(
                f"Task {task.name!r}: nothing feeds its parameter {parameter.name!r}; its inputs are {list(declared)}."
            )
        feeds.append(_feed(name, parameter.name if skipped else ""))
    feeds.extend(_feed(name, "") for name in waiting)  # a function that takes *args
    return declared, feeds


def _feed(name: str, keyword: str) -> Feed:
    if name == "cad_loader":
        return Feed("cad_loader", keyword=keyword)
    if name == "storage":
        return Feed("storage", keyword=keyword)
    return Feed("key", name, keyword)


def _known(name: str, earlier: Sequence[Step], keys: tuple[str, ...] | None) -> Source | None:
    for step in reversed(earlier):
        if name in step.task.outputs:
            return Source(step.index, name)
    return Source(FLOW_INPUT, name) if keys is not None and name in keys else None


def _first_source(task: TaskSpec, name: str, earlier: Sequence[Step], keys: tuple[str, ...] | None) -> Source:
    known = _known(name, earlier, keys)
    if known is not None:
        return known
    if earlier:
        return Source(earlier[-1].index, earlier[-1].task.outputs[0])
    if keys is None:
        return Source(FLOW_INPUT, name)
    if len(keys) == 1:
        return Source(FLOW_INPUT, keys[0])
    raise WiringError(
        f"Task {task.name!r} takes {name!r}, which is not among the flow's inputs {list(keys)}; "
        "with more than one input, use the task's own name for it."
    )


def _further_source(task: TaskSpec, name: str, earlier: Sequence[Step], keys: tuple[str, ...] | None) -> Source:
    known = _known(name, earlier, keys)
    if known is not None:
        return known
    if keys is None:
        return Source(FLOW_INPUT, name)
    available = [*keys, *(output for step in earlier for output in step.task.outputs)]
    raise WiringError(
        f"Task {task.name!r} takes {name!r}, which nothing provides. Available to it: {available}; "
        f"injected: {list(INJECTED)}."
    )


def _number_stages(steps: Sequence[Step]) -> list[Step]:
    takers = [step.index for step in steps if step.takes_storage]
    return [
        replace(
            step,
            stage=sum(index < step.index for index in takers),
            is_last_stage=bool(takers) and step.index == takers[-1],
        )
        for step in steps
    ]


def _assumed_keys(steps: Sequence[Step]) -> tuple[str, ...]:
    taken = [
        source.key
        for step in steps
        for source in (step.item, *(s for _, s in step.extras))
        if source.step == FLOW_INPUT
    ]
    return tuple(dict.fromkeys(taken))


def _check_order(steps: Sequence[Step], keys: tuple[str, ...]) -> None:
    """Refuse an extract task behind a task that works on the same input, and a name that only a later task outputs."""
    for step in steps:
        for earlier in steps[: step.index]:
            wanted = {*(earlier.task.inputs or ()), earlier.item.key} & set(step.task.outputs)
            produced = {*keys, *(output for each in steps[: earlier.index] for output in each.task.outputs)}
            is_late_list = (step.task.kind, earlier.item) == ("extract", step.item) and earlier.task.kind != "extract"
            if wanted - produced or (is_late_list and not _feeds_any(step, steps)):
                order = [each.task.name for each in steps if each is not step]
                order.insert(earlier.index, step.task.name)
                raise WiringError(
                    f"Task {step.task.name!r} outputs {list(step.task.outputs)}, but stands behind task "
                    f"{earlier.task.name!r}, which takes {list(earlier.task.inputs or (earlier.item.key,))}: tasks run "
                    f"in the order of the list. Give tasks in the order {order}."
                )


def _feeds_any(step: Step, steps: Sequence[Step]) -> bool:
    return any(source.step == step.index for each in steps for source in (each.item, *(s for _, s in each.extras)))


def _check_all_inputs_used(steps: Sequence[Step], keys: tuple[str, ...]) -> None:
    unused = [key for key in keys if key not in _assumed_keys(steps)]
    if unused:
        takes = {step.task.name: [step.item.key, *(name for name, _ in step.extras)] for step in steps}
        raise WiringError(f"No task takes the flow's input {unused[0]!r}. The tasks take: {takes}.")


def _chains(steps: Sequence[Step]) -> tuple[Chain, ...]:
    """Group consecutive per-item steps that go through the same items."""
    chains: list[list[Step]] = []
    for step in steps:
        if chains and _continues(chains[-1], step):
            chains[-1].append(step)
        else:
            chains.append([step])
    return tuple(Chain(_kind(group[0]), tuple(group)) for group in chains)


def _kind(step: Step) -> Literal["gather", "here", "items"]:
    if step.here:
        return "here"
    return "gather" if step.task.kind == "extract" else "items"


def _continues(group: Sequence[Step], step: Step) -> bool:
    if _kind(group[0]) != "items" or _kind(step) != "items":
        return False
    if step.task.kind != group[0].task.kind:  # a custom task runs every time, a transform only when its item changed
        return False
    inside = {member.index for member in group}
    return step.item == group[0].item or step.item.step in inside


_SEQUENCE_WORDS = frozenset(
    {
        "list",
        "sequence",
        "mutablesequence",
        "iterable",
        "collection",
        "tuple",
        "set",
        "frozenset",
        "iterator",
        "ndarray",
    }
)
_SINGLE_WORDS = frozenset({"str", "path", "purepath", "posixpath", "windowspath", "pathlike", "bytes"})


def takes_whole_list(task: TaskSpec, input_key: str) -> bool:
    """Whether `task` takes the list under `input_key` in one call.

    A transform never does; a custom task does when it is sequential; an extract task does when its first parameter is
    annotated as a sequence or, where the annotation leaves it open, has the input's own name.
    """
    if task.kind == "transform":
        return False
    if task.kind == "custom":
        return not task.parallel
    first = next((p for p in positional_parameters(task.function) if p.name not in ("cad_loader", "storage")), None)
    if first is None:
        return True
    annotated = annotation_is_sequence(first.annotation)
    if annotated is not None:
        return annotated
    own_names = {input_key, *(task.inputs or ())[:1]}
    return first.name in own_names


def annotation_is_sequence(annotation: Any) -> bool | None:
    """Return True for a sequence, False for one text or path, None where the annotation leaves it open.

    Annotations given as text (``from __future__ import annotations``) are read by their words: their names may not
    resolve here.
    """
    if annotation is inspect.Parameter.empty or annotation is Any:
        return None
    if isinstance(annotation, str):
        return _text_is_sequence(annotation)
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        answers = [annotation_is_sequence(part) for part in typing.get_args(annotation) if part is not type(None)]
        return True if True in answers else False if False in answers else None
    if origin is typing.Annotated:
        return annotation_is_sequence(typing.get_args(annotation)[0])
    plain = origin or annotation
    if not isinstance(plain, type):
        return None
    if issubclass(plain, (str, bytes, os.PathLike)):
        return False
    if issubclass(plain, (collections.abc.Mapping,)):
        return None
    if issubclass(plain, collections.abc.Iterable):
        return True
    return None


def _text_is_sequence(text: str) -> bool | None:
    heads = [re.split(r"[\[\s]", part.strip(), maxsplit=1)[0] for part in _alternatives(text)]
    words = {head.rsplit(".", 1)[-1].lower() for head in heads}
    if words & _SEQUENCE_WORDS:
        return True
    return False if words & _SINGLE_WORDS else None


def _alternatives(text: str) -> list[str]:
    """Return the members of a union written as text: ``"Optional[list[str]]"``, ``"str | Path"``."""
    text = text.strip().strip("'\"")
    wrapped = re.fullmatch(r"(?:typing\.|t\.)?(?:Optional|Union|Annotated)\[(.*)\]", text, re.DOTALL)
    if wrapped:
        return [inner for part in _split(wrapped.group(1), ",") for inner in _alternatives(part)]
    parts = _split(text, "|")
    return parts if len(parts) == 1 else [inner for part in parts for inner in _alternatives(part)]


def _split(text: str, separator: str) -> list[str]:
    """Split at separators outside brackets."""
    parts, depth, start = [], 0, 0
    for position, character in enumerate(text):
        depth += (character in "[(") - (character in "])")
        if character == separator and depth == 0:
            parts.append(text[start:position])
            start = position + 1
    return [*parts, text[start:]]
