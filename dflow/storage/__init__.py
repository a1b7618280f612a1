"""Arrays out: the storages of one sample, the record of what a sample holds, and where all files lie."""

from __future__ import annotations

from dflow.hoops.files import CADFileRetriever, LocalStorageProvider, StorageProvider
from dflow.hoops.label_storage import LabelStorage
from dflow.storage.base import DataStorage
from dflow.storage.convert import convert_storage, open_storage
from dflow.storage.jsonfiles import JsonStorageHandler
from dflow.storage.memory import MemoryStorage
from dflow.storage.opt import OptStorage
from dflow.storage.sample import describe, describe_file, read_arrays
from dflow.storage.zarrzip import StoredArray, WrittenStore, read_zip_store, store_crc, write_zip_store

__all__ = [
    "CADFileRetriever",
    "DataStorage",
    "JsonStorageHandler",
    "LabelStorage",
    "LocalStorageProvider",
    "MemoryStorage",
    "OptStorage",
    "StorageProvider",
    "StoredArray",
    "WrittenStore",
    "convert_storage",
    "describe",
    "describe_file",
    "open_storage",
    "read_arrays",
    "read_zip_store",
    "store_crc",
    "write_zip_store",
]
