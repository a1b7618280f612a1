"""Whether a task is called once with the whole list or once an item: a pure decision from its signature."""

from __future__ import annotations

import collections.abc
import inspect
import os
import re
import types
import typing
from typing import Any

from dflow.flowmanager.plan.tasks import TaskSpec, positional_parameters

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
    """Whether `task` gets the list under `input_key` in one call.

    A transform never does; a custom task does when it is sequential; an extract task does when its first parameter is
    annotated as a sequence or, without a telling annotation, bears the input's own name.
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
    """True for a sequence, False for one text or path, None where the annotation does not tell.

    Annotations given as text (``from __future__ import annotations``) are read by their words, so that names that
    cannot be resolved here do no harm.
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
    """The members of a union written as text: ``"Optional[list[str]]"``, ``"str | Path"``."""
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
