"""The execution of one item in this process: call the user's function, seal the sample, draw its preview.

The same code runs in the child and, for debugging, in the client. Every unit is emitted as it ends, so that a crash in
the third body or in a preview does not undo what was finished before.
"""

from __future__ import annotations

import bdb
import contextlib
import importlib
import os
import pickle
import resource
import threading
import time
import types
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import dflow.cadaccess
from dflow.errors import GeometryError, NoGeometryError
from dflow.flowmanager.plan.batch import Batch, Item, pack_value, unpack_value
from dflow.flowmanager.worker.faults import BadReturnError, Fault, describe_exception
from dflow.flowmanager.worker.injection import BodySource, InjectedLoader, fill
from dflow.flowmanager.worker.samples import Sample, body_of, make_folders
from dflow.flowmanager.worker.wire import WHOLE_FILE, ItemDone, PreviewDone, Reply, UnitDone, UnitStarted
from dflow.storage.paths import resolve_identity, sample_name

if TYPE_CHECKING:
    from dflow.cadaccess import CadLoader, CadModel

Emit = Callable[[Reply], None]

COUNTS = ("face_count", "edge_count", "body_count")
"""File values that the framework records of opened models, each by the model's ``get_<name>``."""

_DEBUGGING = (KeyboardInterrupt, bdb.BdbQuit)
"""Exceptions that are raised in the client's own process, where a user may be at the keyboard."""

_kept = threading.local()
"""The thread's loader, from one batch to the next."""


class PreparedCall:
    """A batch's loaded function and what its calls share. Belongs to one thread, like the kernel's readers."""

    def __init__(self, batch: Batch, function: Callable[..., Any], shared: dict[str, Any]) -> None:
        self.batch = batch
        self.function = function
        self.shared = shared
        self.passes_through = _DEBUGGING if batch.isolation == "inline" else ()

    @property
    def loader(self) -> CadLoader:
        """The loader of this thread, made on first use, which imports the kernel."""
        if not hasattr(_kept, "loader"):
            _kept.loader = dflow.cadaccess.CadLoader()
        loader: CadLoader = _kept.loader
        return loader

    def forget_models(self) -> None:
        """Close what the loader has opened."""
        if hasattr(_kept, "loader"):
            self.loader.opened.clear()

    @property
    def runs_by_body(self) -> bool:
        """Whether the function is called once for every body."""
        return self.batch.sample == "body" and self.batch.call.kind == "transform"


def prepare_call(batch: Batch, function: bytes) -> PreparedCall:
    """Load a batch's function and what its previews need; raises whatever the user's modules raise."""
    make_folders(batch.paths)
    if batch.export_visualization and batch.call.takes_storage:
        with contextlib.suppress(Exception):  # each preview's note names the error
            load_previews()
    return PreparedCall(batch, pickle.loads(function), dict(batch.shared))


def load_previews() -> None:
    """Import what tessellates parts and draws previews.

    Notes
    -----
    Takes half a second, and ten where its loops have to be compiled: more than a preview may take.
    """
    importlib.import_module("dflow.cadaccess.tessellation.mesh")
    importlib.import_module("dflow.render.sample")


def run_item(call: PreparedCall, item: Item, skip: tuple[int, ...], emit: Emit) -> ItemDone:
    """Run one item, body by body where the batch demands it; the item's fault is never raised."""
    return _ItemRun(call, item, emit).run(skip)


class _ItemRun:
    """Runs one item and measures its time."""

    def __init__(self, call: PreparedCall, item: Item, emit: Emit) -> None:
        self._call = call
        self._batch = call.batch
        self._item = item
        self._emit = emit
        self._preview_seconds = self._preview_cpu_seconds = 0.0
        self._n_bodies = 0

    def run(self, skip: tuple[int, ...]) -> ItemDone:
        started, started_cpu = time.perf_counter(), time.process_time()
        error = None
        try:
            if self._call.runs_by_body:
                self._run_bodies(skip)
            else:
                self._run_unit(WHOLE_FILE, None)
        except self._call.passes_through:
            raise
        except BaseException as failure:  # also SystemExit, with which some user code fails
            error = self._describe(failure)
        return ItemDone(
            seconds=time.perf_counter() - started - self._preview_seconds,
            cpu_seconds=time.process_time() - started_cpu - self._preview_cpu_seconds,
            error=error,
            peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        )

    def _describe(self, failure: BaseException) -> Fault:
        value = self._item.value
        return describe_exception(failure, value if isinstance(value, str) else None)

    def _run_bodies(self, skip: tuple[int, ...]) -> None:
        """Run each body of the item's file, which is read once; at a later stage each body that has a sample."""
        if self._item.sample_names:
            source = BodySource(self._call.loader, str(resolve_identity(self._item.identity, self._batch.paths.root)))
            bodies = [body_of(name) for name in self._item.sample_names]
        else:
            source = BodySource(self._call.loader, os.fspath(unpack_value(self._item.value)))
            bodies = list(range(source.model().get_body_count()))
            if not bodies:
                raise NoGeometryError(f"{source.path}: holds no body to make a sample of")
        self._n_bodies = len(bodies)
        for body in bodies:
            if body not in skip:
                self._emit(UnitStarted(body))
                self._run_unit(body, source)

    def _run_unit(self, body: int, source: BodySource | None) -> None:
        """Call the user's function once, finish its sample and draw its preview."""
        sample = None
        try:
            if self._batch.call.takes_storage:
                sample = Sample(self._batch, self._item, body, self._n_bodies)
            loader = self._loader(body, source, sample)
            value = self._call_function(body, loader, sample)
            unit = self._finish(body, value, sample)
        except BaseException as failure:
            if sample is not None:
                sample.discard()
            if isinstance(failure, self._call.passes_through):
                raise
            unit, loader = UnitDone(body, "failed", error=self._describe(failure)), None
        finally:
            self._call.forget_models()
        model = loader.opened[-1] if loader and loader.opened and self._wants_preview(unit) else None
        self._emit(replace(unit, preview=model is not None))
        if model is not None:
            self._draw(model, sample_name(self._item.identity, body))

    def _loader(self, body: int, source: BodySource | None, sample: Sample | None) -> InjectedLoader | None:
        """Return the loader for one call, if it takes one; facts of the models it opens go into the sample at once.

        At once, so that a store that the user compresses at the end of the function is written only once.
        """
        if not any(feed.kind == "cad_loader" for feed in self._batch.call.feeds):
            return None

        def note(opened: list[CadModel]) -> None:
            if self._batch.strict_geometry:
                _refuse_defects(opened[-1])
            if sample is not None:
                for name, value in _facts(_of_distinct_files(opened)).items():
                    sample.save_default(name, value)

        loader = InjectedLoader(self._call.loader, note)
        if source is not None:
            loader.offer_body(source, body)
        return loader

    def _call_function(self, body: int, loader: InjectedLoader | None, sample: Sample | None) -> Any:
        injected = {"cad_loader": loader, "storage": sample and sample.storage}
        arguments, keywords = fill(self._batch.call.feeds, self._item, body, injected, self._call.shared)
        value = self._call.function(*arguments, **keywords)
        return list(value) if isinstance(value, types.GeneratorType) else value

    def _finish(self, body: int, value: Any, sample: Sample | None) -> UnitDone:
        """Check the value, then seal, park or drop the sample."""
        packed = self._pack(value)
        if value is None and self._batch.call.kind == "transform" and not (sample and sample.was_written):
            if sample is not None:
                sample.discard()
            return UnitDone(body, "skipped")
        kept = packed if self._batch.call.keep_value else None
        if sample is None:
            return UnitDone(body, "succeeded", kept)
        if self._batch.call.is_last_stage:
            return UnitDone(body, "succeeded", kept, sample=sample.seal(packed))
        sample.park()
        return UnitDone(body, "succeeded", kept, parked=sample.name)

    def _pack(self, value: Any) -> Any:
        try:
            return pack_value(value, self._batch.limits.max_value_bytes)
        except MemoryError:
            raise
        except Exception as error:
            what = f"the returned {type(value).__name__} cannot be handed on"
            raise BadReturnError(f"{what}: {type(error).__name__}: {error}") from error

    def _wants_preview(self, unit: UnitDone) -> bool:
        return self._batch.export_visualization and unit.status == "succeeded" and self._batch.call.takes_storage

    def _draw(self, model: CadModel, name: str) -> None:
        """Draw a preview; an error leaves a note."""
        started, started_cpu = time.perf_counter(), time.process_time()
        note = ""
        try:
            from dflow.render import render_sample  # loaded already: see `load_previews`

            paths = self._batch.paths
            render_sample(model.get_mesh(), paths.preview(name), paths.mesh(name))
        except self._call.passes_through:
            raise
        except BaseException as failure:
            note = f"no preview: {type(failure).__name__}: {failure}"
        seconds = time.perf_counter() - started
        self._preview_seconds += seconds
        self._preview_cpu_seconds += time.process_time() - started_cpu
        self._emit(PreviewDone(seconds, note))


def _facts(models: list[CadModel]) -> dict[str, int | str]:
    """What a sample's file values say of its models: counts, how they were read, and their defects by name."""
    facts: dict[str, int | str] = {name: sum(getattr(model, f"get_{name}")() for model in models) for name in COUNTS}
    names = sorted({name for model in models for name in model.find_defects()})
    facts["read_path"] = ", ".join(sorted({model.read_report.healing for model in models}))
    return {**facts, "n_defects": len(names), "defect_names": ", ".join(names) or "none"}


def _refuse_defects(model: CadModel) -> None:
    found = model.find_defects()
    if found:
        listed = "; ".join(f"{name} ({message})" for name, message in found.items())
        raise GeometryError(
            f"{model.get_filesource()}: strict_geometry allows no defect, the shape has {len(found)}: {listed}; repair "
            "the part, export it again, or leave strict_geometry out"
        )


def _of_distinct_files(opened: list[CadModel]) -> list[CadModel]:
    """Return the models, one per file: a task may open its file again and again."""
    distinct: list[CadModel] = []
    for model in opened:
        if not any(model.is_of_same_file(known) for known in distinct):
            distinct.append(model)
    return distinct
