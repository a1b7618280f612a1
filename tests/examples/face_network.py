"""A small graph network that learns a class for every face of a part, straight from a dflow dataset.

    python -m tests.examples.face_network parts.dataset

Faces are nodes, shared edges are arcs. A face sees its grid of points and normals, its type, area and number of
loops; an arc sees the edge's convexity, type, length and dihedral angle. Messages run both ways along every arc.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from dflow.dataset import DatasetLoader
from dflow.dataset.training.transforms import UnitBox

FACE_TYPES, EDGE_TYPES, CONVEXITIES = 17, 9, 4
COLUMNS = (
    "faces/face_uv_grids",
    "faces/face_types",
    "faces/face_areas",
    "faces/face_loops",
    "edges/edge_types",
    "edges/edge_lengths",
    "edges/edge_dihedral_angles",
    "edges/edge_convexities",
    "graph",
)


def face_features(batch: dict[str, Any]) -> torch.Tensor:
    """(n_faces, …) float32: every second grid point, the type, log area, loops."""
    grids = batch["faces/face_uv_grids"][:, ::3, ::3].flatten(1)
    types = functional.one_hot(batch["faces/face_types"].long(), FACE_TYPES)
    area = torch.log1p(batch["faces/face_areas"] * 100)[:, None]
    return torch.cat([torch.nan_to_num(grids), types, area, batch["faces/face_loops"][:, None]], dim=1).float()


def arc_features(batch: dict[str, Any]) -> torch.Tensor:
    """(n_arcs, …) float32 of the edge behind each arc."""
    edge = batch["graph/arc_edge"].long()
    kinds = functional.one_hot(batch["edges/edge_types"].long(), EDGE_TYPES)
    convexity = functional.one_hot(batch["edges/edge_convexities"].long(), CONVEXITIES)
    numbers = torch.stack([batch["edges/edge_lengths"], torch.nan_to_num(batch["edges/edge_dihedral_angles"])], dim=1)
    return torch.cat([kinds, convexity, numbers], dim=1)[edge].float()


class FaceNetwork(nn.Module):
    """Message passing with a gate from the arc's features, residual, a few rounds."""

    def __init__(self, n_faces: int, n_arcs: int, n_classes: int, width: int = 64, rounds: int = 4) -> None:
        super().__init__()
        self.faces = nn.Sequential(nn.Linear(n_faces, width), nn.ReLU(), nn.Linear(width, width))
        self.arcs = nn.Sequential(nn.Linear(n_arcs, width), nn.ReLU(), nn.Linear(width, width))
        self.messages = nn.ModuleList(nn.Sequential(nn.Linear(3 * width, width), nn.ReLU()) for _ in range(rounds))
        self.updates = nn.ModuleList(
            nn.Sequential(nn.Linear(3 * width, width), nn.LayerNorm(width), nn.ReLU()) for _ in range(rounds)
        )
        self.head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Dropout(0.2), nn.Linear(width, n_classes))

    def forward(self, batch: dict[str, Any]) -> torch.Tensor:
        """(n_faces, n_classes) scores."""
        x, arcs = self.faces(face_features(batch)), self.arcs(arc_features(batch))
        ends = torch.stack([batch["graph/edges_source"], batch["graph/edges_destination"]]).long()
        source, target, arcs = torch.cat([ends[0], ends[1]]), torch.cat([ends[1], ends[0]]), torch.cat([arcs, arcs])
        for message, update in zip(self.messages, self.updates, strict=True):
            sent = message(torch.cat([x[source], x[target], arcs], dim=1))
            total = torch.zeros_like(x).index_add(0, target, sent)
            most = torch.zeros_like(x).scatter_reduce(0, target[:, None].expand_as(sent), sent, "amax")
            x = x + update(torch.cat([x, total, most], dim=1))
        return self.head(x)


@dataclass
class Result:
    """What training gave: accuracy per epoch on the validation split, and on the test split at the end."""

    test_accuracy: float = 0.0
    majority_share: float = 0.0
    sizes: tuple[int, int, int] = (0, 0, 0)
    losses: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)


def train(dataset: str, *, label: str = "faces/face_label", epochs: int = 30, seed: int = 0) -> Result:
    """Split by file, stratified by the faces' classes; train; keep the epoch that validates best."""
    torch.manual_seed(seed)
    with DatasetLoader(dataset) as loader:
        sizes = loader.split(label.partition("/")[2], "faces", random_state=seed, force_reset=True)
        parts = {
            name: loader.get_dataset(name, columns=[*COLUMNS, label], transform=UnitBox()).to_torch()
            for name in ("train", "validation", "test")
        }
        batches = {name: list(part.get_dataloader(batch_size=16)) for name, part in parts.items()}
    classes = torch.cat([batch[label] for batch in batches["train"]]).long()
    n_classes = int(max(batch[label].max() for part in batches.values() for batch in part)) + 1
    first = batches["train"][0]
    model = FaceNetwork(face_features(first).shape[1], arc_features(first).shape[1], n_classes)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-3)
    steps = torch.optim.lr_scheduler.OneCycleLR(optimiser, 5e-3, total_steps=epochs * len(batches["train"]))
    result, best = Result(sizes=sizes), {k: v.clone() for k, v in model.state_dict().items()}
    for epoch in range(epochs):
        order = np.random.default_rng([seed, epoch]).permutation(len(batches["train"]))
        model.train()
        losses = []
        for i in order:
            loss = functional.cross_entropy(model(batches["train"][i]), batches["train"][i][label].long())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            steps.step()
            losses.append(loss.item())
        result.losses.append(float(np.mean(losses)))
        result.validation.append(accuracy(model, batches["validation"], label))
        if result.validation[-1] == max(result.validation):
            best = {k: v.clone() for k, v in model.state_dict().items()}
    model.load_state_dict(best)
    result.test_accuracy = accuracy(model, batches["test"], label)
    held_out = torch.cat([batch[label] for batch in batches["test"]]).long()
    result.majority_share = float((held_out == torch.bincount(classes).argmax()).float().mean())
    return result


def accuracy(model: nn.Module, batches: list[dict[str, Any]], label: str) -> float:
    """Share of faces whose best score is their class."""
    model.eval()
    with torch.no_grad():
        right = torch.cat([model(batch).argmax(dim=1) == batch[label] for batch in batches])
    return float(right.float().mean())


if __name__ == "__main__":
    print(train(sys.argv[1]))
