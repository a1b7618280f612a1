"""The adapter to PyTorch: tensors, datasets and loaders; the only module that imports torch."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dflow.dataset.training.channel import AVAILABLE, Arena, Channel, Spot, receive
from dflow.dataset.training.graphs import graph_fields
from dflow.dataset.training.samples import Allocate, IndexedItem, Item, Samples
from dflow.dataset.training.shuffle import BlockPlan, Epochs
from dflow.errors import DatasetError

try:
    import torch
    from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info
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
        batch_size: int = 64,
        shuffle: bool = False,
        num_workers: int = 0,
        *,
        seed: int | None = None,
        **options: Any,
    ) -> Any:
        """Return a `DataLoader` that reads samples one by one, in any order.

        Every pass through it is an epoch, in which random transforms differ, with or without persistent workers.

        Parameters
        ----------
        batch_size
            samples per batch
        shuffle
            whether every epoch has another random order
        num_workers
            processes that read; 0 reads in this one
        seed
            of the order of a shuffled loader; random by default
        **options
            further arguments of `torch.utils.data.DataLoader`, e.g. `sampler`, `multiprocessing_context`, `pin_memory`
        """
        if seed is not None:
            options["generator"] = torch.Generator().manual_seed(seed)
        options.setdefault("collate_fn", self.collate_fn)
        ours = isinstance(options["collate_fn"], Collate)
        source = (_WholeBatches if ours else _Source)(self.dataset, self.collate_fn)
        return _EpochLoader(source, batch_size=batch_size, shuffle=shuffle, num_workers=num_workers, **options)

    def get_block_loader(
        self,
        batch_size: int = 64,
        shuffle: bool = True,
        num_workers: int = 0,
        *,
        block_size: int = 128,
        fetch_blocks: int = 8,
        drop_last: bool = False,
        seed: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
        **options: Any,
    ) -> Any:
        """Return a `DataLoader` over ragged batches that are read in blocks of neighbouring samples, which is faster
        than `get_dataloader`.

        Every pass through it is an epoch, in which order and random transforms differ, with or without persistent
        workers; ``loader.dataset.set_epoch`` sets the next one.

        Parameters
        ----------
        batch_size
            samples per batch
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
        **options
            further arguments of `torch.utils.data.DataLoader`
        """
        plan = BlockPlan(batch_size, block_size, fetch_blocks, shuffle, drop_last, seed)
        stream = BlockStream(self.dataset, plan, rank=rank, world_size=world_size)
        return _EpochLoader(stream, batch_size=None, num_workers=num_workers, **options)


class _EpochLoader(DataLoader):
    """A `DataLoader` that begins another epoch in every pass; `get_dataloader` and `get_block_loader` return it."""

    def __iter__(self) -> Any:
        self.dataset.begin_pass(self)
        return super().__iter__()


class _PassEpoch:
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
        self._epochs, self._pass = Epochs(dataset.epochs), _PassEpoch()

    def begin_pass(self, loader: DataLoader) -> None:
        """Number a pass, in this process or in the workers of `loader`."""
        self._pass.set(self._epochs.begin(), loader)

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
    """

    def __init__(
        self, dataset: CADDataset, plan: BlockPlan, *, rank: int | None = None, world_size: int | None = None
    ) -> None:
        self.dataset = dataset
        self.plan = plan
        self.rank, self.world_size = _distributed(rank, world_size)
        self._channel = Channel()
        self._epochs, self._pass = Epochs(), _PassEpoch()

    def __len__(self) -> int:
        return self.plan.n_batches(len(self.dataset), self.world_size)

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
        )
        for batch in batches:
            yield send(batch, self._channel, arenas.pop() if arenas else None)


_SLACK_BYTES = 64 * 1024
"""Room in an arena beside the rows: pointers, sample numbers of rows, file values, alignment."""


def _distributed(rank: int | None, world_size: int | None) -> tuple[int, int]:
    if rank is not None and world_size is not None:
        return rank, world_size
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def to_geometric(item: Item) -> Any:
    """Convert a sample to `torch_geometric.data.Data` (the `geometric` extra).

    Nodes are faces and `edge_index` (2, n_arcs) the arcs of the graph; every array is an attribute named ``<array>``,
    or ``<group>_<array>`` where two groups have the name. Row numbers are int64. The loader of PyTorch Geometric
    batches such objects: rows of all samples one after the other, row numbers shifted with the rows that they refer
    to, negative ones, which mean "none", kept.

    Parameters
    ----------
    item : an item of a `CADDataset`, or the content of a file of ``dflow export --to pyg``
        (``torch.load(path, weights_only=True)``)

    Raises
    ------
    DatasetError
        If it is neither.
    """
    try:
        importlib.import_module("torch_geometric.data")
        graph_class = importlib.import_module("dflow.dataset.training.geometric").PartGraph
    except ImportError as error:
        raise ImportError("this needs PyTorch Geometric: pip install 'dflow-cad[geometric]'") from error
    if "increments" in item:
        return graph_class(**item)
    if not any("/" in key for key in item):
        raise DatasetError(
            f"neither a sample nor an exported graph: it has {', '.join(map(repr, item)) or 'nothing'}; pass an item "
            "of a CADDataset (group/array), or what torch.load returns for a file that this version's "
            "`dflow export --to pyg` wrote (an older one's does not list its row numbers: export again)"
        )
    return graph_class(**geometric_fields(graph_fields(item)))


def geometric_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Convert the arrays among the fields of a graph to tensors.

    Parameters
    ----------
    fields : of one sample; see `dflow.dataset.training.graphs.graph_fields`
    """
    return {key: to_tensors(value) if isinstance(value, np.ndarray) else value for key, value in fields.items()}
