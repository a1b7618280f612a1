"""A storage in memory, for results that need no file; the reference that tests compare other storages with."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from dflow.schema import NanPolicy
from dflow.storage.base import DataStorage


class MemoryStorage(DataStorage):
    """Keeps one sample in dictionaries; `close` drops them. Nothing is written.

    Parameters
    ----------
    nan_policy : for NaN and inf in arrays for which the schema declares none: "raise", "warn" or "allow"

    Examples
    --------
    >>> from dflow.storage import MemoryStorage
    >>> storage = MemoryStorage()
    >>> storage.save_data("faces/wear", [0.5, 0.25])
    >>> storage.save_metadata("material", "steel")
    >>> storage.load_data("faces/wear").mean().item(), storage.load_metadata("material")
    (0.375, 'steel')
    """

    def __init__(self, *, nan_policy: NanPolicy = "raise") -> None:
        super().__init__(nan_policy=nan_policy)
        self._arrays: dict[str, NDArray[Any]] = {}

    def _put_array(self, key: str, array: NDArray[Any]) -> None:
        self._arrays[key] = array

    def _drop_array(self, key: str) -> None:
        del self._arrays[key]

    def _get_array(self, key: str) -> NDArray[Any]:
        return self._arrays[key]

    def _metadata_changed(self) -> None:
        """Do nothing: the tree is the store."""

    def _has_array(self, key: str) -> bool:
        return key in self._arrays

    def array_keys(self) -> list[str]:
        return sorted(self._arrays)

    def get_file_path(self, key: str) -> str:
        """Return ``""``: there is no file.

        Parameters
        ----------
        key : any
        """
        return ""

    def format(self) -> str:
        return "memory"

    def _compress(self) -> int:
        return 0

    def close(self) -> None:
        self._closed = True
        self._arrays.clear()
