"""The adapter to PyTorch: tensors, loaders with workers, block-shuffled streams over ranks, memory over epochs."""

from __future__ import annotations

import itertools
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dflow.dataset import DatasetLoader
from dflow.dataset.training.channel import MAX_ARENAS
from dflow.dataset.training.subset import CADDataset
from dflow.dataset.training.transforms import RandomRotation, Standardise
from dflow.errors import DatasetError, UnknownKeyError
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


# Options that people pass


def ids_of(batches: Any) -> list[list[int]]:
    return [np.atleast_1d(np.asarray(batch["id"])).tolist() for batch in batches]


def item_ids(items: list[dict[str, Any]]) -> list[int]:
    assert isinstance(items, list)
    assert all(isinstance(item["faces/face_areas"], torch.Tensor) for item in items)
    return [int(item["id"]) for item in items]


def id_of(item: dict[str, Any]) -> int:
    return int(item["id"])


@pytest.mark.parametrize("n_workers", [0, 1])
def test_a_batch_sampler_of_ones_own(train: CADDataset, n_workers: int) -> None:
    batches = [[3, 1], [0], [4, 3]]
    for collate in ({}, {"collate_fn": item_ids}):
        found = train.to_torch().get_dataloader(batch_sampler=batches, num_workers=n_workers, **collate)
        codes = train.get_file_codes()
        assert (list(found) if collate else ids_of(found)) == [codes[batch].tolist() for batch in batches]
    for wrong in ({"shuffle": True}, {"max_rows": {"faces": 9}}, {"drop_last": True}):
        with pytest.raises(DatasetError, match=r"batch_sampler= decides .* leave them out"):
            train.to_torch().get_dataloader(batch_sampler=batches, **wrong)
    with pytest.raises(DatasetError, match=r"use get_dataloader\(batch_sampler=\.\.\.\)"):
        train.to_torch().get_block_loader(batch_sampler=batches)


@pytest.mark.parametrize("n_workers", [0, 1])
@pytest.mark.parametrize("kind", ["get_dataloader", "get_block_loader"])
def test_no_batch_size_and_a_collate_of_ones_own(train: CADDataset, kind: str, n_workers: int) -> None:
    make = getattr(train.to_torch(), kind)
    expected = train.get_file_codes().tolist()
    items = list(make(None, shuffle=False, num_workers=n_workers))
    assert [item["id"] for item in items] == expected
    assert items[0]["faces/face_areas"].shape == train[0]["faces/face_areas"].shape
    assert list(make(None, shuffle=False, num_workers=n_workers, collate_fn=id_of)) == expected
    joined = list(make(9, shuffle=False, num_workers=n_workers, collate_fn=item_ids))
    assert joined == [expected[i : i + 9] for i in range(0, len(expected), 9)]
    assert list(getattr(train.to_torch(item_ids), kind)(9, shuffle=False, num_workers=n_workers)) == joined


def double_areas(item: dict[str, Any]) -> dict[str, Any]:
    return {**item, "faces/face_areas": item["faces/face_areas"] * 2}


def test_a_collate_of_ones_own_gets_what_the_transform_makes(train: CADDataset) -> None:
    dataset = CADDataset(train.source, train.get_file_codes(), transform=double_areas)
    torch_dataset = dataset.to_torch()
    for make in (torch_dataset.get_dataloader, torch_dataset.get_block_loader):
        for item in next(iter(make(4, collate_fn=list))):
            stored = train.source.read(int(item["id"]))
            np.testing.assert_array_equal(item["faces/face_areas"].numpy(), stored["faces/face_areas"] * 2)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("kind", ["get_dataloader", "get_block_loader"])
def test_batches_have_limited_rows_and_are_the_same_again(train: CADDataset, kind: str) -> None:
    blocks = {"block_size": 8, "fetch_blocks": 2} if kind == "get_block_loader" else {}
    limits = {"faces": 30, "edges": 45}

    def make(**options: Any) -> Any:
        chosen = {"shuffle": True, "seed": 3, "max_rows": limits, **blocks, **options}
        return getattr(train.to_torch(), kind)(chosen.pop("batch_size", None), **chosen)

    plain = make()
    assert len(plain) > 1
    epochs = []
    for _ in range(2):
        n_batches, batches = len(plain), list(plain)
        assert n_batches == len(batches)
        assert sorted(i for ids in ids_of(batches) for i in ids) == train.get_file_codes().tolist()
        for batch in batches:
            assert len(batch["faces/batch"]) <= 30
            assert len(batch["edges/batch"]) <= 45
        epochs.append(ids_of(batches))
    assert epochs[0] != epochs[1]
    for options in ({"num_workers": 2}, {"num_workers": 1, "persistent_workers": True}):
        again = make(**options)
        assert sorted(ids_of(again)) == sorted(epochs[0])
        assert sorted(ids_of(again)) == sorted(epochs[1])
    assert max(map(len, ids_of(make(batch_size=3)))) == 3
    if kind == "get_dataloader":  # no batch could have taken the next one's first sample
        codes, (faces, edges) = (
            train.get_file_codes().tolist(),
            train.bounds(limits, train.file_codes, sized=False).rows.tolist(),
        )
        rows = {code: (n_faces, n_edges) for code, n_faces, n_edges in zip(codes, faces, edges, strict=True)}
        for ids, following in itertools.pairwise(epochs[0]):
            n_faces, n_edges = np.sum([rows[i] for i in [*ids, following[0]]], axis=0)
            assert n_faces > 30 or n_edges > 45


def test_ranks_get_equally_many_limited_batches(train: CADDataset) -> None:
    options = {"block_size": 4, "fetch_blocks": 2, "max_rows": {"faces": 25}, "world_size": 3}
    loaders = [train.to_torch().get_block_loader(8, rank=rank, **options) for rank in range(3)]
    found = [ids_of(loader) for loader in loaders]
    assert len({len(batches) for batches in found}) == 1
    assert {i for batches in found for ids in batches for i in ids} == set(train.get_file_codes().tolist())
    faces = train.bounds({"faces": 25}, train.file_codes, sized=False)
    rows = dict(zip(train.get_file_codes().tolist(), faces.rows[0].tolist(), strict=True))
    assert max(sum(rows[i] for i in ids) for batches in found for ids in batches) <= 25


def test_limits_of_rows_that_cannot_hold_say_so(train: CADDataset, caplog: pytest.LogCaptureFixture) -> None:
    dataset = train.to_torch()
    for wrong, error, message in (
        ({"faces": 0}, DatasetError, "expected a whole number of at least 1"),
        ({"faces": 2.5}, DatasetError, "expected a whole number of at least 1"),
        ({"face": 9}, UnknownKeyError, "no group 'face'; is 'faces' meant"),
        ({"file": 9}, UnknownKeyError, "no group 'file'|file"),
    ):
        for make in (dataset.get_dataloader, dataset.get_block_loader):
            with pytest.raises(error, match=message):
                make(max_rows=wrong)
    ranks = torch.utils.data.DistributedSampler(dataset, num_replicas=2, rank=0)
    with pytest.raises(DatasetError, match="leave out the sampler, so that all get the same"):
        dataset.get_dataloader(max_rows={"faces": 9}, sampler=ranks)
    with caplog.at_level("WARNING"):
        batches = ids_of(dataset.get_dataloader(None, max_rows={"faces": 2}))
    assert "have more rows than max_rows={'faces': 2}; each is a batch of its own" in caplog.text
    assert sorted(i for ids in batches for i in ids) == train.get_file_codes().tolist()
    reverse = ids_of(dataset.get_dataloader(None, max_rows={"faces": 60}, sampler=range(len(train) - 1, -1, -1)))
    assert [i for ids in reverse for i in ids] == train.get_file_codes().tolist()[::-1]


def test_labels_are_int64_in_items_and_in_batches(parts: Parts, tmp_path: Path) -> None:
    loader = DatasetLoader(write_parts(parts, tmp_path).dataset)
    loader.split()
    labels = ["faces/face_labels", "file/category"]
    train = loader.get_dataset("train", columns=["faces/face_areas"], labels=labels)
    assert (train[0]["faces/face_labels"].dtype, type(train[0]["file/category"])) == (np.int64, np.int64)
    dataset = train.to_torch()
    for make in (dataset.get_dataloader, dataset.get_block_loader):
        for batch in make(16):
            assert batch["faces/face_labels"].dtype == batch["file/category"].dtype == torch.int64
            own = [parts.of_file("faces", "face_labels", int(i)) for i in batch["id"]]
            assert batch["faces/face_labels"].tolist() == np.concatenate(own).tolist()
            assert batch["file/category"].tolist() == parts.values["category"][batch["id"]].tolist()
    with pytest.raises(DatasetError, match="labels='faces/face_areas' is float32, and classes are whole numbers"):
        loader.get_dataset("train", labels="faces/face_areas")


def test_a_loss_leaves_out_what_has_no_label() -> None:
    scores = torch.tensor([[2.0, 0.0], [0.0, 3.0], [1.0, 1.0]], requires_grad=True)
    labels = torch.tensor([0, -1, 1], dtype=torch.int32)
    expected = torch.nn.functional.cross_entropy(scores[[0, 2]], labels[[0, 2]].long())
    assert adapter.cross_entropy(scores, labels).item() == pytest.approx(expected.item())
    weighted = adapter.cross_entropy(scores, labels, weight=np.array([1.0, 3.0], np.float32))
    both = torch.nn.functional.cross_entropy(scores[[0, 2]], labels[[0, 2]].long(), weight=torch.tensor([1.0, 3.0]))
    assert weighted.item() == pytest.approx(both.item())
    none = adapter.cross_entropy(scores, torch.full((3,), -1))
    none.backward()
    assert (none.item(), scores.grad.abs().sum().item()) == (0.0, 0.0)  # torch's own is NaN
