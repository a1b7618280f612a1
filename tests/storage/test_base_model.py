"""Every storage against a plain dictionary."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule

from dflow.errors import (
    DflowError,
    SchemaError,
)
from tests.storage.stores import MAKERS, ON_DISK

# Every storage against a dictionary

names = st.sampled_from(["a", "b", "c_d", "größe", "x y"])
keys = st.tuples(names, names).map("/".join)
dtypes = st.sampled_from(["bool", "int8", "<i4", ">i8", "uint16", "<f4", ">f8", "float16"])
shapes = hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4)
FINITE = {"allow_nan": False, "allow_infinity": False}
arrays = dtypes.flatmap(lambda d: hnp.arrays(d, shapes, elements=FINITE if np.dtype(d).kind == "f" else None))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


class StorageMachine(RuleBasedStateMachine):
    """Two storages on disk and one in memory agree with dictionaries, also after they are closed and opened."""

    known = Bundle("known")

    @initialize()
    def start(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.storages = {name: make(Path(self.folder.name)) for name, make in MAKERS.items()}
        self.arrays: dict[str, np.ndarray] = {}
        self.values: dict[str, Any] = {}

    @rule(target=known, key=keys, array=arrays)
    def save(self, key: str, array: np.ndarray) -> str:
        for storage in self.storages.values():
            storage.save_data(key, array)
        self.arrays[key] = array
        return key

    @rule(key=known)
    def load(self, key: str) -> None:
        for storage in self.storages.values():
            found = storage.load_data(key)
            assert found.dtype == self.arrays[key].dtype.newbyteorder("=")
            assert np.array_equal(found, self.arrays[key])
            assert storage.load_metadata(f"file_sizes_KB/{key}") * 1024 == found.nbytes

    @rule(key=st.sampled_from(["m", "n", "p/q", "p/r"]), value=json_values)
    def save_metadata(self, key: str, value: Any) -> None:
        before = {name: storage.get_metadata() for name, storage in self.storages.items()}
        outcomes = set()
        for name, storage in self.storages.items():
            try:
                storage.save_metadata(key, value)
                outcomes.add("saved")
            except DflowError as error:
                outcomes.add(type(error).__name__)
                assert storage.get_metadata() == before[name]
        assert len(outcomes) == 1
        if outcomes == {"saved"} and not isinstance(value, dict):
            self.values[key] = value

    @precondition(lambda self: not self._rows_disagree())
    @rule()
    def reopen(self) -> None:
        for name in ON_DISK:
            self.storages[name].close()
            self.storages[name] = MAKERS[name](Path(self.folder.name))

    @rule()
    def compress(self) -> None:
        for name in ON_DISK:
            if name == "zarr" and self._rows_disagree():
                with pytest.raises(SchemaError, match="disagree on their rows"):
                    self.storages[name].compress_store()
            else:
                assert self.storages[name].compress_store() > 0 or name == "json"

    def _rows_disagree(self) -> bool:
        rows: dict[str, set[int]] = {}
        for key, array in self.arrays.items():
            rows.setdefault(key.partition("/")[0], set()).add(len(array))
        return any(len(found) > 1 for found in rows.values())

    @invariant()
    def all_agree(self) -> None:
        for storage in getattr(self, "storages", {}).values():
            assert storage.array_keys() == sorted(self.arrays)
            assert storage.get_metadata() == self.storages["memory"].get_metadata()
            for key, value in self.values.items():
                assert storage.load_metadata(key) == value

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            for storage in self.storages.values():
                storage.discard()
            self.folder.cleanup()


TestStorageMachine = StorageMachine.TestCase
TestStorageMachine.settings = settings(max_examples=25, stateful_step_count=20)
