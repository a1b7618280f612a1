"""Merge nodes for workers that have nothing left to encode while a slow file keeps the stage open.

Which blocks are complete `dflow.dataset.early` says; here is when: no batch waits any longer, a worker is free, and
this has lasted a while. Then a node costs nobody anything, and the flow without stragglers never plans twice.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from dask.delayed import Delayed

from dflow.dataset.early import EarlyBuild
from dflow.errors import DflowError
from dflow.flowmanager.cluster.engine import Finished, Job
from dflow.flowmanager.plan.nodenames import renamed
from dflow.flowmanager.plan.tasks import EXPORT_TASK
from dflow.flowmanager.plan.wiring import Plan, Stage
from dflow.flowmanager.stages.run import FlowRun
from dflow.records import SampleRecord
from dflow.storage.paths import sample_name
from dflow.storage.sample import describe_file

AFTER_SECONDS = 1.0
"""So long a worker has to be free before anything is planned; the last batches of an even run end within it."""

SAMPLE_SECONDS = 20e-6
"""And so much longer a sample: four times what planning it takes."""


class EarlyMerge:
    """Offers one stage's engine the merge nodes that can run by now. One thread.

    Parameters
    ----------
    run : whose samples they are; its early build is used
    samples : gives the samples that are done for good
    """

    def __init__(self, run: FlowRun, samples: Callable[[], list[SampleRecord]]) -> None:
        self._run = run
        self._samples = samples
        self._build = run.early = run.early or EarlyBuild(run.settings.paths)
        self._waiting: deque[Delayed] = deque()
        self._running: set[int] = set()
        self._sealed: dict[str, SampleRecord] = {}
        self._free_since: float | None = None
        self._planned: tuple[int, str] | None = None
        self._n_offered = 0
        self._is_off = False

    @property
    def n_running(self) -> int:
        """Nodes that were offered and have not ended."""
        return len(self._running)

    def owns(self, tag: int) -> bool:
        """Whether a job's tag is one of ours: they count down from -1."""
        return tag in self._running

    def job(self, open_items: Iterable[Sequence[str]], n_workers: int) -> Job | None:
        """The next node, None while there is none to run.

        Parameters
        ----------
        open_items : the identities in each batch that is being worked on
        n_workers : how many batches can be
        """
        batches = list(open_items)
        if self._is_off or not batches or len(batches) >= n_workers:
            self._free_since = None
            return None
        if len(batches) + len(self._running) >= n_workers:
            return None
        if not self._waiting and self._is_time():
            self._plan(sorted(identity for batch in batches for identity in batch))
        if not self._waiting:
            return None
        self._n_offered += 1
        self._running.add(-self._n_offered)
        return Job(-self._n_offered, (self._waiting.popleft(),))

    def settle(self, finished: Finished) -> None:
        """Keep what a node made; one that failed leaves its block to the merge."""
        self._running.discard(finished.tag)
        if finished.error is None:
            self._build.add(finished.results[0])
        else:
            self._stop(finished.error)

    def _is_time(self) -> bool:
        now = time.monotonic()
        self._free_since = now if self._free_since is None else self._free_since
        return now - self._free_since >= AFTER_SECONDS + SAMPLE_SECONDS * self._run.n_submitted

    def _plan(self, open_items: Sequence[str]) -> None:
        """Plan again if more is known than the last time, and no sooner than after as long a wait."""
        before = self._first_open(open_items)
        if self._planned == (len(open_items), before):
            return
        self._planned, self._free_since = (len(open_items), before), None
        sealed = [self._sealed[identity] for identity in open_items if identity < before]
        key = f"-early{self._n_offered}"
        try:
            nodes = self._build.nodes([*self._samples(), *sealed], before, suffix=key)
        except (DflowError, OSError) as error:
            self._stop(error)
            return
        suffix = self._run.engines.suffix(EXPORT_TASK)
        self._waiting.extend(renamed(node, suffix) for node in nodes)

    def _first_open(self, open_items: Sequence[str]) -> str:
        """The first item without a sealed sample. A batch tells what became of its items when all have ended; till
        then a file that is there is taken for one that was just written, and the digests show whether it was.
        """
        for identity in open_items[:-1]:
            try:
                if identity not in self._sealed:
                    name = sample_name(identity)
                    path = self._run.settings.paths.data_file(name)
                    self._sealed[identity] = describe_file(path, name, identity)
            except (DflowError, OSError):
                return identity
        return open_items[-1]

    def _stop(self, error: BaseException) -> None:
        """Whatever is wrong, the merge itself will meet it and say so."""
        self._is_off = True
        self._waiting.clear()
        self._run.log.say(f"No more blocks are merged ahead: {type(error).__name__}: {error}")


def early_merge(run: FlowRun, stage: Stage, samples: Callable[[], list[SampleRecord]]) -> EarlyMerge | None:
    """What merges ahead during a stage; None where a later stage may still change what becomes of its items."""
    if not run.settings.export or not run.plan.writes_samples or not _is_last_word(run.plan, stage):
        return None
    return EarlyMerge(run, samples)


def _is_last_word(plan: Plan, stage: Stage) -> bool:
    counted = [each for each in plan.stages if each.kind == "items" and each.steps[0].task.kind == "transform"]
    return counted == [stage]
