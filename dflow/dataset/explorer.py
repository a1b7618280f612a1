"""Query a merged dataset: arrays, conditions, distributions, tables, SQL."""

from __future__ import annotations

import html
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from types import TracebackType
from typing import Any

import numpy as np
import pandas as pd
from xarray import DataArray, Dataset, DataTree

from dflow.dataset.format.location import AnyPath, locate
from dflow.dataset.format.tables import descriptions, names_of_codes, read_frame, read_infoset
from dflow.dataset.query.conditions import Condition, intersect, matching_files
from dflow.dataset.query.distribution import Bins, Distribution, category_bins, distribution, membership
from dflow.dataset.query.reductions import How, reduce_rows, statistics
from dflow.dataset.query.sql import advice_on_rows, files_table, mentioned_reductions, run_sql
from dflow.dataset.query.store import find_column, open_store, real_group
from dflow.dataset.query.vocabulary import LABEL_SUFFIX, Vocabularies, rows_where, rows_with, unknown_word
from dflow.dataset.query.xarrays import column_data, data_tree, dimension_names, file_slice, group_dataset
from dflow.dataset.report import summary_line, table_of_contents, to_html
from dflow.errors import DatasetError, QueryError, UnknownKeyError
from dflow.hoops.arguments import hoops_arguments
from dflow.hoops.sets import Names
from dflow.plaintext import get_logger, plain
from dflow.schema import FILE_GROUP
from dflow.storage.paths import Below, source_path

logger = get_logger(__name__)

Array = np.ndarray[Any, np.dtype[Any]]


class DatasetExplorer:
    """A merged dataset, opened for queries.

    Opening reads one metadata file and starts no process: work goes to the active `distributed.Client` where there is
    one, to threads otherwise. Data are read on demand, and only the columns that a call needs.
    May be used from several threads. If the dataset is replaced while it is open, reads raise `DamagedDatasetError`.

    Parameters
    ----------
    flow_output_file
        The `.flow` file of a finished flow, or the `.dataset` or a table beside it; it names the rest.
    merged_store_path, parquet_file_path, parquet_file_attribs
        The `.dataset`, `.infoset` and `.attribset`; tables that are not named are searched for beside the dataset. A
        `.dataset` that HOOPS AI wrote (Zarr v2, a zip or a folder) is opened as it is.

    Raises
    ------
    FlowFileError
        If the `.flow` file is missing or damaged.
    DatasetNotFoundError, DamagedDatasetError
        If the dataset or a table that was named is missing or damaged.
    """

    @hoops_arguments
    def __init__(
        self,
        flow_output_file: AnyPath | None = None,
        merged_store_path: AnyPath | None = None,
        parquet_file_path: AnyPath | None = None,
        parquet_file_attribs: AnyPath | None = None,
    ) -> None:
        self.location = locate(
            flow_output_file, dataset=merged_store_path, infoset=parquet_file_path, attribset=parquet_file_attribs
        )
        self._store = open_store(self.location.dataset, self.location.infoset)
        self._vocabularies = Vocabularies(self.location.attribset)

    def __enter__(self) -> DatasetExplorer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return self._store.n_files

    def __repr__(self) -> str:
        try:
            return f"<DatasetExplorer {summary_line(self._store)}>"
        except (DatasetError, OSError) as error:  # closed, or damaged since: a debugger shows this too
            return plain(f"<DatasetExplorer {self.location.dataset.name}, {error}>")

    def _repr_html_(self) -> str:
        try:
            return to_html(self._store)
        except (DatasetError, OSError):
            return f"<div>{html.escape(repr(self))}</div>"

    # Contents

    def available_groups(self) -> list[str]:
        """Sorted names of the groups, `file` last; the list may be compared and combined with sets, as may those of
        `available_arrays`.
        """
        return Names([*self._store.row_groups, FILE_GROUP])

    @hoops_arguments
    def available_arrays(self, group: str) -> list[str]:
        """Sorted names of a group's arrays; for a virtual `labels` group those of the categorical file values.

        Parameters
        ----------
        group : one of `available_groups`
        """
        real = real_group(self._store, group)
        if real == FILE_GROUP and group != FILE_GROUP:
            return Names(sorted(self._store.categorical))
        return Names(sorted(self._store.group(real)))

    @property
    def file_values(self) -> list[str]:
        """Sorted names of the values per sample; ``available_arrays("file")`` also has row offsets and counts."""
        return sorted(self._store.file_values)

    def print_table_of_contents(self) -> None:
        """Print groups, arrays with their dimensions and sizes, and the columns of the file table."""
        columns = self.files.columns if self.location.infoset is not None else ()
        print(table_of_contents(self._store, columns))

    @property
    def schema(self) -> Mapping[str, Any]:
        """The union of the samples' schemas, as a dictionary."""
        return self._store.schema

    @cached_property
    def xr(self) -> DataTree:
        """The whole dataset as a lazy `xarray.DataTree`, one node per group."""
        return data_tree(self._store)

    @cached_property
    def files(self) -> pd.DataFrame:
        """The `.infoset`: one row per sample, in id order."""
        return read_infoset(self.location.infoset, self._store.n_files, self._store.folder.build)

    @cached_property
    def attributes(self) -> pd.DataFrame:
        """The `.attribset`: names and descriptions of codes."""
        return read_frame(self.location.attribset, ".attribset")

    # Arrays

    @hoops_arguments
    def get_array_data(self, group: str, array: str) -> DataArray:
        """One array, lazy.

        Parameters
        ----------
        group : the group that is searched first; then `file` and the other groups
        array : its name
        """
        column = find_column(self._store, array, group)
        dims = dimension_names(column, {})
        data = column_data(self._store, column, eager_bytes=0)
        return DataArray(data, dims=dims, name=column.name, attrs=dict(column.attributes))

    @hoops_arguments
    def get_group_data(self, group: str) -> Dataset:
        """All arrays of a group, lazy; for a virtual `labels` group the categorical file values.

        Parameters
        ----------
        group : one of `available_groups`
        """
        real = real_group(self._store, group)
        return group_dataset(self._store, real, self.available_arrays(group) if real != group else None)

    def file_dataset(self, file_id_code: int, group: str, arrays: Sequence[str] | None = None) -> Dataset:
        """One sample's rows of a group, in memory: of all its arrays, or of some.

        Parameters
        ----------
        file_id_code : 0 to ``len(explorer) - 1``
        group : one of `available_groups`
        arrays : names of the wanted ones; None for all
        """
        real = real_group(self._store, group)
        chosen = self.available_arrays(group) if arrays is None and real != group else arrays
        return file_slice(self._store, real, self._store.file_id(file_id_code), chosen)

    @hoops_arguments
    def get_array_statistics(self, group: str, array: str) -> dict[str, float]:
        """Compute mean, std, min, max, median, q25 and q75 of an array's finite values.

        Parameters
        ----------
        group : the group that is searched first
        array : its name
        """
        return statistics(self._store, find_column(self._store, array, group))

    def reduce(self, group: str, array: str, how: How) -> DataArray:
        """Reduce an array's rows to one value per file, on dimension `file`.

        NaN is left out; files without rows give NaN for max, min, mean and std, 0 for sum and count. The result is
        kept beside the dataset where that folder can be written.

        Parameters
        ----------
        group : the group that is searched first
        array : its name
        how : max, min, sum, mean, std, count, any or all
        """
        column = find_column(self._store, array, group)
        values = reduce_rows(self._store, column, how, cache=self.location.cache)
        dims = (FILE_GROUP, *dimension_names(column, {})[1:])
        return DataArray(values, dims=dims, name=f"{column.group}_{column.name}_{how}")

    # Queries

    def get_file_list(
        self,
        group: str | None = None,
        where: Condition | Mapping[str, Condition] | None = None,
    ) -> Array:
        """Ids of the files that satisfy a condition: ascending int64.

        Parameters
        ----------
        group
            The group whose arrays the condition names; file values are always visible. `labels` is the group of the
            categorical file values where no stored group has that name.
        where
            A function of an `xarray.Dataset` that returns booleans. On file values alone it is a condition on files;
            with row arrays a file matches if any of its rows does. Codes compare with numbers and with words:
            ``ds["face_types"] == "Plane"``, ``ds["category"].isin(["bolt", "nut"])``. A dictionary
            ``{group: condition}`` gives the files that satisfy all. None gives all files (of a group: those that have
            rows in it).

        Raises
        ------
        UnknownKeyError
            If there is no such group.
        QueryError
            If a condition fails, compares with an unknown word, gives no booleans, or spans two row dimensions.
        """
        if callable(group) or isinstance(group, Mapping):
            raise QueryError(
                "found a condition as group=, expected the name of a group: pass it as get_file_list(where=…), or "
                "after the group, get_file_list('faces', …)"
            )
        if isinstance(where, Mapping):
            return intersect(self.get_file_list(g, condition) for g, condition in where.items())
        real = FILE_GROUP if group is None else real_group(self._store, group)
        if where is None:
            return np.flatnonzero(self._store.span(real).count > 0)
        return matching_files(self._store, real, where, self._vocabularies)

    def create_distribution(self, key: str, bins: Bins = 10, group: str | None = "faces") -> dict[str, Any]:
        """Count an array's values per bin, and list the files of each bin.

        Parameters
        ----------
        key
            the array's name
        group
            the group that is searched first; None for everywhere
        bins
            A number of equal bins, ascending edges, or None: for codes, booleans and integers one bin of width 1
            centred on each integer from the lowest to the highest, empty ones included, so that
            ``int(bin_edges[i] + 0.5)`` is the code; a suitable number of equal bins for other numbers. Integers that
            lie more than 10,000 apart get a bin for each value that occurs, beginning at the value − 0.5, where these
            are at most 1,000, else equal bins.

        Returns
        -------
        dict
            `bin_edges` (n + 1,) float64; `hist` (n,) int64 rows per bin; `file_id_codes_in_bins`, a list of n ascending
            id arrays; `n_missing`, values in no bin; `group`, where the key was found; where each bin is a category
            also `categories` (n,) and `labels`, their names from the `.attribset` where it has them.
        """
        return self._distribution(key, bins, group, parallel=True)

    def create_distribution_incore(self, key: str, bins: Bins = 10, group: str | None = "faces") -> dict[str, Any]:
        """`create_distribution` in this thread alone, without dask.

        Parameters
        ----------
        key, bins, group : as in `create_distribution`
        """
        return self._distribution(key, bins, group, parallel=False)

    def build_membership_matrix(
        self, group: str | None, key: str, bins_or_categories: Bins = None, as_counts: bool = False
    ) -> tuple[Array, Array, Array]:
        """Mark which files have which categories.

        Parameters
        ----------
        group
            the group that is searched first; None for everywhere
        key
            the array's name
        bins_or_categories
            For integer arrays a sequence of categories (codes or words), for floats ascending edges; a number of equal
            bins; or None:
            integers of at most 1,000 values give one category per value, others a suitable number of equal bins.

        Returns
        -------
        matrix
            (n_files, n_categories) bool, or int64 row counts with `as_counts`.
        file_codes
            (n_files,) int64, 0 to n_files − 1.
        categories
            (n_categories,) the categories, or the lower edges of the bins.
        """
        column = find_column(self._store, key, group)
        bins = bins_or_categories
        if bins is not None and not isinstance(bins, (int, np.integer)) and column.dtype.kind in "iub":
            bins = np.asarray(self._vocabularies.codes(column.name, bins, group=column.group))
            order = np.argsort(bins)
            counts, _ = membership(self._store, column, None, binning=category_bins(bins[order]))
            counts, categories = counts[:, np.argsort(order)], bins
        else:
            counts, binning = membership(self._store, column, bins)
            categories = binning.edges[:-1] if binning.categories is None else binning.categories
        return (counts if as_counts else counts > 0), np.arange(self._store.n_files), categories

    def query_cross_group(
        self, primary_group: str, secondary_group: str, join_strategy: str = "file_id_code"
    ) -> Dataset:
        """List the files that have rows in both groups: row starts and counts and the ids, on dimension `file`.

        Parameters
        ----------
        primary_group, secondary_group : two of `available_groups`
        join_strategy : HOOPS AI's argument; only ``file_id_code`` is known
        """
        if join_strategy != "file_id_code":
            raise QueryError(f"join_strategy={join_strategy!r}: groups are joined by 'file_id_code' only")
        groups = [real_group(self._store, g) for g in (primary_group, secondary_group)]
        spans = {g: self._store.span(g) for g in groups}
        both = np.flatnonzero(np.logical_and.reduce([s.count > 0 for s in spans.values()]))
        data = {
            f"{what}_{g}": (FILE_GROUP, values[both])
            for g, s in spans.items()
            for what, values in (("row_start", s.start), ("row_count", s.count))
        }
        ids = {f"file_id_code_{g}": (FILE_GROUP, both) for g in groups}
        return Dataset(data | ids, coords={FILE_GROUP: both})

    def filter_files_by_metadata(self, where: Callable[[pd.DataFrame], Any] | None = None, **equal: Any) -> Array:
        """Ids of the files whose row in the `.infoset` fits: ``column=value`` (a list means any of them), or a
        function of the table.

        Parameters
        ----------
        where : called with the table, returns one boolean per row
        **equal : a column's name and its value, or a list of values; in a column of codes a code or a word

        Raises
        ------
        UnknownKeyError
            If there is no such column, or a text is neither in the column nor a word of its codes.
        QueryError
            If `where` fails, or does not return one boolean per row.
        """
        table = self.files
        keep = np.ones(len(table), bool)
        for column, value in equal.items():
            self._refuse_rows(column, value)
            keep &= rows_with(table, column, value, self._vocabularies)
        if where is not None:
            keep &= rows_where(table, where)
        return table["id"].to_numpy(np.int64)[keep]

    def sql(self, statement: str) -> pd.DataFrame:
        """Run SQL over the tables `files` (the `.infoset`, file values, row counts), `infoset` and `attribset`.

        A column named ``<group>_<array>_<how>``, e.g. ``faces_face_areas_max``, is the reduction of that name and
        is computed when the statement mentions it. Words are compared with the columns ``<value>_label``. Needs the
        `sql` extra.

        Parameters
        ----------
        statement : one DuckDB statement
        """
        if not isinstance(statement, str):
            raise QueryError(
                f"found {statement!r}, expected one SQL statement as text: pass one such as explorer.sql('select * "
                "from files limit 5')"
            )
        wanted = mentioned_reductions(self._store, statement)
        files = files_table(
            self._store,
            self.files,
            wanted,
            lambda g, a, h: self.reduce(g, a, h).values,  # type: ignore[arg-type]
            self._vocabularies,
        )
        tables = {"files": files, "infoset": self.files}
        if self.location.attribset is not None:
            tables["attribset"] = self.attributes
        return run_sql(statement, tables, self._vocabularies, advice_on_rows(self._store, statement))

    # Tables, and names of codes

    def get_file_info_all(self) -> pd.DataFrame:
        """The `.infoset`, a copy in which ``description`` is the absolute path of the sample's source."""
        return self._with_paths(self.files)

    def get_parquet_info_by_code(self, file_id_code: int) -> pd.DataFrame:
        """The row of `get_file_info_all` of one file, as a table of one row.

        Parameters
        ----------
        file_id_code : 0 to ``len(explorer) - 1``
        """
        return self._with_paths(self.files.iloc[[self._store.file_id(file_id_code)]]).reset_index(drop=True)

    def decode_file_id_code(self, file_id_code: int) -> str:
        """The sample's name, the stem of its files in `encoded/` and `stream_cache/`.

        Parameters
        ----------
        file_id_code : 0 to ``len(explorer) - 1``
        """
        return str(self.get_parquet_info_by_code(file_id_code)["name"].iloc[0])

    def get_descriptions(
        self, table_name: str, key_id: int | str | None = None, use_wildchar: bool = False
    ) -> pd.DataFrame:
        """Names and descriptions of codes from the `.attribset`; `key_id` is an id or a name, with `use_wildchar` a
        pattern (``*``).

        Parameters
        ----------
        table_name : an array or categorical field whose codes have names, e.g. ``face_types``
        key_id : an id, a name, or None for all
        use_wildchar : whether `table_name` and a name are patterns

        A table that the `.attribset` does not have gives no rows, and a warning names those that it has.

        Raises
        ------
        UnknownKeyError
            If the table has no such name.
        """
        found = descriptions(self.attributes, table_name, key_id, use_wildchar)
        known_tables = self.attributes["table_name"].astype(str)
        if found.empty and isinstance(key_id, str) and not use_wildchar and (known_tables == table_name).any():
            known = list(descriptions(self.attributes, table_name, None, False)["name"].astype(str))
            raise UnknownKeyError(unknown_word(key_id, known, f"a word of {table_name!r}"))
        return found

    def get_stream_cache_paths(self, file_id_code: int | Sequence[int] | None = None) -> pd.DataFrame:
        """Absolute paths of previews: columns id, name, stream_cache_png, stream_cache_3d; None where there is none.

        Paths that lead out of the flow's folder, also through a link, are None too, and a warning counts them.

        Parameters
        ----------
        file_id_code : an id or several; None for all
        """
        table = self.files
        if file_id_code is not None:
            ids = [self._store.file_id(i) for i in np.atleast_1d(np.asarray(file_id_code, object)).tolist()]
            table = table.iloc[np.asarray(ids, np.int64)]
        result = table[["id", "name"]].copy()
        below = Below(self.location.root)
        for column in ("stream_cache_png", "stream_cache_3d"):
            named = table[column] if column in table else [None] * len(table)
            values = [v if isinstance(v, str) and v else None for v in named]
            paths = [None if v is None else below.path(v) for v in values]
            result[column] = pd.Series(paths, result.index, dtype=object)  # pandas would make None NaN
            if n_refused := paths.count(None) - values.count(None):
                logger.warning("%s of %d samples lies outside of the flow's folder and is left out", column, n_refused)
        return result.reset_index(drop=True)

    @hoops_arguments
    def close(self) -> None:
        """Release the files."""
        self._store.close()

    # Internals

    def _with_paths(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return a copy of rows of the `.infoset` with absolute paths; a source that is no path stays as it is."""
        root = os.path.abspath(self.location.root)
        found = [source_path(source, root) if "/" in source else source for source in table["description"].astype(str)]
        return table.assign(description=pd.Series(found, table.index, dtype=table["description"].dtype))

    def _refuse_rows(self, column: str, value: Any) -> None:
        """Raise `UnknownKeyError` for the name of an array of rows, which no column of the `.infoset` has."""
        for name in (column, column.removesuffix(LABEL_SUFFIX)):
            if column in self.files or name in self.files:
                return
            for group in self._store.row_groups:
                if name in self._store.group(group):
                    raise UnknownKeyError(
                        f"{name!r} is an array of the group {group!r}, not a column of the .infoset; select files by "
                        f"their rows: get_file_list(group={group!r}, where=lambda ds: ds[{name!r}] == {value!r})"
                    )

    def _distribution(self, key: str, bins: Bins, group: str | None, *, parallel: bool) -> dict[str, Any]:
        column = find_column(self._store, key, group)
        if bins is not None and any(isinstance(bin_, str) for bin_ in np.ravel(np.asarray(bins, object))):
            raise QueryError(
                f"bins={bins!r} holds texts; expected a number of bins, ascending edges, or None: each "
                "code gets a bin, and its word is in 'labels'"
            )
        found: Distribution = distribution(self._store, column, bins, parallel=parallel)
        result: dict[str, Any] = {
            "bin_edges": found.binning.edges,
            "hist": found.hist,
            "file_id_codes_in_bins": found.files,
            "n_missing": found.n_missing,
            "group": column.group,
        }
        if found.binning.categories is not None:
            result["categories"] = found.binning.categories
            names = self._names_of_codes(column.group, column.name)
            result["labels"] = [names.get(int(code), str(code)) for code in found.binning.categories]
        return result

    def _names_of_codes(self, group: str, name: str) -> dict[int, str]:
        return {} if self.location.attribset is None else names_of_codes(self.attributes, group, name)
