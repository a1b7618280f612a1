"""The doctor's findings: pure functions of the facts of hosts (`HostFacts`, `KernelFacts`)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from dflow.flowmanager.cluster.hostfacts import GATHER_SECONDS, HostFacts, KernelFacts, Question
from dflow.flowmanager.preload import PACKAGES, SAME_VERSIONS
from dflow.plaintext import plain

Level = Literal["ok", "warning", "problem"]

MIN_FREE_BYTES = 2 * 1024**3
MIN_WORKER_BYTES = 1024**3
"""The CAD kernel takes 0.2 GiB for ordinary parts; child and worker share the limit."""

MIN_OPEN_FILES = 1024
FILES_PER_WORKER = 10
"""Descriptors that a client or scheduler needs per worker, by Dask's own advice."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of a check: `check` is its name, `advice` what to do where it is not ok."""

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
        """The findings that would stop or spoil a flow."""
        return tuple(finding for finding in self.findings if finding.level == "problem")

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values for JSON."""
        return {"sound": not self.problems, "findings": [asdict(finding) for finding in self.findings]}


def judge_workers(broken: Mapping[str, BaseException]) -> Iterator[Finding]:
    """Yield the workers that could not answer: without dflow, or gone."""
    for address, error in broken.items():
        reason = f"{type(error).__name__}: {error}"
        if isinstance(error, OSError):  # a connection that broke: the scheduler will notice as well
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
    """Yield file systems that hang and sources that a worker cannot read."""
    for each in facts:
        if each.hung:
            advice = "check whether one of its mounts has lost its server"
            yield Finding(
                "problem",
                "files",
                f"the file system does not answer within {GATHER_SECONDS:.0f} s",
                each.host,
                "",
                advice,
            )
        for path, fault in each.unseen:
            advice = "mount it there under the same path, or permit reading it"
            yield Finding("problem", "sources", fault, each.host, path, advice)


def judge_answers(question: Question, facts: Sequence[HostFacts], seen: Collection[str]) -> Iterator[Finding]:
    """Yield workers that do not write to the client's folder; `seen` are the answers that the client found."""
    if not question.token:
        return
    advice = "write to a file system that client and workers share, under the same path, and permit writing there"
    for each in facts:
        fault = each.folder_fault
        if not each.hung and not fault and each.answer not in seen:
            fault = "can be written there, but the client does not see the file"
        if fault:
            yield Finding("problem", "output", fault, each.host, question.folder, advice)


def judge_versions(here: HostFacts, facts: Sequence[HostFacts]) -> Iterator[Finding]:
    """Yield differences between the client's and the workers' Python and packages."""
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
    """Yield shortages of disk and file descriptors on one host, which is connected to `n_workers` workers."""
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
        message = f"a process may open {facts.open_files} files, {needed} are needed"
        yield Finding(
            "warning", "open files", message, facts.host, "", f"raise it before the start: ulimit -n {needed}"
        )


def judge_memory(workers: Mapping[str, int], facts: Sequence[HostFacts]) -> Iterator[Finding]:
    """Yield workers with too little memory, and hosts with too little for theirs; `workers`: bytes by address."""
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
    """Yield for each host whether the kernel loads."""
    for each in kernels:
        if each.fault:
            yield Finding("problem", "CAD kernel", " ".join(each.fault.split()), each.host)
        else:
            yield Finding("ok", "CAD kernel", "the CAD kernel loads", each.host)


def unique(findings: Iterable[Finding]) -> list[Finding]:
    """Return each finding once: the workers of one host have the same."""
    return list(dict.fromkeys(findings))


def summaries(findings: Sequence[Finding], question: Question, n_workers: int) -> Iterator[Finding]:
    """Yield one "ok" per check that found nothing wrong."""
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


def _difference(level: Level, what: str, mine: str, theirs: str, host: str) -> Finding:
    message = f"{what} is {theirs}, on the client {mine}"
    return Finding(level, "versions", message, host, "", "use one environment or container image everywhere")


def _gib(n_bytes: int) -> str:
    return f"{n_bytes / 1024**3:.1f} GiB"
