"""``dflow demo``: its options reach the demo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cli.programs import invoke


def test_options_reach_the_demo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls: list[Any] = []
    monkeypatch.setattr("dflow.demo.flow.run_demo", lambda out, **options: calls.append((out, options)))
    result = invoke("demo", "--out", tmp_path, "--parts", 12, "--workers", 3)
    assert result.exit_code == 0
    ((out, options),) = calls
    assert (out, options["n_parts"], options["max_workers"]) == (str(tmp_path), 12, 3)


@pytest.mark.parametrize("option", [("--parts", "5"), ("--workers", "0")])
def test_fewer_parts_than_families_and_no_workers_are_wrong_usage(option: tuple[str, str]) -> None:
    result = invoke("demo", *option)
    assert result.exit_code == 2
    assert option[0] in result.output
