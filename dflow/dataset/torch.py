"""The adapter to PyTorch: tensors, datasets and loaders. The only module that imports torch."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from dflow.dataset.caddataset import CADDataset
from dflow.dataset.items import Item
from dflow.dataset.shuffle import BlockPlan

try:
    import torch
    from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info
except ImportError as error:
    raise ImportError("this needs PyTorch: pip install 'dflow-cad[torch]', or torch as pytorch.org says") from error


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
    """Turns items into one ragged batch of tensors. Pickles, for spawned workers."""

    def __init__(self, collate: Callable[[Sequence[Item]], Mapping[str, Any]]) -> None:
        self.collate = collate

    def __call__(self, items: Sequence[Item]) -> Any:
        return to_tensors(self.collate([{k: np.asarray(v) for k, v in item.items()} for item in items]))


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
        block_size: int = 64,
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
        batches = self.dataset.iter_batches(
            self.plan,
            epoch=int(self._epoch[0]),
            rank=self.rank,
            n_ranks=self.world_size,
            worker=number,
            n_workers=n_workers,
        )
        return map(to_tensors, batches)


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
    names = [key.rpartition("/")[2] for key in item]
    fields: dict[str, Any] = {}
    for key, value in item.items():
        group, _, name = key.rpartition("/")
        fields[name if names.count(name) == 1 else f"{group}_{name}"] = to_tensors(np.asarray(value))
    if "graph/edges_source" in item:
        ends = [np.asarray(item[f"graph/edges_{end}"], np.int64) for end in ("source", "destination")]
        fields["edge_index"] = torch.from_numpy(np.stack(ends))
        fields.pop("edges_source", None), fields.pop("edges_destination", None)
    faces = next((len(value) for key, value in item.items() if key.startswith("faces/")), None)
    if faces is not None:
        fields["num_nodes"] = faces
    return data_class(**fields)
