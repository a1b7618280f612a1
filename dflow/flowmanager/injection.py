"""What a task's function is called with: the item, the injected loader and store, and other tasks' values."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dflow.flowmanager.batch import BodyValues, Feed, Item, unpack_value

if TYPE_CHECKING:
    from dflow.cadaccess import CadLoader, CadModel


class InjectedLoader:
    """The `cad_loader` a task gets: a `CadLoader` whose opened models the framework knows.

    Body by body, the item's own file is read once for all its bodies: opening it gives the body whose turn it is.
    """

    def __init__(self, loader: CadLoader, on_open: Callable[[list[CadModel]], None]) -> None:
        self._loader = loader
        self._on_open = on_open
        self._ready: dict[str, CadModel] = {}
        self.opened: list[CadModel] = []

    def offer(self, path: str, model: CadModel) -> None:
        """Hand out `model` whenever `path` is opened."""
        self._ready[os.path.abspath(path)] = model

    def create_from_file(self, path: str | os.PathLike[str], *arguments: Any, **keywords: Any) -> CadModel:
        """Open a CAD file; see `CadLoader.create_from_file`."""
        model = self._ready.get(os.path.abspath(os.fspath(path)))
        if model is None:
            model = self._loader.create_from_file(path, *arguments, **keywords)
        if not any(known is model for known in self.opened):
            self.opened.append(model)
            self._on_open(self.opened)
        return model

    def get_model(self) -> CadModel | None:
        """The model opened last."""
        return self.opened[-1] if self.opened else None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


def fill(
    feeds: tuple[Feed, ...], item: Item, body: int, injected: dict[str, Any], shared: dict[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """Positional and keyword arguments of one call. Values are unpacked afresh: a call may change what it is given."""
    positional: list[Any] = []
    by_keyword: dict[str, Any] = {}
    inputs = dict(item.inputs)
    for feed in feeds:
        if feed.kind == "item":
            value = unpack_value(_of_body(item.value, body))
        elif feed.kind == "key":
            value = unpack_value(_of_body(inputs[feed.key] if feed.key in inputs else shared[feed.key], body))
        else:
            value = injected[feed.kind]
        if feed.keyword:
            by_keyword[feed.keyword] = value
        else:
            positional.append(value)
    return positional, by_keyword


def _of_body(value: Any, body: int) -> Any:
    return dict(value.values)[body] if isinstance(value, BodyValues) else value
