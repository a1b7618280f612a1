"""HOOPS AI's names of methods are found on dflow's objects, and stay out of their listings."""

from __future__ import annotations

import pytest

from dflow.cadaccess import Brep, CadModel
from dflow.dataset.training.subset import CADDataset
from dflow.hoops.names import hoops_names
from dflow.storage import MemoryStorage


class Names:
    @property
    def double(self):
        return 2 * self.value

    def plus(self, other):
        return self.value + other


class Thing:
    __getattr__ = hoops_names(f"{__name__}:Names")

    def __init__(self):
        self.value = 3

    @property
    def broken(self):
        return self.missing_inside


def test_methods_and_properties_are_bound_to_the_object():
    assert Thing().double == 6
    assert Thing().plus(1) == 4


def test_an_unknown_name_and_a_failing_property_raise_what_python_raises():
    with pytest.raises(AttributeError, match="'Thing' object has no attribute 'treble'"):
        getattr(Thing(), "treble")  # noqa: B009
    with pytest.raises(AttributeError, match="missing_inside"):
        getattr(Thing(), "broken")  # noqa: B009
    assert not hasattr(Thing(), "__array__")


@pytest.mark.parametrize(
    ("cls", "name"),
    [(Brep, "get_face_indices"), (CadModel, "get_body"), (MemoryStorage, "store_path"), (CADDataset, "indices")],
)
def test_the_names_are_not_listed(cls, name):
    assert name not in dir(cls)
