"""The checks whether hosts can run a flow, for ``dflow doctor`` and for a flow's start.

`check_cluster` queries every worker once (one ``Client.run``) before a flow uses a cluster that it did not start;
`examine` checks more, for ``dflow doctor``. `dflow.flowmanager.cluster.findings` judges the facts.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from distributed import Client

from dflow.errors import ClusterError, OutputFolderError
from dflow.flowmanager.cluster.findings import (
    Finding,
    Level,
    Report,
    judge_answers,
    judge_files,
    judge_kernels,
    judge_memory,
    judge_resources,
    judge_versions,
    judge_workers,
    summaries,
    unique,
)
from dflow.flowmanager.cluster.hostfacts import (
    HostFacts,
    KernelFacts,
    Question,
    SourceKind,
    check_kernel,
    check_kernel_on_worker,
    gather_facts,
    gather_facts_on_worker,
    kind_of_source,
    load_kernel_on_worker,
    probe_path,
)
from dflow.flowmanager.plan.items import looks_like_a_path
from dflow.localpath import local_path

MAX_SOURCES = 50
"""Most sources that are checked on each host, spread evenly over all, so that every mount is likely among them."""


def check_cluster(
    client: Client, sources: Iterable[Any], folder: str | os.PathLike[str], *, kernel: bool = False
) -> None:
    """Check that every worker reads the sources, shares the flow's folder and runs the same versions.

    Parameters
    ----------
    sources
        A flow's inputs; those that are not paths are left out.
    folder
        The flow's folder, which exists on the client.
    kernel
        Also check that the CAD kernel loads on each host; takes a second, once per worker that is queried.

    Raises
    ------
    ClusterError
        Naming hosts, paths and what to do.

    Notes
    -----
    Takes one round trip to the workers (some ms), each of which writes one small file.
    """
    with _shared_folder_probe(os.fspath(folder)) as (token, fault):
        if fault:
            raise OutputFolderError(f"{os.fspath(folder)} {fault}")
        question = Question(_seen_here(sources), os.fspath(folder), token)
        facts, findings = _examine_workers(client, question, gather_facts(Question()))
    if kernel and not any(finding.level == "problem" for finding in findings):
        findings += judge_kernels(_loaded_kernels(client, facts))
    problems = [finding for finding in unique(findings) if finding.level == "problem"]
    if problems:
        shown = "; ".join(map(str, problems[:3]))
        more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise ClusterError(
            f"This cluster cannot run the flow: {shown}{more}. `dflow doctor --cluster {client.scheduler.address}` "
            "shows all."
        )


def unfit_workers(
    client: Client,
    addresses: Sequence[str],
    sources: Iterable[Any] = (),
    folder: str | os.PathLike[str] = "",
    *,
    kernel: bool = False,
) -> dict[str, str]:
    """Return those of some workers that cannot run a flow, each with the reason.

    They cannot run dflow, have other versions than this process, or fail what `check_cluster` checks of `sources` and
    `folder`, where these are given. The other parameters are those of `check_cluster`.
    """
    if not addresses:
        return {}
    here = gather_facts(Question())
    with _shared_folder_probe(os.fspath(folder)) if folder else nullcontext(("", "")) as (token, _):
        question = Question(_seen_here(sources), os.fspath(folder), token)
        facts, broken = _query_workers(client, question, addresses)
        seen = _take_answers(question, facts) if token else set()
    findings = {address: list(judge_workers({address: error})) for address, error in broken.items()}
    for each in facts:
        found = [*judge_versions(here, [each]), *judge_files([each]), *judge_answers(question, [each], seen)]
        findings[each.address] = found
    if kernel:
        sound = [each for each in facts if not any(found.level == "problem" for found in findings[each.address])]
        faults = {each.host: each for each in _loaded_kernels(client, sound) if each.fault}
        for each in sound:
            findings[each.address] += judge_kernels([faults[each.host]] if each.host in faults else [])
    problems = {
        address: [str(each) for each in found if each.level == "problem"] for address, found in findings.items()
    }
    return {address: "; ".join(found) for address, found in problems.items() if found}


def examine(
    client: Client | None = None,
    sources: Iterable[Any] = (),
    folder: str | os.PathLike[str] = ".",
    *,
    kernel: bool = True,
) -> Report:
    """Examine this host and, with a client, every worker's.

    Parameters
    ----------
    folder
        Where flows write; where it does not exist yet, the nearest folder above it is checked.
    kernel
        Also load the CAD kernel on each host, which takes seconds.
    """
    folder = _existing(os.path.abspath(local_path(folder)))
    findings: list[Finding] = [*_missing_here(sources)]
    with _shared_folder_probe(folder) as (token, fault):
        question = Question(_seen_here(sources), folder, token)
        here = gather_facts(Question(folder=folder))
        if fault:
            findings.append(Finding("problem", "output", fault, here.host, folder, "give another folder"))
        facts: list[HostFacts] = []
        if client is not None:
            facts, found = _examine_workers(client, question, here)
            findings += [*found, *judge_memory(_workers_of(client), facts)]
    n_workers = len(facts)
    findings += judge_resources(here, n_workers)
    for each in facts:
        findings += judge_resources(each)
    if kernel:
        findings += judge_kernels(_kernels(client, facts))
    findings += summaries(findings, question, n_workers)
    order: dict[Level, int] = {"problem": 0, "warning": 1, "ok": 2}
    return Report(tuple(sorted(unique(findings), key=lambda finding: order[finding.level])))


@contextmanager
def _shared_folder_probe(folder: str) -> Iterator[tuple[str, str]]:
    """Keep a file in `folder` during the question: its token, or "" and why there is none."""
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


def _take_answers(question: Question, facts: Sequence[HostFacts]) -> set[str]:
    """Remove the workers' answers and return those found here (another user's are left to the flow's sweep)."""
    seen = set()
    for answer in (each.answer for each in facts if each.answer):
        path = Path(question.folder, os.path.basename(answer))
        try:
            if path.read_text(encoding="ascii") == question.token:
                seen.add(answer)
            path.unlink()
        except (OSError, ValueError):
            continue
    return seen


def _examine_workers(client: Client, question: Question, here: HostFacts) -> tuple[list[HostFacts], list[Finding]]:
    """Return each worker's facts, and the findings on files and versions."""
    facts, broken = _query_workers(client, question)
    seen = _take_answers(question, facts)
    findings = [*judge_workers(broken), *judge_files(facts), *judge_answers(question, facts, seen)]
    return facts, [*findings, *judge_versions(here, facts)]


def _query_workers(
    client: Client, question: Question, addresses: Sequence[str] | None = None
) -> tuple[list[HostFacts], dict[str, BaseException]]:
    """Return the workers' facts in the order of addresses, and the errors of those that failed."""
    try:
        answers = client.run(
            gather_facts_on_worker, question, workers=None if addresses is None else list(addresses), on_error="return"
        )
    except OSError as error:
        raise ClusterError(f"The scheduler {client.scheduler.address} does not answer: {error}") from error
    facts = [answers[address] for address in sorted(answers) if isinstance(answers[address], HostFacts)]
    return facts, {a: answers[a] for a in sorted(answers) if isinstance(answers[a], BaseException)}


def _kernels(client: Client | None, facts: Sequence[HostFacts]) -> list[KernelFacts]:
    """Check the client's kernel and that of one worker on each further host."""
    kernels = [check_kernel()]
    one_each = {each.host: each.address for each in facts if each.host != kernels[0].host}
    if client is not None and one_each:
        answers = client.run(check_kernel_on_worker, workers=list(one_each.values()), on_error="return")
        kernels += [answer for answer in answers.values() if isinstance(answer, KernelFacts)]
    return kernels


def _loaded_kernels(client: Client, facts: Sequence[HostFacts]) -> list[KernelFacts]:
    """Load the kernel in each environment of each host, unless a worker there has loaded it before."""
    one_each = {_environment(each): each.address for each in facts}
    for each in facts:
        if each.kernel_loads:
            one_each.pop(_environment(each), None)
    if not one_each:
        return []
    answers = client.run(load_kernel_on_worker, workers=list(one_each.values()), on_error="return")
    return [answer for answer in answers.values() if isinstance(answer, KernelFacts)]


def _environment(facts: HostFacts) -> tuple[str, str]:
    return facts.host, facts.versions.get("executable", "")


def _workers_of(client: Client) -> dict[str, int]:
    """Return the memory limit of each worker in bytes, 0 where it has none."""
    workers = client.scheduler_info(n_workers=-1).get("workers", {})
    return {address: int(state.get("memory_limit") or 0) for address, state in workers.items()}


def _seen_here(sources: Iterable[Any]) -> tuple[tuple[str, SourceKind], ...]:
    """Return the sources that are paths and can be read here, at most about `MAX_SOURCES`, evenly chosen."""
    paths = _paths(sources)
    seen = []
    for path in paths[:: -(-len(paths) // MAX_SOURCES) or 1]:
        try:
            seen.append((path, kind_of_source(path)))
        except OSError:
            continue  # the client's own fault: `check_sources` and `_missing_here` report it
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
