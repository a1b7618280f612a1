"""Exports hold what the dataset holds, written in blocks, with no pickle and no name from a stranger's table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from dflow.dataset.export import export
from dflow.dataset.export.export import export_dataset
from dflow.errors import DatasetError, UnknownKeyError
from tests.dataset.samples import tree_bytes

FORMS = ["parquet", "npz", "pyg", "hdf5"]

HOSTILE = "../../evil\x1b[2J\n<b>.step"


def needs(form):
    if form == "pyg":
        pytest.importorskip("torch")
    if form == "hdf5":
        pytest.importorskip("h5py")


def read_rows(form, out: Path, group: str, name: str, ids) -> np.ndarray:
    """All rows of an array, read with the format's own library."""
    if form == "parquet":
        cells = pq.read_table(out / f"{group}.parquet")[name].combine_chunks()
        rows = cells.to_pylist()
        return np.asarray(rows)
    if form == "hdf5":
        import h5py

        with h5py.File(out) as file:
            return file[f"{group}/{name}"][:]
    return np.concatenate([read_sample(form, out, i)[key_of(form, group, name)] for i in ids])


def key_of(form, group, name):
    return f"{group}/{name}" if form == "npz" else name


def read_sample(form, out: Path, file_id: int):
    if form == "npz":
        with np.load(out / f"{file_id:02d}.npz", allow_pickle=False) as archive:
            return dict(archive)
    import torch

    loaded = torch.load(out / f"{file_id:02d}.pt", weights_only=True)
    return {key: value.numpy() for key, value in loaded.items() if isinstance(value, torch.Tensor)}


@pytest.mark.parametrize("form", FORMS)
def test_every_row_arrives_in_order_whatever_the_blocks(form, parts, place, tmp_path, small_blocks):
    needs(form)
    report = export_dataset(place, tmp_path / "out", form)
    assert (report.n_samples, report.path) == (23, tmp_path / "out")
    assert report.n_bytes > 0
    for group, arrays in parts.rows.items():
        for name, rows in arrays.items():
            if form == "pyg" and name in ("edges_source", "edges_destination"):
                continue
            found = read_rows(form, tmp_path / "out", group, name, range(23))
            np.testing.assert_array_equal(found, rows, err_msg=f"{group}/{name}")
            if form in ("npz", "hdf5"):
                assert found.dtype == rows.dtype
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("form", FORMS)
def test_some_samples_and_some_columns(form, parts, place, tmp_path, small_blocks):
    needs(form)
    out = tmp_path / "out"
    columns = ["faces/face_areas", "faces/face_uv_grids", "file/volume"]
    assert export_dataset(place, out, form, columns=columns, ids=[7, 2, 2, 21]).n_samples == 3
    expected = np.concatenate([parts.of_file("faces", "face_uv_grids", i) for i in (2, 7, 21)])
    np.testing.assert_array_equal(read_rows(form, out, "faces", "face_uv_grids", (2, 7, 21)), expected)
    if form == "parquet":
        table = pd.read_parquet(out / "file.parquet")
        assert table["id"].tolist() == [2, 7, 21]
        np.testing.assert_array_equal(table["volume"], parts.values["volume"][[2, 7, 21]])
        assert not (out / "edges.parquet").exists()
    if form in ("npz", "pyg"):
        assert sorted(p.stem for p in out.iterdir()) == ["02", "07", "21", "file", "labels"]
        assert "edge_lengths" not in str(sorted(read_sample(form, out, 7)))


@pytest.mark.parametrize("form", ["parquet", "npz", "pyg"])
def test_the_same_export_twice_gives_the_same_bytes(form, place, tmp_path):
    needs(form)
    for name in ("a", "b"):
        export_dataset(place, tmp_path / name, form)
    assert tree_bytes(tmp_path / "a") == tree_bytes(tmp_path / "b")


@pytest.mark.parametrize("form", FORMS)
def test_what_a_sample_lacks_is_not_made_up(form, partial, tmp_path):
    needs(form)
    out = tmp_path / "out"
    export_dataset(partial, out, form)
    if form == "parquet":
        file = pd.read_parquet(out / "file.parquet").set_index("description")
        assert file["has_faces_only"].to_dict() == {HOSTILE: True, "b.step": False, "c.step": True}
    elif form == "hdf5":
        import h5py

        with h5py.File(out) as file:
            assert sorted(file["file/has_faces_only"][:].tolist()) == [False, True, True]
            assert file["faces/only"].shape == (5,)
    else:
        order = sorted([HOSTILE, "b.step", "c.step"]).index("b.step")
        without = [f"{i}" for i in range(3) if not has_only(form, out, i)]
        assert without == [str(order)]


def has_only(form, out, file_id):
    if form == "npz":
        with np.load(out / f"{file_id}.npz", allow_pickle=False) as archive:
            return "faces/only" in archive.files
    import torch

    return bool(torch.load(out / f"{file_id}.pt", weights_only=True)["only_mask"].all())


@pytest.mark.parametrize("form", FORMS)
def test_hostile_names_stay_inside_the_tables(form, partial, tmp_path):
    needs(form)
    export_dataset(partial, tmp_path / "deep" / "out", form)
    names = {p.name for p in tmp_path.rglob("*")}
    assert names <= {"deep", "out", *(f"{i}.{s}" for i in range(3) for s in ("npz", "pt"))} | {
        f"{t}.parquet" for t in ("faces", "file", "labels")
    }


def test_nothing_is_overwritten_unless_told_and_then_at_once(place, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    with pytest.raises(DatasetError, match="exists"):
        export_dataset(place, tmp_path / "out", "npz")
    assert (tmp_path / "out" / "mine").exists()
    export_dataset(place, tmp_path / "out", "npz", overwrite=True)
    assert not (tmp_path / "out" / "mine").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_overwriting_costs_no_more_than_an_export(place, tmp_path):
    before = tree_bytes(place.root)
    above = tmp_path / "above"
    (above / "flows").mkdir(parents=True)
    link = tmp_path / "link"
    link.symlink_to(place.root)
    for target, why in (
        (place.root, "it holds"),
        (place.root.parent, "it holds"),
        (link, "it holds"),
        (place.dataset, "it holds"),
        (place.infoset, "it holds"),
        (place.dataset / "faces", "inside the dataset"),
        (above, "holds the folder 'flows'"),
    ):
        for form in ("npz", "parquet"):
            with pytest.raises(DatasetError, match=why):
                export_dataset(place, target, form, overwrite=True)
    (tmp_path / "notes").write_text("x")
    with pytest.raises(DatasetError, match="not a folder"):
        export_dataset(place, tmp_path / "notes", "npz", overwrite=True)
    assert (tmp_path / "notes").read_text() == "x"
    assert above.is_dir()
    assert tree_bytes(place.root) == before


def test_ids_may_be_ranges(place, tmp_path):
    export_dataset(place, tmp_path / "out", "npz", ids=[range(3, 6), 4, range(20, 20), 9])
    assert sorted(p.name for p in (tmp_path / "out").glob("*.npz")) == ["3.npz", "4.npz", "5.npz", "9.npz"]
    for wrong in (range(20, 10**15), range(-1, 2)):
        with pytest.raises(UnknownKeyError, match="no file id"):
            export_dataset(place, tmp_path / "more", "npz", ids=[wrong])


def test_a_failed_export_leaves_what_was_there(place, tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    monkeypatch.setattr("dflow.dataset.export.forms.ArraysWriter.write_tables", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export_dataset(place, tmp_path / "out", "npz", overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / "mine").exists()


def test_what_is_not_there_is_named(place, tmp_path):
    with pytest.raises(UnknownKeyError, match="no file id 23"):
        export_dataset(place, tmp_path / "out", "npz", ids=[3, 23])
    with pytest.raises(UnknownKeyError, match="nonsense"):
        export_dataset(place, tmp_path / "out", "npz", columns=["nonsense"])
    with pytest.raises(DatasetError, match="no export format 'csv'"):
        export_dataset(place, tmp_path / "out", "csv")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_library_is_named(place, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(DatasetError, match=r"pip install 'dflow-cad\[hdf5\]'"):
        export_dataset(place, tmp_path / "out.h5", "hdf5")
    monkeypatch.delitem(sys.modules, "dflow.dataset.training.torch", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(DatasetError, match="needs PyTorch"):
        export_dataset(place, tmp_path / "out", "pyg")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", FORMS)
def test_no_sample_at_all_is_an_export_too(form, place, tmp_path):
    needs(form)
    assert export_dataset(place, tmp_path / "out", form, ids=[]).n_samples == 0
    assert (tmp_path / "out").exists()


def test_blocks_stay_small_and_cover_every_id_once(place, small_blocks):
    from dflow.dataset.query.store import open_store
    from dflow.dataset.training.samples import SampleReader

    store = open_store(place.dataset, place.infoset)
    reader = SampleReader(store)
    blocks = list(export._blocks(reader, np.arange(23)))
    np.testing.assert_array_equal(np.concatenate(blocks), np.arange(23))
    for block in blocks:
        read = reader.read_many(block)
        n_bytes = sum(a.nbytes for a in (*read.rows.values(), *read.values.values()))
        assert n_bytes <= 2000 or len(block) == 1
    store.close()
