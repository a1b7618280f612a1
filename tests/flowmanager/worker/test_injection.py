"""What a function is called with."""

from __future__ import annotations

from typing import Any

import pytest

from dflow.flowmanager.plan.batch import BodyValues, Feed, Item, pack_value
from dflow.flowmanager.worker.injection import BodySource, InjectedLoader, fill


class Model:
    def __init__(self, path: str, body: int | None = None) -> None:
        self.path, self.body = path, body

    def for_body(self, body: int) -> Model:
        return Model(self.path, body)


class Loader:
    """Stands for `CadLoader`; remembers what it read."""

    sample = "file"

    def __init__(self) -> None:
        self.read: list[str] = []

    def create_from_file(self, path: str) -> Model:
        self.read.append(path)
        return Model(path)


def injected(loader: Loader) -> tuple[InjectedLoader, list[int]]:
    counted: list[int] = []
    return InjectedLoader(loader, lambda opened: counted.append(len(opened))), counted  # type: ignore[arg-type]


def test_opened_models_are_known_and_told_of():
    loader, counted = injected(Loader())
    first = loader.create_from_file("a.step")
    second = loader.create_from_file("b.step")
    assert loader.opened == [first, second]
    assert loader.get_model() is second
    assert counted == [1, 2]


def test_everything_else_is_the_loaders():
    loader, _ = injected(Loader())
    assert loader.sample == "file"
    with pytest.raises(AttributeError, match="nonsense"):
        loader.nonsense  # noqa: B018 - asking is the test


@pytest.mark.parametrize(("name", "owner"), [("save_data", "a storage's"), ("get_brep", "a model's")])
def test_what_is_another_object_s_is_named_as_that(name, owner):
    loader, _ = injected(Loader())
    with pytest.raises(AttributeError, match=f"the CAD loader has no '{name}', which is {owner}: .*`cad_loader`"):
        getattr(loader, name)


def test_body_by_body_the_file_is_read_once_and_each_gets_its_own(tmp_path):
    kernel, path = Loader(), str(tmp_path / "a.step")
    source = BodySource(kernel, path)  # type: ignore[arg-type]
    for body in (0, 1):
        loader, counted = injected(kernel)
        loader.offer_body(source, body)
        model: Any = loader.create_from_file(f"{tmp_path}/./a.step")
        assert model.body == body
        assert loader.create_from_file(tmp_path / "a.step") is model
        assert counted == [1]
    assert kernel.read == [path]


def test_other_files_are_opened_whole_meanwhile(tmp_path):
    kernel = Loader()
    loader, _ = injected(kernel)
    loader.offer_body(BodySource(kernel, str(tmp_path / "a.step")), 1)  # type: ignore[arg-type]
    model: Any = loader.create_from_file("b.step")
    assert model.body is None


def test_arguments_come_by_position_and_by_name():
    feeds = (Feed("storage"), Feed("item"), Feed("key", "scale", "factor"), Feed("key", "offset"))
    item = Item(0, "a", pack_value([1, 2]), inputs=(("scale", 3),))
    arguments = fill(feeds, item, -1, {"storage": "the store"}, {"scale": 4, "offset": 5})
    assert arguments == (["the store", [1, 2], 5], {"factor": 3})


def test_each_call_gets_values_of_its_own():
    item = Item(0, "a", pack_value([1, 2]))
    ((first,), _), ((second,), _) = (fill((Feed("item"),), item, -1, {}, {}) for _ in range(2))
    first.append(3)
    assert second == [1, 2]


def test_a_body_gets_its_own_value():
    item = Item(0, "a", BodyValues(((0, "zero"), (2, pack_value(["two"])))))
    assert fill((Feed("item"),), item, 2, {}, {}) == ([["two"]], {})
