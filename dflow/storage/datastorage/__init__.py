"""HOOPS AI's import path of the storages."""

from dflow.hoops.label_storage import LabelStorage
from dflow.storage.base import DataStorage
from dflow.storage.jsonfiles import JsonStorageHandler
from dflow.storage.memory import MemoryStorage
from dflow.storage.opt import OptStorage

__all__ = ["DataStorage", "JsonStorageHandler", "LabelStorage", "MemoryStorage", "OptStorage"]
