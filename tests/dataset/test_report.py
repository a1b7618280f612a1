"""Listings of a dataset and of a split, as text and as HTML."""

from __future__ import annotations

from pathlib import Path

import pytest

from dflow.dataset import DatasetExplorer, DatasetLoader
from dflow.dataset.query.store import DatasetStore, open_store
from dflow.dataset.report import human_bytes, split_to_html, summary_line, table_of_contents, to_html
from tests.dataset.synthetic import random_parts, write_parts


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> DatasetStore:
    parts = random_parts(12, seed=1)
    parts.rows["faces"]["<b>bold"] = parts.rows["faces"]["face_areas"]
    return open_store(write_parts(parts, tmp_path_factory.mktemp("report"), "a&b").dataset)


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (1024**2, "1.0 MiB"),
        (5 * 1024**3, "5.0 GiB"),
        (3 * 1024**5, "3072.0 TiB"),
    ],
)
def test_bytes_have_the_largest_unit_that_gives_at_least_one(n_bytes: int, text: str) -> None:
    assert human_bytes(n_bytes) == text


def test_the_listing_has_every_array_with_its_shape_and_size_and_no_ids(store: DatasetStore) -> None:
    text = table_of_contents(store, ["id", "name"])
    n_faces = store.n_rows("faces")
    assert text.splitlines()[0] == f"DATASET {summary_line(store)}"
    assert f"GROUP faces: {n_faces:,} rows (face)" in text
    assert f"(face: {n_faces}, dim: 3)  float32  {human_bytes(n_faces * 12)}" in text
    assert "file_id_code_" not in text
    assert "row_start" not in text
    assert text.endswith("TABLE file_info: 12 rows\n  id, name")
    assert table_of_contents(store, []).endswith("(no .infoset)")


def test_html_holds_names_as_text(store: DatasetStore) -> None:
    page = to_html(store)
    assert "<strong>a&amp;b.dataset: 12 samples" in page
    assert "<td>&lt;b&gt;bold</td>" in page
    assert page.count("<details>") == len(store.row_groups) + 1
    assert page.count("<tr>") == page.count("</tr>")


def test_a_split_is_shown_with_its_shares_and_arguments() -> None:
    page = split_to_html("<DatasetLoader x>", (7, 2, 1), {"key": "<i>", "group": None, "random_state": 42})
    assert "<td>train</td><td>7</td><td>70.0%</td>" in page
    assert "key=&#x27;&lt;i&gt;&#x27;, random_state=42" in page
    assert "group" not in page
    assert "<strong>DatasetLoader x</strong>" in page
    assert "<td>test</td><td>0</td><td>0.0%</td>" in split_to_html("x", (0, 0, 0), {})
    assert "<table>" not in split_to_html("x", None, {})


def test_names_in_a_strangers_dataset_are_shown_escaped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Terminal escapes, marks of the writing direction and line ends, in the names of dataset, arrays and columns."""
    hostile = "\x1b[2J\u202ename\nGROUP forged: 9 rows"
    parts = random_parts(3, seed=1)
    parts.rows["faces"][hostile] = parts.rows["faces"]["face_areas"]
    parts.values[hostile] = next(iter(parts.values.values()))
    dataset = write_parts(parts, tmp_path, "a\x1b]0;title\x07\n\u202e").dataset
    with DatasetExplorer(merged_store_path=dataset) as explorer, DatasetLoader(merged_store_path=dataset) as loader:
        explorer.print_table_of_contents()
        html = explorer._repr_html_()
        with pytest.raises(KeyError) as caught:
            explorer.get_array_data("faces", "none")
        shown = [repr(explorer), repr(loader), str(caught.value), *capsys.readouterr().out.splitlines()]
    assert all(line.isprintable() for line in shown)
    assert not any(line.startswith("GROUP forged") for line in shown)
    assert r"\x1b[2J\u202ename\nGROUP forged" in "".join(shown)
    assert "\u202e" not in html
