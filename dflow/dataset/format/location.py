"""Paths of a dataset's four files: from a `.flow` file, or from the paths that a caller passes."""

from __future__ import annotations

import glob
import json
import os
import reprlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dflow.checksums import parse_document
from dflow.dataset.format.layout import how_to_mend
from dflow.dataset.format.manifest import read_manifest
from dflow.dataset.format.stored_split import SPLIT_SUFFIX
from dflow.errors import (
    DamagedDatasetError,
    DamagedFlowFileError,
    DatasetError,
    DatasetNotFoundError,
    FlowFileError,
)
from dflow.localpath import is_address
from dflow.storage.paths import (
    ATTRIBSET_SUFFIX,
    DATASET_SUFFIX,
    FLOW_SUFFIX,
    INFOSET_SUFFIX,
    TEMPORARY_PREFIX,
    Below,
    read_regular,
)

READY = "ready.json"
"""The file that marks a build as complete."""

AnyPath = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class DatasetLocation:
    """Absolute paths of a dataset and its tables. Paths in the tables are relative to `root`, the flow's folder."""

    dataset: Path
    infoset: Path | None
    attribset: Path | None
    root: Path
    name: str

    @property
    def cache(self) -> Path:
        """The folder with cached reductions; after deleting it they are computed again."""
        return self.root / ".dflow" / "explorer" / self.dataset.name

    @property
    def split_file(self) -> Path:
        """The file of the split."""
        return self.dataset.with_suffix(SPLIT_SUFFIX)


def locate(
    flow_file: AnyPath | None = None,
    *,
    dataset: AnyPath | None = None,
    infoset: AnyPath | None = None,
    attribset: AnyPath | None = None,
) -> DatasetLocation:
    """Find the parts of a dataset. A passed path wins over the `.flow` file's; other tables are searched for beside the
    dataset. `flow_file` and `dataset` may each be any one of the parts, which lie beside each other.

    Raises
    ------
    DatasetError
        If neither a `.flow` file nor a dataset is passed, what is passed is no path, or a table is another part.
    FlowFileError
        If the `.flow` file is missing or damaged (then also a `DamagedDatasetError`).
    DatasetNotFoundError
        If a passed or named table does not exist.
    DamagedDatasetError
        If a table is not a regular file.
    """
    for part in (flow_file, dataset, infoset, attribset):
        _refuse_no_path(part)
    _refuse_other_part(infoset, INFOSET_SUFFIX)
    _refuse_other_part(attribset, ATTRIBSET_SUFFIX)
    flow_file, dataset = _by_suffix(flow_file, dataset)
    if flow_file is None and dataset is None:
        raise DatasetError("pass flow_output_file= (the .flow file) or merged_store_path= (the .dataset folder)")
    for path in (flow_file, dataset, infoset, attribset):
        if is_address(path):
            raise DatasetNotFoundError(
                f"{path} is an address, expected the path of a local or mounted dataset: mount what it names, or copy "
                "the flow's folder, and give its path"
            )
    named: dict[str, Path | None] = dict.fromkeys(("flow_data", "flow_info", "flow_attributes"))
    if flow_file is not None:
        named = _named_parts(Path(os.path.abspath(flow_file)))
    data = _absolute(dataset) or named["flow_data"]
    if data is None:
        assert flow_file is not None
        raise FlowFileError(f"{flow_file} names no dataset (flow_data): {_why_no_dataset(read_flow_file(flow_file))}")
    root = data.parent if flow_file is None else Path(os.path.abspath(flow_file)).parent
    info = _table(_absolute(infoset) or named["flow_info"], data, INFOSET_SUFFIX)
    attributes = _table(_absolute(attribset) or named["flow_attributes"], data, ATTRIBSET_SUFFIX)
    return DatasetLocation(data, info, attributes, root, data.name.removesuffix(DATASET_SUFFIX))


def _refuse_no_path(part: object) -> None:
    if part is not None and not isinstance(part, (str, os.PathLike)):
        raise DatasetError(
            f"found a {type(part).__name__}, {reprlib.repr(part)}; expected the path of a .flow file or .dataset: pass "
            "the path alone, which is the third value that Flow.process returns"
        )


def _refuse_other_part(table: AnyPath | None, suffix: str) -> None:
    found = "" if table is None else Path(table).suffix
    if found != suffix and found in (DATASET_SUFFIX, INFOSET_SUFFIX, ATTRIBSET_SUFFIX, FLOW_SUFFIX):
        raise DatasetError(
            f"{table} is passed as the {suffix} table, but is a {found}; if the paths are swapped, pass the .dataset "
            "first, or one of them alone: the others are found beside it"
        )


def _by_suffix(flow_file: AnyPath | None, dataset: AnyPath | None) -> tuple[AnyPath | None, AnyPath | None]:
    """Return the flow file and the dataset of a pair in which either may be any part of the dataset."""
    part = dataset if flow_file is None else flow_file
    if part is None or (flow_file is not None and dataset is not None):
        return flow_file, dataset
    path = Path(part)
    if (path / f"{path.name}{FLOW_SUFFIX}").is_file():
        return path / f"{path.name}{FLOW_SUFFIX}", None
    if path.suffix in (INFOSET_SUFFIX, ATTRIBSET_SUFFIX):
        path = path.with_suffix(DATASET_SUFFIX)
    if path.suffix == FLOW_SUFFIX:
        return path, None
    return (None, path) if path.suffix == DATASET_SUFFIX else (flow_file, dataset)


def _why_no_dataset(flow: dict[str, Any]) -> str:
    specifications = flow.get("Flow Specifications")
    if isinstance(specifications, dict) and specifications.get("auto_dataset_export") is False:
        return "the flow ran with auto_dataset_export=False; run it again without that"
    if flow.get("file_count") == 0:
        return (
            f"no file succeeded, {flow.get('failed', 0)} of {flow.get('submitted', 0)} failed; run `dflow errors` with "
            "this file for the causes, and `dflow retry` to try them again"
        )
    return "it was not merged; run the flow to its end"


def read_flow_file(path: AnyPath) -> dict[str, Any]:
    """A `.flow` file's content.

    Raises
    ------
    FlowFileError
        If the file is missing, a dataset, or of no flow.
    DamagedFlowFileError
        If it is a flow's, but its checksum differs, or it is not JSON.
    """
    path = Path(path)
    if path.suffix == DATASET_SUFFIX and path.exists():
        raise FlowFileError(f"{path} is a dataset, not a .flow file; pass it as merged_store_path=")
    try:
        flow: Any = parse_document(read_regular(path))
    except FileNotFoundError as error:
        raise FlowFileError(
            f"the flow file {path} does not exist; it is the third value that Flow.process returns"
        ) from error
    except IsADirectoryError as error:
        raise FlowFileError(f"{path} is a folder; the .flow file lies inside it") from error
    except ValueError as error:
        if path.suffix != FLOW_SUFFIX:
            raise FlowFileError(
                f"{path} is not a {FLOW_SUFFIX} file; expected the {FLOW_SUFFIX} file of a finished flow, which is the "
                "third value that Flow.process returns, or the .dataset or a table beside it"
            ) from error
        raise DamagedFlowFileError(f"the flow file {path} is damaged, {error}; {how_to_mend(path)}") from error
    except OSError as error:
        raise FlowFileError(f"the flow file {path} cannot be read: {error}") from error
    if not isinstance(flow, dict) or not isinstance(flow.get("flow_name"), str):
        raise FlowFileError(
            f"{path} is JSON, but not a .flow file: it has no flow_name; pass the file that Flow.process returns"
        )
    return flow


def _named_parts(path: Path) -> dict[str, Path | None]:
    """The paths that a `.flow` file names, absolute, by its keys; one outside of its own folder is a FlowFileError."""
    flow = read_flow_file(path)
    found: dict[str, Path | None] = {}
    for key in ("flow_data", "flow_info", "flow_attributes"):
        value = flow.get(key)
        if value is not None and not isinstance(value, str):
            raise FlowFileError(f"{path}: {key} is {value!r}, a path was expected; run the flow again")
        found[key] = _resolve(value, path, key) if value else None
    return found


def _resolve(value: str, flow_file: Path, key: str) -> Path:
    """The absolute path of a stored one, which is relative to the `.flow` file's folder. If a stored absolute path does
    not exist, because the folder was moved, its name is searched for beside the `.flow` file.
    """
    below = Below(flow_file.parent)
    stored, beside = below.path(value), below.path(os.path.basename(os.path.normpath(value)))
    if beside is not None and os.path.exists(beside) and not (stored is not None and os.path.exists(stored)):
        return Path(beside)
    if stored is None:
        raise FlowFileError(
            f"{flow_file}: {key} is {value!r}, outside of the flow's folder; if you trust that path, pass it as "
            "merged_store_path=, parquet_file_path= or parquet_file_attribs="
        )
    return Path(stored)


def _absolute(path: AnyPath | None) -> Path | None:
    return None if path is None else Path(os.path.abspath(path))


def table_beside(dataset: Path, suffix: str) -> Path:
    """The path of a dataset's table, which need not exist.

    Where a merge was interrupted after the new dataset and before its tables had their names, the table lies in the
    build (`dflow.dataset.merge.publish`) until the next run moves it.
    """
    for ready in dataset.parent.glob(f"{TEMPORARY_PREFIX}{glob.escape(dataset.name)}-*/{READY}"):
        part = ready.with_name(suffix.removeprefix("."))
        try:
            if part.is_file() and json.loads(read_regular(ready))["build"] == read_manifest(dataset).build:
                return part
        except (OSError, ValueError, LookupError, TypeError, DatasetError):
            continue
    return dataset.with_suffix(suffix)


def _table(named: Path | None, dataset: Path, suffix: str) -> Path | None:
    if named is None or named == dataset.with_suffix(suffix):
        beside = table_beside(dataset, suffix)
        if named is None and not beside.exists():
            return None
        named = beside
    if not named.exists():
        raise DatasetNotFoundError(f"{named} does not exist; it belongs to {dataset}: bring it back, or merge again")
    if not named.is_file():  # opening a pipe would wait for ever
        raise DamagedDatasetError(
            f"{named} is damaged: it is not a regular file, a Parquet table is expected; {how_to_mend(dataset)}"
        )
    return named
