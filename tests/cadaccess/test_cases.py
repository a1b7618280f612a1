"""Files that tell readers apart, each with its value, in every way of reading that takes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dflow.cadaccess import CadModel
from dflow.errors import CadError
from tests.cadaccess import ways

CASES = Path(__file__).parents[2].parent / "shared" / "data" / "cases"
_MANIFEST = CASES / "manifest.json"
MANIFEST: dict[str, dict[str, Any]] = json.loads(_MANIFEST.read_text()) if _MANIFEST.is_file() else {}


@pytest.mark.skipif(not MANIFEST, reason=f"no {_MANIFEST}")
def test_there_are_cases() -> None:
    assert all((CASES / name).is_file() for name in MANIFEST)


def _measure(model: CadModel, what: str) -> Any:
    brep = model.get_brep()
    return {
        "volume": brep.volume,
        "area": brep.area,
        "edge_length": lambda: float(brep.edge_lengths().sum()),
        "n_concave": lambda: int((brep.edge_convexities() == 2).sum()),
        "low": lambda: brep.bounding_box()[:3].tolist(),
        "n_solids": model.get_body_count,
    }[what]()


@pytest.mark.parametrize("way", ways.WAYS)
@pytest.mark.parametrize("name", MANIFEST)
def test_a_case_has_its_value_or_an_error(name: str, way: str) -> None:
    wanted = {key: value for key, value in MANIFEST[name].items() if key not in ("or", "only", "why")}
    model, error = None, None
    try:
        model = ways.open_by(way, CASES / name)
    except CadError as raised:
        error = raised
    if error is not None:
        assert "error" in (MANIFEST[name].get("or"), MANIFEST[name].get("only")), str(error)
        return
    if model is None:
        pytest.skip(f"left to another way than {way}")
    assert MANIFEST[name].get("only") != "error"
    for what, value in wanted.items():
        found = _measure(model, what)
        np.testing.assert_allclose(found, value, rtol=2e-4, atol=1e-6, err_msg=f"{what} by {way}")
