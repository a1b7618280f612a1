"""L: what lies on the disk."""

from __future__ import annotations

import json


def test_l01_the_four_files_bear_the_flows_name(finished):
    assert finished.root.parts[-2:] == ("flows", "parity")
    assert {f"parity.{suffix}" for suffix in ("flow", "dataset", "infoset", "attribset")} <= {
        path.name for path in finished.root.iterdir()
    }


def test_l02_errors_and_log_lie_beside_them(finished):
    assert json.loads((finished.root / "error_summary.json").read_text()) == []
    assert (finished.root / "flow_log.log").stat().st_size > 0


def test_l03_encoded_stores_stay(finished):
    assert len(list((finished.root / "encoded").glob("*.data"))) == 12


def test_l04_previews_lie_in_the_stream_cache(finished, explorer):
    names = {path.stem for path in (finished.root / "stream_cache").rglob("*.png")}
    assert names == set(explorer.get_file_info_all()["name"])
