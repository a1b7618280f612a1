"""Facts about a host: its sources, the shared folder, and file systems that hang."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from dflow.flowmanager.cluster import hostfacts
from dflow.flowmanager.cluster.hostfacts import (
    HostFacts,
    Question,
    free_bytes,
    gather_facts,
    gather_facts_on_worker,
    kind_of_source,
    load_kernel_on_worker,
    probe_path,
)


def test_sources_are_told_apart_by_what_they_are(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.step").write_text("x")
    (tmp_path / "empty").mkdir()
    assert [kind_of_source(str(tmp_path / name)) for name in ("full", "empty", "full/a.step")] == [
        "folder",
        "empty folder",
        "file",
    ]
    question = Question(((str(tmp_path / "empty"), "folder"), (str(tmp_path / "gone"), "file")))
    assert [fault for _, fault in gather_facts(question).unseen] == ["is an empty folder", "is not there"]


def test_a_source_of_another_kind_names_both(tmp_path):
    (tmp_path / "a.step").write_text("x")
    facts = gather_facts(Question(((str(tmp_path), "file"), (str(tmp_path / "a.step"), "folder"))))
    assert [fault for _, fault in facts.unseen] == [
        "is a folder, on the client it is a file",
        "is a file, on the client it is a folder",
    ]


def test_a_source_that_may_not_be_read_says_so(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr(hostfacts, "kind_of_source", refuse)
    facts = gather_facts(Question(((str(tmp_path), "folder"),)))
    assert facts.unseen == ((str(tmp_path), "cannot be read: Permission denied"),)


def test_the_client_s_file_in_the_folder_is_answered_by_another(tmp_path):
    Path(probe_path(str(tmp_path), "t0")).write_text("t0")
    facts = gather_facts(Question(folder=str(tmp_path), token="t0"))
    assert facts.folder_fault == ""
    assert (tmp_path / facts.answer).read_text() == "t0"


@pytest.mark.parametrize(
    ("content", "fault"), [("another", "shows other contents than the client wrote"), (None, "is another folder")]
)
def test_a_folder_that_is_not_the_client_s_is_noticed(tmp_path, content, fault):
    if content is not None:
        Path(probe_path(str(tmp_path), "t0")).write_text(content)
    facts = gather_facts(Question(folder=str(tmp_path), token="t0"))
    assert facts.folder_fault.startswith(fault)
    assert facts.answer == ""


def test_a_missing_folder_is_a_fault_and_has_no_free_bytes(tmp_path):
    facts = gather_facts(Question(folder=str(tmp_path / "gone"), token="t0"))
    assert (facts.folder_fault, facts.folder_free_bytes) == ("is not there", -1)
    assert free_bytes("") == -1
    assert free_bytes(str(tmp_path)) > 0


def test_without_a_token_the_folder_is_only_measured(tmp_path):
    facts = gather_facts(Question(folder=str(tmp_path)))
    assert (facts.folder_fault, facts.answer) == ("", "")
    assert facts.folder_free_bytes > 0
    assert facts.memory_bytes > 0
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_that_hangs_is_reported_in_time(monkeypatch):
    monkeypatch.setattr(hostfacts, "GATHER_SECONDS", 0.05)
    monkeypatch.setattr(hostfacts, "gather_facts", lambda *_: time.sleep(0.5))
    facts = asyncio.run(gather_facts_on_worker(Question(), SimpleNamespace(address="tcp://a:1")))
    assert facts == HostFacts(socket.gethostname(), "tcp://a:1", hung=True)


def test_a_kernel_that_was_repaired_is_found(monkeypatch):
    problems = ["libGL.so.1 is missing", None]
    monkeypatch.setattr(hostfacts, "kernel_problem", lambda: problems.pop(0))
    hostfacts._load_kernel.cache_clear()
    assert asyncio.run(load_kernel_on_worker()).fault == "libGL.so.1 is missing"
    assert not gather_facts(Question()).kernel_loads
    assert [asyncio.run(load_kernel_on_worker()).fault for _ in range(2)] == ["", ""]  # the second calls nothing
    assert gather_facts(Question()).kernel_loads
    hostfacts._load_kernel.cache_clear()
