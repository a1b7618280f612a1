"""Small flows in this process, for facts that need no cluster."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

import dflow
from dflow.dataset import DatasetExplorer
from dflow.flowmanager import flowtask
from dflow.flowmanager.reports.flowoutput import FlowOutput

_NUMBERS = itertools.count()


class Run:
    """A finished flow: its output, summary, folder, and ways to look at what it wrote."""

    def __init__(self, output: FlowOutput, summary: dict[str, Any], flow_file: str) -> None:
        self.output, self.summary, self.flow_file = output, summary, flow_file
        self.root = Path(flow_file).parent
        self.dataset = self.root / (self.root.name + ".dataset")
        self.infoset = self.dataset.with_suffix(".infoset")

    def group(self, name: str) -> xr.Dataset:
        return xr.open_zarr(self.dataset, group=name).load()

    def table(self, name: str) -> list[tuple[int, str, str]]:
        frame = pd.read_parquet(self.dataset.with_suffix(".attribset"))
        chosen = frame[frame["table_name"] == name]
        return list(zip(chosen["id"], chosen["name"], chosen["description"], strict=True))

    def info(self) -> pd.DataFrame:
        return pd.read_parquet(self.infoset).set_index("description")

    def explorer(self) -> DatasetExplorer:
        return DatasetExplorer(flow_output_file=self.flow_file)


def run_flow(folder: Path, tasks: Sequence[Callable[..., Any]], inputs: Mapping[str, Any], **arguments: Any) -> Run:
    """Run tasks in this process, in a flow of their own name."""
    settings = {"debug": True, "export_visualization": False, **arguments}
    flow = dflow.create_flow(f"flow_{next(_NUMBERS)}", list(tasks), folder, **settings)
    return Run(*flow.process(inputs=inputs, progress=False))


def save_each(folder: Path, save: Callable[[Any, Any], Any], items: Sequence[Any], schema: Any = None) -> Run:
    """A flow of one transform, which calls ``save(item, storage)``."""

    def transform(item, cad_loader, storage):
        if schema is not None:
            storage.set_schema(schema)
        return save(item, storage)

    return run_flow(folder, [flowtask.transform(name="save", inputs=["item"])(transform)], {"items": list(items)})
