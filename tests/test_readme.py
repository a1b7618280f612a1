"""The README's example is a program that runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from dflow.demo.parts import write_parts

README = Path(__file__).resolve().parents[1] / "README.md"


def test_examples_run_as_they_stand(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    write_parts(tmp_path / "demo_output" / "parts", n_parts=24)
    (tmp_path / "example.py").write_text(
        "".join(blocks) + "\nassert len(train) > 0 and len(ids) > 0\n", encoding="utf-8"
    )
    done = subprocess.run(
        [sys.executable, "example.py"], cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "out" / "flows" / "parts" / "parts.dataset").is_dir()


def test_files_that_it_links_to_exist() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README.read_text(encoding="utf-8"))
    assert links
    assert all((README.parent / link).exists() for link in links if "://" not in link)
