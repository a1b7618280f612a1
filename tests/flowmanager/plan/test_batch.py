"""The messages of a batch: frozen, picklable, bounded."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dflow.flowmanager.plan.batch import (
    Batch,
    BodyValues,
    Feed,
    Item,
    Limits,
    PackedValue,
    TaskCall,
    pack_value,
    unpack_value,
)
from dflow.storage.paths import FlowPaths

CALL = TaskCall("encode", "transform", b"code", (Feed("item"), Feed("storage"), Feed("key", "scale", "scale")))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=10,
)


def test_a_batch_pickles_and_compares_by_value():
    item = Item(3, "a.step", "/x/a.step", (("scale", 2.0),), ("abc_0",), "hash")
    batch = Batch(7, CALL, (item,), FlowPaths(Path("/x"), "f"), Limits(), shared=(("k", PackedValue(b"v")),))
    assert pickle.loads(pickle.dumps(batch)) == batch
    values = BodyValues(((0, "a"), (2, PackedValue(b"v"))))
    assert pickle.loads(pickle.dumps(values)) == values


def test_messages_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        CALL.stage = 1  # type: ignore[misc]


def test_digest_tells_functions_apart():
    other = TaskCall("encode", "transform", b"other code", CALL.feeds)
    assert len(CALL.digest) == 32
    assert CALL.digest != other.digest
    assert CALL.digest == TaskCall("renamed", "custom", b"code", ()).digest


def test_a_call_knows_whether_it_takes_storage():
    assert CALL.takes_storage
    assert not TaskCall("gather", "extract", b"", (Feed("item"),)).takes_storage


@given(VALUES)
def test_unpacking_inverts_packing(value):
    assert unpack_value(pack_value(value)) == value


@pytest.mark.parametrize("value", [None, True, 3, 2.5, "a path"])
def test_plain_values_travel_as_they_are(value):
    assert pack_value(value) is value


def test_subclasses_of_plain_types_are_packed():
    assert isinstance(pack_value(np.float64(1.0)), PackedValue)


def test_functions_without_a_module_are_packed():
    double = unpack_value(pack_value(lambda x: 2 * x))
    assert double(21) == 42


@pytest.mark.parametrize("value", [b"x" * 2001, "x" * 2001, np.zeros(2001, np.uint8), [b"x" * 1500, b"y" * 1500]])
def test_a_value_beyond_the_limit_is_refused(value):
    with pytest.raises(ValueError, match="2000 bytes"):
        pack_value(value, 2000)


def test_packing_raises_what_pickling_raises():
    with pytest.raises(TypeError, match="generator"):
        pack_value(number for number in range(3))
