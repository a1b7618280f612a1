"""The table, variables, previews and failures of a flow, shared by all pages."""

from __future__ import annotations

import os
import threading
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from dflow.dataset import DatasetExplorer
from dflow.dataset.format.layout import MANIFEST
from dflow.dataset.format.tables import names_of_codes
from dflow.errors import DatasetNotFoundError, DflowError
from dflow.insights.catalog import PartCatalog, part_names
from dflow.insights.explore.failures import Failures, read_failures
from dflow.insights.explore.variables import (
    MAX_CATEGORIES,
    FileVariable,
    Floats,
    RowVariable,
    category_edges,
    row_edges,
)
from dflow.localpath import home_path
from dflow.schema import FILE_GROUP

How = Literal["max", "min", "sum", "mean", "std", "count"]
_INTERNAL = "file_id_code_"
_TABLE_COLUMNS = ("id", "name", "description")
PREFERRED = ("face_count", "edge_count", "volume", "category", "file_label", "area", "body_count")


class FlowData:
    """A finished flow, opened for its pages.

    Variables are computed once and then shared. May be used from several threads.

    Parameters
    ----------
    flow_file : the `.flow` file

    Raises
    ------
    DflowError
        If the flow file, the dataset or the tables are missing or damaged.
    """

    def __init__(self, flow_file: str | os.PathLike[str]) -> None:
        self.flow_file = Path(os.path.abspath(home_path(flow_file)))
        self.explorer = DatasetExplorer(self.flow_file)
        self.files: pd.DataFrame = self.explorer.files
        self.sources: list[str] = self.files["description"].astype(str).tolist()
        self.parts = PartCatalog(
            self.files["id"].tolist(),
            self._previews("stream_cache_png"),
            self._previews("stream_cache_3d"),
            names=self.file_names.tolist(),
            root=self.explorer.location.root,
            only_below=True,
        )
        self.failures: Failures = read_failures(self.flow_file.parent / "error_summary.json")
        self._variables: dict[str, FileVariable | RowVariable] = {}
        self._columns: dict[str, Floats] = {}
        self._lock = threading.Lock()

    @property
    def n_files(self) -> int:
        """The number of samples."""
        return len(self.files)

    @property
    def name(self) -> str:
        """The flow's name."""
        return self.flow_file.stem

    @cached_property
    def file_names(self) -> npt.NDArray[np.object_]:
        """File names without their folders, with the body's number where a sample is a body: (n_files,)."""
        return np.array(part_names(self.files), object)

    def names(self, ids: npt.NDArray[np.int64]) -> list[str]:
        """Return the names of some files."""
        names: list[str] = self.file_names[ids].tolist()
        return names

    def close(self) -> None:
        """Close the dataset."""
        self.explorer.close()

    # Names

    def file_values(self) -> list[str]:
        """Return the names of values with one number per file, the most informative first."""
        names = [name for name in self.explorer.file_values if self._is_plain("file", name)]
        return sorted(names, key=lambda n: (PREFERRED.index(n) if n in PREFERRED else len(PREFERRED), n))

    def row_arrays(self) -> list[str]:
        """Return ``group/array`` of every array with one number per row."""
        found = []
        for group in self.explorer.available_groups():
            if group == "file":
                continue
            names = self.explorer.available_arrays(group)
            found += [f"{group}/{n}" for n in names if not n.startswith(_INTERNAL) and self._is_plain(group, n)]
        return found

    def reductions(self) -> list[str]:
        """Return ``how of group/array`` of every reduction to one number per file."""
        return [f"{how} of {array}" for array in self.row_arrays() for how in get_args(How)]

    def table_columns(self) -> list[str]:
        """Return the columns of the table of files beside id and name; those without any value are left out."""
        labelled = [f"{v}_label" if f"{v}_label" in self.files else v for v in self.file_values()]
        return [c for c in labelled if c not in self.files or self.files[c].notna().any()]

    # Values

    def variable(self, key: str) -> FileVariable | RowVariable:
        """Return the variable of a key from `file_values`, `row_arrays` or `reductions`.

        Raises
        ------
        UnknownKeyError
            If there is no such key.
        """
        with self._lock:
            if key not in self._variables:
                self._variables[key] = self._row_variable(key) if self._is_row_key(key) else self._file_variable(key)
            return self._variables[key]

    def numbers(self, key: str) -> Floats:
        """Return one number per file: a file value or a reduction, (n_files,) float64."""
        with self._lock:
            return self._numbers(key)

    def column(self, name: str) -> npt.NDArray[Any]:
        """A column of the table of files by name: text as objects, numbers as numbers."""
        if name in _TABLE_COLUMNS or name in self.files:
            values = self.files[name]
            numeric = pd.api.types.is_numeric_dtype(values)
            return values.to_numpy(np.float64, na_value=np.nan) if numeric else values.astype(str).to_numpy(object)
        return self.numbers(name)

    def names_of_codes(self, key: str) -> dict[int, str]:
        """Return the names by code of ``group/array`` or of a file value from the `.attribset`; empty without names."""
        group, _, name = key.rpartition("/")
        try:
            return names_of_codes(self.explorer.attributes, group or FILE_GROUP, name)
        except DatasetNotFoundError:
            return {}

    # Internals

    def _previews(self, column: str) -> list[Any]:
        return self.files[column].tolist() if column in self.files else [None] * self.n_files

    @staticmethod
    def _is_row_key(key: str) -> bool:
        return "/" in key and " of " not in key

    def _is_plain(self, group: str, name: str) -> bool:
        data = self.explorer.get_array_data(group, name)
        return data.ndim == 1 and data.dtype.kind in "iufb"

    def _numbers(self, key: str) -> Floats:
        if key not in self._columns:
            if " of " in key:
                how, _, array = key.partition(" of ")
                group, _, name = array.partition("/")
                values = self.explorer.reduce(group, name, how).values  # type: ignore[arg-type]
            else:
                values = self.explorer.get_array_data("file", key).values
            self._columns[key] = np.asarray(values, np.float64)
        return self._columns[key]

    def _file_variable(self, key: str) -> FileVariable:
        values = self._numbers(key)
        if " of " in key:
            return FileVariable(key, values)
        names = self.names_of_codes(key)
        if not names:
            return FileVariable(key, values)
        present = np.unique(values[np.isfinite(values)]).astype(np.int64).tolist()
        categories = tuple((code, "missing" if code == -1 else names.get(code, str(code))) for code in present)
        return FileVariable(key, values, categories if len(categories) <= MAX_CATEGORIES else None)

    def _row_variable(self, key: str) -> RowVariable:
        group, _, name = key.partition("/")
        kind = self.explorer.get_array_data(group, name).dtype.kind
        if kind in "iub":
            matrix, _, codes = self.explorer.build_membership_matrix(group, name, None, as_counts=True)
            if len(codes) <= MAX_CATEGORIES and np.asarray(codes).dtype.kind in "iub":
                names = self.names_of_codes(key)
                plain = [int(code) for code in codes]
                labels = [names.get(code, str(code)) for code in plain]
                return RowVariable(key, matrix.astype(np.int32), category_edges(plain), labels, tuple(plain))
        known = self.explorer.get_array_statistics(group, name)
        edges = row_edges(known["min"], known["median"], known["max"])
        matrix, _, _ = self.explorer.build_membership_matrix(group, name, edges, as_counts=True)
        return RowVariable(key, matrix.astype(np.int32), edges)


class ReloadedFlow:
    """The flow of a server, opened again after a run has replaced its dataset. For one thread.

    Pages that were opened before the run keep what they have read; for further reads they show that the dataset was
    replaced. Arguments and errors as `FlowData`.
    """

    def __init__(self, flow_file: str | os.PathLike[str]) -> None:
        self._flow_file = flow_file
        self._data = FlowData(flow_file)
        self._stamp = _stamp(self._data)

    def current(self) -> FlowData:
        """Return the flow, opened again if its dataset or tables were replaced."""
        stamp = _stamp(self._data)
        if stamp != self._stamp:
            try:
                data = FlowData(self._flow_file)
            except DflowError:
                return self._data  # while it is replaced or missing, its kept values can still be shown
            self._data.close()
            self._data, self._stamp = data, _stamp(data)
        return self._data

    def close(self) -> None:
        """Close the dataset."""
        self._data.close()


def _stamp(data: FlowData) -> tuple[tuple[int, int, int] | None, ...]:
    location = data.explorer.location
    files = (location.dataset / MANIFEST, location.infoset, data.flow_file.parent / "error_summary.json")
    return tuple(_identity(file) for file in files)


def _identity(file: Path | None) -> tuple[int, int, int] | None:
    try:
        found = os.stat(file or "")
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
