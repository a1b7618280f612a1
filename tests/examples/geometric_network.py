"""A plain network of PyTorch Geometric that learns a class for every face of a part.

python -m tests.examples.geometric_network parts.dataset
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch_geometric.nn import GINEConv

from dflow.dataset import DatasetLoader
from dflow.dataset.training.transforms import Standardise

NUMBERS = ["faces/face_areas", "edges/edge_lengths", "edges/edge_dihedral_angles"]
CODES = ["faces/face_types", "edges/edge_convexities", "edges/edge_types"]


class FaceNetwork(nn.Module):
    """Message passing over both directions of every arc, residual."""

    def __init__(self, n_nodes: int, n_edges: int, n_classes: int, width: int = 64, rounds: int = 5) -> None:
        super().__init__()
        self.nodes, self.edges = nn.Linear(n_nodes, width), nn.Linear(n_edges, width)
        self.rounds = nn.ModuleList(
            GINEConv(nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))) for _ in range(rounds)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(rounds))
        self.head = nn.Linear(width, n_classes)

    def forward(self, batch: Any) -> torch.Tensor:
        """(n_faces, n_classes) scores."""
        x, edges = self.nodes(batch.x), self.edges(batch.edge_attr)
        for convolve, norm in zip(self.rounds, self.norms, strict=True):
            x = norm(x + convolve(x, batch.edge_index, edges).relu())
        scores: torch.Tensor = self.head(x)
        return scores


@dataclass
class Result:
    """Accuracy on the held-out faces, the share of the largest class among them, and CPU seconds after encoding."""

    accuracy: float
    majority_share: float
    n_faces: int
    cpu_seconds: float
    losses: list[float] = field(default_factory=list)


def train(dataset: str, *, label: str = "faces/face_label", epochs: int = 60, seed: int = 0) -> Result:
    """Split by file, train, and test the last epoch."""
    torch.manual_seed(seed)
    started = time.process_time()
    with DatasetLoader(dataset) as loader:
        loader.split(random_state=seed, force_reset=True)
        classes, standardise = loader.classes(label), Standardise(loader.statistics(NUMBERS))
        training, held_out = (
            loader.get_dataset(subset, columns=NUMBERS, transform=standardise).to_geometric(  # type: ignore[arg-type]
                x=["faces/face_areas", "faces/face_types", "faces/face_loops"],
                y=label,
                edge_attr=[*NUMBERS[1:], *CODES[1:]],
                one_hot=CODES,
                undirected=True,
            )
            for subset in ("train", "test")
        )
        batches = training.get_dataloader(16, shuffle=True, seed=seed)
        network = FaceNetwork(training.num_features, training.num_edge_features, len(classes))
        optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-3)
        steps = torch.optim.lr_scheduler.OneCycleLR(optimiser, 5e-3, total_steps=epochs * len(batches))
        losses = []
        for _ in range(epochs):
            total = 0.0
            for batch in batches:
                loss = functional.cross_entropy(network(batch), batch.y, ignore_index=classes.ignore_index)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                steps.step()
                total += loss.item()
            losses.append(total / len(batches))
        network.eval()
        (batch,) = held_out.get_dataloader(len(held_out))
        with torch.no_grad():
            accuracy = float((network(batch).argmax(1) == batch.y).float().mean())
    majority = float((batch.y == int(classes.counts.argmax())).float().mean())
    return Result(accuracy, majority, len(batch.y), time.process_time() - started, losses)


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(train(sys.argv[1]))
