"""Make the damaged files of a dataset anew, from what is whole: its samples, its other files, notes and meshes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from isal import isal_zlib

from dflow.checksums import parse_document
from dflow.dataset.format.layout import MANIFEST, consolidated_files
from dflow.dataset.format.manifest import (
    Manifest,
    file_crc,
    make_manifest,
    read_manifest,
    renew_manifest,
    table_sum,
)
from dflow.dataset.format.shards import WrittenFile
from dflow.dataset.format.tables import read_table
from dflow.dataset.merge.block_reader import InFolder
from dflow.dataset.merge.merge import Merger, compute_inline
from dflow.dataset.merge.publish import Outputs
from dflow.dataset.merge.published import forget_published, note_file, read_note
from dflow.dataset.merge.settings import MergeSettings
from dflow.dataset.validate import Examination, Fault, examine, flow_paths
from dflow.errors import DflowError
from dflow.flowmanager.history.journal import JOURNAL_NAME, Journal, read_journal
from dflow.flowmanager.history.lock import FolderLock
from dflow.records import ItemRecord, SampleRecord
from dflow.render.glb import read_glb
from dflow.render.sample import render_sample
from dflow.schema.names import NODE_DOCUMENT
from dflow.storage.atomic import write_whole
from dflow.storage.paths import ATTRIBSET_SUFFIX, INFOSET_SUFFIX, TEMPORARY_PREFIX, FlowPaths, read_regular
from dflow.storage.sample import describe_file


@dataclass(frozen=True, slots=True)
class Repair:
    """The result of a repair: one line per thing that was made anew, one per thing that cannot be, and the examination
    afterwards.
    """

    done: tuple[str, ...]
    impossible: tuple[str, ...]
    after: Examination


def repair_dataset(path: str | os.PathLike[str], before: Examination) -> Repair:
    """Make anew what can be made from what is whole, and examine again.

    Parameters
    ----------
    path : the `.dataset`
    before : its examination

    Raises
    ------
    FlowBusyError
        If a run is writing to the flow's folder.
    OutputFolderError
        If the folder cannot be written.
    """
    path = Path(os.path.abspath(path))
    if not before.faults:
        return Repair((), (), before)
    paths = flow_paths(path)
    work = _Repairer(path, paths)
    with FolderLock(paths.state) if paths.state.is_dir() else nullcontext():
        after = work.run(before)
    return Repair(tuple(work.done), tuple(work.impossible), after)


class _Repairer:
    def __init__(self, path: Path, paths: FlowPaths) -> None:
        self.path, self.paths = path, paths
        self.done: list[str] = []
        self.impossible: list[str] = []

    def run(self, before: Examination) -> Examination:
        now = before
        steps: tuple[tuple[Callable[[Fault], bool], Callable[[Sequence[Fault]], None]], ...] = (
            (lambda fault: fault.kind == "dataset" and fault.file == MANIFEST, self._manifest),
            (lambda fault: fault.kind == "dataset" and fault.file.endswith(NODE_DOCUMENT), self._documents),
            (lambda fault: fault.kind in ("dataset", "table"), self._merge),
            (lambda fault: fault.kind == "flow", self._flow_file),
            (lambda fault: fault.kind == "split", self._split),
            (lambda fault: fault.kind == "preview", self._previews),
            (lambda fault: fault.kind == "sample", self._samples),
            (lambda fault: fault.kind == "journal", self._journals),
            (lambda fault: fault.kind == "note", self._note),
        )
        for concerns, mend in steps:
            if faults := [fault for fault in now.faults if concerns(fault)]:
                try:
                    mend(faults)
                except OSError as error:  # the folder cannot be written
                    self.impossible.append(f"{faults[0]}: {error}; permit writing there and repair again")
                now = examine(self.path)
        return now

    def _manifest(self, faults: Sequence[Fault]) -> None:
        noted = read_note(Outputs.beside(self.path))
        manifest = noted.manifest if noted is not None else self._listed()
        if manifest is None:
            return  # the merge makes it
        renew_manifest(self.path, manifest)
        self.done.append(f"{MANIFEST}: made anew from {'the note of the last run' if noted else 'the files'}")

    def _listed(self) -> Manifest | None:
        """The manifest of the files that are there, if its digest is the one that the `.infoset` states."""
        files = []
        for folder, _, names in os.walk(self.path):
            for name in names:
                file = os.path.join(folder, name)
                relative = os.path.relpath(file, self.path).replace(os.sep, "/")
                if relative != MANIFEST and not name.startswith(TEMPORARY_PREFIX):
                    files.append(WrittenFile(relative, os.path.getsize(file), file_crc(file)))
        outputs = Outputs.beside(self.path)
        manifest = make_manifest(sorted(files, key=lambda file: file.path), "", {})
        try:
            tables = {INFOSET_SUFFIX: outputs.infoset, ATTRIBSET_SUFFIX: outputs.attribset}
            contents = {suffix: read_regular(table) for suffix, table in tables.items()}
        except OSError:
            return None
        if not all(manifest.build.encode() in content for content in contents.values()):
            return None
        return replace(manifest, tables={suffix: (table_sum(content),) for suffix, content in contents.items()})

    def _documents(self, faults: Sequence[Fault]) -> None:
        """Write the metadata of groups and arrays from that of the root, where it gives the listed bytes."""
        try:
            manifest = read_manifest(self.path)
            made = consolidated_files(parse_document(read_regular(self.path / NODE_DOCUMENT)))
        except (DflowError, OSError, ValueError, KeyError, TypeError):
            return
        for name in [fault.file for fault in faults]:
            content = made.get(name, b"")
            if manifest.files.get(name) == (len(content), isal_zlib.crc32(content)):
                write_whole(self.path / name, [content])
                self.done.append(f"{name}: made anew from the metadata of the root")

    def _merge(self, faults: Sequence[Fault]) -> None:
        outputs = Outputs.beside(self.path)
        noted = read_note(outputs)
        settings, flow_name = (noted.settings, noted.flow_name) if noted else (MergeSettings(), self.paths.name)
        forget_published(outputs)
        names = ", ".join(sorted({fault.file or self.path.name for fault in faults})[:5])
        try:
            records, hashes = self._records()
            locate = InFolder(str(self.paths.encoded))
            merger = Merger(outputs, locate, compute_inline, settings, keep_all=True)
            report = merger.run(records, flow_name=flow_name, content_hashes=hashes)
        except DflowError as error:
            self.impossible.append(f"{names}: {error}")
            return
        self.done.append(f"{names}: merged again from {report.n_samples} samples")

    def _records(self) -> tuple[list[SampleRecord], dict[str, str]]:
        """The records of the dataset's samples and the hashes of their files: as the journal has them, else from the
        samples' files, with their sources from the `.infoset`.

        Raises
        ------
        DflowError
            If neither has all of them.
        """
        wanted = self._sources()
        final: dict[str, ItemRecord] = {}
        for entry in read_journal(self.paths.state / JOURNAL_NAME).entries.values():
            for record in entry.records:
                earlier = final.get(record.item)
                final[record.item] = replace(record, samples=record.samples or (earlier.samples if earlier else ()))
        items = [item for item in final.values() if item.status == "succeeded"]
        found = {sample.name: (sample, item.content_hash) for item in items for sample in item.samples}
        if wanted is None:
            expected = self._n_files()
            if not found or expected not in (None, len(found)):
                raise DflowError(
                    "neither the .infoset nor the journal names the samples of the dataset; run the flow again"
                )
            wanted = {name: (sample.source, sample.body, content) for name, (sample, content) in found.items()}
        records = []
        for name, (source, body, _) in wanted.items():
            file = self.paths.data_file(name)
            try:
                records.append(found[name][0] if name in found else describe_file(file, name, source, body))
            except (DflowError, OSError) as error:
                raise DflowError(
                    f"the sample {name} of {source} is missing or damaged ({error}); run the flow again on its file"
                ) from error
        return records, {name: content for name, (_, _, content) in wanted.items() if content}

    def _sources(self) -> dict[str, tuple[str, int, str]] | None:
        """Source, body and content hash of each sample in the `.infoset`; None where it cannot be read."""
        try:
            columns = ("name", "description", "body", "content_hash")
            table = read_table(self.path.with_suffix(INFOSET_SUFFIX), INFOSET_SUFFIX, columns=columns)
            rows = zip(*(table[column].to_pylist() for column in columns), strict=True)
            return {name: (source, body, content or "") for name, source, body, content in rows}
        except DflowError:
            return None

    def _n_files(self) -> int | None:
        try:
            root = parse_document(read_regular(self.path / NODE_DOCUMENT))
            return int(root["attributes"]["dflow"]["n_files"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _flow_file(self, faults: Sequence[Fault]) -> None:
        name = self.paths.flow_file.name
        try:
            content = read_regular(self.paths.state / name)
            parse_document(content)
        except (OSError, ValueError):
            self.impossible.append(f"{name}: there is no whole copy of it; run the flow again")
            return
        write_whole(self.paths.flow_file, [content])
        self.done.append(f"{name}: put back from its copy in .dflow")

    def _split(self, faults: Sequence[Fault]) -> None:
        self.impossible += [f"{fault.file}: make it again with DatasetLoader.split()" for fault in faults]

    def _previews(self, faults: Sequence[Fault]) -> None:
        """Draw pictures from meshes that are whole."""
        broken = {fault.file for fault in faults}
        for name in sorted(broken):
            file = self.paths.root / name
            mesh = file.with_suffix(".glb")
            try:
                if file.suffix != ".png":
                    raise ValueError("a mesh is made from the CAD file only")
                render_sample(read_glb(mesh), file)
                self.done.append(f"{name}: drawn from its mesh")
            except (OSError, ValueError) as error:
                data = self.paths.data_file(file.stem).name
                self.impossible.append(f"{name}: {error}; delete encoded/{data} and run the flow again")

    def _samples(self, faults: Sequence[Fault]) -> None:
        """Set damaged samples aside, so that the next run encodes their files again."""
        for fault in faults:
            file, aside = self.paths.root / fault.file, self.paths.state / "damaged"
            if file.exists() and self.paths.state.is_dir():
                aside.mkdir(exist_ok=True)
                os.replace(file, aside / file.name)
                self.impossible.append(f"{fault.file}: set aside in .dflow/damaged; run the flow again to encode it")
            else:
                self.impossible.append(f"{fault.file}: only its CAD file has it; run the flow again to encode it")

    def _journals(self, faults: Sequence[Fault]) -> None:
        journal = Journal(self.paths.state)
        journal.rewrite(journal.state.entries.values())
        self.done.append(f".dflow/{JOURNAL_NAME}: written again without the damaged lines; run the flow again for them")

    def _note(self, faults: Sequence[Fault]) -> None:
        note_file(Outputs.beside(self.path)).unlink(missing_ok=True)
        self.done.append(f"{faults[0].file}: removed; the next run makes it anew")
