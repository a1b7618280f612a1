"""The adapter to PyTorch: tensors, datasets and loaders; the only module that imports torch."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dflow.dataset.training.channel import AVAILABLE, Arena, Channel, Spot, receive
from dflow.dataset.training.collate import index_arrays_of
from dflow.dataset.training.graphs import exported_item, graph_form
from dflow.dataset.training.samples import Allocate, IndexedItem, Item, Samples
from dflow.dataset.training.shuffle import BlockPlan, Epochs, cut
from dflow.errors import DatasetError

try:
    import torch
    from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler, get_worker_info
except ImportError as error:
    raise ImportError(
        "this needs PyTorch: pip install 'dflow-cad[torch]', or torch as pytorch.org describes"
    ) from error


if TYPE_CHECKING:  # `subset` loads this module when torch is wanted
    from dflow.dataset.training.subset import CADDataset

__all__ = [
    "TorchCADDataset",
    "BlockStream",
    "_EpochLoader",
    "Collate",
    "to_tensors",
    "cross_entropy",
    "to_geometric",
    "geometric_fields",
]

logger = logging.getLogger(__name__)

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
        seed: int | None = None,
        max_rows: Mapping[str, int] | None = None,
        **options: Any,
    ) -> Any:
        """Return a `DataLoader` that reads samples one by one, in any order.

        Every pass through it is an epoch, in which random transforms differ, with or without persistent workers.

        Parameters
        ----------
        batch_size
            samples per batch; None delivers items one by one, or with `max_rows` batches of any number of samples
        shuffle
            whether every epoch has another random order
        num_workers
            processes that read; 0 reads in this one
        seed
            of the order of a shuffled loader; random by default
        max_rows
            the most rows of a group in a batch, e.g. ``{"faces": 4096}``; a sample that alone has more is a batch of
            its own
        **options
            further arguments of `torch.utils.data.DataLoader`, e.g. `sampler`, `batch_sampler`, `collate_fn` (of a list
            of items), `multiprocessing_context`, `pin_memory`

        Raises
        ------
        DatasetError
            If options contradict each other.
        """
        collate_fn = options.pop("collate_fn", None) or self.collate_fn
        ours = isinstance(collate_fn, Collate)
        source = (_WholeBatches if ours else _Source)(self.dataset, collate_fn)
        options = options_of_loader(source, self.dataset, batch_size, shuffle, seed, max_rows, options)
        single = "batch_sampler" not in options and options["batch_size"] is None
        collate_fn = unchanged if single and ours else collate_fn
        return _EpochLoader(source, num_workers=num_workers, collate_fn=collate_fn, **options)

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
    ) -> Any:
        """Return a `DataLoader` over ragged batches that are read in blocks of neighbouring samples, which is faster
        than `get_dataloader`.

        Every pass through it is an epoch, in which order and random transforms differ, with or without persistent
        workers; ``loader.dataset.set_epoch`` sets the next one.

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
            further arguments of `torch.utils.data.DataLoader`, e.g. `collate_fn` (of a list of items)

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
        check_bounds(self.dataset, max_rows)
        join = options.pop("collate_fn", None) or (None if isinstance(self.collate_fn, Collate) else self.collate_fn)
        if batch_size is None:
            join = join if max_rows else (first if join is None else _OfFirst(join))
        size = batch_size if batch_size is not None else block_size * fetch_blocks if max_rows else 1
        plan = BlockPlan(size, block_size, fetch_blocks, shuffle, drop_last, seed)
        stream = BlockStream(self.dataset, plan, rank=rank, world_size=world_size, max_rows=max_rows, join=join)
        return _EpochLoader(stream, batch_size=None, num_workers=num_workers, collate_fn=unchanged, **options)


def unchanged(value: Any) -> Any:
    """The value itself: the `collate_fn` of a loader that delivers what its dataset does."""
    return value


def first(items: Sequence[Any]) -> Any:
    """The only item of a batch."""
    return items[0]


@dataclass(frozen=True, slots=True)
class _OfFirst:
    """Applies a function to the only item of a batch, as torch does with ``batch_size=None``."""

    function: Callable[[Any], Any]

    def __call__(self, items: Sequence[Any]) -> Any:
        return self.function(items[0])


def options_of_loader(
    source: Any,
    dataset: CADDataset,
    batch_size: int | None,
    shuffle: bool,
    seed: int | None,
    max_rows: Mapping[str, int] | None,
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """The arguments of a `DataLoader` for those of `get_dataloader`.

    Parameters
    ----------
    source : what the loader reads from; its `epoch_of_pass` numbers the passes
    dataset : the subset behind it

    Raises
    ------
    DatasetError
        If options contradict each other.
    """
    found = dict(options)
    if found.get("batch_sampler") is not None:
        if shuffle or max_rows or found.get("sampler") is not None or found.get("drop_last"):
            raise DatasetError(
                "batch_sampler= decides which samples are in each batch, so that shuffle=, sampler=, drop_last= and "
                "max_rows= have no meaning beside it; leave them out, or leave out batch_sampler="
            )
        return found
    found.pop("batch_sampler", None)
    if max_rows:
        check_bounds(dataset, max_rows)
        sampler, drop_last = found.pop("sampler", None), bool(found.pop("drop_last", False))
        if getattr(sampler, "num_replicas", 1) > 1:
            raise DatasetError(
                "max_rows= with a sampler of several ranks gives each rank another number of batches, so that ranks "
                "would wait for ever; use get_block_loader(max_rows=...), which gives all the same"
            )
        number = seed if seed is not None else int(torch.empty((), dtype=torch.int64).random_().item())
        bounded = _BoundedBatches(
            source, dataset, batch_size, max_rows, sampler, number if shuffle else None, drop_last
        )
        return found | {"batch_sampler": bounded}
    if seed is not None:
        found["generator"] = torch.Generator().manual_seed(seed)
    return found | {"batch_size": batch_size, "shuffle": shuffle}


def check_bounds(dataset: CADDataset, max_rows: Mapping[str, int] | None) -> None:
    """Check limits of rows, and warn of samples that exceed one alone."""
    if not max_rows:
        return
    rows, limits = dataset.rows_of_samples(max_rows)
    if n_large := int(np.any(rows > limits[:, None], axis=0).sum()):
        logger.warning(
            "%d of %d samples have more rows than max_rows=%s; each is a batch of its own",
            n_large,
            len(dataset),
            dict(max_rows),
        )


class _BoundedBatches(Sampler[list[int]]):
    """Batches of positions with limited rows; the same for an equal seed and pass, whatever the workers."""

    def __init__(
        self,
        source: Any,
        dataset: CADDataset,
        batch_size: int | None,
        max_rows: Mapping[str, int],
        sampler: Any,
        seed: int | None,
        drop_last: bool,
    ) -> None:
        if batch_size is not None and batch_size < 1:
            raise DatasetError(f"batch_size={batch_size}: expected a whole number of at least 1, or None")
        if sampler is not None and seed is not None:
            raise DatasetError("sampler= chooses the order, so that shuffle=True has no meaning; leave one of them out")
        self._source, self._dataset, self._max_rows = source, dataset, max_rows
        self._size, self._sampler, self._seed, self.drop_last = batch_size, sampler, seed, drop_last

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self._batches(self._source.epoch_of_pass()))

    def __len__(self) -> int:
        if self._sampler is not None:
            raise TypeError("the number of batches depends on the order, which the sampler chooses in each pass")
        return len(self._batches(self._source.next_epoch()))

    def _batches(self, epoch: int) -> list[list[int]]:
        rows, limits = self._dataset.rows_of_samples(self._max_rows)
        if self._size is not None:
            rows, limits = np.vstack([rows, np.ones_like(rows[:1])]), np.append(limits, self._size)
        if self._sampler is not None:
            order = np.fromiter(self._sampler, np.int64)
        elif self._seed is None:
            order = np.arange(len(self._dataset))
        else:
            order = np.random.default_rng([self._seed, epoch]).permutation(len(self._dataset))
        ends = cut(rows[:, order], limits)
        ends = ends[:-1] if self.drop_last else ends
        return [part.tolist() for part in np.split(order, ends)[: len(ends)]]


class _EpochLoader(DataLoader):
    """A `DataLoader` that begins another epoch in every pass; `get_dataloader` and `get_block_loader` return it."""

    def __iter__(self) -> Any:
        self.dataset.begin_pass(self)
        return super().__iter__()


class PassEpoch:
    """The epoch of a loader's pass, shared with the loader's workers."""

    def __init__(self) -> None:
        # In shared memory, so that workers that outlive a pass (persistent_workers) read the next epoch too.
        self._cell = torch.zeros(1, dtype=torch.int64).share_memory_()

    def set(self, epoch: int, loader: DataLoader | None = None) -> None:
        """Begin a loader's pass; without one, set the epoch of workers that no pass has numbered."""
        if loader is None or loader.persistent_workers:
            self._cell[0] = epoch
        else:  # the pass's workers start now and copy this; those of an unfinished earlier pass keep theirs
            self._cell = torch.tensor([epoch])

    def get(self) -> int:
        return int(self._cell[0])


class _Source(TorchCADDataset):
    """The samples of one loader, with the number of its pass."""

    def __init__(self, dataset: CADDataset, collate_fn: Callable[..., Any]) -> None:
        super().__init__(dataset, collate_fn)
        self._epochs, self._pass = Epochs(dataset.epochs), PassEpoch()

    def begin_pass(self, loader: DataLoader) -> None:
        """Number a pass, in this process or in the workers of `loader`."""
        self._pass.set(self._epochs.begin(), loader)

    def epoch_of_pass(self) -> int:
        """The number of the pass that has begun."""
        return self._pass.get()

    def next_epoch(self) -> int:
        """The number that the next pass gets."""
        return self._epochs.upcoming

    def __getitem__(self, index: int) -> Any:
        return to_tensors(self.dataset.get_item(index, self._pass.get()))


class _WholeBatches(_Source):
    """The samples of a loader whose `collate_fn` is a `Collate`, which takes a whole `Samples`."""

    def __getitems__(self, indices: Sequence[int]) -> Any:
        """Read a whole batch for a `DataLoader`, as arrays."""
        return self.dataset.get_items(indices, self._pass.get())


class BlockStream(IterableDataset):
    """Ragged batches of tensors, read in blocks. Every pass has its own order; `set_epoch` sets it.

    Parameters
    ----------
    dataset : the subset
    plan : the order of its samples and their batches
    rank, world_size : the part of this process; those of `torch.distributed` by default
    max_rows : the most rows of a group in a batch
    join : makes a batch of a list of items of tensors, in place of the ragged batch
    """

    def __init__(
        self,
        dataset: CADDataset,
        plan: BlockPlan,
        *,
        rank: int | None = None,
        world_size: int | None = None,
        max_rows: Mapping[str, int] | None = None,
        join: Callable[[list[Any]], Any] | None = None,
    ) -> None:
        self.dataset = dataset
        self.plan = plan
        self.max_rows = max_rows
        self.join = join
        self.rank, self.world_size = _distributed(rank, world_size)
        self._channel = Channel()
        self._epochs, self._pass = Epochs(), PassEpoch()

    def __len__(self) -> int:
        epoch, n_ranks = self._epochs.upcoming, self.world_size
        return self.dataset.n_batches(self.plan, epoch=epoch, n_ranks=n_ranks, max_rows=self.max_rows)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, hence order and random transforms, of the next pass; further passes count on from it.

        Parameters
        ----------
        epoch : 0 or more
        """
        self._epochs.choose(epoch)
        self._pass.set(epoch)

    def begin_pass(self, loader: DataLoader) -> None:
        """Number a pass of the workers of `loader`; without workers `__iter__` does."""
        if loader.num_workers:
            self._pass.set(self._epochs.begin(), loader)

    def __iter__(self) -> Iterator[Any]:
        # Taken now, not with the first batch: another pass may have begun by then.
        return self._batches(self._epochs.begin() if get_worker_info() is None else self._pass.get())

    def _batches(self, epoch: int) -> Iterator[Any]:
        worker = get_worker_info()
        number, n_workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        arenas: list[Arena] = []

        def allocator(n_bytes: int) -> Allocate:
            arenas[:] = [self._channel.arena(n_bytes + n_bytes // 8 + _SLACK_BYTES)]
            return arenas[0].allocate

        batches = self.dataset.iter_batches(
            self.plan,
            epoch=epoch,
            rank=self.rank,
            n_ranks=self.world_size,
            worker=number,
            n_workers=n_workers,
            allocator=None if worker is None or not AVAILABLE else allocator,
            max_rows=self.max_rows,
            join=None if self.join is None else self._joined,
        )
        for batch in batches:
            yield batch if self.join is not None else send(batch, self._channel, arenas.pop() if arenas else None)

    def _joined(self, items: list[Item]) -> Any:
        assert self.join is not None
        return self.join([to_tensors(item) for item in items])


_SLACK_BYTES = 64 * 1024
"""Room in an arena beside the rows: pointers, sample numbers of rows, file values, alignment."""


def _distributed(rank: int | None, world_size: int | None) -> tuple[int, int]:
    if rank is not None and world_size is not None:
        return rank, world_size
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
