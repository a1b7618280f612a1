"""Datasets as the files that the loaders of UV-Net, BRepNet and AAGNet read: a sample is one solid.

Formats are those of the repositories AutodeskAILab/UV-Net (``datasets/mfcad.py``), AutodeskAILab/BRepNet
(``dataloaders/brepnet_dataset.py``) and whjdark/AAGNet (``dataloader/mfcad2.py``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dflow.dataset.export.dgl import graph_file
from dflow.dataset.format.stored_split import SUBSETS
from dflow.dataset.training.samples import ID, Samples
from dflow.errors import DatasetError

Array = np.ndarray[Any, np.dtype[Any]]
Arrays = Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class NetworkInput:
    """How the stored arrays of a sample become a network's, and what else is written.

    Attributes
    ----------
    name : "uvnet", "brepnet" or "aagnet".
    keys : the arrays ``group/array`` that it is made of.
    pack : returns the network's arrays from these.
    labels : the array of integer classes, one a face; None to write no labels.
    names : of all samples, by id: the files' names without suffix.
    subsets : subset to file ids; without any, all samples are the test set.
    """

    name: str
    keys: tuple[str, ...]
    pack: Callable[[Arrays], dict[str, Array]]
    labels: str | None = None
    names: Sequence[str] = ()
    subsets: Mapping[str, Array] = field(default_factory=dict)


class NetworkWriter:
    """Common parts: names, labels, and the lists of the subsets."""

    label_path = ""
    """Of a sample's labels, with its name to be filled in."""

    def __init__(self, path: Path, network: NetworkInput, ids: Array) -> None:
        self._path = path
        self._network = network
        self._names = file_names({int(i): network.names[i] for i in ids})
        chosen = {subset: {int(i) for i in network.subsets.get(subset, ())} for subset in SUBSETS}
        if not network.subsets:
            chosen["test"] = set(self._names)
        self._subsets = {
            subset: [self._names[i] for i in sorted(chosen[subset] & set(self._names))] for subset in SUBSETS
        }
        self._trained_on = chosen["train"] & set(self._names) or set(self._names)
        path.mkdir()

    def write(self, samples: Samples) -> None:
        """The files of each sample."""
        for position in range(len(samples)):
            item = samples.item(position)
            name, arrays = self._names[item[ID]], self._network.pack(item)
            self._write_sample(item[ID], name, arrays)
            if self._network.labels is not None:
                labels = [int(label) for label in np.asarray(item[self._network.labels]).reshape(-1)]
                self._file(self.label_path.format(name)).write_text(self._label_text(labels), encoding="utf-8")

    def write_tables(self, info: Any, labels: Any) -> None:
        """The lists of the subsets, and statistics."""
        raise NotImplementedError

    def close(self) -> None:
        """Nothing is open."""

    def _write_sample(self, file_id: int, name: str, arrays: Arrays) -> None:
        raise NotImplementedError

    def _label_text(self, labels: list[int]) -> str:
        raise NotImplementedError

    def _file(self, name: str) -> Path:
        path = self._path / name
        path.parent.mkdir(exist_ok=True)
        return path

    def _write_json(self, name: str, value: Any) -> None:
        self._file(name).write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


class UvNetWriter(NetworkWriter):
    """``graph/<name>.bin``, ``labels/<name>_ids.json``, ``split.json``."""

    label_path = "labels/{}_ids.json"

    def write_tables(self, info: Any, labels: Any) -> None:
        """The split."""
        self._write_json("split.json", self._subsets)

    def _write_sample(self, file_id: int, name: str, arrays: Arrays) -> None:
        content = graph_file(
            arrays["src"], arrays["dst"], len(arrays["x"]), nodes={"x": arrays["x"]}, edges={"x": arrays["e"]}
        )
        self._file(f"graph/{name}.bin").write_bytes(content)

    def _label_text(self, labels: list[int]) -> str:
        return json.dumps({"body": {"faces": [{"segment": {"index": label}} for label in labels]}})


class BRepNetWriter(NetworkWriter):
    """``<name>.npz``, ``<name>.seg``, and ``dataset.json`` with the split and the features' means and deviations."""

    label_path = "{}.seg"
    _FEATURES = ("face_features", "edge_features", "coedge_features")

    def __init__(self, path: Path, network: NetworkInput, ids: Array) -> None:
        super().__init__(path, network, ids)
        self._moments = {name: Moments() for name in self._FEATURES}

    def write_tables(self, info: Any, labels: Any) -> None:
        """The dataset file."""
        # Its loader refuses a deviation of 0: a feature that is the same everywhere gets 1.
        standards = {
            name: [
                {"mean": mean, "standard_deviation": deviation if deviation > 1e-7 else 1.0}
                for mean, deviation in zip(moments.mean.tolist(), moments.deviation(1).tolist(), strict=True)
            ]
            for name, moments in self._moments.items()
        }
        lists = {
            f"{name}_set": self._subsets[key] for name, key in zip(("training", *SUBSETS[1:]), SUBSETS, strict=True)
        }
        self._write_json("dataset.json", {**lists, "feature_standardization": standards})

    def _write_sample(self, file_id: int, name: str, arrays: Arrays) -> None:
        with self._file(f"{name}.npz").open("xb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        if file_id in self._trained_on:
            for key, moments in self._moments.items():
                moments.add(arrays[key])

    def _label_text(self, labels: list[int]) -> str:
        return "".join(f"{label}\n" for label in labels)


class AagNetWriter(NetworkWriter):
    """``aag/graphs.json``, ``aag/attr_stat.json``, ``labels/<name>.json``, ``train.txt``, ``val.txt``, ``test.txt``."""

    label_path = "labels/{}.json"

    def __init__(self, path: Path, network: NetworkInput, ids: Array) -> None:
        super().__init__(path, network, ids)
        self._moments = {"face_attr": Moments(), "edge_attr": Moments()}
        self._graphs = self._file("aag/graphs.json").open("w", encoding="utf-8")
        self._separator = "["

    def write_tables(self, info: Any, labels: Any) -> None:
        """The lists of the subsets and the statistics."""
        self._graphs.write("\n]\n" if self._separator == "," else "[]\n")
        stats = {
            f"{what}_{name}": values.tolist()
            for name, moments in self._moments.items()
            for what, values in (("mean", moments.mean), ("std", moments.deviation(0)))
        }
        self._write_json("aag/attr_stat.json", stats)
        for file, subset in zip(("train.txt", "val.txt", "test.txt"), SUBSETS, strict=True):
            self._file(file).write_text("".join(f"{name}\n" for name in self._subsets[subset]), encoding="utf-8")

    def close(self) -> None:
        """Close the file of the graphs."""
        self._graphs.close()

    def _write_sample(self, file_id: int, name: str, arrays: Arrays) -> None:
        fields = {key: arrays[key].tolist() for key in arrays if key.startswith("graph_")}
        graph = {"edges": arrays["edges"].tolist(), "num_nodes": int(arrays["num_nodes"])}
        self._graphs.write(f"{self._separator}\n{json.dumps([name, {'graph': graph, **fields}])}")
        self._separator = ","
        for key, moments in self._moments.items():
            moments.add(arrays[f"graph_{key}"])

    def _label_text(self, labels: list[int]) -> str:
        return json.dumps(labels)


WRITERS: Mapping[str, type[NetworkWriter]] = {"uvnet": UvNetWriter, "brepnet": BRepNetWriter, "aagnet": AagNetWriter}


def file_names(names: Mapping[int, str]) -> dict[int, str]:
    """Names of files by id: the samples' names in letters, digits, ``.``, ``_`` and ``-``, with the id where two are
    equal.
    """
    plain = {i: re.sub(r"[^\w.-]", "_", name, flags=re.ASCII).lstrip(".") or "part" for i, name in names.items()}
    seen: dict[str, int] = {}
    for name in plain.values():
        seen[name.lower()] = seen.get(name.lower(), 0) + 1
    made = {i: name if seen[name.lower()] == 1 else f"{name}_{i}" for i, name in plain.items()}
    if len({name.lower() for name in made.values()}) < len(made):
        raise DatasetError("the names of the samples cannot be told apart in a folder; export fewer of them with ids=")
    return made


class Moments:
    """Mean and deviation of columns, rows added block after block (Chan et al. 1979)."""

    def __init__(self) -> None:
        self.n = 0
        self.mean: Array = np.zeros(0)
        self._squares: Array = np.zeros(0)

    def add(self, rows: Array) -> None:
        """The next rows, (n, k)."""
        if not len(rows):
            return
        values = rows.astype(float)
        if not self.n:
            self.mean = self._squares = np.zeros(values.shape[1])
        mean, n = values.mean(axis=0), self.n + len(values)
        off = mean - self.mean
        self._squares = self._squares + ((values - mean) ** 2).sum(axis=0) + off**2 * self.n * len(values) / n
        self.mean = self.mean + off * len(values) / n
        self.n = n

    def deviation(self, lost: int) -> Array:
        """(k,) the square root of the sum of squares over n − `lost`; 0 with too few rows."""
        deviation: Array = np.sqrt(self._squares / max(self.n - lost, 1))
        return deviation
