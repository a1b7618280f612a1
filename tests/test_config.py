"""Defaults that depend on the machine."""

from __future__ import annotations

import os

import pytest

from dflow import config
from dflow.flowmanager.worker.memory import MIN_CHILD_BYTES


def test_a_file_s_share_of_the_memory_is_that_of_a_core(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = {"SC_PHYS_PAGES": 80 * 1024**3 // 4096, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(config, "machine_bytes", config.machine_bytes.__wrapped__)  # not what is cached of this machine
    monkeypatch.setattr(os, "sysconf", pages.__getitem__)
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    assert config.machine_share_bytes() == 4 * 1024**3
    monkeypatch.setattr(os, "cpu_count", lambda: 4096)
    assert config.machine_share_bytes() == 1024**3 > MIN_CHILD_BYTES
