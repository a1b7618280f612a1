"""A class for every face of a machined part: MFCAD, learned with PyTorch Geometric.

    python notebooks/face_segmentation.py shared/data/mfcad

A part is a graph: its faces are nodes, and an arc joins two faces that share an edge.
"""

# %%
import sys
import tempfile
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch_geometric.loader import DataLoader
from torch_geometric.nn import GINEConv

from dflow import BrepEncoder, DatasetLoader, SchemaBuilder, create_flow, flowtask, gather_cad_files, labels
from dflow.dataset.training.transforms import UnitBox

N_CLASSES = 16  # 15 kinds of features, and what is left of the stock
CODES = ["faces/face_types", "edges/edge_types", "edges/edge_convexities"]
FACES = ["faces/face_uv_grids", "faces/face_areas", "faces/face_loops", *CODES[:1]]
EDGES = ["edges/edge_lengths", "edges/edge_dihedral_angles", *CODES[1:]]

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
    classes = labels.join(brep, path.parent.parent / "face_labels.json", by="name", field=path.name)
    storage.save_data("faces/label", classes.labels)
    return storage.get_file_path("")


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
            subsets = [loader.get_dataset(s, transform=UnitBox()) for s in ("train", "validation", "test")]
            graphs = [
                list(subset.to_geometric(x=FACES, y="faces/label", edge_attr=EDGES, undirected=True, one_hot=CODES))
                for subset in subsets
            ]
    train, validation, test = (DataLoader(part, 16, shuffle=part is graphs[0]) for part in graphs)
    model = Network(graphs[0][0].num_features, graphs[0][0].num_edge_features)
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
    return accuracy(model, test), sum(len(graph.y) for graph in graphs[2]), curve


# %%
if __name__ == "__main__":
    share, n_faces, curve = main(sys.argv[1], *map(int, sys.argv[2:]))
    print("validation by epoch:", *(f"{share:.3f}" for share in curve))
    print(f"{share:.2%} of {n_faces} faces of parts never seen")
