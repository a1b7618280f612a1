"""A folder of pictures and meshes, and the little of an explorer that the viewer asks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from dflow.errors import UnknownKeyError
from dflow.render import render_sample
from tests.render import shapes

HOSTILE = "<img src=x onerror=document.title='owned'>"


FACE_ARRAYS = ["face_areas", "face_centroids", "face_types"]


class FakeExplorer:
    """Four boxes: the second has no picture, the third a damaged one, the last a hostile name and no mesh."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for i in range(4):
            render_sample(shapes.box((1 + i, 2, 3)), folder / f"{i}.png", folder / f"{i}.glb", size=(64, 64))
        (folder / "1.png").unlink()
        (folder / "2.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing more")
        (folder / "3.glb").unlink()

    def get_stream_cache_paths(self) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "id": range(4),
                "name": [f"{i:032x}_0" for i in range(4)],
                "stream_cache_png": [str(self.folder / f"{i}.png") for i in range(4)],
                "stream_cache_3d": [*(str(self.folder / f"{i}.glb") for i in range(3)), None],
            }
        )

    def get_file_info_all(self) -> pd.DataFrame:
        names = ["box.step", "other $x^2$.step", "日本\n.step", f"{HOSTILE}.step"]
        return pd.DataFrame({"id": range(4), "description": [f"../parts/{name}" for name in names]})

    def available_groups(self) -> list[str]:
        return ["edges", "faces", "file"]

    def available_arrays(self, group: str) -> list[str]:
        return {"faces": FACE_ARRAYS, "edges": ["edge_types", "edge_words"], "file": ["volume"]}[group]

    def file_dataset(self, file_id_code: int, group: str) -> xr.Dataset:
        if group == "edges":
            return xr.Dataset({"edge_types": ("edge", np.zeros(12, np.int32)), "edge_words": ("edge", np.arange(12))})
        assert group == "faces"
        areas = np.array([np.nan, *range(5)]) + 100.0 * file_id_code
        return xr.Dataset(
            {
                "face_types": ("face", np.array([0, 0, 1, 1, 0, file_id_code], np.int32)),
                "face_areas": ("face", areas),
                "face_centroids": (("face", "dim"), np.zeros((6, 3))),
            }
        )

    def get_descriptions(self, table_name: str) -> pd.DataFrame:
        if table_name != "face_types":
            raise UnknownKeyError(table_name)
        return pd.DataFrame({"id": [0, 1, 2], "name": ["plane", "cylinder", HOSTILE]})
