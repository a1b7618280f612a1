"""The adapter to PyTorch: tensors, datasets and loaders; the only module that imports torch."""

from __future__ import annotations

import importlib
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import numpy as np

from dflow.dataset.training.channel import AVAILABLE, Arena, Channel, Spot, receive
from dflow.dataset.training.collate import index_arrays_of
from dflow.dataset.training.graphs import exported_item, graph_form
from dflow.dataset.training.samples import Allocate, IndexedItem, Item, Samples
from dflow.dataset.training.shuffle import BlockPlan, Epochs, Pass, Plan, SamplePlan, Segment
from dflow.errors import DatasetError

try:
    import torch
    from torch.utils.data import DataLoader, Dataset, DistributedSampler, IterableDataset, Sampler, get_worker_info
except ImportError as error:
    raise ImportError(
        "this needs PyTorch: pip install 'dflow-cad[torch]', or torch as pytorch.org describes"
    ) from error


if TYPE_CHECKING:  # `subset` loads this module when torch is wanted
    from dflow.dataset.training.subset import CADDataset

__all__ = [
    "TorchCADDataset",
    "BlockStream",
    "EpochLoader",
    "Collate",
    "to_tensors",
    "cross_entropy",
    "to_geometric",
    "geometric_fields",
]

Array = np.ndarray[Any, np.dtype[Any]]


def to_tensors(value: Any) -> Any:
    """Convert the arrays and numbers of a dictionary to tensors, which share writable memory; keep other values.

    Parameters
    ----------
    value : a dictionary of arrays, nested or not, or an array
    """
    if isinstance(value, Mapping):
        tensors = {key: to_tensors(entry) for key, entry in value.items()}
        return IndexedItem(tensors, value.index_arrays) if isinstance(value, IndexedItem) else tensors
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value if value.flags.writeable and value.flags.c_contiguous else value.copy())
    if isinstance(value, (np.generic, bool, int, float)):
        return torch.as_tensor(value)
    return value


class Collate:
    """Joins samples into one ragged batch of tensors. Pickles, for spawned workers.

    Parameters
    ----------
    collate : joins samples into a dictionary of arrays, as `CADDataset.collate` does
    """

    def __init__(self, collate: Callable[[Any], Mapping[str, Any]]) -> None:
        self.collate = collate
        self._channel = Channel()

    def __call__(self, items: Samples | Sequence[Item]) -> Any:
        if not isinstance(items, Samples):
            items = [{k: np.asarray(v) for k, v in item.items()} for item in items]
        return send(self.collate(items), self._channel)


def send(batch: Mapping[str, Any], channel: Channel, arena: Arena | None = None) -> Any:
    """Return a batch as tensors; in a loader worker as one `Parcel`, which unpickles as that dictionary of tensors.

    `arena` already holds the batch or most of it.
    """
    if get_worker_info() is None or not AVAILABLE or not all(isinstance(v, np.ndarray) for v in batch.values()):
        return to_tensors(batch)
    if arena is None:
        arena = channel.arena(sum(array.nbytes + _ALIGNMENT for array in batch.values()))
    return Parcel(channel.name, arena, {key: arena.put(array) for key, array in batch.items()})


@dataclass(frozen=True, slots=True)
class Parcel:
    """A batch in an arena that a loader worker sends; unpickling gives the dictionary of tensors."""

    channel: str
    arena: Arena
    layout: Mapping[str, Spot]

    def __reduce__(self) -> tuple[Any, ...]:
        return receive, (self.channel, self.arena.place, self.arena.handle(), self.layout, torch.from_numpy)


_ALIGNMENT = 64


class TorchCADDataset(Dataset):
    """A map-style `torch.utils.data.Dataset` whose items are dictionaries of tensors.

    Parameters
    ----------
    dataset : the subset whose samples are the items
    collate_fn : joins items into a batch in `get_dataloader`; by default into the ragged batch of
        `dflow.dataset.training.collate`
    """

    def __init__(self, dataset: CADDataset, collate_fn: Callable[..., Any] | None = None) -> None:
        self.dataset = dataset
        self.collate_fn = collate_fn if collate_fn is not None else Collate(dataset.collate)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return to_tensors(self.dataset[index])

    def __iter__(self) -> Iterator[Any]:
        return map(to_tensors, self.dataset)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of random transforms for the next pass; see `CADDataset.set_epoch`.

        Parameters
        ----------
        epoch : 0 or more
        """
        self.dataset.set_epoch(epoch)

    def get_file_codes(self) -> Any:
        """(n,) int64 tensor of file ids."""
        return torch.from_numpy(self.dataset.get_file_codes())

    def remove_indices(self, indices: Sequence[int]) -> dict[int, int]:
        """Remove samples by position; return the map from the old to the new positions of the others.

        Parameters
        ----------
        indices : positions in this dataset
        """
        return self.dataset.remove_indices(indices)

    def get_dataloader(
        self,
        batch_size: int | None = 64,
        shuffle: bool = False,
        num_workers: int = 0,
        *,
        drop_last: bool = False,
        seed: int | None = None,
        rank: int | None = None,
        world_size: int | None = None,
        max_rows: Mapping[str, int] | None = None,
        **options: Any,
    ) -> EpochLoader:
        """Return a `DataLoader` that reads samples one by one, in any order.

        Every pass through it is an epoch with its own order and random transforms, the same for any number of workers.
        It continues in the middle of an epoch: see `EpochLoader`.

        Parameters
        ----------
        batch_size
            samples per batch; None delivers items one by one, or with `max_rows` batches of any number of samples
        shuffle
            whether every epoch has another random order
        num_workers
            processes that read; 0 reads in this one
        drop_last
            leaves out a last batch that is not full on every rank
        seed
            of the order of a shuffled loader; by default random, and 0 where there are several ranks
        rank, world_size
            the part of this process, as in `DistributedSampler`; those of `torch.distributed` by default
        max_rows
            the most rows of a group in a batch, e.g. ``{"faces": 4096}``; a sample that alone has more is a batch of
            its own. All ranks get equally many batches
        **options
            further arguments of `torch.utils.data.DataLoader`, e.g. `collate_fn` (of a list of items), `sampler`,
            `multiprocessing_context`, `pin_memory`; with a `sampler` or `batch_sampler` of your own, order and ranks
            are that one's

        Raises
        ------
        DatasetError
            If options contradict each other.
        """
        collate_fn = options.pop("collate_fn", None) or self.collate_fn
        ours = isinstance(collate_fn, Collate)
        source = (_WholeBatches if ours else _Source)(self.dataset, collate_fn)
        single = batch_size is None and not max_rows and options.get("batch_sampler") is None
        options["collate_fn"] = _as_it_is if single and ours else collate_fn
        return epoch_loader(
            source,
            batch_size,
            options,
            shuffle=shuffle,
            drop_last=drop_last,
            seed=seed,
            ranks=(rank, world_size),
            max_rows=max_rows,
            num_workers=num_workers,
        )

    def get_block_loader(
        self,
        batch_size: int | None = 64,
        shuffle: bool = True,
        num_workers: int = 0,
        *,
        block_size: int = 128,
        fetch_blocks: int = 8,
        drop_last: bool = False,
        seed: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
        max_rows: Mapping[str, int] | None = None,
        **options: Any,
    ) -> EpochLoader:
        """Return a `DataLoader` over ragged batches that are read in blocks of neighbouring samples, which is faster
        than `get_dataloader`.

        Every pass through it is an epoch with its own order and random transforms, the same for any number of workers.
        It continues in the middle of an epoch: see `EpochLoader`. A worker sends the batches of a whole fetch
        (`block_size` × `fetch_blocks` samples) at once, and one fetch is made while another is used.

        Parameters
        ----------
        batch_size
            samples per batch; None delivers items one by one, or with `max_rows` batches of any number of samples
        shuffle
            whether every epoch has another random order
        num_workers
            processes that read; 0 reads in this one
        drop_last
            leaves out a last batch that is not full
        seed
            of the order
        block_size, fetch_blocks
            neighbours read at once, and how many such blocks are mixed; see `dflow.dataset.training.shuffle.BlockPlan`
        rank, world_size
            the part of this process, as in `DistributedSampler`; those of `torch.distributed` by default
        max_rows
            the most rows of a group in a batch, e.g. ``{"faces": 4096}``; a sample that alone has more is a batch of
            its own. All ranks get equally many batches
        **options
            further arguments of `torch.utils.data.DataLoader`, e.g. `collate_fn` (of a list of items);
            `prefetch_factor` counts fetches, 1 by default

        Raises
        ------
        DatasetError
            If a sampler is passed, since blocks have an order of their own.
        """
        if given := sorted({"batch_sampler", "sampler"} & options.keys()):
            raise DatasetError(
                f"{given[0]}= chooses the order, which get_block_loader() does itself, by blocks of neighbours; use "
                f"get_dataloader({given[0]}=...), or leave it out"
            )
        join = options.pop("collate_fn", None) or (None if isinstance(self.collate_fn, Collate) else self.collate_fn)
        if batch_size is None and not max_rows:
            join = _OfFirst(_as_it_is if join is None else join)
        sized = batch_size is not None or not max_rows
        bounds = self.dataset.bounds(max_rows, self.dataset.file_codes, sized=sized) if max_rows else None
        size = batch_size if batch_size is not None else 1 if sized else block_size * fetch_blocks
        plan = BlockPlan(size, block_size, fetch_blocks, shuffle, drop_last, seed, bounds)
        stream = BlockStream(self.dataset, plan, rank=rank, world_size=world_size, join=join)
        if num_workers:
            options.setdefault("prefetch_factor", 1)
        return EpochLoader(stream, batch_size=None, num_workers=num_workers, collate_fn=_as_it_is, **options)


def epoch_loader(
    source: Any,
    batch_size: int | None,
    options: Mapping[str, Any],
    *,
    shuffle: bool,
    drop_last: bool,
    seed: int | None,
    ranks: tuple[int | None, int | None],
    max_rows: Mapping[str, int] | None,
    num_workers: int,
) -> EpochLoader:
    """Return the loader of `TorchCADDataset.get_dataloader` over any map-style source.

    Parameters
    ----------
    source : of samples by position; `dataset` is its subset, and its `passes` become the loader's
    options : further ones of `torch.utils.data.DataLoader`, with the `collate_fn`

    Raises
    ------
    DatasetError
        If options contradict each other.
    """
    found = dict(options)
    batch_sampler, sampler = found.pop("batch_sampler", None), found.pop("sampler", None)
    if batch_sampler is not None and (shuffle or max_rows or sampler is not None or drop_last):
        raise DatasetError(
            "batch_sampler= decides which samples are in each batch, so that shuffle=, sampler=, drop_last= and "
            "max_rows= have no meaning beside it; leave them out, or leave out batch_sampler="
        )
    if sampler is not None and shuffle:
        raise DatasetError("sampler= decides the order, so that shuffle=True has no meaning; leave out one of them")
    dataset: CADDataset = source.dataset
    sized = batch_size is not None or not max_rows
    bounds = dataset.bounds(max_rows, np.arange(len(dataset)), sized=sized) if max_rows else None
    size = batch_size if batch_size is not None else 1 if sized else max(len(dataset), 1)
    plan = SamplePlan(size, shuffle, drop_last, 0 if seed is None else seed, bounds)
    source.passes = passes = Passes(plan, dataset, *ranks)
    if seed is not None:  # of what the workers draw by themselves
        found.setdefault("generator", torch.Generator().manual_seed(seed))
    if batch_sampler is not None:
        found["batch_sampler"] = batch_sampler
    elif bounds is not None and sampler is not None:
        found["batch_sampler"] = _SamplersBatches(sampler, plan)
    elif bounds is not None:
        found["batch_sampler"] = _PassBatches(_PassSampler(source))
    else:
        sampler = _PassSampler(source) if sampler is None else sampler
        found |= {"batch_size": batch_size, "drop_last": drop_last and batch_size is not None, "sampler": sampler}
    passes.draws_seed = shuffle and seed is None
    return EpochLoader(source, num_workers=num_workers, **found)


@dataclass(frozen=True, slots=True)
class _OfFirst:
    """Applies a function to the only item of a batch, as torch does with ``batch_size=None``."""

    function: Callable[[Any], Any]

    def __call__(self, items: Sequence[Any]) -> Any:
        return self.function(items[0])


class EpochLoader(DataLoader):
    """A `DataLoader` whose every pass is an epoch, and that continues in the middle of one.

    `TorchCADDataset.get_dataloader` and `get_block_loader` return it. Passes count from 0, or from `set_epoch`. The
    order of an epoch follows from seed and epoch alone. `state_dict` counts the batches that the loop was given, not
    those that workers have read ahead, and is the same on all ranks, whose steps are taken together:

        torch.save({"model": model.state_dict(), "loader": loader.state_dict()}, path)
        loader.load_state_dict(torch.load(path)["loader"])

    The next pass is then the rest of that epoch, with any number of workers, and also with other ranks or another
    batch size: each sample at least once, and at most ``world_size - 1`` again in the last step (without `drop_last`).
    Lightning's `Trainer` saves and restores the state by itself.
    """

    _running: _Progress | None = None  # of the pass that began last; its iterator and workers belong to the loop

    def __iter__(self) -> _Batches:
        passes: Passes = self.dataset.passes
        this = passes.begin(self._plan, self)
        passes.handed_over = True
        try:
            batches = super().__iter__()
        finally:
            passes.handed_over = False
        if self.num_workers and isinstance(self.dataset, BlockStream):
            batches = _one_by_one(batches)
        self._running = _Progress(this)
        return _Batches(batches, self._running, passes)

    def __len__(self) -> int:
        """The number of batches of an epoch on this rank; in one that was continued with those before it."""
        if self._plan is None:
            return len(super()._index_sampler)
        running = self._running
        this = self._next() if running is None or running.ended else running.this
        n_before = sum(n_batches for *_, n_batches in this.done)
        return n_before + self._plan.n_left(self.dataset.passes.ids, this.epoch, this.n_ranks, this.done)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, hence order and random transforms, of the next pass; further passes count on from it.

        It leaves out nothing of an epoch that `load_state_dict` set but what was yielded.

        Parameters
        ----------
        epoch : 0 or more
        """
        self.dataset.passes.go_to(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return the epoch and what of it was yielded: numbers, lists and words, of any rank for all.

        Raises
        ------
        DatasetError
            If batches come in any order (``in_order=False``), so that their number says nothing.
        """
        if not getattr(self, "in_order", True) and self.num_workers and not isinstance(self.dataset, BlockStream):
            raise DatasetError(
                "with in_order=False a number of batches does not say which ones; make the loader without it"
            )
        running = self._running
        this, n_yielded = (self._next(), 0) if running is None else (running.this, running.n_yielded)
        steps = [*this.done]
        if this.start + n_yielded:
            steps.append((this.n_ranks, self._batch_size, this.start + n_yielded))
        n_steps, sampler = sum(n for *_, n in steps), super()._index_sampler
        known = self._plan is not None or hasattr(sampler, "__len__")
        return {
            "epoch": this.epoch,
            "finished": running is not None and (running.ended or (known and n_steps >= len(self))),
            "steps": [list(step) for step in steps],
            **self._order(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where another loader of the same samples was; the next pass yields what is left of its epoch.

        Parameters
        ----------
        state : of `state_dict`

        Raises
        ------
        DatasetError
            If it is no such state, or of other samples or another kind of order.
        """
        here = self._order()
        if not isinstance(state, Mapping) or not {"epoch", "finished", "steps", "seed", "order"} <= set(state):
            raise DatasetError("not a state of a dflow loader; pass what its state_dict() returned")
        for key, value in here.items():
            if key != "seed" and state.get(key) != value:
                raise DatasetError(
                    f"the state is of a loader with {key}={state.get(key)!r}, this one has {value!r}; make a loader "
                    "like that one, or begin an epoch anew with set_epoch()"
                )
        passes: Passes = self.dataset.passes
        self._running = self._iterator = None  # workers that live on would not learn of it
        passes.stop_at(state["epoch"], tuple((n, size, k) for n, size, k in state["steps"]), state["finished"])
        if state["seed"] is not None:
            passes.plan, passes.draws_seed = replace(passes.plan, seed=state["seed"]), False  # type: ignore[type-var]

    @property
    def _plan(self) -> Plan | None:
        """The plan of the order; None where it is the order of a sampler of the user's."""
        sampler = getattr(self.batch_sampler, "sampler", self.sampler)
        ours = isinstance(self.dataset, BlockStream) or isinstance(sampler, _PassSampler)
        return self.dataset.passes.plan if ours else None

    @property
    def _batch_size(self) -> int:
        return 0 if self._plan is None else self._plan.batch_size

    def _next(self) -> Pass:
        passes: Passes = self.dataset.passes
        return passes.next(self._plan)

    def _order(self) -> dict[str, Any]:
        """What must be equal where a state is loaded, and the seed."""
        passes: Passes = self.dataset.passes
        if self._plan is not None:
            passes.draw_seed(self.generator)
        plan = self._plan
        order = {"seed": None} if plan is None else {k: v for k, v in plan.settings().items() if k != "batch_size"}
        ids = passes.ids
        bounds = order.pop("bounds", None)
        return {
            "max_rows": None if bounds is None else bounds.max_rows,
            "order": "sampler" if plan is None else type(plan).__name__,
            "n_samples": len(ids),
            "samples": zlib.crc32(np.ascontiguousarray(ids).tobytes()),
            **order,
        }

    @property
    def _index_sampler(self) -> Any:
        """What is sent to the workers: of a sampler of the user's what follows the batches that were yielded before."""
        sampler = super()._index_sampler
        this = self.dataset.passes.this
        return _From(sampler, this.start) if self._plan is None and this is not None and this.start else sampler


class _From:
    """A sampler from a place on."""

    def __init__(self, sampler: Iterable[Any], start: int) -> None:
        self._sampler, self._start = sampler, start

    def __iter__(self) -> Iterator[Any]:
        return islice(iter(self._sampler), self._start, None)


@dataclass(slots=True)
class _Progress:
    """How far a pass is."""

    this: Pass
    n_yielded: int = 0
    ended: bool = False


class _Batches:
    """The batches of a pass, which notes how far it is."""

    def __init__(self, batches: Iterator[Any], progress: _Progress, passes: Passes) -> None:
        self._batches, self._progress, self._passes, self._cell = batches, progress, passes, passes.cell

    def __iter__(self) -> _Batches:
        return self

    def __next__(self) -> Any:
        # Without workers, another pass may have begun since.
        self._passes.cell, self._passes.this = self._cell, self._progress.this
        try:
            batch = next(self._batches)
        except StopIteration:
            self._progress.ended = True
            raise
        self._progress.n_yielded += 1
        return batch


def _one_by_one(fetches: Iterable[Sequence[Any]]) -> Iterator[Any]:
    """Yield the batches of fetches; keeps none that was yielded."""
    for fetch in fetches:
        waiting = deque(fetch)
        del fetch
        while waiting:
            yield waiting.popleft()


def _as_it_is(batch: Any) -> Any:
    return batch


class Passes:
    """The passes of one loader: their epochs and ranks, and where one that was stopped goes on. Workers have a copy.

    Parameters
    ----------
    plan : of the order
    dataset : its samples
    rank, world_size : the part of this process; None for those of `torch.distributed` when a pass begins
    """

    def __init__(self, plan: Plan, dataset: CADDataset, rank: int | None, world_size: int | None) -> None:
        _distributed(rank, world_size)
        self.plan = plan
        self.draws_seed = False
        self.this: Pass | None = None
        self.handed_over = False  # whether the iterator that is being made is that of an `EpochLoader`
        self._lone = True
        self._dataset = dataset
        self._epochs = Epochs(dataset.epochs)
        self._given = rank, world_size
        self._stopped: tuple[int, tuple[Segment, ...]] | None = None
        # Number of the pass, its epoch, rank and number of ranks. In shared memory, so that workers that outlive a pass
        # (persistent_workers) read the next one too.
        self._shared = self.cell = torch.tensor([0, 0, *_distributed(rank, world_size)]).share_memory_()
        self._number = 0

    @property
    def ids(self) -> Array:
        """The samples that the plan orders: positions, or file ids for blocks."""
        return self._dataset.file_codes if isinstance(self.plan, BlockPlan) else np.arange(len(self._dataset))

    def next(self, plan: Plan | None) -> Pass:
        """The pass that would begin now."""
        epoch = self._epochs.next()
        rank, n_ranks = _distributed(*self._given)
        done = self._stopped[1] if self._stopped is not None and self._stopped[0] == epoch else ()
        if plan is None and done and done[-1][0] != n_ranks:
            raise DatasetError(
                f"a sampler of one's own was stopped on {done[-1][0]} ranks and cannot go on with {n_ranks}; "
                "use as many, or leave the order to the loader"
            )
        if done and done[-1][:2] == (n_ranks, 0 if plan is None else plan.batch_size):
            return Pass(epoch, rank, n_ranks, done[:-1], done[-1][2])
        return Pass(epoch, rank, n_ranks, done)

    def begin(self, plan: Plan | None, loader: DataLoader | None = None) -> Pass:
        """Begin a pass, in this process or in the workers of `loader`."""
        if plan is not None:
            self.draw_seed(None if loader is None else loader.generator)
        this = self.this = self.next(plan)
        self._epochs.begin()
        self._stopped = None
        self._lone &= loader is None
        self._show(this, alone=loader is not None and not loader.persistent_workers)
        return this

    def _show(self, this: Pass, *, alone: bool) -> None:
        self._number += 1
        values = torch.tensor([self._number, this.epoch, this.rank, this.n_ranks])
        if alone:  # its workers start now and copy this; those of an unfinished earlier pass keep theirs
            self.cell = values
        else:
            self.cell = self._shared
            self.cell[:] = values

    def go_to(self, epoch: int) -> None:
        """Set the epoch of the next pass, also for workers that no loader of dflow started."""
        self._epochs.go_to(epoch)
        if self._lone:
            self._show(Pass(epoch, *_distributed(*self._given)), alone=False)

    def stop_at(self, epoch: int, steps: tuple[Segment, ...], finished: bool) -> None:
        """Go on with an epoch after these steps; with the next one if it is finished."""
        self._stopped = epoch, steps
        self._epochs.go_to(epoch + finished)

    def draw_seed(self, generator: Any) -> None:
        """Draw the seed of the order, where none was given; ranks must have the same, so that several take 0."""
        if self.draws_seed and _distributed(*self._given)[1] == 1:
            seed = int(torch.empty((), dtype=torch.int64).random_(generator=generator))
            self.plan = replace(self.plan, seed=seed)  # type: ignore[type-var]
        self.draws_seed = False

    @property
    def epoch(self) -> int:
        """The epoch of the pass, in this process or a worker."""
        return int(self.cell[1])

    def in_worker(self) -> Pass:
        """The pass of a worker: the one that it was started for, or a later one."""
        number, epoch, rank, n_ranks = self.cell.tolist()
        return self.this if number == self._number and self.this is not None else Pass(epoch, rank, n_ranks)


class _Source(TorchCADDataset):
    """The samples of one loader, with its passes."""

    passes: Passes

    def __getitem__(self, index: int) -> Any:
        return to_tensors(self.dataset.get_item(index, self.passes.epoch))


class _WholeBatches(_Source):
    """The samples of a loader whose `collate_fn` is a `Collate`, which takes a whole `Samples`."""

    def __getitems__(self, indices: Sequence[int]) -> Any:
        """Read a whole batch for a `DataLoader`, as arrays."""
        return self.dataset.get_items(indices, self.passes.epoch)


class _PassSampler(DistributedSampler):
    """The positions of this rank's samples in a pass. Lightning leaves a `DistributedSampler` where it is."""

    def __init__(self, source: _Source) -> None:
        self.source = source

    def __iter__(self) -> Iterator[int]:
        passes = self.source.passes
        this = passes.this if passes.this is not None else passes.next(passes.plan)
        return (i for batch in passes.plan.rank_batches(passes.ids, this) for i in batch.tolist())

    def __len__(self) -> int:
        passes = self.source.passes
        this = passes.next(passes.plan)
        return len(passes.plan.rank_ids(passes.ids, 0, this.rank, this.n_ranks))

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the loader's next pass."""
        self.source.passes.go_to(epoch)


class _PassBatches(Sampler[list[int]]):
    """The positions of this rank's batches in a pass, where their rows are limited."""

    def __init__(self, sampler: _PassSampler) -> None:
        self.sampler = sampler

    def __iter__(self) -> Iterator[list[int]]:
        passes = self.sampler.source.passes
        this = passes.this if passes.this is not None else passes.next(passes.plan)
        return (batch.tolist() for batch in passes.plan.rank_batches(passes.ids, this))


class _SamplersBatches(Sampler[list[int]]):
    """The positions of a sampler of the user's in batches, where their rows are limited."""

    def __init__(self, sampler: Any, plan: SamplePlan) -> None:
        if getattr(sampler, "num_replicas", 1) > 1:
            raise DatasetError(
                "max_rows= with a sampler of several ranks gives each rank another number of batches, so that ranks "
                "would wait for ever; leave out the sampler, so that all get the same"
            )
        self._sampler, self._plan = sampler, plan

    def __iter__(self) -> Iterator[list[int]]:
        order = np.fromiter(self._sampler, np.int64)
        plan = replace(self._plan, shuffle=False)
        return (batch.tolist() for batch in plan.rank_batches(order, Pass()))


class BlockStream(IterableDataset):
    """Ragged batches of tensors, read in blocks. Every pass has its own order; `set_epoch` sets it.

    Parameters
    ----------
    dataset : the subset
    plan : the order of its samples and their batches
    rank, world_size : the part of this process; those of `torch.distributed` by default
    join : makes a batch of a list of items of tensors, in place of the ragged batch
    """

    def __init__(
        self,
        dataset: CADDataset,
        plan: BlockPlan,
        *,
        rank: int | None = None,
        world_size: int | None = None,
        join: Callable[[list[Any]], Any] | None = None,
    ) -> None:
        self.dataset = dataset
        self.join = join
        self.passes = Passes(plan, dataset, rank, world_size)
        self._channel = Channel()

    def __len__(self) -> int:
        plan = self.passes.plan
        this = self.passes.next(plan)
        return plan.n_left(self.passes.ids, this.epoch, this.n_ranks)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, hence order and random transforms, of the next pass; further passes count on from it.

        Parameters
        ----------
        epoch : 0 or more
        """
        self.passes.go_to(epoch)

    def __iter__(self) -> Iterator[Any]:
        passes = self.passes
        if get_worker_info() is not None:
            fetches = self._fetches(passes.in_worker())
            # The batches of a fetch at once, so that they stay in order whatever the number of workers.
            return map(list, fetches) if passes.handed_over else chain.from_iterable(fetches)
        # The pass begins now, not with the first batch: another may have begun by then.
        this = passes.this if passes.handed_over else passes.begin(passes.plan)
        assert this is not None
        return chain.from_iterable(self._fetches(this))

    def _fetches(self, this: Pass) -> Iterator[Iterator[Any]]:
        worker = get_worker_info()
        number, n_workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        arenas: list[Arena] = []

        def allocator(n_bytes: int) -> Allocate:
            arenas[:] = [self._channel.arena(n_bytes + n_bytes // 8 + _SLACK_BYTES)]
            return arenas[0].allocate

        plan = self.passes.plan
        assert isinstance(plan, BlockPlan)
        to_arena = None if worker is None or not AVAILABLE else allocator
        join = None if self.join is None else self._joined
        for fetch in self.dataset.iter_fetches(plan, this, number, n_workers, to_arena, join):
            if join is not None:
                yield fetch
            else:
                yield (send(batch, self._channel, arenas.pop() if arenas else None) for batch in fetch)

    def _joined(self, items: list[Item]) -> Any:
        assert self.join is not None
        return self.join([to_tensors(item) for item in items])


_SLACK_BYTES = 64 * 1024
"""Room in an arena beside the rows: pointers, sample numbers of rows, file values, alignment."""


def _distributed(rank: int | None, world_size: int | None) -> tuple[int, int]:
    if rank is not None and world_size is not None:
        return rank, world_size
    if rank is not None or world_size is not None:
        raise DatasetError(f"rank={rank}, world_size={world_size}: expected both, or none to take torch.distributed's")
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def cross_entropy(scores: Any, labels: Any, weight: Any = None) -> Any:
    """The mean cross entropy of the rows that have a label; 0 where none has, for which torch gives NaN.

    Parameters
    ----------
    scores : (n, n_classes) tensor of floats
    labels : (n,) tensor of integers of any type; negative ones are left out
    weight : (n_classes,) of each class, e.g. `Classes.weights`; None for equal ones
    """
    known = labels >= 0
    chosen = None if weight is None else torch.as_tensor(weight, dtype=scores.dtype, device=scores.device)
    labels, scores = labels[known].long(), scores[known]
    share = torch.tensor(float(len(labels))) if chosen is None else chosen[labels].sum()
    total = torch.nn.functional.cross_entropy(scores, labels, weight=chosen, reduction="sum")
    return total / share.clamp(min=torch.finfo(scores.dtype).tiny).to(scores.device)


def to_geometric(
    item: Mapping[str, Any],
    *,
    x: str | Sequence[str] = (),
    y: str = "",
    edge_attr: str | Sequence[str] = (),
    undirected: bool = False,
    one_hot: Mapping[str, int] | None = None,
    nan: float | None = 0.0,
) -> Any:
    """Convert a sample to `torch_geometric.data.Data` (the `geometric` extra).

    Nodes are faces and `edge_index` (2, n_arcs) the arcs of the graph; every array is an attribute named ``<array>``,
    or ``<group>_<array>`` where two groups have the name, unless it is part of `x`, `y` or `edge_attr`. Row numbers are
    int64. The loader of PyTorch Geometric batches such objects: rows of all samples one after the other, row numbers
    shifted with the rows that they refer to, negative ones, which mean "none", kept. With the same arguments an
    exported file gives the same object as an item of `CADDataset.to_geometric` of the same columns.

    Parameters
    ----------
    item : an item of a `CADDataset`, or the content of a file of ``dflow export --to pyg``
        (``torch.load(path, weights_only=True)``)
    x, y, edge_attr, undirected, nan : as in `CADDataset.to_geometric`
    one_hot : arrays of codes among the features, and the number of columns of each

    Raises
    ------
    DatasetError
        If it is neither, or an array is none of the faces, edges or arcs.
    UnknownKeyError
        If it lacks an array.
    """
    graph_class = geometric_module().PartGraph
    form = graph_form(x=x, y=y, edge_attr=edge_attr, undirected=undirected, one_hot=one_hot, nan=nan)
    own = any("/" in key for key in item)
    sample = IndexedItem(item, index_arrays_of(item)) if own else exported_item(item)
    form.check(index_arrays_of(sample), list(sample))
    return graph_class(**geometric_fields(form.fields(sample)))


def geometric_module() -> Any:
    """The adapter to PyTorch Geometric.

    Raises
    ------
    ImportError
        If it is not installed; the message names the extra.
    """
    try:
        importlib.import_module("torch_geometric.data")
        return importlib.import_module("dflow.dataset.training.geometric")
    except ImportError as error:
        raise ImportError("this needs PyTorch Geometric: pip install 'dflow-cad[geometric]'") from error


def geometric_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Convert the arrays among the fields of a graph to tensors.

    Parameters
    ----------
    fields : of one sample; see `dflow.dataset.training.graphs.graph_fields`
    """
    return {key: to_tensors(value) if isinstance(value, np.ndarray) else value for key, value in fields.items()}
