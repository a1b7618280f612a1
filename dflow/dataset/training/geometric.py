"""Samples as graphs of PyTorch Geometric; the only module that imports torch_geometric."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch_geometric.data import Data, Dataset
from torch_geometric.loader.dataloader import Collater

from dflow.dataset.query.store import Column, DatasetStore
from dflow.dataset.training.graphs import ENDS, GraphForm, with_masks
from dflow.dataset.training.samples import IndexedItem, Item, SampleReader, Samples
from dflow.dataset.training.shuffle import SamplePlan
from dflow.dataset.training.torch import EpochLoader, Passes, epoch_loader, geometric_fields
from dflow.errors import DatasetError

if TYPE_CHECKING:
    from dflow.dataset.training.subset import CADDataset


class PartGraph(Data):
    """A sample as `torch_geometric.data.Data`, whose row numbers PyTorch Geometric shifts in its batches.

    `increments` lists the attributes that hold row numbers, with the group that these refer to and the sample's rows of
    it (see `dflow.dataset.training.graphs.graph_fields`). Other attributes, set by the user, are batched as in `Data`.
    """

    def __cat_dim__(self, key: str, value: Any, *args: Any, **kwargs: Any) -> Any:
        if key == "edge_index" or not self._listed(key):
            return super().__cat_dim__(key, value, *args, **kwargs)
        return 0

    def __inc__(self, key: str, value: Any, *args: Any, **kwargs: Any) -> Any:
        listed = self._listed(key)
        if not listed:
            return super().__inc__(key, value, *args, **kwargs)
        # A batch may be batched again; it has one entry per sample.
        target, counts = (
            (listed[0], listed[1:]) if isinstance(listed[0], str) else (listed[0][0], [n for _, n in listed])
        )
        if not target:
            return 0
        if min(counts) < 0:
            raise DatasetError(
                f"{key} holds row numbers of {target!r}, of which this sample has no array, so that a batch cannot "
                f"shift them; choose a column of {target!r} too, or leave {key} out (exclude_keys=[{key!r}])"
            )
        return _Shift(sum(counts))

    def _listed(self, key: str) -> Any:
        return self._store.get("increments", {}).get(key)


class _Shift(torch.Tensor):
    """An increment of row numbers that leaves negative entries, which mean "none", as they are."""

    @staticmethod
    def __new__(cls, n_rows: int) -> _Shift:
        return torch.tensor(n_rows).as_subclass(cls)

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if function in _SUMS and type(args[0]) is torch.Tensor:
            value, shift = args[0], args[1].as_subclass(torch.Tensor)
            return torch.where(value < 0, value, function(value, shift))
        return super().__torch_function__(function, types, args, dict(kwargs or {}))


_SUMS = (torch.Tensor.add, torch.Tensor.__add__, torch.Tensor.sub, torch.Tensor.__sub__)


class GraphDataset(Dataset):
    """A subset as a dataset of PyTorch Geometric, whose items are `PartGraph`; `CADDataset.to_geometric` makes it.

    PyTorch Geometric's `DataLoader`, `DynamicBatchSampler` and `Batch` take it and its items as they are. Every pass
    over it, and over the loader of `get_dataloader`, is an epoch of random transforms; for other loaders `set_epoch`
    sets it before a pass. Belongs to one process and one thread at a time; its pickle holds no data.

    Parameters
    ----------
    dataset : the subset
    form : how its arrays become fields
    """

    def __init__(self, dataset: CADDataset, form: GraphForm) -> None:
        super().__init__()
        reader = dataset.reader("graphs are made")
        self.form = form
        self._keep: list[str] | None = None
        if form.joins:
            used = {*form.x, form.y, *form.edge_attr}
            named = [column.key for column in reader.columns] if reader.named else []
            self._keep = [key for key in named if key not in used]
            reader = _wider(
                reader, form, whole=dataset.transform is not None or reader.named, strict=not dataset.transform
            )
        self.dataset = dataset.read_by(reader)
        self._lacking = [c for c in reader.columns if reader.store.present(c.group, c.name) is not None]
        self.passes = Passes(SamplePlan(1, shuffle=False), self.dataset, 0, 1)

    def len(self) -> int:
        """The number of samples."""
        return len(self.dataset)

    def get(self, idx: int) -> PartGraph:
        """The graph of the sample at a position."""
        return self._graph(self.dataset.get_item(idx, self.passes.epoch), idx)

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """The graphs of a batch, read at once, for a `DataLoader`."""
        known = self.indices()
        positions = [known[i] for i in indices]
        samples = self.dataset.get_items(positions, self.passes.epoch)
        items = [samples.item(i) for i in range(len(samples))] if isinstance(samples, Samples) else samples
        graphs = [self._graph(item, position) for item, position in zip(items, positions, strict=True)]
        return graphs if self.transform is None else [self.transform(graph) for graph in graphs]

    def __iter__(self) -> Iterator[Any]:
        self.passes.begin(self.passes.plan)
        return super().__iter__()

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of random transforms for items and the next pass; further passes count on from it.

        Parameters
        ----------
        epoch : 0 or more
        """
        self.dataset.set_epoch(epoch)
        self.passes.go_to(epoch)

    @property
    def num_classes(self) -> int:
        """The number of classes of `y` in the whole dataset; see `CADDataset.classes`."""
        group, _, name = self.form.y.partition("/")
        column = self.dataset.reader("classes are counted").store.columns.get(group, {}).get(name)
        return (
            super().num_classes if column is None or column.dtype.kind == "f" else len(self.dataset.classes(column.key))
        )

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
        follow_batch: list[str] | None = None,
        exclude_keys: list[str] | None = None,
        **options: Any,
    ) -> EpochLoader:
        """Return a loader of `torch_geometric.data.Batch`, each of whose passes is an epoch; it continues in the middle
        of one (see `EpochLoader`).

        Parameters
        ----------
        batch_size, shuffle, num_workers, drop_last, seed, rank, world_size, max_rows
            as in `TorchCADDataset.get_dataloader`
        follow_batch, exclude_keys
            as in `torch_geometric.loader.DataLoader`
        **options
            further arguments of `torch.utils.data.DataLoader`
        """
        source = copy.copy(self)
        single = batch_size is None and not max_rows and options.get("batch_sampler") is None
        options.setdefault("collate_fn", _itself if single else Collater(self, follow_batch, exclude_keys))
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

    def _graph(self, item: Item, position: int) -> PartGraph:
        file_id = self.dataset.file_codes[position]
        store = self.dataset.reader("graphs are made").store
        has = {c.key: bool(_present(store, c)[file_id]) for c in self._lacking}
        masked = with_masks(IndexedItem(item, self.dataset.index_arrays), has)
        return PartGraph(**geometric_fields(self.form.fields(masked, self._keep)))


def _itself(graph: Any) -> Any:
    return graph


def _present(store: DatasetStore, column: Column) -> np.ndarray[Any, Any]:
    present = store.present(column.group, column.name)
    assert present is not None
    return present


def _wider(reader: SampleReader, form: GraphForm, *, whole: bool, strict: bool) -> SampleReader:
    """A reader of the columns that a form is made of; of all columns of `reader` too, if `whole`.

    Without `strict`, a transform may make columns that are not in the dataset.
    """
    store = reader.store
    there = [f"{group}/{name}" for group, columns in store.columns.items() for name in columns]
    form.check(store.index_arrays, there)
    keys = [column.key for column in reader.columns] if whole else []
    keys += [key for key in ENDS if key in there]
    keys += [pointer for key in form.edge_attr if (pointer := form.pointer(key, store.index_arrays, there))]
    made = (*form.x, *form.edge_attr, *filter(None, [form.y]))
    keys += [key for key in made if strict or key in there]
    return SampleReader(store, list(dict.fromkeys(keys)), [column.key for column in reader.labels])
