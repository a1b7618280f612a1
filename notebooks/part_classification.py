"""A class for every part, after the architecture of UV-Net (arXiv 2006.10211): electronic components of KiCad.

    python notebooks/part_classification.py shared/data/kicad

The folder that a file lies in is its class. Grids of points on faces go through 2D, those on edges through 1D
convolutions; then faces and edges hear from each other along the graph, and the part is the largest of its faces.
"""

# %%
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from dflow import BrepEncoder, DatasetLoader, SchemaBuilder, create_flow, flowtask, gather_cad_files
from dflow.dataset.training.transforms import UnitBox

SUBSETS = "train", "validation", "test"
COLUMNS = ["faces/face_uv_grids", "edges/edge_u_grids", "graph", "file/category"]

# %% From STEP files to a dataset
builder = SchemaBuilder(domain="components", version="1.0")
builder.define_categorical_metadata("category", "str", "The folder that the file lies in")


@flowtask.transform(name="encode", inputs=["cad_file", "cad_loader", "storage"], outputs=["encoded"])
def encode(cad_file, cad_loader, storage):
    storage.set_schema(builder.build())
    BrepEncoder(cad_loader.create_from_file(cad_file).get_brep(), storage).encode("uvnet")
    storage.save_metadata("category", Path(cad_file).parent.name)
    return storage.get_file_path("")


# %% The network
def grid_encoder(convolution, norm, pool, n_channels, width):
    """A grid as one vector: three convolutions over all of it, their mean, a linear layer."""
    sizes = n_channels, width // 2, width, 2 * width
    layers = [(convolution(a, b, 3, padding=1, bias=False), norm(b), nn.LeakyReLU()) for a, b in pairwise(sizes)]
    end = pool(1), nn.Flatten(), nn.Linear(2 * width, width)
    return nn.Sequential(*(layer for three in layers for layer in three), *end)


def perceptron(*sizes):
    layers = [(nn.Linear(a, b), nn.BatchNorm1d(b), nn.LeakyReLU()) for a, b in pairwise(sizes)]
    return nn.Sequential(*(layer for three in layers for layer in three))


class UVNet(nn.Module):
    def __init__(self, n_classes, width=64, rounds=2):
        super().__init__()
        self.faces = grid_encoder(nn.Conv2d, nn.BatchNorm2d, nn.AdaptiveAvgPool2d, 7, width)
        self.edges = grid_encoder(nn.Conv1d, nn.BatchNorm1d, nn.AdaptiveAvgPool1d, 6, width)
        makers = [lambda: nn.Linear(width, width)] * 2 + [lambda: perceptron(width, width, width)] * 2
        self.rounds = nn.ModuleList(nn.ModuleList(make() for _ in range(rounds)) for make in makers)
        self.parts = nn.ModuleList(nn.Linear(width, 2 * width) for _ in range(rounds + 1))
        self.head = nn.Sequential(perceptron(2 * width, 2 * width), nn.Dropout(0.3), nn.Linear(2 * width, n_classes))

    def forward(self, batch):
        x = self.faces(batch["faces/face_uv_grids"].nan_to_num().permute(0, 3, 1, 2))
        e = self.edges(batch["edges/edge_u_grids"].nan_to_num().permute(0, 2, 1))[batch["graph/arc_edge"].long()]
        one, other = batch["graph/edges_source"].long(), batch["graph/edges_destination"].long()
        states = [x]
        for gate, ends, of_faces, of_edges in zip(*self.rounds, strict=True):
            heard = torch.zeros_like(x).index_add(0, other, gate(e) * x[one]).index_add(0, one, gate(e) * x[other])
            e = of_edges(e + ends(x[one] + x[other]))
            x = of_faces(x + heard)
            states.append(x)
        whose, none = batch["faces/batch"][:, None].expand_as(x), x.new_zeros(len(batch["id"]), x.shape[1])
        largest = [none.scatter_reduce(0, whose, state, "amax", include_self=False) for state in states]
        return self.head(sum(linear(state) for linear, state in zip(self.parts, largest, strict=True)))


def accuracy(model, batches):
    model.eval()
    with torch.no_grad():
        right = torch.cat([model(batch).argmax(1) == batch["file/category"] for batch in batches])
    return right.float().mean().item(), len(right)


# %% Train, and keep the state that is best on the validation parts
def main(folder, epochs=60):
    torch.manual_seed(0)
    torch.set_num_threads(1)  # batches this small run faster on one
    with tempfile.TemporaryDirectory() as out:
        flow = create_flow(name="components", tasks=[gather_cad_files, encode], flows_outputdir=out, max_workers=2)
        _, summary, _ = flow.process(inputs={"sources": [folder]})
        with DatasetLoader(summary["flow_data"]) as loader:
            loader.split("category", train=0.6, validation=0.1, test=0.3)
            subsets = [loader.get_dataset(s, columns=COLUMNS, transform=UnitBox()).to_torch() for s in SUBSETS]
            validation, test = (list(subset.get_dataloader(16)) for subset in subsets[1:])
            train = subsets[0].get_dataloader(8, shuffle=True, seed=0, drop_last=True)
            model = UVNet(len(subsets[0].dataset.classes("file/category")))
            optimiser = torch.optim.AdamW(model.parameters(), weight_decay=1e-2)
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=epochs * len(train))
            curve = []
            for _ in range(epochs):
                model.train()
                for batch in train:
                    loss = cross_entropy(model(batch), batch["file/category"].long())
                    optimiser.zero_grad()
                    loss.backward()
                    optimiser.step()
                    schedule.step()
                curve.append(accuracy(model, validation)[0])
                if curve[-1] == max(curve):
                    best = {k: v.clone() for k, v in model.state_dict().items()}
    model.load_state_dict(best)
    return *accuracy(model, test), curve


# %%
if __name__ == "__main__":
    share, n_parts, curve = main(sys.argv[1], *map(int, sys.argv[2:]))
    print("validation by epoch:", *(f"{share:.2f}" for share in curve))
    print(f"{share:.1%} of {n_parts} parts never seen")
