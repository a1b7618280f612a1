"""Can these hosts run a flow? Findings from what the hosts say of themselves, and the check at a flow's start.

`check_cluster` asks every worker once (one ``Client.run``) before a flow uses a cluster that it did not start itself;
`examine` asks more, for ``dflow doctor``. The judgements are pure functions of `HostFacts` and `KernelFacts`.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from distributed import Client

from dflow.errors import ClusterError, OutputFolderError
from dflow.flowmanager.hostfacts import (
    LOOK_SECONDS,
    HostFacts,
    KernelFacts,
    Question,
    SourceKind,
    kind_of_source,
    look,
    look_at_kernel,
    look_at_kernel_on_worker,
    look_on_worker,
    probe_path,
)
from dflow.flowmanager.preload import PACKAGES
from dflow.flowmanager.roots import looks_like_a_path
from dflow.plaintext import plain

Level = Literal["ok", "warning", "problem"]

MAX_SOURCES = 50
"""Sources that each host is asked for: spread evenly over all, so that every mount is likely among them."""

SAME_VERSIONS = ("dflow-cad", "cadquery-ocp")
"""Packages whose difference changes or breaks a dataset; other differences are warnings."""

MIN_FREE_BYTES = 2 * 1024**3
MIN_WORKER_BYTES = 1024**3
"""The CAD kernel takes 0.2 GiB for ordinary parts; the child and its worker share what there is."""

MIN_OPEN_FILES = 1024
FILES_PER_WORKER = 10
"""Descriptors that a client or scheduler needs for each worker, by Dask's own advice."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: `check` names it, `advice` says what to do where it is not ok."""

    level: Level
    check: str
    message: str
    host: str = ""
    path: str = ""
    advice: str = ""

    def __str__(self) -> str:
        where = f"host {self.host}: " if self.host else ""
        what = f"{self.path} {self.message}" if self.path else self.message
        return plain(f"{where}{what}" + (f" ({self.advice})" if self.advice else ""))


@dataclass(frozen=True, slots=True)
class Report:
    """All findings of one examination, problems first."""

    findings: tuple[Finding, ...]

    @property
    def problems(self) -> tuple[Finding, ...]:
        """What would stop or spoil a flow."""
        return tuple(finding for finding in self.findings if finding.level == "problem")

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"sound": not self.problems, "findings": [asdict(finding) for finding in self.findings]}


def check_cluster(client: Client, sources: Iterable[Any], folder: str | os.PathLike[str]) -> None:
    """See that every worker reads the sources, shares the flow's folder and runs the same versions.

    Parameters
    ----------
    sources
        A flow's inputs; those that are no paths are left out.
    folder
        The flow's folder, which exists on the client.

    Raises
    ------
    ClusterError
        Naming hosts, paths and what to do. Costs one round trip to the workers (some ms) and a file from each.
    """
    with _shared_folder_probe(os.fspath(folder)) as (token, fault):
        if fault:
            raise OutputFolderError(f"{os.fspath(folder)} {fault}")
        question = Question(_seen_here(sources), os.fspath(folder), token)
        here = look(Question())
        facts, broken = _ask_workers(client, question)
        findings = [*judge_workers(broken), *judge_files(facts), *judge_answers(question, facts)]
        findings += judge_versions(here, facts)
    problems = [finding for finding in unique(findings) if finding.level == "problem"]
    if problems:
        shown = "; ".join(map(str, problems[:3]))
        more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise ClusterError(
            f"This cluster cannot run the flow: {shown}{more}. `dflow doctor --cluster {client.scheduler.address}` "
            "shows all."
        )


def examine(
    client: Client | None = None,
    sources: Iterable[Any] = (),
    folder: str | os.PathLike[str] = ".",
    *,
    kernel: bool = True,
) -> Report:
    """Look at this host and, with a client, at every worker's.

    Parameters
    ----------
    folder
        Where flows shall write; where it is not there yet, the nearest folder above it is looked at.
    kernel
        Also load the CAD kernel and draw a picture on each host, which takes seconds.
    """
    folder = _existing(os.path.abspath(folder))
    findings: list[Finding] = [*_missing_here(sources)]
    with _shared_folder_probe(folder) as (token, fault):
        question = Question(_seen_here(sources), folder, token)
        here = look(Question(folder=folder))
        if fault:
            findings.append(Finding("problem", "output", fault, here.host, folder, "give another folder"))
        facts: list[HostFacts] = []
        if client is not None:
            facts, broken = _ask_workers(client, question)
            findings += [*judge_workers(broken), *judge_files(facts), *judge_answers(question, facts)]
            findings += [*judge_versions(here, facts), *judge_memory(_workers_of(client), facts)]
    n_workers = len(facts)
    findings += judge_resources(here, n_workers)
    for each in facts:
        findings += judge_resources(each)
    if kernel:
        findings += judge_kernels(_kernels(client, facts))
    findings += _summaries(findings, question, n_workers)
    order: dict[Level, int] = {"problem": 0, "warning": 1, "ok": 2}
    return Report(tuple(sorted(unique(findings), key=lambda finding: order[finding.level])))


def judge_workers(broken: Mapping[str, BaseException]) -> Iterator[Finding]:
    """Workers that could not answer: without dflow, or gone."""
    for address, error in broken.items():
        reason = f"{type(error).__name__}: {error}"
        if isinstance(error, OSError):  # a connection that broke: the scheduler will notice, too
            yield Finding("warning", "worker", f"does not answer: {reason}", address)
        else:
            yield Finding(
                "problem",
                "worker",
                f"cannot run dflow: {reason}",
                address,
                advice="install the client's dflow-cad there",
            )


def judge_files(facts: Sequence[HostFacts]) -> Iterator[Finding]:
    """Sources and the output folder as each worker sees them."""
    for each in facts:
        if each.hung:
            advice = "see whether one of its mounts has lost its server"
            yield Finding(
                "problem",
                "files",
                f"the file system does not answer within {LOOK_SECONDS:.0f} s",
                each.host,
                "",
                advice,
            )
        for path, fault in each.unseen:
            advice = "mount it there under the same path, or permit reading it"
            yield Finding("problem", "sources", fault, each.host, path, advice)


def judge_answers(question: Question, facts: Sequence[HostFacts]) -> Iterator[Finding]:
    """Whether client and workers write to one and the same folder. Removes what the workers left there."""
    if not question.token:
        return
    advice = "write to a file system that client and workers share, under the same path, and permit writing there"
    for each in facts:
        fault = each.folder_fault
        if not each.hung and not fault and not _take_answer(question, each.answer):
            fault = "is written there, but the client does not see it"
        if fault:
            yield Finding("problem", "output", fault, each.host, question.folder, advice)


def judge_versions(here: HostFacts, facts: Sequence[HostFacts]) -> Iterator[Finding]:
    """Differences between the client's and the workers' Python and packages."""
    for each in facts:
        if each.hung:
            continue
        mine, theirs = here.versions.get("python", ""), each.versions.get("python", "")
        if mine.split(".")[:2] != theirs.split(".")[:2]:
            yield _difference("problem", "Python", mine, theirs, each.host)
        for package in PACKAGES:
            mine, theirs = here.versions.get(package, "absent"), each.versions.get(package, "absent")
            if mine != theirs:
                level: Level = "problem" if package in SAME_VERSIONS or theirs == "absent" else "warning"
                yield _difference(level, package, mine, theirs, each.host)


def judge_resources(facts: HostFacts, n_workers: int = 0) -> Iterator[Finding]:
    """Disk and file descriptors of one host; `n_workers` are those that it is connected to."""
    if facts.hung:
        return
    places = (
        (facts.temporary_folder, facts.temporary_free_bytes, "set TMPDIR to a larger disk"),
        (facts.folder, facts.folder_free_bytes, "make room, or write elsewhere"),
    )
    for path, n_bytes, advice in places:
        if 0 <= n_bytes < MIN_FREE_BYTES:
            yield Finding("warning", "disk", f"has {_gib(n_bytes)} left", facts.host, path, advice)
    needed = max(MIN_OPEN_FILES, n_workers * FILES_PER_WORKER)
    if 0 <= facts.open_files < needed:
        message = f"a process may open {facts.open_files} files, {needed} are wanted"
        yield Finding(
            "warning", "open files", message, facts.host, "", f"raise it before the start: ulimit -n {needed}"
        )


def judge_memory(workers: Mapping[str, int], facts: Sequence[HostFacts]) -> Iterator[Finding]:
    """Whether workers have enough memory, and a host enough for its workers. `workers`: limits in bytes by address."""
    by_host: dict[str, list[HostFacts]] = {}
    for each in facts:
        by_host.setdefault(each.host, []).append(each)
    for host, members in by_host.items():
        limits = [workers.get(each.address, 0) for each in members]
        small = [limit for limit in limits if 0 < limit < MIN_WORKER_BYTES]
        if small:
            message = f"{len(small)} workers have {_gib(min(small))} of memory each"
            yield Finding("warning", "memory", message, host, "", "start fewer workers on it, or ask for more memory")
        total = max(each.memory_bytes for each in members)
        if 0 < total * 1.01 < sum(limits):
            message = f"its {len(members)} workers may take {_gib(sum(limits))} together, it has {_gib(total)}"
            yield Finding("warning", "memory", message, host, "", "start fewer workers on it, or lower their limits")


def judge_kernels(kernels: Sequence[KernelFacts]) -> Iterator[Finding]:
    """Whether the kernel loads and what draws the previews."""
    for each in kernels:
        if each.fault:
            yield Finding("problem", "CAD kernel", " ".join(each.fault.split()), each.host)
            continue
        yield Finding("ok", "CAD kernel", "the CAD kernel loads", each.host)
        if each.renderer == "vtk":
            yield Finding("ok", "previews", "previews are drawn by VTK off screen", each.host)
        else:
            message = f"previews are drawn in software: {each.renderer_reason}"
            yield Finding(
                "warning", "previews", message, each.host, "", "install libegl1 for nicer and faster previews"
            )


def unique(findings: Iterable[Finding]) -> list[Finding]:
    """Each finding once: the workers of one host say the same."""
    return list(dict.fromkeys(findings))


def _difference(level: Level, what: str, mine: str, theirs: str, host: str) -> Finding:
    message = f"{what} is {theirs}, on the client {mine}"
    return Finding(level, "versions", message, host, "", "use one environment or container image everywhere")


def _summaries(findings: Sequence[Finding], question: Question, n_workers: int) -> Iterator[Finding]:
    """One ok line for each check that found nothing wrong."""
    wrong = {finding.check for finding in findings if finding.level != "ok"}
    seers = f"the client and {n_workers} workers" if n_workers else "this host"
    if "sources" not in wrong and question.sources:
        yield Finding("ok", "sources", f"{len(question.sources)} sources are read by {seers}")
    if "output" not in wrong:
        yield Finding("ok", "output", f"is written by {seers}", path=question.folder)
    if n_workers and "versions" not in wrong:
        yield Finding("ok", "versions", f"client and {n_workers} workers run the same versions")
    yield from (
        Finding("ok", check, text)
        for check, text in (("disk", "there is room on the disks"), ("open files", "enough files may be open"))
        if check not in wrong
    )
    if n_workers and "memory" not in wrong:
        yield Finding("ok", "memory", "the workers have enough memory")


@contextmanager
def _shared_folder_probe(folder: str) -> Iterator[tuple[str, str]]:
    """A file in `folder` for the time of the question: its token, or "" and why there is none."""
    token = uuid.uuid4().hex
    path = probe_path(folder, token)
    try:
        with open(path, "x", encoding="ascii") as file:
            file.write(token)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        yield "", f"cannot be written: {error.strerror}"
        return
    try:
        yield token, ""
    finally:
        Path(path).unlink(missing_ok=True)


def _take_answer(question: Question, answer: str) -> bool:
    """Whether a worker's answer is seen here; it is removed (where another user owns it, the flow's sweep tries)."""
    path = Path(question.folder, os.path.basename(answer))
    try:
        seen = path.read_text(encoding="ascii") == question.token
    except (OSError, ValueError):
        return False
    try:
        path.unlink()
    except OSError:
        pass
    return seen


def _ask_workers(client: Client, question: Question) -> tuple[list[HostFacts], dict[str, BaseException]]:
    """Every worker's facts in the order of addresses, and the errors of those that could not say."""
    try:
        answers = client.run(look_on_worker, question, on_error="return")
    except OSError as error:
        raise ClusterError(f"The scheduler {client.scheduler.address} does not answer: {error}") from error
    facts = [answers[address] for address in sorted(answers) if isinstance(answers[address], HostFacts)]
    return facts, {a: answers[a] for a in sorted(answers) if isinstance(answers[a], BaseException)}


def _kernels(client: Client | None, facts: Sequence[HostFacts]) -> list[KernelFacts]:
    """The client's kernel and that of one worker on each further host."""
    kernels = [look_at_kernel()]
    one_each = {each.host: each.address for each in facts if each.host != kernels[0].host}
    if client is not None and one_each:
        answers = client.run(look_at_kernel_on_worker, workers=list(one_each.values()), on_error="return")
        kernels += [answer for answer in answers.values() if isinstance(answer, KernelFacts)]
    return kernels


def _workers_of(client: Client) -> dict[str, int]:
    """Memory limit of each worker in bytes, 0 where it has none."""
    workers = client.scheduler_info(n_workers=-1).get("workers", {})
    return {address: int(state.get("memory_limit") or 0) for address, state in workers.items()}


def _seen_here(sources: Iterable[Any]) -> tuple[tuple[str, SourceKind], ...]:
    """Those of the sources that are paths and can be read here, thinned out evenly."""
    paths = _paths(sources)
    seen = []
    for path in paths[:: -(-len(paths) // MAX_SOURCES) or 1]:
        try:
            seen.append((path, kind_of_source(path)))
        except OSError:
            continue  # the client's own fault: `check_sources` and `_missing_here` say so
    return tuple(seen)


def _missing_here(sources: Iterable[Any]) -> Iterator[Finding]:
    host = os.uname().nodename
    for path in _paths(sources):
        try:
            kind_of_source(path)
        except OSError as error:
            yield Finding("problem", "sources", f"cannot be read: {error.strerror}", host, path, "check the path")


def _paths(sources: Iterable[Any]) -> list[str]:
    return [os.path.abspath(os.path.expanduser(each)) for each in sources if looks_like_a_path(each)]


def _existing(folder: str) -> str:
    while not os.path.isdir(folder) and os.path.dirname(folder) != folder:
        folder = os.path.dirname(folder)
    return folder


def _gib(n_bytes: int) -> str:
    return f"{n_bytes / 1024**3:.1f} GiB"
