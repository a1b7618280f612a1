"""A class for every face of a machined part: MFCAD, learned with PyTorch Geometric.

    python notebooks/face_segmentation.py shared/data/mfcad

A part is a graph: its faces are nodes, and an arc joins two faces that share an edge.
"""

# %%
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy, one_hot
from torch_geometric.loader import DataLoader
from torch_geometric.nn import GINEConv

from dflow import BrepEncoder, DatasetLoader, SchemaBuilder, create_flow, flowtask, gather_cad_files
from dflow.dataset.training.torch import to_geometric
from dflow.dataset.training.transforms import UnitBox

N_CLASSES = 16  # 15 kinds of features, and what is left of the stock

# %% From STEP files to a dataset
builder = SchemaBuilder(domain="mfcad", version="1.0")
builder.create_group("faces", "face", "Face data").create_array("label", ["face"], "int32", "machining feature")
schema = builder.build()


@flowtask.transform(name="encode", inputs=["cad_file", "cad_loader", "storage"], outputs=["encoded"])
def encode(cad_file, cad_loader, storage):
    path = Path(cad_file)
    brep = cad_loader.create_from_file(cad_file).get_brep()
    storage.set_schema(schema)
    BrepEncoder(brep, storage).encode("uvnet")
    by_name = json.loads((path.parent.parent / "face_labels.json").read_text())[path.name]
    storage.save_data("faces/label", np.array([by_name[int(name)] for name in brep.face_names()], "int32"))
    return storage.get_file_path("")


# %% From the dataset to graphs
def to_graph(item):
    """A `Data` of one part: x (faces, 86), edge_index and edge_attr of both directions, y (faces,)."""
    graph = to_geometric(item)
    grids = graph.face_uv_grids[:, ::3, ::3].flatten(1)  # points and normals on the face, and whether they are inside
    scalars = torch.stack([torch.log1p(100 * graph.face_areas), graph.face_loops], 1)
    graph.x = torch.cat([grids, scalars, one_hot(graph.face_types.long(), 17)], 1).nan_to_num().float()
    edges = torch.stack([graph.edge_lengths, graph.edge_dihedral_angles], 1)
    kinds = one_hot(graph.edge_types.long(), 9), one_hot(graph.edge_convexities.long(), 4)
    arcs = torch.cat([edges, *kinds], 1)[graph.arc_edge].nan_to_num().float()
    graph.edge_attr = torch.cat([arcs, arcs])
    graph.edge_index = torch.cat([graph.edge_index, graph.edge_index.flip(0)], 1)
    graph.y = graph.label.long()
    return graph


# %% The network: each face hears four times from its neighbours
class Network(nn.Module):
    def __init__(self, n_inputs, n_edge_inputs, width=96):
        super().__init__()
        self.first = nn.Linear(n_inputs, width)
        layers = (nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)) for _ in range(4))
        self.convs = nn.ModuleList(GINEConv(layer, edge_dim=n_edge_inputs) for layer in layers)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(4))
        self.last = nn.Linear(width, N_CLASSES)

    def forward(self, batch):
        x = self.first(batch.x)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = x + norm(conv(x, batch.edge_index, batch.edge_attr)).relu()
        return self.last(x)


def accuracy(model, batches):
    model.eval()
    with torch.no_grad():
        right = torch.cat([model(batch).argmax(1) == batch.y for batch in batches])
    return right.float().mean().item()


# %% Train, and keep the state that is best on the validation parts
def main(folder, epochs=40):
    torch.manual_seed(0)
    torch.set_num_threads(1)  # batches this small run faster on one
    with tempfile.TemporaryDirectory() as out:
        flow = create_flow(name="mfcad", tasks=[gather_cad_files, encode], flows_outputdir=out, max_workers=2)
        _, summary, _ = flow.process(inputs={"sources": [folder]})
        with DatasetLoader(summary["flow_data"]) as loader:
            loader.split("label", "faces", train=0.7, validation=0.15, test=0.15)
            subsets = {k: loader.get_dataset(k, transform=UnitBox()) for k in ("train", "validation", "test")}
            graphs = {k: [to_graph(item) for item in subset] for k, subset in subsets.items()}
    train, validation, test = (DataLoader(graphs[k], 16, shuffle=k == "train") for k in graphs)
    model = Network(graphs["train"][0].x.shape[1], graphs["train"][0].edge_attr.shape[1])
    optimiser = torch.optim.AdamW(model.parameters(), weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 5e-3, total_steps=epochs * len(train))
    curve, best = [], {}
    for _ in range(epochs):
        model.train()
        for batch in train:
            loss = cross_entropy(model(batch), batch.y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        curve.append(accuracy(model, validation))
        if curve[-1] == max(curve):
            best = {k: v.clone() for k, v in model.state_dict().items()}
    model.load_state_dict(best)
    return accuracy(model, test), sum(len(graph.y) for graph in graphs["test"]), curve


# %%
if __name__ == "__main__":
    share, n_faces, curve = main(sys.argv[1], *map(int, sys.argv[2:]))
    print("validation by epoch:", *(f"{share:.3f}" for share in curve))
    print(f"{share:.2%} of {n_faces} faces of parts never seen")
