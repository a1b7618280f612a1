"""The arguments of a task's function: the item, the injected loader and store, and other tasks' values.

A separate module because the stack of a crash is cut where `execution` called the user's function, and the frames of
the loader lie above that.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dflow.flowmanager.plan.batch import BodyValues, Feed, Item, unpack_value
from dflow.storage import DataStorage

if TYPE_CHECKING:
    from dflow.cadaccess import CadLoader, CadModel


class BodySource:
    """An item's own file, read once for all its bodies, on first use."""

    def __init__(self, loader: CadLoader, path: str) -> None:
        self._loader = loader
        self._model: CadModel | None = None
        self.path = path

    def model(self) -> CadModel:
        """Return the model of the whole file."""
        if self._model is None:
            self._model = self._loader.create_from_file(self.path)
        return self._model


class InjectedLoader:
    """The `cad_loader` of a task: a `CadLoader` that keeps the models it has opened.

    With ``sample="body"``, opening the item's own file gives the body that is being encoded.
    """

    def __init__(self, loader: CadLoader, on_open: Callable[[list[CadModel]], None]) -> None:
        self._loader = loader
        self._on_open = on_open
        self._source: BodySource | None = None
        self._body = 0
        self._view: CadModel | None = None
        self.opened: list[CadModel] = []

    def offer_body(self, source: BodySource, body: int) -> None:
        """Make opening `source`'s file give its body of that index."""
        self._source, self._body, self._view = source, body, None

    def create_from_file(self, path: str | os.PathLike[str], *arguments: Any, **keywords: Any) -> CadModel:
        """Open a CAD file; see `CadLoader.create_from_file`."""
        if self._source is not None and os.path.realpath(path) == os.path.realpath(self._source.path):
            model = self._view = self._view or self._source.model().for_body(self._body)
        else:
            model = self._loader.create_from_file(path, *arguments, **keywords)
        if not any(known is model for known in self.opened):
            self.opened.append(model)
            self._on_open(self.opened)
        return model

    def get_model(self) -> CadModel | None:
        """Return the model opened last."""
        return self.opened[-1] if self.opened else None

    def __getattr__(self, name: str) -> Any:
        try:
            return getattr(self._loader, name)
        except AttributeError:
            hint = "a storage" if hasattr(DataStorage, name) else "a model" if name.startswith(("get_", "to_")) else ""
            raise AttributeError(
                f"the CAD loader has no {name!r}"
                + (
                    f", which is {hint}'s: the loader is injected as the parameter `cad_loader`, the storage as "
                    "`storage`, and a model is what `cad_loader.create_from_file(path)` returns"
                    if hint
                    else "; see dflow.cadaccess.CadLoader"
                )
            ) from None


def fill(
    feeds: tuple[Feed, ...], item: Item, body: int, injected: dict[str, Any], shared: dict[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """Return positional and keyword arguments of one call, unpacked anew: a call may change its arguments."""
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
