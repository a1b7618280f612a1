"""Real parts through the store: what the encoder saved, xarray reads and the record says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray
import zarr

from dflow.cadaccess import CadLoader
from dflow.cadencoder import BrepEncoder
from dflow.storage import OptStorage, describe, describe_file, read_arrays


@pytest.mark.parametrize("corpus", ["mfcad", "kicad"])
def test_what_the_encoder_saves_is_what_xarray_reads(corpus: str, shared_data: Path, tmp_path: Path) -> None:
    files = sorted((shared_data / corpus).rglob("*.st*p"))[:3]
    assert files
    for index, file in enumerate(files):
        brep = CadLoader().create_from_file(str(file)).get_brep()
        with OptStorage(tmp_path / str(index)) as storage:
            BrepEncoder(brep, storage).encode("uvnet")
            storage.compress_store()
            record = describe(storage, str(index), file.name)
            saved = {key: storage.load_data(key) for key in storage.array_keys()}
        path = tmp_path / f"{index}.data"
        assert describe_file(path, source=file.name) == record
        assert record.row_count("faces") == brep.n_faces
        assert record.row_count("edges") == brep.n_edges
        assert all(
            np.array_equal(a, saved[key], equal_nan=a.dtype.kind == "f") for key, a in read_arrays(path, saved).items()
        )
        for group in record.layout.groups:
            with zarr.storage.ZipStore(path, mode="r") as store:
                dataset = xarray.open_zarr(store, group=group).load()
            for layout in record.layout.arrays:
                if layout.group == group:
                    assert dataset[layout.name].dims == layout.dims
                    assert np.array_equal(
                        dataset[layout.name], saved[layout.key], equal_nan=layout.dtype.startswith("float")
                    )
