"""Storages of one sample, the record that describes a sample, and the paths of a flow's files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dflow.lazy import attach

if TYPE_CHECKING:
    from dflow.hoops.convert import convert_storage, open_storage
    from dflow.hoops.files import CADFileRetriever, LocalStorageProvider, StorageProvider
    from dflow.hoops.graph_storage import DGLGraphStoreHandler, MLStorage, PyGGraphStoreHandler
    from dflow.hoops.label_storage import LabelStorage
    from dflow.storage.base import DataStorage
    from dflow.storage.jsonfiles import JsonStorageHandler
    from dflow.storage.memory import MemoryStorage
    from dflow.storage.opt import OptStorage
    from dflow.storage.sample import describe, describe_file, read_arrays
    from dflow.storage.zarrzip import StoredArray, WrittenStore, read_zip_store, store_crc, write_zip_store
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "CADFileRetriever": "dflow.hoops.files",
            "DGLGraphStoreHandler": "dflow.hoops.graph_storage",
            "DataStorage": "dflow.storage.base",
            "JsonStorageHandler": "dflow.storage.jsonfiles",
            "LabelStorage": "dflow.hoops.label_storage",
            "LocalStorageProvider": "dflow.hoops.files",
            "MLStorage": "dflow.hoops.graph_storage",
            "MemoryStorage": "dflow.storage.memory",
            "OptStorage": "dflow.storage.opt",
            "PyGGraphStoreHandler": "dflow.hoops.graph_storage",
            "StorageProvider": "dflow.hoops.files",
            "StoredArray": "dflow.storage.zarrzip",
            "WrittenStore": "dflow.storage.zarrzip",
            "convert_storage": "dflow.hoops.convert",
            "describe": "dflow.storage.sample",
            "describe_file": "dflow.storage.sample",
            "open_storage": "dflow.hoops.convert",
            "read_arrays": "dflow.storage.sample",
            "read_zip_store": "dflow.storage.zarrzip",
            "store_crc": "dflow.storage.zarrzip",
            "write_zip_store": "dflow.storage.zarrzip",
        },
    )

__all__ = [
    "CADFileRetriever",
    "DGLGraphStoreHandler",
    "DataStorage",
    "JsonStorageHandler",
    "LabelStorage",
    "LocalStorageProvider",
    "MLStorage",
    "MemoryStorage",
    "OptStorage",
    "PyGGraphStoreHandler",
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
