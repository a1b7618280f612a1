"""The page on labels, splits and exports is a program that runs, from parts with labels to what the exports hold."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from dflow.cadaccess import CadLoader
from dflow.cli import main
from dflow.demo.parts import write_parts

PAGE = Path(__file__).resolve().parents[1] / "docs" / "labels_splits_exports.md"


@pytest.mark.slow
def test_the_page_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in write_parts(tmp_path / "parts", n_parts=18):
        n_faces = CadLoader().create_from_file(path).get_face_count()
        path.with_suffix(".seg").write_text("".join(f"{row % 3}\n" for row in range(n_faces)))
    checks = """
assert report.sizes == (2, 0, 1) and not report.not_found, report
assert faces["face_areas"].attrs["units"] == "mm2" and len(faces["face"]) == len(faces["label"])
"""
    program = "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)) + checks
    guarded = "if __name__ == '__main__':\n" + "".join(f"    {line}\n" for line in program.splitlines())
    (tmp_path / "page.py").write_text(guarded, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "page.py"], cwd=tmp_path, capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    monkeypatch.chdir(tmp_path)
    commands = re.findall(r"^dflow export .*$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(commands) == 4
    for command in commands:
        with pytest.raises(SystemExit) as ended:
            main(command.split()[1:])
        assert ended.value.code == 0, command
    assert {path.name for path in (tmp_path / "shards").glob("*.tar")} == {"train-000000.tar"}


def test_every_form_of_export_is_on_the_page() -> None:
    from dflow.cli.export import _FORMS

    text = PAGE.read_text(encoding="utf-8").partition("## Exports")[2]
    assert [form for form in _FORMS if f"`{form}`" not in text] == []
