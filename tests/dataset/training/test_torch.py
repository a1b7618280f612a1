"""The adapter to PyTorch: tensors, loaders with workers, block-shuffled streams over ranks, memory over epochs."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dflow.dataset import DatasetLoader
from dflow.dataset.training.channel import MAX_ARENAS
from dflow.dataset.training.subset import CADDataset
from dflow.dataset.training.transforms import RandomRotation, Standardise
from tests.dataset.synthetic import Parts, random_parts, write_parts
from tests.extras import Extra

torch = Extra("torch")
adapter = Extra("dflow.dataset.training.torch", package="torch")


def test_items_are_dictionaries_of_tensors(train: CADDataset, parts: Parts) -> None:
    dataset = train.to_torch()
    assert isinstance(dataset, torch.utils.data.Dataset)
    item = dataset[2]
    np.testing.assert_array_equal(
        item["faces/face_uv_grids"].numpy(), parts.of_file("faces", "face_uv_grids", int(item["id"]))
    )
    assert item["file/category"].dtype == torch.int32
    assert dataset.get_file_codes().tolist() == train.get_file_codes().tolist()


def test_the_plain_dataset_works_in_a_torch_loader_too(train: CADDataset) -> None:
    loader = torch.utils.data.DataLoader(train, batch_size=8, collate_fn=adapter.Collate(train.collate))
    assert sum(len(batch["id"]) for batch in loader) == len(train)


def test_a_collate_of_ones_own_gets_items_in_any_loader(train: CADDataset) -> None:
    """In a plain `DataLoader`, as an option, and given to `to_torch`: a list of dictionaries of tensors."""

    def collate(items: list[dict[str, Any]]) -> list[int]:
        assert all(isinstance(item["faces/face_areas"], torch.Tensor) for item in items)
        return [item["id"] for item in items]

    dataset = train.to_torch()
    loaders = [
        torch.utils.data.DataLoader(dataset, 8, collate_fn=collate),
        dataset.get_dataloader(8, collate_fn=collate),
        train.to_torch(collate).get_dataloader(8),
    ]
    for loader in loaders:
        assert [i for batch in loader for i in batch] == train.get_file_codes().tolist()


def check_epoch(batches: list[dict[str, Any]], train: CADDataset, parts: Parts) -> None:
    assert sorted(int(i) for b in batches for i in b["id"]) == train.get_file_codes().tolist()
    for batch in batches:
        for position, file_id in enumerate(batch["id"].tolist()):
            low, high = batch["faces/ptr"][position : position + 2].tolist()
            rows = parts.of_file("faces", "face_uv_grids", file_id)
            np.testing.assert_array_equal(batch["faces/face_uv_grids"][low:high].numpy(), rows)
            assert batch["faces/batch"][low:high].tolist() == [position] * len(rows)
        assert torch.equal(batch["faces/batch"][batch["graph/edges_source"].long()], batch["graph/batch"])


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more than one worker on one processor
@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_give_every_sample_once(train: CADDataset, parts: Parts, context: str) -> None:
    train[0]  # open files before the fork
    dataset = train.to_torch()
    options = {"num_workers": 2 if context == "fork" else 1, "multiprocessing_context": context}
    check_epoch(list(dataset.get_dataloader(8, shuffle=True, seed=1, **options)), train, parts)
    loader = dataset.get_block_loader(8, block_size=4, fetch_blocks=2, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch warns when a stream is longer than it said
        batches = list(loader)
    assert len(batches) == len(loader)
    check_epoch(batches, train, parts)


def test_batches_that_are_held_are_never_overwritten(train: CADDataset, parts: Parts) -> None:
    """More of them than a worker keeps arenas for, over two epochs of workers that live on."""
    loader = train.to_torch().get_block_loader(1, num_workers=1, persistent_workers=True, block_size=4, fetch_blocks=2)
    epochs = [list(loader), list(loader)]
    assert len(epochs[0]) > MAX_ARENAS
    for batches in epochs:
        check_epoch(batches, train, parts)
    del epochs, batches
    check_epoch(list(loader), train, parts)


def test_two_iterators_of_one_loader_do_not_meet(train: CADDataset, parts: Parts) -> None:
    loader = train.to_torch().get_block_loader(8, num_workers=1, block_size=4, fetch_blocks=2)
    first, second = zip(*zip(loader, loader, strict=True), strict=True)
    check_epoch(list(first), train, parts)
    check_epoch(list(second), train, parts)


def test_workers_standardise_too(train: CADDataset, parts: Parts) -> None:
    """A transform of whole batches, and one of single items, both sent from a worker."""

    def double(item: dict[str, Any]) -> dict[str, Any]:
        return {**item, "faces/face_areas": item["faces/face_areas"] * 2}

    statistics = {"faces/face_areas": (np.float64(0.0), np.float64(0.5))}
    for transform in (Standardise(statistics), double):
        dataset = CADDataset(train.source, train.get_file_codes(), transform=transform).to_torch()
        for batch in dataset.get_block_loader(8, num_workers=1, block_size=4, fetch_blocks=2):
            expected = [parts.of_file("faces", "face_areas", int(i)) * 2 for i in batch["id"]]
            np.testing.assert_allclose(batch["faces/face_areas"].numpy(), np.concatenate(expected), rtol=1e-6)


def test_the_same_seed_gives_the_same_order(train: CADDataset) -> None:
    def ids(seed: int) -> list[int]:
        loader = train.to_torch().get_dataloader(8, shuffle=True, seed=seed)
        return [int(i) for batch in loader for i in batch["id"]]

    assert ids(3) == ids(3) != ids(4)


def test_block_streams_of_ranks_share_the_samples(train: CADDataset) -> None:
    dataset = train.to_torch()
    loaders = [dataset.get_block_loader(4, rank=rank, world_size=3, block_size=4, fetch_blocks=2) for rank in range(3)]
    ids = [[int(i) for batch in loader for i in batch["id"]] for loader in loaders]
    assert len({len(i) for i in ids}) == 1
    assert {i for found in ids for i in found} == set(train.get_file_codes().tolist())
    assert len({len(loader) for loader in loaders}) == 1


def test_epochs_reach_workers_that_live_on(train: CADDataset) -> None:
    loader = train.to_torch().get_block_loader(8, num_workers=1, persistent_workers=True, block_size=4, fetch_blocks=2)
    orders = []
    for epoch in (0, 1, 0):
        loader.dataset.set_epoch(epoch)
        orders.append([i for batch in loader for i in batch["id"].tolist()])
    assert orders[0] == orders[2] != orders[1]


WORKERS: list[dict[str, Any]] = [{}, {"num_workers": 3, "multiprocessing_context": "fork"}]
WORKERS += [
    {"num_workers": n, "multiprocessing_context": context, "persistent_workers": True}
    for n, context in ((2, "fork"), (1, "spawn"), (1, "forkserver"))
]


def passes(loader: Any, n_passes: int) -> list[dict[int, Any]]:
    """A point of every sample, by its id in the order of the pass."""
    return [
        {
            file_id: batch["file/bounding_box"][position].tolist()
            for batch in loader
            for position, file_id in enumerate(batch["id"].tolist())
        }
        for _ in range(n_passes)
    ]


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("options", WORKERS, ids=lambda o: "-".join(map(str, o.values())) or "none")
@pytest.mark.parametrize("kind", ["map", "block"])
def test_every_pass_is_an_epoch_of_its_own(train: CADDataset, kind: str, options: dict[str, Any]) -> None:
    """Other rotations, and in a shuffled loader another order; the same again from the same seed, without workers too,
    and from a chosen epoch on.
    """

    def make(**options: Any) -> tuple[CADDataset, Any]:
        dataset = CADDataset(train.source, train.get_file_codes(), transform=RandomRotation(seed=5))
        if kind == "map":
            return dataset, dataset.to_torch().get_dataloader(16, shuffle=True, seed=2, **options)
        return dataset, dataset.to_torch().get_block_loader(16, block_size=4, fetch_blocks=2, seed=2, **options)

    _, plain = make()
    dataset, loader = make(**options)
    expected, found = passes(plain, 3), passes(loader, 3)
    assert found == expected  # the samples' points
    assert [list(p) for p in found] == [list(p) for p in expected]
    for epoch, rotation in ((0, RandomRotation(seed=5)), (2, RandomRotation(seed=5, epoch=2))):
        direct = CADDataset(train.source, train.get_file_codes(), transform=rotation)
        assert all(item["file/bounding_box"].tolist() == found[epoch][item["id"]] for item in direct_items(direct))
    for first, second in ((0, 1), (1, 2), (0, 2)):
        assert list(found[first]) != list(found[second])
        assert all(found[first][i] != found[second][i] for i in found[first] if np.isfinite(found[first][i]).all())
    for set_epoch in (loader.set_epoch, loader.dataset.set_epoch, dataset.set_epoch):
        set_epoch(1)
        again = passes(loader, 2)
        assert again == found[1:]
        assert [list(p) for p in again] == [list(p) for p in found[1:]]


def direct_items(dataset: CADDataset) -> list[dict[str, Any]]:
    return [dataset.get_item(i, dataset.transform.epoch) for i in range(len(dataset))]  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", ["map", "block"])
def test_a_pass_that_another_overlaps_keeps_its_epoch(train: CADDataset, kind: str) -> None:
    def make(n_workers: int) -> Any:
        dataset = CADDataset(train.source, train.get_file_codes(), transform=RandomRotation()).to_torch()
        if kind == "map":
            return dataset.get_dataloader(8, shuffle=True, seed=1, num_workers=n_workers)
        return dataset.get_block_loader(8, num_workers=n_workers, block_size=4, fetch_blocks=2)

    def points(batches: Any) -> list[Any]:
        return [(b["id"].tolist(), b["file/bounding_box"].nan_to_num().tolist()) for b in batches]

    plain = make(1)
    alone = [points(plain) for _ in range(2)]
    for n_workers in (0, 1):
        again = make(n_workers)
        both = zip(*zip(again, again, strict=True), strict=True)
        assert [points(batches) for batches in both] == alone


def test_workers_of_an_abandoned_pass_go_on_with_the_next_epoch(train: CADDataset) -> None:
    def orders(loader: Any) -> list[list[int]]:
        return [[i for batch in loader for i in batch["id"].tolist()] for _ in range(2)]

    loader = train.to_torch().get_block_loader(2, num_workers=1, persistent_workers=True, block_size=4, fetch_blocks=2)
    next(iter(loader))
    plain = train.to_torch().get_block_loader(2, block_size=4, fetch_blocks=2)
    plain.dataset.set_epoch(1)
    assert orders(loader) == orders(plain)


def test_plain_iteration_draws_anew_too(train: CADDataset) -> None:
    dataset = CADDataset(train.source, train.get_file_codes(), transform=RandomRotation())
    for samples in (dataset, dataset.to_torch()):
        dataset.set_epoch(0)
        first, second = ([item["file/bounding_box"].tolist() for item in samples] for _ in range(2))
        assert first != second
        dataset.set_epoch(0)
        assert [item["file/bounding_box"].tolist() for item in samples] == first
    dataset.set_epoch(1)
    assert [dataset[i]["file/bounding_box"].tolist() for i in range(len(dataset))] == second


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_a_chosen_epoch_reaches_workers_of_a_plain_torch_loader(train: CADDataset) -> None:
    stream = train.to_torch().get_block_loader(8, block_size=4, fetch_blocks=2).dataset
    loader = torch.utils.data.DataLoader(stream, batch_size=None, num_workers=1, persistent_workers=True)
    orders = []
    for epoch in (3, 4, 3):
        stream.set_epoch(epoch)
        orders.append([i for batch in loader for i in batch["id"].tolist()])
    assert orders[0] == orders[2] != orders[1]


def test_read_only_and_odd_values_become_tensors() -> None:
    array = np.arange(4)
    array.flags.writeable = False
    found = adapter.to_tensors({"a": array, "b": np.float32(2), "c": "text", "d": np.arange(6).reshape(2, 3).T})
    assert found["a"].tolist() == [0, 1, 2, 3]
    assert found["b"].dtype == torch.float32
    assert found["c"] == "text"
    assert found["d"].shape == (3, 2)


def test_memory_stays_flat_over_epochs(tmp_path: Path) -> None:
    import tracemalloc

    loader = DatasetLoader(write_parts(random_parts(120), tmp_path).dataset)
    loader.split()
    dataset = loader.get_dataset("train").to_torch()
    peaks = []
    tracemalloc.start()
    for epoch in range(6):
        stream = dataset.get_block_loader(16, block_size=8, fetch_blocks=2)
        stream.dataset.set_epoch(epoch)
        for _ in stream:
            pass
        for i in range(len(dataset)):
            dataset[i]
        peaks.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert peaks[-1] - peaks[1] < 100_000, peaks
