"""HOOPS AI's import path of `encode_cad_data`."""

from dflow.hoops.encoding import encode_cad_data

__all__ = ["encode_cad_data"]
