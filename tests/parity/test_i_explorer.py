"""I: questions to a dataset."""

from __future__ import annotations

from pathlib import Path

import distributed
import numpy as np
import pytest
import xarray as xr
from dask.base import is_dask_collection

from dflow.dataset import DatasetExplorer


@pytest.fixture(scope="module")
def counts(finished):
    """Faces of each file, by id: the encoder's own answer, in the dataset's order."""
    with DatasetExplorer(flow_output_file=finished.flow_file) as explorer:
        return explorer.get_array_data("file", "face_count").values


def test_i01_a_dataset_opens_by_its_flow_file(explorer):
    assert len(explorer) == 12


def test_i02_a_dataset_opens_by_its_paths(finished):
    summary = finished.summary
    with DatasetExplorer(
        merged_store_path=summary["flow_data"],
        parquet_file_path=summary["flow_info"],
        parquet_file_attribs=summary["flow_attributes"],
    ) as explorer:
        assert len(explorer) == 12
        assert len(explorer.get_descriptions("family")) == 6


def test_i03_the_table_of_contents_is_printed(explorer, capsys):
    explorer.print_table_of_contents()
    text = capsys.readouterr().out
    assert "face_areas" in text
    assert "size_cadfile" in text


def test_i04_groups_and_arrays_are_listed(explorer):
    assert explorer.available_groups() == ["edges", "faceface", "faces", "graph", "machining", "file"]
    assert {"face_areas", "face_types"} <= set(explorer.available_arrays("faces"))


def test_i05_files_are_found_by_any_row(explorer):
    found = explorer.get_file_list(group="faces", where=lambda ds: ds["face_types"] == 4)
    faces = explorer.get_group_data("faces")
    tori = faces["face_types"].values == 4
    assert 0 < len(found) < 12
    assert found.tolist() == np.unique(faces["file_id_code_faces"].values[tori]).tolist()


def test_i06_conditions_are_combined(explorer):
    faces = explorer.get_group_data("faces").load()
    torus, large = faces["face_types"].values == 4, faces["face_areas"].values > 5000
    codes = faces["file_id_code_faces"].values
    both = explorer.get_file_list("faces", lambda ds: (ds["face_types"] == 4) & (ds["face_areas"] > 5000))
    either = explorer.get_file_list("faces", lambda ds: (ds["face_types"] == 4) | (ds["face_areas"] > 5000))
    assert both.tolist() == np.unique(codes[torus & large]).tolist()
    assert either.tolist() == np.unique(codes[torus | large]).tolist()
    assert len(both) < len(either)


def test_i07_values_of_files_are_conditions_too(explorer, counts):
    found = explorer.get_file_list(group="faces", where=lambda ds: ds["face_count"] > 20)
    assert found.tolist() == np.flatnonzero(counts > 20).tolist()
    assert 0 < len(found) < 12


def test_i08_distributions_know_the_files_behind_each_bin(explorer):
    spread = explorer.create_distribution(key="face_areas", bins=8, group="faces")
    assert len(spread["bin_edges"]) == 9
    assert spread["hist"].sum() == explorer.get_group_data("faces").sizes["face"]
    assert set().union(*spread["file_id_codes_in_bins"]) == set(range(12))


def test_i09_codes_are_bins_of_their_own(explorer):
    spread = explorer.create_distribution(key="face_types", bins=None, group="faces")
    types = explorer.get_array_data("faces", "face_types").values
    assert dict(zip(spread["categories"].tolist(), spread["hist"].tolist(), strict=True)) == {
        code: int((types == code).sum()) for code in range(types.min(), types.max() + 1)
    }
    assert [int(edge + 0.5) for edge in spread["bin_edges"][:-1]] == spread["categories"].tolist()


def test_i10_a_key_is_found_in_another_group(explorer):
    assert explorer.create_distribution(key="edge_lengths", bins=4, group="faces")["group"] == "edges"


def test_i11_distributions_are_made_without_dask_too(explorer):
    one, two = explorer.create_distribution("face_areas", 8), explorer.create_distribution_incore("face_areas", 8)
    assert one["hist"].tolist() == two["hist"].tolist()


def test_i12_arrays_and_groups_are_lazy_xarray(explorer):
    assert isinstance(explorer.get_array_data("faces", "face_areas"), xr.DataArray)
    group = explorer.get_group_data("faceface")
    assert isinstance(group, xr.Dataset)
    assert is_dask_collection(explorer.get_array_data("faceface", "extended_adjacency"))


def test_i13_one_files_rows(explorer, counts):
    rows = explorer.file_dataset(3, "faces")
    assert rows.sizes["face"] == counts[3]
    assert set(rows["file_id_code_faces"].values) == {3}


def test_i14_statistics_of_an_array(explorer):
    areas = explorer.get_array_data("faces", "face_areas").values.astype(float)
    stats = explorer.get_array_statistics("faces", "face_areas")
    assert set(stats) == {"mean", "std", "min", "max", "median", "q25", "q75"}
    assert stats["mean"] == pytest.approx(areas.mean())
    assert stats["max"] == areas.max()


def test_i15_which_files_have_which_categories(explorer, counts):
    matrix, files, categories = explorer.build_membership_matrix("faces", "face_types", [0, 1], as_counts=True)
    assert matrix.shape == (12, 2)
    assert files.tolist() == list(range(12))
    assert list(categories) == [0, 1]
    assert (matrix.sum(axis=1) <= counts).all()
    flags, _, _ = explorer.build_membership_matrix("faces", "face_types", [0, 1])
    assert (flags == (matrix > 0)).all()


def test_i16_the_file_table_is_asked(explorer):
    assert len(explorer.get_file_info_all()) == 12
    row = explorer.get_parquet_info_by_code(4)
    assert row["id"].tolist() == [4]
    assert explorer.decode_file_id_code(4) == row["name"].iloc[0]


def test_i17_names_of_codes_are_looked_up(explorer):
    assert explorer.get_descriptions("face_types", 0)["name"].tolist() == ["Plane"]
    assert sorted(explorer.get_descriptions("family", "p*", use_wildchar=True)["name"]) == ["plate", "pulley"]


def test_i18_paths_of_previews(explorer):
    table = explorer.get_stream_cache_paths([0, 5])
    assert table["id"].tolist() == [0, 5]
    assert all(Path(path).is_file() for path in [*table["stream_cache_png"], *table["stream_cache_3d"]])


def test_i19_client_settings_are_accepted_and_no_cluster_is_started(finished):
    explorer = DatasetExplorer(flow_output_file=finished.flow_file, dask_client_params={"n_workers": 3})
    assert len(explorer.get_file_list("faces")) == 12
    with pytest.raises(ValueError, match="client"):
        distributed.get_client()
    explorer.close(close_dask=True)


def test_i20_groups_and_metadata_are_joined(explorer):
    both = explorer.query_cross_group("faces", "edges")
    assert both.sizes["file"] == 12
    plates = explorer.filter_files_by_metadata(where=lambda table: table["family_label"] == "plate")
    assert len(plates) == 2
