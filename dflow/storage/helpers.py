"""HOOPS AI's import path of `generate_unique_id_from_path`."""

from dflow.hoops.storages import generate_unique_id_from_path

__all__ = ["generate_unique_id_from_path"]
