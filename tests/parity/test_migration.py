"""The migration guide: its names exist and its program runs."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.hoops.test_convert import encode, hoops_store, write_zip

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "migration.md").read_text(encoding="utf-8")
NAMES = sorted(set(re.findall(r"`(dflow\.[\w.]+)`", GUIDE)))


def find(name: str) -> Any:
    """What a dotted name stands for: the longest part that is a module, then its attributes."""
    words = name.split(".")
    for length in range(len(words), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(words[:length]))
        except ModuleNotFoundError:
            continue
        for word in words[length:]:
            found = getattr(found, word)
        return found
    raise ModuleNotFoundError(name)


@pytest.mark.parametrize("name", NAMES)
def test_every_name_of_the_guide_exists(name):
    assert find(name) is not None


def test_the_guides_program_moves_an_old_dataset(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    codes = np.array([0, 0, 1, 1, 1], np.int64)
    types = np.array([0, 1, 4, 0, 1], np.int32)
    grids = np.arange(15, dtype=np.float32).reshape(5, 3)
    arrays = {
        "faces/face_types": encode(types, (2,)),
        "faces/face_centroids": encode(grids, (4, 3)),
        "faces/file_id_code_faces": encode(codes, (5,)),
    }
    write_zip(tmp_path / "bolts.dataset", hoops_store(arrays, {}))
    table = pd.DataFrame({"id": [0, 1], "name": ["aa_0", "bb_0"], "description": ["C:\\a.step", "C:\\b.step"]})
    table.to_parquet(tmp_path / "bolts.infoset")
    program = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)[-1]
    names: dict[str, Any] = {}
    exec(compile(program, "migration.md", "exec"), names)
    explorer = names["explorer"]
    assert len(explorer) == 2
    for code in (0, 1):
        rows = explorer.file_dataset(code, "faces")
        assert rows["face_types"].values.tolist() == types[codes == code].tolist()
        assert rows["face_centroids"].values.tolist() == grids[codes == code].tolist()
    assert explorer.get_file_list("faces", lambda ds: ds["face_types"] == 4).tolist() == [1]
