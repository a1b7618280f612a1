"""The worst folder there is: odd and broken real files, a hundred saboteurs, and good parts among them."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import dflow
from dflow.dataset.validate import validate_dataset
from tests.faults import part_tasks, saboteurs
from tests.faults.cases import leftovers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]

N_PARTS = int(os.environ.get("DFLOW_WORST_PARTS", "60"))
ODD_NAMES = (b"new\nline.step", b"not-utf8-\xff.step", b"\x1b[31mred.step", "ünïcödé😀.step".encode())
"""Good parts under names that break lines, encodings and terminals."""


@pytest.fixture
def folder(tmp_path: Path, shared_data: Path) -> Path:
    """Good parts, real odd files and saboteurs, in folders of their own."""
    folder = tmp_path / "in"
    (folder / "parts").mkdir(parents=True)
    parts = sorted((shared_data / "mfcad" / "step").glob("*.step"))[:N_PARTS]
    for part in parts:
        shutil.copyfile(part, folder / "parts" / part.name)
    odd = os.path.join(os.fsencode(folder / "parts"), b"folder-\xfe")
    os.mkdir(odd)
    for name in ODD_NAMES:
        shutil.copyfile(parts[0], os.path.join(odd, name))
    shutil.copytree(shared_data / "cad", folder / "cad")
    saboteurs.plant(folder / "saboteurs", parts[0].read_bytes())
    return folder


def test_the_worst_folder_runs_to_the_end_with_every_good_part_in_and_every_bad_one_explained(
    folder: Path, shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flow = dflow.create_flow(
        "worst",
        [part_tasks.gather, part_tasks.encode],
        tmp_path / "out",
        max_workers=2,
        export_visualization=False,
        timeout_seconds=15,
        memory_limit="2GB",
    )
    output, summary, flow_file = flow.process(inputs={"sources": [str(folder)]}, progress=False)
    root = Path(flow_file).parent
    counts = output.counts
    submitted = part_tasks.gather([str(folder)])
    assert counts.submitted == len(submitted)
    assert counts.succeeded + counts.skipped + counts.failed == counts.submitted
    assert counts.samples == counts.succeeded == summary["file_count"]
    assert validate_dataset(summary["flow_data"]) == []
    assert leftovers(root) == []

    inside = set(pd.read_parquet(summary["flow_info"])["description"])
    errors = json.loads((root / "error_summary.json").read_text(encoding="utf-8"))
    explained = {error["file"]: error for error in errors}
    assert len(inside) == counts.succeeded
    assert len(explained) == counts.failed
    assert not inside & explained.keys()
    assert all(error["kind"] and error["message"] and error["advice"] for error in errors)
    assert "infrastructure" not in {error["kind"] for error in errors}

    by_folder: Counter[tuple[str, str]] = Counter((_group(name), "inside") for name in inside)
    by_folder.update((_group(name), error["kind"]) for name, error in explained.items())
    with capsys.disabled():
        _report(by_folder, output)
    assert by_folder["parts", "inside"] == N_PARTS + len(ODD_NAMES)
    for name, observed in _manifest(shared_data).items():
        if observed == "ok" and name in explained:
            assert explained[name]["kind"] in ("no_geometry", "geometry"), explained[name]
    kinds = {Path(error["file"]).name: error["kind"] for error in errors}
    assert kinds["U009.stp"] == "crash"
    assert kinds["Twi044.stp"] == kinds["segv_line_direction_typeconfusion.step"] == "geometry"

    again, _, _ = flow.process(inputs={"sources": [str(folder)]}, progress=False)
    assert again.counts.succeeded == counts.succeeded
    assert again.counts.reused >= counts.succeeded


def _group(identity: str) -> str:
    return identity.removeprefix("../../../in/").split("/")[0]


def _manifest(shared_data: Path) -> dict[str, str]:
    """What a plain read of each real file gave, by the item's identity."""
    entries: Any = json.loads((shared_data / "cad" / "manifest.json").read_text(encoding="utf-8"))
    entries = entries.get("files", entries) if isinstance(entries, dict) else entries
    rows = entries.items() if isinstance(entries, dict) else ((each["path"], each) for each in entries)
    return {f"../../../in/{'' if str(n).startswith('cad/') else 'cad/'}{n}": e.get("observed", "") for n, e in rows}


def _report(by_folder: Counter[tuple[str, str]], output: Any) -> None:
    print(f"\n{output.counts} in {output.time_to_process:.1f} s")
    for (group, what), count in sorted(by_folder.items()):
        print(f"  {group:10} {what:16} {count:4}")
    for error in output.errors:
        if error.kind in ("timeout", "out_of_memory", "crash", "exception"):
            print(f"  {error.kind:14} {error.seconds:6.1f} s {error.file[-60:]!r}: {error.message[:100]!r}")
