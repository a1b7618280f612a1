"""The page "Train" is a program that runs."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from dflow.demo.parts import write_parts

PAGE = Path(__file__).resolve().parents[1] / "docs" / "train.md"


@pytest.mark.slow
def test_its_blocks_run_one_after_the_other(tmp_path: Path) -> None:
    for package in ("torch", "torch_geometric"):
        pytest.importorskip(package)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 7
    if find_spec("lightning") is None:
        blocks = [block for block in blocks if "import lightning" not in block]
    write_parts(tmp_path / "demo_output" / "parts", n_parts=36)
    check = "\nassert 0 < accuracy <= 1 and losses[-1] < losses[0], (accuracy, losses)\n"
    check += "assert graph.edge_index.shape[0] == 2 and graph.y.dtype == torch.int64\n"
    (tmp_path / "page.py").write_text("\n".join(blocks) + check, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "page.py"], cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "out" / "curve.png").stat().st_size > 5_000


def test_the_site_has_the_page() -> None:
    assert "train.md" in (PAGE.parents[1] / "mkdocs.yml").read_text(encoding="utf-8")
    assert "(train.md)" in (PAGE.parent / "index.md").read_text(encoding="utf-8")
