"""The adapter to PyTorch: tensors, datasets and loaders. The only module that imports torch."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from dflow.dataset.caddataset import CADDataset
from dflow.dataset.exportforms import graph_fields
from dflow.dataset.items import Allocate, Item, Samples
from dflow.dataset.shuffle import BlockPlan

try:
    import torch
    from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info
except ImportError as error:
    raise ImportError("this needs PyTorch: pip install 'dflow-cad[torch]', or torch as pytorch.org says") from error


Array = np.ndarray[Any, np.dtype[Any]]


def to_tensors(value: Any) -> Any:
    """Arrays and numbers of a dictionary as tensors; the memory is shared where it is writable. Other values are
    kept.
    """
    if isinstance(value, Mapping):
        return {key: to_tensors(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value if value.flags.writeable and value.flags.c_contiguous else value.copy())
    if isinstance(value, (np.generic, bool, int, float)):
        return torch.as_tensor(value)
    return value


class Collate:
    """Turns samples into one ragged batch of tensors. Pickles, for spawned workers."""

    def __init__(self, collate: Callable[[Any], Mapping[str, Any]]) -> None:
        self.collate = collate

    def __call__(self, items: Samples | Sequence[Item]) -> Any:
        if not isinstance(items, Samples):
            items = [{k: np.asarray(v) for k, v in item.items()} for item in items]
        return send(self.collate(items))


def send(batch: Mapping[str, Any], arena: Arena | None = None) -> Any:
    """A batch as tensors; in a loader worker as one parcel, which arrives as the same dictionary of tensors."""
    if get_worker_info() is None or not all(isinstance(v, np.ndarray) for v in batch.values()):
        return to_tensors(batch)
    if arena is None:
        arena = Arena(sum(array.nbytes + _ALIGNMENT for array in batch.values()))
    return Parcel(batch, arena)


class Arena:
    """One block of shared memory from which the arrays of a batch are cut, one after the other."""

    def __init__(self, n_bytes: int) -> None:
        self.block = torch.empty(0, dtype=torch.uint8)
        self.block.set_(torch.UntypedStorage._new_shared(max(n_bytes, 1)))
        self._memory: Array = self.block.numpy()
        self._address = self._memory.__array_interface__["data"][0]
        self._used = 0

    def allocate(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """An array in the block, or elsewhere when the block is full."""
        n_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        end = self._used + n_bytes
        if end > len(self._memory):
            return np.empty(shape, dtype)
        array = self._memory[self._used : end].view(dtype).reshape(shape)
        self._used = min(-(-end // _ALIGNMENT) * _ALIGNMENT, len(self._memory))
        return array

    def offset(self, array: Array) -> int | None:
        """Where in the block an array lies; None where it does not, or not in one piece."""
        offset = int(array.__array_interface__["data"][0]) - self._address
        inside = 0 <= offset <= len(self._memory) - array.nbytes
        return offset if inside and array.flags.c_contiguous and array.nbytes else None


class Parcel:
    """A batch on its way from a loader worker: its arrays in one block of shared memory.

    Torch hands over every tensor of a batch by a file descriptor of its own, which costs more than the bytes do; a
    batch here has two dozen. Unpickling gives the dictionary of tensors, which are views of the block. What does not
    fit into the block any more travels in the pickle.
    """

    def __init__(self, batch: Mapping[str, Array], arena: Arena) -> None:
        self.block = arena.block
        self.layout = tuple((key, *_place(array, arena)) for key, array in batch.items())

    def __reduce__(self) -> tuple[Any, ...]:
        return unpack, (self.block, self.layout)


def _place(array: Array, arena: Arena) -> tuple[str, tuple[int, ...], int | Array]:
    """How an array is found again: its type, shape and place in the block, or itself."""
    offset = arena.offset(array)
    if offset is None and array.nbytes:
        copy = arena.allocate(array.shape, array.dtype)
        copy[...] = array
        offset = arena.offset(copy)
        return array.dtype.str, array.shape, copy if offset is None else offset
    return array.dtype.str, array.shape, offset or 0


_ALIGNMENT = 64


def unpack(block: Any, layout: Sequence[tuple[str, str, tuple[int, ...], int | Array]]) -> dict[str, Any]:
    """The tensors of a parcel, which share its memory."""
    source = block.numpy()
    found = {}
    for key, dtype, shape, place in layout:
        if isinstance(place, np.ndarray):
            found[key] = torch.from_numpy(place)
            continue
        n_bytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        found[key] = torch.from_numpy(source[place : place + n_bytes].view(dtype).reshape(shape))
    return found


class TorchCADDataset(Dataset):
    """A map-style `torch.utils.data.Dataset` whose items are dictionaries of tensors.

    `collate_fn` makes a batch of items in `get_dataloader`; the ragged one of `dflow.dataset.collate` by default.
    """

    def __init__(self, dataset: CADDataset, collate_fn: Callable[..., Any] | None = None) -> None:
        self.dataset = dataset
        self.collate_fn = collate_fn if collate_fn is not None else Collate(dataset.collate)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return to_tensors(self.dataset[index])

    def __getitems__(self, indices: Sequence[int]) -> Any:
        """A whole batch for a `DataLoader`: read together, and left as arrays for our own collate."""
        if isinstance(self.collate_fn, Collate):
            return self.dataset.get_items(indices)
        return [self[index] for index in indices]

    def get_file_codes(self) -> Any:
        """(n,) int64 tensor of file ids."""
        return torch.from_numpy(self.dataset.get_file_codes())

    def remove_indices(self, indices: Sequence[int]) -> dict[int, int]:
        """Drop samples by position; old positions to new ones."""
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
        """A `DataLoader` that reads samples one by one, in any order.

        Parameters
        ----------
        seed
            Makes the order of a shuffled loader reproducible.
        options
            Further arguments of `torch.utils.data.DataLoader`, e.g. `sampler`, `multiprocessing_context`, `pin_memory`.
        """
        if seed is not None:
            options["generator"] = torch.Generator().manual_seed(seed)
        options.setdefault("collate_fn", self.collate_fn)
        return DataLoader(self, batch_size=batch_size, shuffle=shuffle, num_workers=num_workers, **options)

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
        """A `DataLoader` over ragged batches that are read in blocks of neighbouring samples: the fast way through an
        epoch.

        Parameters
        ----------
        block_size, fetch_blocks
            Neighbours read at once, and how many such blocks are mixed; see `dflow.dataset.shuffle.BlockPlan`.
        rank, world_size
            This process's part, as `DistributedSampler` takes them; those of `torch.distributed` by default.
        """
        plan = BlockPlan(batch_size, block_size, fetch_blocks, shuffle, drop_last, seed)
        stream = BlockStream(self.dataset, plan, rank=rank, world_size=world_size)
        return DataLoader(stream, batch_size=None, num_workers=num_workers, **options)


class BlockStream(IterableDataset):
    """Ragged batches of tensors, read in blocks. Every epoch has its own order; `set_epoch` chooses one."""

    def __init__(
        self, dataset: CADDataset, plan: BlockPlan, *, rank: int | None = None, world_size: int | None = None
    ) -> None:
        self.dataset = dataset
        self.plan = plan
        self.rank, self.world_size = _distributed(rank, world_size)
        # Shared memory, so that workers that outlive an epoch (persistent_workers) see it too.
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return self.plan.n_batches(len(self.dataset), self.world_size)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order and the augmentation of the next epoch."""
        self._epoch[0] = epoch

    def __iter__(self) -> Iterator[Any]:
        worker = get_worker_info()
        number, n_workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        arenas: list[Arena] = []

        def allocator(n_bytes: int) -> Allocate:
            arenas[:] = [Arena(n_bytes + n_bytes // 8 + _SLACK_BYTES)]
            return arenas[0].allocate

        batches = self.dataset.iter_batches(
            self.plan,
            epoch=int(self._epoch[0]),
            rank=self.rank,
            n_ranks=self.world_size,
            worker=number,
            n_workers=n_workers,
            allocator=None if worker is None else allocator,
        )
        for batch in batches:
            yield send(batch, arenas.pop() if arenas else None)


_SLACK_BYTES = 64 * 1024
"""Beside the rows: pointers, sample numbers of rows, file values, alignment."""


def _distributed(rank: int | None, world_size: int | None) -> tuple[int, int]:
    if rank is not None and world_size is not None:
        return rank, world_size
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def to_geometric(item: Item) -> Any:
    """A sample as `torch_geometric.data.Data` (the `geometric` extra).

    Nodes are faces and `edge_index` (2, n_arcs) the arcs of the graph; every array is an attribute named ``<array>``,
    or ``<group>_<array>`` where two groups have the name. The loader of PyTorch Geometric batches such objects.
    """
    try:
        data_class = importlib.import_module("torch_geometric.data").Data
    except ImportError as error:
        raise ImportError("this needs PyTorch Geometric: pip install 'dflow-cad[geometric]'") from error
    return data_class(**geometric_fields(item))


def geometric_fields(item: Item) -> dict[str, Any]:
    """A sample as the keywords of `torch_geometric.data.Data`: tensors, and `num_nodes` as a number."""
    return {key: value if key == "num_nodes" else to_tensors(value) for key, value in graph_fields(item).items()}
