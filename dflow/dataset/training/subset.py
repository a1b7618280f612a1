"""A subset of a dataset as a map-style sequence of samples, without torch."""

from __future__ import annotations

import itertools
import operator
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dflow.dataset.query.vocabulary import Vocabularies, unknown_word
from dflow.dataset.training.classes import Classes, count_classes
from dflow.dataset.training.collate import INDEX_ARRAYS, Batch, collate_samples, stack
from dflow.dataset.training.graphs import graph_form
from dflow.dataset.training.samples import Allocate, IndexedItem, Item, SampleReader, Samples
from dflow.dataset.training.shuffle import BlockPlan, Bounds, Epochs, Pass
from dflow.dataset.training.transforms import Statistics, Transform, at_epoch, column_moments
from dflow.errors import DamagedDatasetError, DatasetError, UnknownKeyError
from dflow.hoops.names import hoops_names
from dflow.notebook import object_html
from dflow.plaintext import get_logger, plain
from dflow.schema import FILE_GROUP
from dflow.storage.paths import Below

if TYPE_CHECKING:
    from dflow.dataset.training.geometric import GraphDataset
    from dflow.dataset.training.torch import TorchCADDataset

logger = get_logger(__name__)

Array = np.ndarray[Any, np.dtype[Any]]
ItemLoader = Callable[[str, str, int], Any]


@dataclass(frozen=True, slots=True)
class FileItems:
    """Items that a user's function loads: ``loader(graph_file, label_file, data_id)``, HOOPS AI's signature."""

    loader: ItemLoader
    graph_files: tuple[str, ...]
    labels: tuple[str, ...]

    def read(self, file_id: int) -> Any:
        """Load the item of one file."""
        return self.loader(self.graph_files[file_id], self.labels[file_id] if self.labels else "", int(file_id))


class CADDataset:
    """The samples of one subset, in id order: ``len``, indexing and iteration, which is what torch's `DataLoader`
    requires of a dataset.

    An item is a dictionary: ``id``, ``group/array`` with the sample's rows, ``file/name`` with its values. Belongs to
    one process and one thread at a time; its pickle holds no data, so that loader workers may be forked or spawned.
    """

    def __init__(
        self,
        source: SampleReader | FileItems,
        file_codes: Array,
        *,
        transform: Transform | None = None,
        name: str = "",
        vocabularies: Vocabularies | None = None,
    ) -> None:
        self.source = source
        self._vocabularies = vocabularies
        self.name = name
        self.transform = transform
        self.epoch = 0
        self.epochs = Epochs()
        self._codes = np.asarray(file_codes, np.int64)

    if not TYPE_CHECKING:  # for a type checker a missing attribute stays an error
        __getattr__ = hoops_names("dflow.hoops.training:SubsetNames")

    def __repr__(self) -> str:
        return plain(f"<CADDataset {self.name}: {len(self)} samples>")

    def _repr_html_(self) -> str:
        title = repr(self).strip("<>")
        if not isinstance(self.source, SampleReader):
            return object_html(title, [(file,) for file in self.data_files[:5]], head=("graph file",))
        rows = [
            (column.key, ", ".join(column.dims), " × ".join(map(str, ("n", *column.shape[1:]))), column.dtype)
            for column in self.source.columns
        ]
        return object_html(title, rows, head=("key of an item", "dimensions", "shape", "type"))

    def __len__(self) -> int:
        return len(self._codes)

    def __getitem__(self, index: int) -> Any:
        return self.get_item(index)

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the samples after the transforms; random transforms differ in every pass."""
        epoch = self.epoch = self.epochs.begin()
        return (self.get_item(i, epoch) for i in range(len(self)))

    @property
    def file_codes(self) -> Array:
        """(n,) int64 file ids."""
        return self._codes

    @property
    def index_arrays(self) -> Mapping[str, str]:
        """The arrays ``group/array`` that hold row numbers within the sample, and the group that these refer to."""
        return self.source.store.index_arrays if isinstance(self.source, SampleReader) else INDEX_ARRAYS

    def get_file_codes(self) -> Array:
        """(n,) int64 file ids, a copy."""
        return self._codes.copy()

    def get_raw_data(self, index: int) -> Any:
        """Read a sample as it is stored, without transforms."""
        return self.source.read(self._code(index))

    def get_item(self, index: int, epoch: int | None = None) -> Any:
        """Read a sample and apply the transforms.

        Parameters
        ----------
        index
            The position in this subset; negative from the end.
        epoch
            Of random transforms; by default that of `set_epoch` or of the last pass.

        Raises
        ------
        IndexError
            If there is no such position.
        """
        item = self.get_raw_data(index)
        transform = at_epoch(self.transform, self.epoch if epoch is None else epoch)
        if transform is not None:
            item = transform(item)
        if isinstance(self.source, SampleReader) and isinstance(item, dict):
            return IndexedItem(item, self.index_arrays)
        return item

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of random transforms for items, and for the next pass over this dataset and its loaders;
        further passes count on from it.
        """
        self.epoch = epoch
        self.epochs.choose(epoch)

    def set_item_loader_func(self, loader: ItemLoader) -> None:
        """Load items with ``loader(graph_file, label_file, data_id)`` from now on."""
        if not isinstance(self.source, FileItems):
            raise UnknownKeyError(
                "this dataset reads its items from the .dataset; pass item_loader_func= and graph_files= to "
                "DatasetLoader instead"
            )
        self.source = FileItems(loader, self.source.graph_files, self.source.labels)

    @property
    def data_files(self) -> list[str]:
        """The graph file of every sample; empty where items come from the `.dataset`."""
        files = self.source.graph_files if isinstance(self.source, FileItems) else ()
        return [files[i] for i in self._codes] if files else []

    @property
    def label_datas(self) -> list[str]:
        """The label file of every sample; empty where there are none."""
        labels = self.source.labels if isinstance(self.source, FileItems) else ()
        return [labels[i] for i in self._codes] if labels else []

    def remove_indices(self, indices: Sequence[int]) -> dict[int, int]:
        """Remove samples by position; return the map from the old to the new positions of the others."""
        size = len(self)
        removed = {self._position(i) for i in indices}
        kept = [i for i in range(size) if i not in removed]
        self._codes = self._codes[kept]
        return {old: new for new, old in enumerate(kept)}

    def get_items(self, indices: Sequence[int], epoch: int | None = None) -> Samples | list[Any]:
        """Read several samples at once, in the requested order, and apply the transforms (see `get_item`).

        The result is a `Samples` without a transform, else a list of items; `collate` takes both. Cheaper than
        reading them one by one.
        """
        transform = at_epoch(self.transform, self.epoch if epoch is None else epoch)
        if not isinstance(self.source, SampleReader) or not len(indices):
            return [self.get_item(i, epoch) for i in indices]
        ids, inverse = np.unique([self._code(i) for i in indices], return_inverse=True)
        samples = self.source.read_many(ids).select(inverse)
        if transform is None:
            return samples
        return [transform(samples.item(i)) for i in range(len(samples))]

    def collate(self, items: Samples | Sequence[Item]) -> Batch:
        """Join items into one ragged batch; see `dflow.dataset.training.collate.collate`."""
        return collate_samples(items if isinstance(items, Samples) else stack(items), self.index_arrays)

    def iter_batches(
        self,
        plan: BlockPlan,
        *,
        epoch: int = 0,
        rank: int = 0,
        n_ranks: int = 1,
        worker: int = 0,
        n_workers: int = 1,
        allocator: Callable[[int], Allocate] | None = None,
    ) -> Iterator[Batch]:
        """Yield ragged batches in the order of a block plan: this worker's fetches of this rank's samples.

        `allocator` is called with the bytes of a batch's rows before they are gathered, and returns the function
        that allocates them; it is not called for batches that a transform makes.
        """
        this = Pass(epoch, rank, n_ranks)
        return itertools.chain.from_iterable(self.iter_fetches(plan, this, worker, n_workers, allocator))

    def iter_fetches(
        self,
        plan: BlockPlan,
        this: Pass,
        worker: int = 0,
        n_workers: int = 1,
        allocator: Callable[[int], Allocate] | None = None,
        join: Callable[[list[Item]], Any] | None = None,
    ) -> Iterator[Iterator[Any]]:
        """Yield this worker's fetches of a pass, each as its batches, which are taken before the next fetch.

        Every n-th fetch is a worker's; so in turns of the workers, fetch by fetch, batches have the order of the plan.
        `join` makes the batch of a list of items, in place of `collate`.
        """
        if not isinstance(self.source, SampleReader):
            raise UnknownKeyError(
                "blocks are read from a .dataset, but an item_loader_func loads these items; use "
                "get_dataloader() instead of get_block_loader()"
            )
        buffers: dict[str, Array] = {}
        for number, (fetch, batches) in enumerate(plan.fetches(self._codes, this)):
            if number % n_workers == worker:
                yield self._read_fetch(fetch, batches, this.epoch, buffers, allocator, join)

    def _read_fetch(
        self,
        fetch: Array,
        batches: Sequence[Array],
        epoch: int,
        buffers: dict[str, Array],
        allocator: Callable[[int], Allocate] | None,
        join: Callable[[list[Item]], Any] | None,
    ) -> Iterator[Any]:
        assert isinstance(self.source, SampleReader)
        transform = at_epoch(self.transform, epoch)
        ids = np.unique(fetch)
        samples = self.source.read_many(ids, buffers)
        for batch in batches:
            wanted = np.searchsorted(ids, batch)
            # A transform's results would not fit into the memory beside its arguments.
            for_rows = allocator if transform is None and join is None else None
            allocate = np.empty if for_rows is None else for_rows(samples.bytes_of(wanted))
            chosen = samples.select(wanted, allocate)
            if join is not None:
                items = [chosen.item(i) for i in range(len(chosen))]
                items = items if transform is None else [transform(item) for item in items]
                yield join([IndexedItem(item, self.index_arrays) for item in items])
            elif transform is None:
                yield collate_samples(chosen, self.index_arrays)
            elif getattr(transform, "elementwise", False):
                yield transform(collate_samples(chosen, self.index_arrays))
            else:
                yield self.collate([transform(chosen.item(i)) for i in range(len(chosen))])

    def to_torch(self, collate_fn: Callable[..., Any] | None = None) -> TorchCADDataset:
        """Wrap the subset as a `torch.utils.data.Dataset` of tensors; imports torch.

        Raises
        ------
        ImportError
            If torch is not installed; the message names the extra.
        """
        from dflow.dataset.training.torch import TorchCADDataset  # torch is loaded only here

        return TorchCADDataset(self, collate_fn)

    def to_geometric(
        self,
        *,
        x: str | Sequence[str] = (),
        y: str = "",
        edge_attr: str | Sequence[str] = (),
        undirected: bool = False,
        one_hot: Sequence[str] | Mapping[str, int] = (),
        nan: float | None = 0.0,
    ) -> GraphDataset:
        """Return the subset as a dataset of PyTorch Geometric: of `Data` objects, for its loaders; imports torch.

        Nodes are faces, `edge_index` the arcs between them. Arrays that are in none of `x`, `y` and `edge_attr` are
        attributes of their own, if they are named in ``columns=`` of `get_dataset`, or if all three are omitted.

        Parameters
        ----------
        x
            Arrays of the faces, with or without their group, side by side the nodes' features.
        y
            The labels: an array of the faces or a file value.
        edge_attr
            Arrays of the edges (by ``graph/arc_edge``) or of the arcs, side by side the arcs' features.
        undirected
            Whether each arc also runs the other way, with the same features.
        one_hot
            Arrays of codes among the features, which get a column per code of the dataset (`classes`), or per code
            below a given number.
        nan
            In place of NaN in `x`, `y` and `edge_attr`; None keeps NaN.

        Raises
        ------
        ImportError
            If torch or torch_geometric is not installed; the message names the extra.
        DatasetError, UnknownKeyError
            If an array is not in the dataset, or is none of the faces, edges or arcs.
        """
        from dflow.dataset.training.torch import geometric_module  # torch is loaded only here

        x, edge_attr = ([names] if isinstance(names, str) else list(names) for names in (x, edge_attr))
        x = [self._key_in(name, "faces") for name in x]
        y = self._key_in(y, "faces", FILE_GROUP)
        edge_attr = [self._key_in(name, "edges", "graph") for name in edge_attr]
        widths = one_hot if isinstance(one_hot, Mapping) else {key: len(self.classes(key)) for key in one_hot}
        sizes = {self._key_in(name, "faces", "edges", "graph"): width for name, width in widths.items()}
        form = graph_form(x=x, y=y, edge_attr=edge_attr, undirected=undirected, one_hot=sizes, nan=nan)
        dataset: GraphDataset = geometric_module().GraphDataset(self, form)
        return dataset

    def _key_in(self, name: str, *groups: str) -> str:
        """Return the key of an array that is named with its group, or is in the first of some groups that has it."""
        if not name or "/" in name or not isinstance(self.source, SampleReader):
            return name
        columns = self.source.store.columns
        return next((f"{group}/{name}" for group in groups if name in columns.get(group, ())), name)

    def classes(self, key: str) -> Classes:
        """Count the classes of a column of codes in this subset.

        Parameters
        ----------
        key : ``group/array`` or ``file/name``; need not be among the columns that are read

        Raises
        ------
        DatasetError
            If the column holds no codes, or the items are not read from a `.dataset`.
        """
        store = self.reader("classes are counted").store
        group, _, name = key.partition("/")
        vocabularies = self._vocabularies or Vocabularies(None)
        return count_classes(store, vocabularies, store.column(group, name), self._codes)

    def statistics(self, columns: str | Sequence[str] | None = None) -> Statistics:
        """Compute mean and standard deviation of columns over this subset's samples, after its transform.

        One value per component of the last dimension, one for an array without further dimensions. NaN, infinities and
        samples that lack an array are left out, and counted in the result's `missing`.

        Parameters
        ----------
        columns : keys ``group/array`` or groups; all that are read if omitted

        Raises
        ------
        DatasetError
            If a column has no finite value or holds no numbers, or the items are not read from a `.dataset`.
        UnknownKeyError
            If there is no such column.
        """
        reader = self.reader("statistics are computed")
        wanted = [columns] if isinstance(columns, str) else columns
        if self.transform is None and wanted is not None:
            reader = SampleReader(reader.store, wanted)
        moments = column_moments(reader, np.unique(self._codes), at_epoch(self.transform, self.epoch))
        if wanted is not None:
            chosen = {key for key in moments if key in wanted or key.partition("/")[0] in wanted}
            unknown = [key for key in wanted if key not in chosen | {k.partition("/")[0] for k in chosen}]
            if unknown and len(self):
                raise UnknownKeyError(unknown_word(unknown[0], list(moments), "a column of this dataset's items"))
            moments = {key: found for key, found in moments.items() if key in chosen}
        empty = [key for key, found in moments.items() if not np.all(found.count)]
        if empty or not moments:
            raise DatasetError(
                f"{', '.join(empty) or 'no column'} has no finite value in the {self.name or 'chosen'} subset to "
                "compute statistics from; leave it out of columns="
            )
        return Statistics(moments)

    def read_by(self, reader: SampleReader) -> CADDataset:
        """The same samples and transform with other columns."""
        other = CADDataset(
            reader, self._codes, transform=self.transform, name=self.name, vocabularies=self._vocabularies
        )
        other.epoch, other.epochs = self.epoch, self.epochs
        return other

    def bounds(self, max_rows: Mapping[str, int], ids: Array, *, sized: bool) -> Bounds:
        """Return the limits of rows in a batch; with a warning if samples exceed one alone.

        Parameters
        ----------
        max_rows : groups, and the most rows of each in a batch
        ids : (n,) the samples as a plan numbers them
        sized : whether batches have a number of samples too

        Raises
        ------
        DatasetError
            If a limit is no number of at least 1, or the items are not read from a `.dataset`.
        UnknownKeyError
            If there is no such group.
        """
        store = self.reader("rows are counted").store
        for group, most in max_rows.items():
            if isinstance(most, bool) or not isinstance(most, (int, np.integer)) or most < 1:
                raise DatasetError(f"max_rows={{{group!r}: {most!r}}}: expected a whole number of at least 1")
            if group not in store.row_groups:
                raise store.unknown_group(group)
        limits = {group: int(most) for group, most in max_rows.items()}
        rows = np.array([store.span(group).count[self._codes] for group in limits], np.int64)
        if n_large := int(np.any(rows > np.array([*limits.values()])[:, None], axis=0).sum()):
            logger.warning(
                "%d of %d samples have more rows than max_rows=%s; each is a batch of its own",
                n_large,
                len(self),
                limits,
            )
        return Bounds(limits, ids, rows, sized)

    def reader(self, done: str) -> SampleReader:
        """The reader of the `.dataset`.

        Raises
        ------
        DatasetError
            If a user's function loads the items; `done` is what needs a reader, for the message.
        """
        if not isinstance(self.source, SampleReader):
            raise DatasetError(
                f"{done} from a .dataset, but an item_loader_func loads these items; make another DatasetLoader of the "
                ".dataset without item_loader_func for them"
            )
        return self.source

    def _code(self, index: int) -> int:
        return int(self._codes[self._position(index)])

    def _position(self, index: int) -> int:
        index = operator.index(index)
        if not -len(self) <= index < len(self):
            raise IndexError(f"no sample {index}: the subset has {len(self)}")
        return index % len(self)


def default_graph_files(root: str | os.PathLike[str], names: Sequence[str]) -> tuple[str, ...]:
    """Where HOOPS AI's scripts keep one graph file per sample: ``<flow>/graph_data/<name>.pt``.

    Raises
    ------
    DamagedDatasetError
        If a name of the table leads out of the flow's folder, also through a link.
    """
    below = Below(root)
    found = [(name, below.path(f"graph_data/{name}.pt")) for name in names]
    if outside := [name for name, path in found if path is None]:
        raise DamagedDatasetError(
            f"the graph file of sample {outside[0]!r} lies outside of the flow's folder {root}; pass graph_files="
        )
    return tuple(path for _, path in found if path is not None)
