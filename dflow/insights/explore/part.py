"""The data of one part's page; the page itself is ``static/part.html``."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from dflow.insights.coloring import default_palette
from dflow.insights.explore.flow_data import FlowData
from dflow.insights.explore.variables import MAX_CATEGORIES

MAX_GRAPH_FACES = 400
"""A drawing of more faces is unreadable, and its layout takes seconds."""
MAX_SHOWN_FACES = 20_000
SHADES = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
"""Five points of the colour map viridis."""


def part_data(data: FlowData, file_id: int) -> dict[str, Any]:
    """Return the content of a part's page as JSON-ready values.

    Raises
    ------
    UnknownKeyError
        If the dataset has no such file id.
    """
    entry = data.parts.entry(file_id)
    groups = {
        group: data.explorer.file_dataset(file_id, group)
        for group in data.explorer.available_groups()
        if group not in ("file", "labels")
    }
    faces = groups.get("faces")
    return {
        "id": file_id,
        "last": data.n_files - 1,
        "name": entry.name,
        "source": data.sources[file_id],
        "hasMesh": entry.has_3d,
        "hasPicture": entry.has_png,
        "values": _values(data, file_id),
        "arrays": [_array_row(group, name, array) for group, ds in groups.items() for name, array in ds.items()],
        "colorings": [] if faces is None else _colorings(data, faces),
        "graph": _graph(groups.get("graph"), faces),
        "failures": [
            {"kind": f.kind, "message": f.message, "task": f.task, "traceback": f.traceback}
            for f in data.failures.of(data.sources[file_id])
        ],
    }


def _values(data: FlowData, file_id: int) -> list[list[str]]:
    row = data.files.iloc[file_id]
    texts = {name for name, kind in data.files.dtypes.items() if not pd.api.types.is_numeric_dtype(kind)}
    return [
        [str(name), "" if name in texts and pd.isna(value) else _text(value)]
        for name, value in row.items()
        if name not in ("table_name", "id")
    ]


def _text(value: Any) -> str:
    if isinstance(value, (float, np.floating)):
        return f"{value:.6g}"
    return "" if value is None else str(value)


def _array_row(group: str, name: Any, array: xr.DataArray) -> list[str]:
    """Return group, name, shape, type, range and first values of an array."""
    values = array.values
    spread, first = "", ""
    if values.size and values.dtype.kind in "iufb":
        known = values[np.isfinite(values)] if values.dtype.kind == "f" else values
        spread = f"{_text(known.min().item())} to {_text(known.max().item())}" if known.size else "all NaN"
        first = ", ".join(_text(v) for v in values.ravel()[:8].tolist()) + (" …" if values.size > 8 else "")
    return [group, str(name), " × ".join(map(str, values.shape)), str(values.dtype), spread, first]


def _colorings(data: FlowData, faces: xr.Dataset) -> list[dict[str, Any]]:
    """Return colours and texts of the faces by each array with one number per face."""
    found = []
    for name, array in faces.items():
        values = array.values
        if values.ndim != 1 or values.dtype.kind not in "iufb" or not 0 < len(values) <= MAX_SHOWN_FACES:
            continue
        few = values.dtype.kind in "iub" and len(np.unique(values)) <= MAX_CATEGORIES
        if str(name) in ("face_indices", "file_id_code_faces"):
            continue
        made = _categories(data.names_of_codes(f"faces/{name}"), values) if few else _shades(values)
        found.append({"name": str(name), **made})
    return sorted(found, key=lambda c: ("label" not in c["name"], c["name"] != "face_types", c["name"]))


def _categories(names: dict[int, str], values: np.ndarray[Any, Any]) -> dict[str, Any]:
    labels: list[Hashable] = values.tolist()
    texts: dict[Hashable, str] = {label: names.get(int(label), str(label)) for label in set(values.tolist())}
    palette = default_palette(set(labels), texts)
    return {
        "colors": palette.colors_of(labels).tolist(),
        "texts": [texts[label] for label in labels],
        "legend": [[list(color), text] for _, (color, text) in palette.items()],
    }


def _shades(values: np.ndarray[Any, Any]) -> dict[str, Any]:
    numbers = values.astype(np.float64)
    known = np.isfinite(numbers)
    low, high = (float(numbers[known].min()), float(numbers[known].max())) if known.any() else (0.0, 1.0)
    place = np.where(known, (numbers - low) / ((high - low) or 1.0), 0.0) * (len(SHADES) - 1)
    table = np.array(SHADES, np.float64)
    colors = np.stack([np.interp(place, np.arange(len(SHADES)), table[:, i]) for i in range(3)], axis=1)
    colors[~known] = 190
    return {
        "colors": np.rint(colors).astype(int).tolist(),
        "texts": [f"{v:.6g}" for v in numbers],
        "legend": [[list(SHADES[0]), f"{low:.5g}"], [list(SHADES[-1]), f"{high:.5g}"]],
    }


def _graph(graph: xr.Dataset | None, faces: xr.Dataset | None) -> dict[str, Any]:
    """Return the position of each face in a drawing of the face adjacency graph, and its arcs."""
    if graph is None or faces is None or "edges_source" not in graph or "edges_destination" not in graph:
        return {"note": "This dataset has no face graph.", "places": [], "arcs": []}
    n_faces = int(faces.sizes.get("face", next(iter(faces.sizes.values()), 0)))
    if not n_faces:
        return {"note": "This part has no faces.", "places": [], "arcs": []}
    if n_faces > MAX_GRAPH_FACES:
        return {"note": f"{n_faces:,} faces are too many to draw as a graph.", "places": [], "arcs": []}
    arcs = np.stack([graph["edges_source"].values, graph["edges_destination"].values], axis=1)
    return {"note": "", "places": _layout(n_faces, arcs), "arcs": arcs.tolist()}


def _layout(n_faces: int, arcs: np.ndarray[Any, Any]) -> list[list[float]]:
    import networkx as nx

    graph = nx.Graph()
    graph.add_nodes_from(range(n_faces))
    graph.add_edges_from(arcs.tolist())
    places = nx.spring_layout(graph, seed=0, iterations=60)
    return [[round(float(x), 4), round(float(y), 4)] for x, y in (places[i] for i in range(n_faces))]
