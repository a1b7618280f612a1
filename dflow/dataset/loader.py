"""Divide a merged dataset into training, validation and test, and read the subsets as samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
import pandas as pd

from dflow.dataset.format.location import AnyPath, locate
from dflow.dataset.format.stored_split import (
    SUBSETS,
    UNASSIGNED,
    SplitMatch,
    StoredSplit,
    body_contents,
    read_split,
    subset_words,
    write_split,
)
from dflow.dataset.format.tables import read_infoset, rewrite_column
from dflow.dataset.merge.publish import Outputs
from dflow.dataset.merge.published import note_tables
from dflow.dataset.query.store import ID_PREFIX, Column, DatasetStore, find_column, open_store, real_group
from dflow.dataset.query.vocabulary import LABEL_SUFFIX, Vocabularies
from dflow.dataset.report import split_to_html
from dflow.dataset.training.classes import Classes, count_classes
from dflow.dataset.training.samples import SampleReader, with_targets
from dflow.dataset.training.split import Fractions, group_codes, stratification_labels, stratified_split
from dflow.dataset.training.split_lists import ListedSplit, Listing, column_lists, find_listed, read_lists
from dflow.dataset.training.subset import CADDataset, FileItems, ItemLoader, default_graph_files
from dflow.dataset.training.transforms import Statistics, Transform
from dflow.errors import DatasetError, DatasetNotFoundError, SplitError, UnknownKeyError
from dflow.localpath import local_path
from dflow.plaintext import get_logger, plain
from dflow.schema import FILE_GROUP

logger = get_logger(__name__)

Array = np.ndarray[Any, np.dtype[Any]]
Subset = Literal["train", "validation", "test"]

NameList = AnyPath | Sequence[str]
"""Names of files, or the text or JSON file that lists them."""

SplitLists = AnyPath | Mapping[str, Any] | Sequence[Any] | pd.Series

RANDOM = "random"
"""The key of a split without stratification."""


class DatasetLoader:
    """A merged dataset for training: split by file, then read as samples, straight from the `.dataset`.

    A split is kept in ``<name>.split`` beside the dataset, by content and sample name, and in the `.infoset`'s column
    ``subset``; a later loader finds it there, and a merge that adds files carries it over. In a folder that cannot be
    written it stays in the loader, with a warning. Belongs to one process; its subsets
    (`get_dataset`) may be sent to loader workers.

    Parameters
    ----------
    merged_store_path, parquet_file_path
        The `.dataset` and `.infoset`; the latter is searched for beside the former. `merged_store_path` may also be
        the `.flow` file, or a table beside the dataset.
    item_loader_func
        ``f(graph_file, label_file, data_id)`` that loads a sample from other files instead of the `.dataset`.
    graph_files, labels
        The files that `item_loader_func` is called with, one per sample, in id order; ``<flow>/graph_data/<name>.pt``
        by default. With graph files alone, without a dataset, only random splits are possible.
    file_code_start
        The file id of ``graph_files[0]``.

    Raises
    ------
    DatasetNotFoundError, DamagedDatasetError
        If the dataset or its table is missing or damaged.
    """

    def __init__(
        self,
        merged_store_path: AnyPath | None = None,
        parquet_file_path: AnyPath | None = None,
        item_loader_func: ItemLoader | None = None,
        graph_files: Sequence[AnyPath] | None = None,
        labels: Sequence[AnyPath] | None = None,
        file_code_start: int = 0,
    ) -> None:
        if merged_store_path is None and graph_files is None:
            raise DatasetError("pass merged_store_path= (the .dataset folder), or graph_files=")
        self.location = (
            None if merged_store_path is None else locate(dataset=merged_store_path, infoset=parquet_file_path)
        )
        self._store = None if self.location is None else open_store(self.location.dataset, self.location.infoset)
        self._graph_files = None if graph_files is None else tuple(map(str, graph_files))
        self._labels = () if labels is None else tuple(map(str, labels))
        if self._labels and len(self._labels) != len(self._graph_files or self._labels):
            raise DatasetError(f"{len(self._labels)} labels for {len(self._graph_files or ())} graph files")
        self._vocabularies = Vocabularies(None if self.location is None else self.location.attribset)
        self.item_loader_func = item_loader_func
        self.file_code_start = file_code_start
        self._assigned: Array | None = None
        self._absent = StoredSplit(dict.fromkeys(SUBSETS, ()))
        self.split_request: dict[str, Any] | None = None
        self.split_history: list[dict[str, Any]] = []

    def __enter__(self) -> DatasetLoader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close_resources()

    def __len__(self) -> int:
        return len(self._graph_files or ()) if self._store is None else self._store.n_files

    def __repr__(self) -> str:
        where = "graph files" if self.location is None else self.location.dataset.name
        sizes = "no split" if self._assigned is None else " / ".join(map(str, self._sizes()))
        return plain(f"<DatasetLoader {where}: {len(self)} samples, {sizes}>")

    def _repr_html_(self) -> str:
        sizes = None if self._assigned is None else self._sizes()
        return split_to_html(repr(self), sizes, self.split_request or {})

    # The split

    def split(
        self,
        key: str = RANDOM,
        group: str | None = None,
        categories: Any | Sequence[Any] | None = None,
        train: float = 0.7,
        validation: float = 0.15,
        test: float = 0.15,
        random_state: int = 42,
        force_reset: bool = False,
        group_by: str | Sequence[Any] | None = None,
        keep: bool = False,
    ) -> tuple[int, int, int]:
        """Divide the files, with every label of `key` in the requested shares.

        Parameters
        ----------
        key
            A file value, or an array of rows: then a file has every label that one of its rows has. Codes and small
            integers are labels; other numbers are cut at their deciles; files without a value share one more label.
            ``"random"`` splits without labels.
        group
            The group that is searched first for `key`; then `file` and the other groups.
        categories
            Only these values of `key`, or only this one, are labels: codes, or their words.
        train, validation, test
            Shares; they sum to 1. A share of 0 gives an empty subset.
        random_state
            The seed: an equal seed gives an equal split of an equal dataset, on any machine.
        force_reset
            Replace a different split that this loader made before.
        group_by
            ``"content_hash"``, ``"geometry"``, another column of the `.infoset` or one value per file: files of equal
            values stay in one subset.
        keep
            Leave the members of the split that this loader has, or that is stored, where they are, and deal out the
            files that it does not have, so that all together come near the shares. Members that are missing now (a
            file that failed) keep their place for when they come back. Without a split this makes the first.

        Returns
        -------
        tuple of int
            The three sizes; they sum to the number of files. A label that fewer files have than there are subsets is
            no error.

        Raises
        ------
        SplitError
            If the shares are not numbers or do not sum to 1, `random_state` is not a whole number of at least 0,
            no file has one of `categories`, a word of them is unknown, there are fewer files than subsets, or another
            split was made already; with `keep`, also if the stored split is damaged or one of other files.
        UnknownKeyError
            If no group has `key`.
        """
        fractions = Fractions(train, validation, test)
        if categories is not None and np.ndim(categories) == 0:
            categories = [categories]
        if not isinstance(random_state, (int, np.integer)) or random_state < 0:
            raise SplitError(f"random_state={random_state!r}: expected a whole number of at least 0")
        request = _request(key, group, categories, fractions, random_state, group_by)
        kept = self._members() if keep else None
        if not keep and self._assigned is not None and self.split_request is not None and not force_reset:
            if request == self.split_request:
                return self._sizes()
            raise SplitError(
                f"this loader is split by {self.split_request['key']!r} already; pass force_reset=True, or keep=True "
                "to leave its members where they are"
            )
        labels = self._labels_of(key, group, categories)
        groups = None if group_by is None else group_codes(self._dataset(), self.files, group_by)
        self._assigned = stratified_split(labels, fractions, seed=random_state, groups=groups, kept=kept)
        if not keep:
            self._forget_absent()
        self._adopt(request)
        return self._sizes()

    def split_from(
        self,
        lists: SplitLists | None = None,
        *,
        train: NameList | None = None,
        validation: NameList | None = None,
        test: NameList | None = None,
    ) -> ListedSplit:
        """Divide the files as published lists of file names do, and report what was not found.

        Parameters
        ----------
        lists
            One of: a dictionary of lists by subset (``train``, ``validation`` or ``val``, ``test``, also as
            ``training_set`` and the like) or of subsets by file; a JSON file with either; a folder with ``train.txt``,
            ``val.txt``, ``test.txt``; a column of the `.infoset` or a file value with the subsets' names; one such name
            per sample, in id order.
        train, validation, test
            Instead: the names, or a text file with one a line, or a JSON file with a list.

        Returns
        -------
        ListedSplit
            Sizes, what was not found or fits several files, and the samples that no list has, which are in no subset;
            ``split(keep=True)`` deals them out. A warning says the same.

        Raises
        ------
        SplitError
            If nothing is found, a file is listed in two subsets, or the lists cannot be read.

        Notes
        -----
        An entry is a sample's name, its file's content hash, or a file's name: with folders or without, with its
        suffix, another one of CAD files, or none. Where several files have it, their folders decide; files of equal
        content are taken together; else the entry is ambiguous and none is taken. All bodies of a file are one entry's.
        """
        named = {"train": train, "validation": validation, "test": test}
        given = {name: value for name, value in named.items() if value is not None}
        if (lists is None) == (not given):
            raise SplitError("pass the lists of a split, or train=, validation= and test=: one of both")
        listing = self._column_listing(lists) or read_lists(given if lists is None else lists)
        found = find_listed(listing, self._listed_sources(), self.names, self._contents)
        if not np.any(found.assigned != UNASSIGNED):
            listed = [*found.not_found, *found.ambiguous]
            raise SplitError(
                f"none of the {found.n_entries} names in {listing.source} ({', '.join(map(repr, listed[:3]))}) is one "
                f"of the {len(self)} samples' ({self._examples(self.names)}); pass the split of these files"
            )
        self._assigned = found.assigned
        self._forget_absent()
        self._adopt({"key": "listed", "lists": listing.source})
        report = found.report(self._sizes(), [str(self._title(name)) for name in found.unlisted(self.names)])
        if not report.is_complete:
            logger.warning("%s", report)
        return report

    def get_dataset(
        self,
        subset: Subset,
        *,
        columns: str | Sequence[str] | None = None,
        labels: str | Sequence[str] = (),
        transform: Transform | None = None,
    ) -> CADDataset:
        """Return one subset as a map-style dataset; torch is not imported.

        Parameters
        ----------
        subset
            ``"train"``, ``"validation"`` or ``"test"``.
        columns
            ``group/array``, ``file/name`` or whole groups; all but the face-pair arrays by default.
        labels
            Further columns, of classes: they come as int64, with −1 (``ignore_index``) for files that lack them.
        transform
            Applied to every item; see `dflow.dataset.training.transforms`.

        Raises
        ------
        SplitError
            If there is no such subset, or no split was made or stored.
        DatasetError
            If a column holds row numbers of a group of which no column is chosen, or labels are no whole numbers.
        """
        chosen = self._chosen(subset)
        return self._subset(subset, chosen, self._source(columns, labels), transform)

    def save_split(self, path: AnyPath) -> None:
        """Write the split to a file, for `load_split` elsewhere.

        Parameters
        ----------
        path : the new file
        """
        write_split(Path(local_path(path)), self._as_stored(self._split()))

    def load_split(self, path: AnyPath | None = None) -> tuple[int, int, int]:
        """Apply a stored split and return the three sizes; one from elsewhere becomes that of the dataset.

        Samples are found by the content of their file, under any name and in any place, else by name. Samples that
        the split does not list are in no subset. A warning names them, and another one the entries without a sample.

        Parameters
        ----------
        path : a file that `save_split` wrote; the one beside the dataset by default

        Raises
        ------
        SplitError
            If there is no such file, or it lists none of the samples.
        """
        file = self._split_file() if path is None else Path(local_path(path))
        stored, found = self._apply(file)
        if path is None:
            self._note_subsets()
        else:
            self._keep_split()
        if found.unknown:
            logger.warning(
                "%d of %d samples are not in %s and belong to no subset: %s",
                len(found.unknown),
                len(self),
                file,
                self._examples(found.unknown),
            )
        if found.missing:
            logger.warning(
                "%d of the %d samples in %s are not in the dataset: %s",
                len(found.missing),
                len(stored),
                file,
                self._examples(found.missing),
            )
        return self._sizes()

    def reset_split_state(self, clear_history: bool = True) -> None:
        """Drop this loader's split; the stored one stays until the next `split`.

        Parameters
        ----------
        clear_history : whether to clear `split_history`, too
        """
        self._assigned, self.split_request = None, None
        self._forget_absent()
        if clear_history:
            self.split_history.clear()

    def statistics(
        self, columns: str | Sequence[str], subset: Subset = "train", *, transform: Transform | None = None
    ) -> Statistics:
        """Compute mean and standard deviation of columns over one subset, for `Standardise`.

        For a dataset with other columns and a transform, `CADDataset.statistics` computes those of what it delivers.

        Parameters
        ----------
        columns : keys ``group/array`` or groups
        subset : the samples to compute them from
        transform : applied to the items of these columns before

        Raises
        ------
        DatasetError
            If a column has no finite value or holds no numbers, or the items are not read from a `.dataset`.
        """
        chosen = self._chosen(subset)
        source = FileItems(self.item_loader_func, (), ()) if self.item_loader_func else self._reader(columns)
        return self._subset(subset, chosen, source, transform).statistics()

    def classes(self, key: str, subset: Subset | None = "train") -> Classes:
        """Count the classes of a column of codes: their number, names and weights for a loss.

        Parameters
        ----------
        key : ``group/array``, ``file/name``, or the name alone
        subset : the samples to count in; None for all

        Raises
        ------
        SplitError
            If no split was made or stored; pass ``subset=None``.
        DatasetError
            If the column holds no codes.
        UnknownKeyError
            If there is no such column.
        """
        store = self._dataset()
        group, _, name = key.rpartition("/")
        column = find_column(store, name, group or None)
        ids = np.arange(store.n_files) if subset is None else np.flatnonzero(self._chosen(subset))
        return count_classes(store, self._vocabularies, column, ids)

    # Contents and checks

    @cached_property
    def files(self) -> pd.DataFrame:
        """The `.infoset`, in id order."""
        store = self._dataset()
        return read_infoset(self.location.infoset if self.location else None, store.n_files, store.folder.build)

    @cached_property
    def names(self) -> list[str]:
        """The samples' names in id order; the keys of a stored split."""
        if self._store is None:
            return [Path(f).stem for f in self._graph_files or ()]
        try:
            return [str(name) for name in self.files["name"]]
        except DatasetNotFoundError:
            return [str(i) for i in range(len(self))]

    def available_groups(self) -> list[str]:
        """Sorted names of the groups, `file` last."""
        return [*self._dataset().row_groups, FILE_GROUP]

    def available_arrays(self, group: str) -> list[str]:
        """Sorted names of a group's arrays.

        Parameters
        ----------
        group : of the dataset
        """
        return sorted(self._dataset().group(real_group(self._dataset(), group)))

    def find_group_for_array(self, name: str) -> str:
        """Find the group that has an array or file value of this name.

        Parameters
        ----------
        name : of an array or file value

        Raises
        ------
        UnknownKeyError
            If no group has one.
        """
        return find_column(self._dataset(), name, None).group

    def get_available_stratification_keys(self) -> dict[str, list[str]]:
        """List the keys that `split` can stratify by, per group: arrays of one integer per row, and all scalar file
        values, categorical ones first.
        """
        store = self._dataset()
        categorical = store.categorical
        found = {
            group: sorted(
                n
                for n, c in store.group(group).items()
                if len(c.shape) == 1 and c.dtype.kind in "iub" and not n.startswith(ID_PREFIX)
            )
            for group in store.row_groups
        }
        values = [n for n, c in store.file_values.items() if len(c.shape) == 1]
        found[FILE_GROUP] = sorted(values, key=lambda n: (n not in categorical, n))
        return {group: names for group, names in found.items() if names}

    def validate_configuration(self) -> dict[str, Any]:
        """Check whether dataset, table, split and item files match: ``{"valid", "n_files", "problems": [text]}``."""
        problems = list(self.diagnose_file_codes_mismatch()["problems"])
        if self.item_loader_func is not None or self._store is None:
            missing = [f for f in self._item_files() if not Path(f).exists()]
            if missing:
                problems.append(f"{len(missing)} of {len(self)} graph files are missing, e.g. {missing[0]}")
        if self.item_loader_func is None and self._store is None:
            problems.append("graph_files were passed without item_loader_func=, so that items cannot be loaded")
        problems += self._split_problems()
        return {"valid": not problems, "n_files": len(self), "problems": problems}

    def diagnose_file_codes_mismatch(self) -> dict[str, Any]:
        """Check whether `.infoset`, graph files and dataset have the same file ids: ``{"valid", "problems"}``."""
        problems: list[str] = []
        if self._store is not None:
            try:
                self.files  # noqa: B018 - reading it is the check
            except DatasetError as error:
                problems.append(str(error))
        if self._store is not None and self._graph_files is not None:
            last = self.file_code_start + len(self._graph_files)
            if self.file_code_start != 0 or last != self._store.n_files:
                problems.append(
                    f"graph_files cover ids {self.file_code_start} to {last - 1}, "
                    f"the dataset has 0 to {self._store.n_files - 1}"
                )
        return {"valid": not problems, "problems": problems}

    def close_resources(self, clear_split_history: bool = True) -> None:
        """Close the dataset's files; subsets from `get_dataset` can no longer read. The stored split stays.

        Parameters
        ----------
        clear_split_history : whether to clear `split_history`, too
        """
        if self._store is not None:
            self._store.close()
        if clear_split_history:
            self.split_history.clear()

    # Internals

    @property
    def _first_code(self) -> int:
        return self.file_code_start if self._store is None else 0

    def _dataset(self) -> DatasetStore:
        if self._store is None:
            raise DatasetError(
                "this loader has graph_files only, and this needs a dataset; pass merged_store_path= too"
            )
        return self._store

    def _labels_of(self, key: str, group: str | None, categories: Sequence[Any] | None) -> Array:
        if key == RANDOM and (self._store is None or not _has_column(self._store, key)):
            return np.zeros((len(self), 0), bool)
        store = self._dataset()
        column = self._find_coded(store, key, group)
        if categories is not None:
            codes = self._vocabularies.codes(column.name, categories, group=column.group, error=SplitError)
            return stratification_labels(store, column, codes)
        return stratification_labels(store, column)

    def _find_coded(self, store: DatasetStore, key: str, group: str | None) -> Column:
        """The column of a key; ``<name>_label`` is another name of a column that has words for its codes."""
        coded = str(key).removesuffix(LABEL_SUFFIX)  # what is no text is refused by find_column
        if coded != key and not _has_column(store, key) and self._vocabularies.words(coded):
            return find_column(store, coded, group)
        return find_column(store, key, group)

    def _sizes(self) -> tuple[int, int, int]:
        assert self._assigned is not None
        train, validation, test = (int((self._assigned == i).sum()) for i in range(len(SUBSETS)))
        return train, validation, test

    def _split(self) -> Array:
        if self._assigned is None:
            self.load_split()
        assert self._assigned is not None
        return self._assigned

    def _apply(self, file: Path) -> tuple[StoredSplit, SplitMatch]:
        """Take over the split of a file."""
        stored = read_split(file)
        found = self._matched(file, stored)
        self._assigned, self.split_request = found.assigned, dict(stored.request)
        self._forget_absent()
        self._absent = self._absent.with_entries(stored, found.missing)
        return stored, found

    def _members(self) -> Array | None:
        """The split that a further one keeps: this loader's, else the stored one; None without either."""
        if self._assigned is None and self.location is not None and self.location.split_file.exists():
            self._apply(self.location.split_file)
        return self._assigned

    def _adopt(self, request: dict[str, Any]) -> None:
        """Note how the split was made, and store it."""
        self.split_request = request
        self.split_history.append(request)
        self._keep_split()

    def _forget_absent(self) -> None:
        self._absent = StoredSplit(dict.fromkeys(SUBSETS, ()))

    def _column_listing(self, lists: object) -> Listing | None:
        """The lists that a column holds, or a sequence with one subset per sample; None if `lists` is neither."""
        if isinstance(lists, str) and self._store is not None and not Path(local_path(lists)).exists():
            if lists in self.files:
                codes = self._vocabularies.words(lists, group=FILE_GROUP)
                words = {code: word for word, found in codes.items() for code in found}
                column = [words.get(value, value) for value in self.files[lists]]
                return column_lists(column, self.names, f"the column {lists!r}")
            known = [name for name, kind in self.files.dtypes.items() if not pd.api.types.is_numeric_dtype(kind)]
            raise SplitError(
                f"{lists!r} is neither a file or folder nor a column of the .infoset; columns with words are "
                f"{', '.join(map(str, known)) or 'none'}"
            )
        if isinstance(lists, (list, tuple, np.ndarray, pd.Series)):
            if len(lists) != len(self):
                raise SplitError(
                    f"found {len(lists)} values, expected one subset per sample ({len(self)}); pass names of files as "
                    "train=, validation= and test="
                )
            return column_lists(lists, self.names, "the values")
        return None

    def _listed_sources(self) -> list[str]:
        """The path of each sample's file, "" where it is not recorded."""
        if self._store is None:
            return list(self._graph_files or ())
        try:
            table = self.files
        except DatasetNotFoundError:
            return [""] * len(self)
        return [str(source) for source in table["description"].fillna("")]

    def _split_file(self) -> Path:
        if self.location is None:
            raise SplitError("call split() first")
        return self.location.split_file

    def _split_problems(self) -> list[str]:
        if self._assigned is not None:
            return []
        try:
            stored = read_split(self._split_file())
        except SplitError:
            return ["no split was made yet; call split()"]
        try:
            found = self._matched(self._split_file(), stored)
        except SplitError as error:
            return [str(error)]
        stated = self._stated_subsets()
        if stated is None or stated == subset_words(found.assigned):
            return []
        return [f"the column 'subset' of the .infoset differs from {self._split_file()}; load_split() writes it anew"]

    def _stated_subsets(self) -> list[str] | None:
        """The subsets that the `.infoset` states; None where it states none."""
        try:
            table = self.files if self._store is not None else pd.DataFrame()
        except DatasetError:
            return None
        return table["subset"].tolist() if "subset" in table else None

    def _as_stored(self, assigned: Array) -> StoredSplit:
        split = StoredSplit.of(self.names, assigned, self.split_request or {}, self._contents)
        return split.with_entries(self._absent, self._absent.names) if len(self._absent) else split

    def _matched(self, file: Path, stored: StoredSplit) -> SplitMatch:
        found = stored.match(self.names, self._contents)
        if np.any(found.assigned != UNASSIGNED):
            return found
        compared = "content or name" if any(self._contents) and stored.contents else "name (contents are not recorded)"
        raise SplitError(
            f"{file} is a split of other files: none of the {len(self)} samples of this dataset "
            f"({self._examples(found.unknown)}) is among its {len(stored)} by {compared}; pass the split of these "
            "files to load_split(), or make one with split()"
        )

    def _examples(self, names: Sequence[str]) -> str:
        """The first samples, for a message: their files where the table has them."""
        return ", ".join(self._title(name) for name in names[:3]) + (", …" if len(names) > 3 else "")

    def _title(self, name: str) -> str:
        """A sample's file where the table has it, else its name."""
        return str(self._titles.get(name, name))

    @cached_property
    def _titles(self) -> dict[str, str]:
        table = self.files if self._store is not None and self.location and self.location.infoset else pd.DataFrame()
        return dict(zip(self.names, table["description"], strict=True)) if "description" in table else {}

    @cached_property
    def _contents(self) -> Sequence[str]:
        """The content hash of each sample's file, with the body's number; empty if the table has none."""
        try:
            table = self.files if self._store is not None else pd.DataFrame()
        except DatasetNotFoundError:
            return ()
        if not {"content_hash", "body"} <= set(table.columns):
            return ()
        return body_contents(table["content_hash"].fillna("").astype(str).tolist(), table["body"].tolist())

    def _keep_split(self) -> None:
        """Store the split beside the dataset; in a read-only folder it stays in this loader, with a warning."""
        if self.location is None:
            return
        assert self._assigned is not None
        try:
            write_split(self.location.split_file, self._as_stored(self._assigned))
        except OSError as error:
            logger.warning("the split is not stored, %s cannot be written: %s", self.location.split_file, error)
        self._note_subsets()

    def _note_subsets(self) -> None:
        """Write the split into the `.infoset`, unless that says the same."""
        if self.location is None or self.location.infoset is None:
            return
        assert self._assigned is not None
        words = subset_words(self._assigned)
        if self._stated_subsets() == words:
            return
        if rewrite_column(self.location.infoset, "subset", words):
            self.__dict__.pop("files", None)
            note_tables(Outputs.beside(self.location.dataset))
        else:
            logger.warning(
                "the column 'subset' of %s says otherwise than this split: its folder cannot be written",
                self.location.infoset,
            )

    def _item_files(self) -> tuple[str, ...]:
        if self._graph_files is not None:
            return self._graph_files
        assert self.location is not None
        return default_graph_files(self.location.root, self.names)

    def _chosen(self, subset: Subset) -> Array:
        """(n_files,) bool, which files are in a subset."""
        if subset not in SUBSETS:
            raise SplitError(f"no subset {subset!r}; expected {', '.join(SUBSETS)}")
        found: Array = self._split() == SUBSETS.index(subset)
        return found

    def _subset(
        self, name: str, chosen: Array, source: SampleReader | FileItems, transform: Transform | None
    ) -> CADDataset:
        codes = np.flatnonzero(chosen) + self._first_code
        return CADDataset(source, codes, transform=transform, name=name, vocabularies=self._vocabularies)

    def _source(
        self, columns: str | Sequence[str] | None, labels: str | Sequence[str] = ()
    ) -> SampleReader | FileItems:
        if self.item_loader_func is None:
            return with_targets(self._reader(columns, labels))
        start = self.file_code_start
        return FileItems(
            self.item_loader_func,
            ("",) * start + self._item_files(),
            ("",) * start + self._labels if self._labels else (),
        )

    def _reader(self, columns: str | Sequence[str] | None, labels: str | Sequence[str] = ()) -> SampleReader:
        if self._store is None:
            raise DatasetError("graph_files need an item_loader_func=f(graph_file, label_file, data_id)")
        return SampleReader(self._store, columns, labels)


def _has_column(store: DatasetStore, key: str) -> bool:
    try:
        find_column(store, key, None)
    except UnknownKeyError:
        return False
    return True


def _request(
    key: str,
    group: str | None,
    categories: Sequence[Any] | None,
    fractions: Fractions,
    seed: int,
    group_by: str | Sequence[Any] | None,
) -> dict[str, Any]:
    """The arguments of a split as JSON values."""
    return {
        "key": key,
        "group": group,
        "categories": None if categories is None else [np.asarray(c).item() for c in categories],
        "fractions": fractions.as_array().tolist(),
        "random_state": int(seed),
        "group_by": group_by if group_by is None or isinstance(group_by, str) else "values",
    }
