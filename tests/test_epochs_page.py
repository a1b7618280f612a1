"""The page on epochs, resuming and ranks is a program that runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.dataset.synthetic import random_parts, write_parts
from tests.extras import Extra

torch = Extra("torch")

PAGE = Path(__file__).resolve().parents[1] / "docs" / "epochs.md"


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more workers than processors
def test_the_page_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = PAGE.read_text(encoding="utf-8")
    dataset = write_parts(random_parts(60), tmp_path / "out" / "flows" / "parts").dataset
    text = text.replace("out/flows/parts/parts.dataset", dataset.as_posix())
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(block, names)
    assert names["again"].state_dict()["epoch"] == 4
    assert names["again"].state_dict()["finished"]


def test_the_scripts_that_it_names_exist() -> None:
    scripts = re.findall(r"python (notebooks/\w+\.py)", PAGE.read_text(encoding="utf-8"))
    assert len(scripts) == 2
    assert all((PAGE.parents[1] / script).is_file() for script in scripts)
