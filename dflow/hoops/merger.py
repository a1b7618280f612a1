"""Merge `.data` files of one flow or several by hand: HOOPS AI's classes, with the merge that flows use."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import distributed
import xarray as xr
from dask.delayed import Delayed

from dflow.dataset.merge.block_reader import Listed
from dflow.dataset.merge.columns import Vocabulary, unite
from dflow.dataset.merge.merge import Compute, Merger, MergeReport, compute_inline
from dflow.dataset.merge.nodes import word_nodes
from dflow.dataset.merge.plan import plan_merge
from dflow.dataset.merge.publish import Outputs
from dflow.dataset.merge.settings import MergeSettings
from dflow.dataset.merge.table_writer import attribute_tables, write_attribset, write_infoset
from dflow.errors import DatasetError, DflowError, UnknownKeyError
from dflow.hoops.lazy_dataset import lazy_dataset
from dflow.localpath import local_path
from dflow.plaintext import plain
from dflow.records import SampleRecord, ShardRecord
from dflow.schema import canonical_json, merge_schemas, parse_schema
from dflow.storage.memory import MemoryStorage
from dflow.storage.paths import (
    DATA_SUFFIX,
    TEMPORARY_PREFIX,
    item_identity,
    resolve_identity,
)
from dflow.storage.sample import NOT_SET, describe, describe_file

_WINDOW = 4
"""Nodes in flight per worker thread."""


class DatasetMerger:
    """Merges `.data` files into a dataset with its two tables beside it.

    One process at a time may merge to one path.

    Parameters
    ----------
    zip_files : `.data` files or folders that hold them, of one run or several
    merged_store_path : the `.dataset` to make
    file_id_codes : the expected ids by sample name; other ids are an error
    dask_client_params : arguments of the `distributed.Client` that runs the nodes if none is active; without either
        they run in this process
    delete_source_files : delete the `.data` files after the dataset is published (HOOPS AI always does)
    """

    def __init__(
        self,
        zip_files: AnyPath | Iterable[AnyPath] | None = None,
        merged_store_path: AnyPath | None = None,
        file_id_codes: Mapping[str, int] | None = None,
        dask_client_params: Mapping[str, Any] | None = None,
        delete_source_files: bool = False,
    ) -> None:
        self.files = find_data_files(zip_files or ())
        self.merged_store_path = (
            None if merged_store_path is None else Path(os.path.abspath(local_path(merged_store_path)))
        )
        self.file_id_codes = None if file_id_codes is None else dict(file_id_codes)
        self.delete_source_files = delete_source_files
        self._client_params = None if dask_client_params is None else dict(dask_client_params)
        self._client: Any = None
        self._schema: Mapping[str, Any] | None = None
        self._groups: dict[str, list[str]] = {}

    def set_schema(self, schema: Mapping[str, Any]) -> None:
        """Declare groups and arrays in addition to the schemas inside the files.

        Parameters
        ----------
        schema : the result of `SchemaBuilder.build`

        Raises
        ------
        SchemaError
            If the schema contradicts itself.
        """
        parse_schema(schema)
        self._schema = schema

    def discover_groups_from_files(self, max_files_to_scan: int = 5) -> dict[str, list[str]]:
        """Read the groups and their arrays from the first files.

        Parameters
        ----------
        max_files_to_scan : the number of files to open
        """
        found: dict[str, set[str]] = {}
        for path in self.files[:max_files_to_scan]:
            for array in describe_file(path).layout.arrays:
                found.setdefault(array.group, set()).add(array.name)
        self._groups = {group: sorted(found[group]) for group in sorted(found)}
        return self.get_discovered_groups()

    def get_discovered_groups(self) -> dict[str, list[str]]:
        """Return the last result of `discover_groups_from_files`."""
        return {group: list(names) for group, names in self._groups.items()}

    def print_discovered_structure(self) -> None:
        """Print the groups and arrays that were discovered."""
        for group, names in (self._groups or self.discover_groups_from_files()).items():
            print(plain(f"{group}: {', '.join(names)}"))

    def merge_data(
        self,
        face_chunk: int | None = None,
        edge_chunk: int | None = None,
        faceface_flat_chunk: int | None = None,
        batch_size: int | None = None,
        consolidate_metadata: bool = True,
        force_compression: bool = True,
        use_streaming: bool = True,
        *,
        flow_name: str = "",
        settings: MergeSettings | None = None,
    ) -> MergeReport:
        """Merge and publish.

        HOOPS AI's tuning arguments are accepted without effect: chunks are sized in bytes (`settings`), and the merge
        always streams, compresses and consolidates.

        Parameters
        ----------
        face_chunk, edge_chunk, faceface_flat_chunk, batch_size : no effect
        consolidate_metadata, force_compression, use_streaming : no effect
        flow_name : the flow's name in the tables
        settings : sizes of chunks and shards

        Raises
        ------
        DatasetError
            If no file or no target was named, or the merge's ids differ from `file_id_codes`.
        OutputFolderError
            If the target's folder cannot be written.
        """
        if self.merged_store_path is None or not self.files:
            raise DatasetError(
                f"{len(self.files)} files are to be merged into {self.merged_store_path}; pass zip_files= (.data files "
                "or folders of them) and merged_store_path= (the .dataset to make)"
            )
        place = self.merged_store_path
        pairs, damaged = read_records(self.files, place.parent)
        records = [self._with_schema(record) for record, _ in pairs]
        where = {record.name: str(path) for record, path in pairs}
        self._check_codes(records)
        outputs = Outputs.beside(place)
        merger = Merger(outputs, Listed(where), self._compute(), settings or MergeSettings())
        report = merger.run(records, flow_name=flow_name or place.stem, content_hashes={})
        if self.delete_source_files:
            self._delete_merged(where, report)
        return replace(report, damaged=tuple(sorted([*report.damaged, *damaged])))

    def open_unmerged(self, group: str) -> xr.Dataset:
        """Return one group of the merged dataset as dask-backed arrays; blocks read the samples when computed.

        Parameters
        ----------
        group : a group in the files or in a schema

        Raises
        ------
        UnknownKeyError
            If no file has or declares such a group.
        """
        place = self.merged_store_path or Path(os.path.abspath("unmerged"))
        pairs, _ = read_records(self.files, place.parent)
        plan = plan_merge([self._with_schema(record) for record, _ in pairs])
        if group not in plan.groups:
            raise UnknownKeyError(f"no file has a group {group!r}; there are {', '.join(plan.groups)}")
        locate = Listed({record.name: str(path) for record, path in pairs})
        declared = plan.declared_words()
        words = unite(declared, self._compute()(word_nodes(plan, locate)) if declared else ()).words
        return lazy_dataset(plan, group, locate, words)

    def close_dask_resources(self, close_global: bool = False) -> None:
        """Close the cluster that this merger started; with `close_global` also a client that was active before."""
        client = self._client
        if close_global and client is None:
            client = _active_client()
        if client is not None:
            client.close()
        self._client = None

    def _with_schema(self, record: SampleRecord) -> SampleRecord:
        if self._schema is None:
            return record
        declared = parse_schema(self._schema)
        if record.layout.schema:
            declared = merge_schemas(declared, parse_schema(json.loads(record.layout.schema)))
        return replace(record, layout=replace(record.layout, schema=canonical_json(declared)))

    def _check_codes(self, records: Sequence[SampleRecord]) -> None:
        codes = code_mapping(records)
        if self.file_id_codes is None or self.file_id_codes == codes:
            return
        given = self.file_id_codes
        wrong = sorted(name for name in {**codes, **given} if codes.get(name) != given.get(name))
        raise DatasetError(
            f"the ids of {len(wrong)} samples in file_id_codes differ from the merge's, the first is {wrong[0]!r}: "
            "samples are numbered 0.. by (source, body); take the codes from DatasetInfo.build_code_mappings"
        )

    def _compute(self) -> Compute:
        client = _active_client()
        if client is None and self._client_params is not None:
            client = self._client = distributed.Client(**self._client_params)
        return compute_inline if client is None else OnClient(client)

    def _delete_merged(self, where: Mapping[str, str], report: MergeReport) -> None:
        kept = {name for name, *_ in (*report.rejected, *report.damaged)}
        for name, path in where.items():
            if name not in kept:
                os.unlink(path)


class DatasetInfo:
    """Writes the two tables of a set of samples, without their arrays.

    Parameters
    ----------
    info_files : `.data` files, folders of them, or JSON files of one sample's metadata each
    merged_store_path : the `.infoset` to write
    attribute_file_path : the `.attribset` to write
    schema : declares metadata in addition to the files' own schemas
    """

    def __init__(
        self,
        info_files: AnyPath | Iterable[AnyPath],
        merged_store_path: AnyPath,
        attribute_file_path: AnyPath,
        schema: Mapping[str, Any] | None = None,
    ) -> None:
        self.files = find_data_files(info_files, suffixes=(DATA_SUFFIX, ".json"))
        self.infoset = Path(os.path.abspath(local_path(merged_store_path)))
        self.attribset = Path(os.path.abspath(local_path(attribute_file_path)))
        self.schema = schema
        self.records: list[SampleRecord] = []
        self.damaged: tuple[tuple[str, str], ...] = ()
        self._tables: dict[str, Vocabulary] = {}

    def parse_info_files(self) -> int:
        """Read the files' metadata and return the number of samples; `damaged` lists files that cannot be read."""
        pairs, self.damaged = read_records(self.files, self.infoset.parent, self.schema)
        self.records = [record for record, _ in pairs]
        return len(self.records)

    def build_code_mappings(self, zip_files: AnyPath | Iterable[AnyPath]) -> dict[str, int]:
        """Return the id that a merge of these `.data` files gives each sample, by the stem of its file.

        Parameters
        ----------
        zip_files : `.data` files, or folders that hold them
        """
        pairs, _ = read_records(find_data_files(zip_files), self.infoset.parent)
        return code_mapping([record for record, _ in pairs])

    def set_attributes(self, meta: Mapping[Any, Any], table: str) -> None:
        """Add a table to the `.attribset`: ``{id: name}`` or ``{id: {"name": …, "description": …}}``.

        Parameters
        ----------
        meta : names, or names with descriptions, by id
        table : the table's name
        """
        rows = []
        for code, entry in meta.items():
            named = entry if isinstance(entry, Mapping) else {"name": entry}
            rows.append((int(code), str(named.get("name", code)), str(named.get("description") or NOT_SET)))
        self._tables[table] = tuple(sorted(rows))

    def store_info_to_parquet(self, table_name: str = "file_info") -> None:
        """Write both tables, each under a temporary name that is renamed.

        Parameters
        ----------
        table_name : the value of the `.infoset`'s column of that name
        """
        if not self.records:
            self.parse_info_files()
        plan = plan_merge(self.records)
        parts = [path.with_name(f"{TEMPORARY_PREFIX}{path.name}") for path in (self.infoset, self.attribset)]
        write_infoset(
            parts[0],
            plan,
            flow_name=self.infoset.stem,
            stream_cache=self.infoset.parent / "stream_cache",
            content_hashes={},
            table_name=table_name,
        )
        write_attribset(parts[1], {**attribute_tables(plan, {}), **self._tables}, build="")
        os.replace(parts[0], self.infoset)
        os.replace(parts[1], self.attribset)


class OnClient:
    """Runs nodes on a cluster, at most `_WINDOW` per thread at a time."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __call__(self, nodes: Sequence[Delayed]) -> Iterator[ShardRecord]:
        window = _WINDOW * max(sum(self._client.nthreads().values()), 1)
        waiting = iter(nodes)
        running = distributed.as_completed(
            [self._client.compute(node) for _, node in zip(range(window), waiting, strict=False)]
        )
        for future in running:
            yield future.result()
            for node in waiting:
                running.add(self._client.compute(node))
                break


def _active_client() -> Any:
    try:
        return distributed.get_client()
    except ValueError:
        return None


AnyPath = str | os.PathLike[str]


def find_data_files(sources: AnyPath | Iterable[AnyPath], suffixes: Sequence[str] = (DATA_SUFFIX,)) -> list[Path]:
    """Return the files among `sources` and those with the suffixes in folders among them, sorted, each once.

    Raises
    ------
    FileNotFoundError
        If a source is not there.
    """
    listed = [sources] if isinstance(sources, (str, os.PathLike)) else list(sources)
    found: set[Path] = set()
    for source in listed:
        path = Path(os.path.abspath(source))
        if path.is_dir():
            found |= {child for child in path.iterdir() if child.suffix in suffixes and not child.name.startswith(".")}
        elif path.exists():
            found.add(path)
        else:
            raise FileNotFoundError(f"{path} does not exist; expected a {suffixes[0]} file or a folder of them")
    return sorted(found)


def read_records(
    files: Sequence[Path], folder: Path, schema: Mapping[str, Any] | None = None
) -> tuple[list[tuple[SampleRecord, Path]], tuple[tuple[str, str], ...]]:
    """Return the records of files from several runs, and (name, reason) of those that are left out.

    Sources become relative to `folder`. If several files have one stem (the same source, encoded by several runs), the
    first path is taken, and the others are reported like damaged ones.
    """
    records: dict[str, tuple[SampleRecord, Path]] = {}
    left_out: list[tuple[str, str]] = []
    for path in files:
        try:
            record = _describe_json(path, schema) if path.suffix == ".json" else describe_file(path)
        except (DflowError, OSError, ValueError) as error:
            left_out.append((path.stem, f"{type(error).__name__}: {error}"))
            continue
        if path.stem in records:
            left_out.append((path.stem, f"{path} is left out: {records[path.stem][1]} is the same sample"))
            continue
        records[path.stem] = (replace(record, source=_source(record, path, folder)), path)
    bodies = {name.rpartition("_")[0] for name in records if not name.endswith("_0")}
    return [(_with_body(record, bodies), path) for record, path in records.values()], tuple(left_out)


def code_mapping(records: Iterable[SampleRecord]) -> dict[str, int]:
    """Return the id of each sample by name: its position in the order of (source, body)."""
    ordered = sorted(records, key=lambda record: (record.source, record.body, record.name))
    return {record.name: code for code, record in enumerate(ordered)}


def _describe_json(path: Path, schema: Mapping[str, Any] | None) -> SampleRecord:
    metadata = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(metadata, dict):
        raise DatasetError(
            f"{path} holds a JSON {type(metadata).__name__}; expected an object of one sample's metadata"
        )
    storage = MemoryStorage(nan_policy="allow")  # NaN was accepted when the sample was made
    if schema is not None:
        storage.set_schema(dict(schema))
    for key, value in metadata.items():
        storage.save_metadata(key, value)
    return describe(storage, path.stem, str(metadata.get("Item", "")))


def _source(record: SampleRecord, path: Path, folder: Path) -> str:
    """Return the record's source relative to `folder` if it is a path relative to its own flow's folder."""
    if not record.source:
        return item_identity(path, folder)
    own = resolve_identity(record.source, path.parent.parent)
    return item_identity(own, folder) if own.exists() else record.source


def _with_body(record: SampleRecord, bodies: set[str]) -> SampleRecord:
    """Add the body's index from the sample's name: ``…_0`` alone is a whole file, beside ``…_1`` the first body."""
    match = re.fullmatch(r"(.+)_(\d+)", record.name)
    return replace(record, body=int(match[2])) if match and match[1] in bodies else record
