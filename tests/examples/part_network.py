"""Which kind of part is it? One class a file, from the same arrays as `face_network`, pooled over the part's faces.

python -m tests.examples.part_network parts.dataset [confusion.png]
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from dflow.dataset import DatasetExplorer, DatasetLoader
from dflow.dataset.training.transforms import UnitBox
from tests.examples.face_network import COLUMNS, FaceNetwork, arc_features, face_features

LABEL = "file/category"


class PartNetwork(nn.Module):
    """The face network's states, their mean and largest over each part, and a head."""

    def __init__(self, n_faces: int, n_arcs: int, n_classes: int, width: int = 48) -> None:
        super().__init__()
        self.faces = FaceNetwork(n_faces, n_arcs, width, width=width, rounds=3)
        self.head = nn.Sequential(nn.Linear(2 * width + 1, width), nn.ReLU(), nn.Linear(width, n_classes))

    def forward(self, batch: dict[str, Any]) -> torch.Tensor:
        """(n_parts, n_classes) scores."""
        x, part = self.faces(batch), batch["faces/batch"]
        sizes = torch.diff(batch["faces/ptr"])[:, None].float()
        empty = x.new_zeros(len(sizes), x.shape[1])
        mean = empty.index_add(0, part, x) / sizes.clamp(min=1)
        most = empty.scatter_reduce(0, part[:, None].expand_as(x), x, "amax", include_self=False)
        return self.head(torch.cat([mean, most, torch.log1p(sizes)], dim=1))


@dataclass
class Result:
    """Accuracy on the held-out files, the share of the largest class, and the confusion matrix (true, predicted)."""

    test_accuracy: float
    majority_share: float
    n_test: int
    confusion: np.ndarray[Any, Any]
    losses: list[float] = field(default_factory=list)


def train(dataset: str, *, epochs: int = 60, seed: int = 0) -> Result:
    """Split 60/10/30, stratified by the category; train; test the epoch that validates best."""
    torch.manual_seed(seed)
    with DatasetLoader(dataset) as loader:
        loader.split("category", "labels", train=0.6, validation=0.1, test=0.3, random_state=seed, force_reset=True)
        batches = {
            name: list(
                loader.get_dataset(name, columns=[*COLUMNS, LABEL], transform=UnitBox())
                .to_torch()
                .get_dataloader(batch_size=8, shuffle=True, seed=seed)
            )
            for name in ("train", "validation", "test")
        }
    n_classes = int(max(batch[LABEL].max() for part in batches.values() for batch in part)) + 1
    first = batches["train"][0]
    model = PartNetwork(face_features(first).shape[1], arc_features(first).shape[1], n_classes)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2)
    steps = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=epochs * len(batches["train"]))
    losses, best_score, best = [], -1.0, model.state_dict()
    for epoch in range(epochs):
        model.train()
        total = []
        for i in np.random.default_rng([seed, epoch]).permutation(len(batches["train"])):
            batch = batches["train"][i]
            loss = functional.cross_entropy(model(batch), batch[LABEL].long())
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            steps.step()
            total.append(loss.item())
        losses.append(float(np.mean(total)))
        score = float(np.trace(confusion(model, batches["validation"], n_classes)))
        if score >= best_score:
            best_score, best = score, {k: v.clone() for k, v in model.state_dict().items()}
    model.load_state_dict(best)
    found = confusion(model, batches["test"], n_classes)
    return Result(found.trace() / found.sum(), found.sum(axis=1).max() / found.sum(), int(found.sum()), found, losses)


def confusion(model: nn.Module, batches: list[dict[str, Any]], n_classes: int) -> np.ndarray[Any, Any]:
    """(n_classes, n_classes) counts: true class by predicted class."""
    model.eval()
    counts = np.zeros((n_classes, n_classes), np.int64)
    with torch.no_grad():
        for batch in batches:
            np.add.at(counts, (batch[LABEL].numpy(), model(batch).argmax(dim=1).numpy()), 1)
    return counts


def draw(result: Result, labels: list[str], path: str) -> None:
    """The confusion matrix as a picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 7), layout="constrained")
    axes = figure.subplots()
    axes.imshow(result.confusion, cmap="Blues")
    for (row, column), count in np.ndenumerate(result.confusion):
        if count:
            axes.text(column, row, str(count), ha="center", va="center", fontsize=8)
    axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=7)
    axes.set_yticks(range(len(labels)), labels, fontsize=7)
    axes.set(xlabel="predicted", ylabel="true", title=f"{result.test_accuracy:.0%} of {result.n_test} files right")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    outcome = train(sys.argv[1])
    print(outcome.test_accuracy, outcome.majority_share, outcome.n_test, outcome.losses[::10])
    if len(sys.argv) > 2:
        with DatasetExplorer(merged_store_path=sys.argv[1]) as explorer:
            names = explorer.create_distribution("category", None, "labels")["labels"]
        draw(outcome, names, sys.argv[2])
