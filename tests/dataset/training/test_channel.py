"""Batches through shared memory: what is used again, and what never is while somebody reads it."""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np
import pytest

from dflow.dataset.training.channel import AVAILABLE, MAX_ARENAS, Arena, Channel, channel, receive
from dflow.errors import DatasetError

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="descriptors cannot be sent here")


def send(end: Channel, arena: Arena, **arrays: np.ndarray) -> dict[str, np.ndarray]:
    """What arrives at the other end, in this same process."""
    message = (arena.place, arena.handle(), {key: arena.put(array) for key, array in arrays.items()})
    place, handle, layout = pickle.loads(ForkingPickler.dumps(message))
    return receive(end.name, place, handle, layout, lambda array: array)


def open_descriptors() -> int:
    """How many descriptors of shared memory this process has open; what else comes and goes in it does not count."""
    targets = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the listing's own
            targets.append(os.readlink(f"/proc/self/fd/{name}"))
    return sum("dflow-batch" in target for target in targets)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(24, dtype=np.int32).reshape(2, 3, 4),
        np.zeros((0, 7), np.float32),
        np.array([True, False]),
        np.arange(12.0).reshape(3, 4).T,
        np.array(3.5),
    ],
)
def test_arrays_arrive_as_they_were_sent(array: np.ndarray) -> None:
    end = Channel()
    found = send(end, end.arena(1000), first=array, second=np.arange(3))
    np.testing.assert_array_equal(found["first"], array)
    assert found["first"].dtype == array.dtype
    assert found["second"].tolist() == [0, 1, 2]


def test_an_arena_is_used_again_only_after_its_last_array_is_dropped() -> None:
    end = Channel()
    first = end.arena(1000)
    found = send(end, first, x=np.arange(10), y=np.arange(5))
    part = found["x"][2:4]
    del found
    gc.collect()
    second = end.arena(1000)
    assert second is not first
    send(end, second, x=np.full(10, 7))
    assert part.tolist() == [2, 3]
    del part
    assert end.arena(1000) is first


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_that_drops_its_copy_frees_nothing() -> None:
    end = Channel()
    arena = end.arena(1000)
    found = send(end, arena, x=np.arange(10))
    child = os.fork()
    if not child:
        del found
        os._exit(0 if arena.busy else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert end.arena(1000) is not arena
    assert found["x"].tolist() == list(range(10))


def test_a_kept_arena_needs_no_descriptor() -> None:
    end = Channel()
    arena = end.arena(1000)
    for value in range(3):
        assert send(end, arena, x=np.full(4, value))["x"].tolist() == [value] * 4
        assert arena.handle() is None
        assert end.arena(1000) is arena


def test_an_arena_that_is_too_small_gives_way() -> None:
    end = Channel()
    small = end.arena(64)
    send(end, small, x=np.arange(4))
    large = end.arena(100_000)
    assert large is not small
    assert large.place == small.place
    assert send(end, large, x=np.arange(12_000))["x"][-1] == 11_999


def test_what_does_not_fit_travels_by_itself() -> None:
    end = Channel()
    found = send(end, end.arena(64), x=np.arange(1000), y=np.arange(2))
    assert found["x"].tolist() == list(range(1000))
    assert found["y"].tolist() == [0, 1]


def test_batches_beyond_the_kept_arenas_get_memory_of_their_own() -> None:
    end = Channel()
    held = [send(end, end.arena(64), x=np.array([i])) for i in range(MAX_ARENAS + 5)]
    assert [int(batch["x"][0]) for batch in held] == list(range(MAX_ARENAS + 5))
    assert end.arena(64).place is None
    del held
    assert end.arena(64).place is not None


def test_descriptors_and_mappings_end_with_the_channel() -> None:
    def use(_: Any) -> None:
        end = Channel()
        held = [send(end, end.arena(64), x=np.array([i])) for i in range(MAX_ARENAS + 5)]
        assert len(held) == MAX_ARENAS + 5
        assert open_descriptors() >= MAX_ARENAS

    use(0)
    before = open_descriptors()
    for i in range(3):
        use(i)
    gc.collect()
    assert open_descriptors() <= before


def test_a_channel_pickles_as_its_name() -> None:
    end = Channel()
    assert pickle.loads(pickle.dumps(end)) is end
    name = end.name
    del end
    assert channel(name).name == name


def test_an_unknown_arena_is_an_error() -> None:
    with pytest.raises(DatasetError, match="has not mapped"):
        receive("nobody", (1, 2), None, {}, lambda array: array)
