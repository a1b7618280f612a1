"""The demo: sixty generated parts in six families become a dataset, with the quick reference's pipeline.

``dflow demo`` runs it. `encode_part` is what a user writes; the rest shows the result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dflow.cadaccess.kernel.check import require_kernel
from dflow.cadencoder import BrepEncoder
from dflow.dataset import DatasetExplorer, DatasetLoader
from dflow.flowmanager import create_flow, flowtask, gather_cad_files
from dflow.insights import DatasetViewer
from dflow.localpath import local_path
from dflow.schema import SchemaBuilder


def part_schema() -> dict[str, Any]:
    """Return the demo's schema, which declares the label; the encoder's groups need no declaration."""
    builder = SchemaBuilder(domain="demo_parts", version="1.0", description="Generated parts in six families")
    builder.define_categorical_metadata("family", "str", "The family that the part was generated from")
    return builder.build()


SCHEMA = part_schema()


gather_files = gather_cad_files
"""Every CAD file below the sources."""


@flowtask.transform(name="encode", inputs=["cad_file", "cad_loader", "storage"], outputs=["encoded"])
def encode_part(cad_file: str, cad_loader: Any, storage: Any) -> str:
    """Encode attributes, graph and sample grids of one part; the folder's name is its label."""
    model = cad_loader.create_from_file(cad_file)
    storage.set_schema(SCHEMA)
    BrepEncoder(model.get_brep(), storage).encode("uvnet")
    storage.save_metadata("family", Path(cad_file).parent.name)
    storage.compress_store()
    path: str = storage.get_file_path("")
    return path


@dataclass(frozen=True, slots=True)
class DemoResult:
    """The demo's results: `sizes` are those of the train, validation and test splits, in samples."""

    flow_file: Path
    preview: Path
    n_parts: int
    sizes: tuple[int, int, int]


def run_demo(
    folder: str | Path, *, n_parts: int = 60, max_workers: int | None = None, show: Callable[[str], None] = print
) -> DemoResult:
    """Generate parts, build the dataset, and show its contents.

    Parameters
    ----------
    folder
        Gets ``parts/`` (the STEP files) and ``flows/demo/`` (the outputs).
    n_parts
        How many parts, the six families in turn.
    max_workers
        Worker processes, None for one per core.
    show
        Called with each line of output.
    """
    require_kernel()
    from dflow.demo.parts import write_parts

    folder = Path(local_path(folder)).resolve()
    files = write_parts(folder / "parts", n_parts=n_parts)
    show(f"{len(files)} STEP files in {folder / 'parts'}")
    flow = create_flow(
        name="demo", tasks=[gather_files, encode_part], flows_outputdir=str(folder), max_workers=max_workers
    )
    _, summary, flow_file = flow.process(inputs={"sources": [str(folder / "parts")]})
    sizes, preview = show_dataset(Path(flow_file), show)
    return DemoResult(Path(flow_file), preview, int(summary["samples"]), sizes)


def show_dataset(flow_file: Path, show: Callable[[str], None]) -> tuple[tuple[int, int, int], Path]:
    """Show table of contents, class distribution and split sizes of the demo's dataset, and save a preview image."""
    explorer = DatasetExplorer(flow_output_file=str(flow_file))
    explorer.print_table_of_contents()
    show("\nParts per family:")
    names = explorer.get_descriptions("family").set_index("id")["name"]
    distribution = explorer.create_distribution(key="family", group="labels", bins=None)
    for code, ids in enumerate(distribution["file_id_codes_in_bins"]):
        show(f"  {names[code]:<10} {len(ids):>4}")
    base = flow_file.with_suffix("")
    loader = DatasetLoader(merged_store_path=f"{base}.dataset", parquet_file_path=f"{base}.infoset")
    sizes = loader.split(key="family", group="labels", train=0.7, validation=0.15, test=0.15, random_state=42)
    loader.close_resources()
    show(f"\nSplit, stratified by family: {sizes[0]} train, {sizes[1]} validation, {sizes[2]} test")
    preview = flow_file.parent / "preview.png"
    viewer = DatasetViewer.from_explorer(explorer)
    picks = [int(ids[0]) for ids in distribution["file_id_codes_in_bins"] if len(ids)]
    viewer.show_preview_as_image(picks, grid_cols=3, label_format="name", save_path=str(preview))
    explorer.close()
    show(f"\nOutputs:  {flow_file.parent}\nPreview:  {preview}")
    return sizes, preview
