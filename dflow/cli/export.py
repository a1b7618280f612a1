"""``dflow export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dflow.cli.output import echo, echo_json
from dflow.cli.target import Target, TargetPath, merged
from dflow.plaintext import plain

if TYPE_CHECKING:
    from dflow.dataset.export.networks import NetworkInput
    from dflow.dataset.format.location import DatasetLocation
    from dflow.dataset.loader import DatasetLoader


_FORMS = ("parquet", "npz", "pyg", "hdf5", "huggingface", "webdataset")
_SUBSETS = ("train", "validation", "test")
_NETWORKS = ("uvnet", "brepnet", "aagnet")


@click.command(short_help="Write a dataset as Parquet, npz, PyG, HDF5, for Hugging Face, WebDataset or a network.")
@click.argument("dataset", type=TargetPath())
@click.option("--to", "form", required=True, type=click.Choice([*_FORMS, *_NETWORKS]), help="The format.")
@click.option("--out", required=True, type=click.Path(), help="The new folder, or for hdf5 the new file.")
@click.option(
    "--columns",
    multiple=True,
    help="Groups and group/array names, commas or repeated.  [default: all but the face-pair arrays]",
)
@click.option("--labels", default=None, help="For networks: the array of the faces' classes, such as faces/label.")
@click.option("--ids", default=None, help="Only these samples: ids and ranges such as 0,5,10-19, or @FILE with them.")
@click.option("--subset", type=click.Choice(_SUBSETS), help="Only the samples of this subset of the stored split.")
@click.option("--overwrite", is_flag=True, help="Replace an existing export of that name.")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
def export(
    dataset: Target,
    form: str,
    out: str,
    columns: tuple[str, ...],
    labels: str | None,
    ids: str | None,
    subset: str | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write a dataset in another format, a block of samples at a time.

    \b
    parquet  a folder: a table per group (a row per element), file.parquet (a row per sample), labels.parquet
    npz      a folder: <id>.npz per sample with the arrays group/array; file.parquet, labels.parquet
    pyg      a folder: <id>.pt per sample, a dictionary of tensors that torch.load(..., weights_only=True) reads and
             dflow.dataset.training.torch.to_geometric turns into a graph for PyTorch Geometric's loader;
             file.parquet, labels.parquet
    hdf5     one file: an HDF5 group per group, file ids and row offsets, the two tables; netCDF4 and xarray open it
             with names (xarray.open_datatree(..., engine="netcdf4")); float16 becomes float32
    huggingface
             a folder: train-*.parquet, validation-*.parquet, test-*.parquet with a row per sample, arrays as nested
             lists, null where a sample lacks one; datasets.load_dataset("parquet", data_dir=...) loads it
    webdataset
             a folder: train-000000.tar, ... with <id>.npz and <id>.json per sample; file.parquet, labels.parquet

    \b
    uvnet    a folder for the network's own loader: graph/<name>.bin, labels/<name>_ids.json, split.json
    brepnet  <name>.npz, <name>.seg, dataset.json
    aagnet   aag/graphs.json, aag/attr_stat.json, labels/<name>.json, train.txt, val.txt, test.txt

    Networks need a dataset of files encoded with encode(network=...); its stored split is written, without one all
    samples are the test set. With sample="body" the second solid of a file is <name>_1.

    \b
    Examples:
      dflow export out/flows/parts --to parquet --out parts_parquet
      dflow export parts.flow --to pyg --out graphs --columns faces/face_uv_grids,edges/edge_u_grids,graph
      dflow export parts.flow --to hdf5 --out parts.h5 --ids 0-999
      dflow export parts.flow --to webdataset --out shards --subset train
      dflow export parts.flow --to aagnet --out aagnet_parts --labels faces/label
    """
    from dflow.dataset.export.export import export_dataset, export_network
    from dflow.dataset.format.location import locate

    location = locate(merged(dataset).flow_file, dataset=dataset.dataset)
    chosen = [name.strip() for text in columns for name in text.split(",") if name.strip()]
    some = None if ids is None else parse_ids(ids)
    if subset is not None:
        some = _members(location, subset, some)
    if form in _NETWORKS:
        if chosen:
            raise click.BadParameter(f"{form} has arrays of its own; leave it out.", param_hint="--columns")
        report = export_network(location, out, _network_input(location, form, labels), ids=some, overwrite=overwrite)
    elif labels is not None:
        raise click.BadParameter(f"only {', '.join(_NETWORKS)} have them; choose --columns.", param_hint="--labels")
    else:
        report = export_dataset(location, out, form, columns=chosen or None, ids=some, overwrite=overwrite)
    if as_json:
        echo_json({"path": str(report.path), "n_samples": report.n_samples, "n_bytes": report.n_bytes})
    else:
        echo(f"{report.path}: {report.n_samples} samples, {report.n_bytes:,} bytes")


def _members(location: DatasetLocation, subset: str, ids: list[range] | None) -> list[range]:
    """The samples of a subset of the stored split, among `ids`."""
    from dflow.dataset.loader import DatasetLoader

    with DatasetLoader(location.dataset, location.infoset) as loader:
        codes = loader.get_dataset(subset).file_codes.tolist()  # type: ignore[arg-type]  # click has checked it
    return [range(code, code + 1) for code in codes if ids is None or any(code in some for some in ids)]


def _network_input(location: DatasetLocation, name: str, labels: str | None) -> NetworkInput:
    """What to write for a network: its arrays, the files' names, and the dataset's stored split."""
    from dflow.cadencoder.networks import find_network
    from dflow.dataset.export.networks import NetworkInput
    from dflow.dataset.loader import DatasetLoader
    from dflow.errors import SplitError

    network = find_network(name)
    with DatasetLoader(location.dataset, location.infoset) as loader:
        try:
            loader.load_split()
        except SplitError as error:
            click.echo(plain(f"All samples are the test set: {error}"), err=True)
            subsets = {}
        else:
            subsets = {
                "train": loader.get_dataset("train").file_codes,
                "validation": loader.get_dataset("validation").file_codes,
                "test": loader.get_dataset("test").file_codes,
            }
        return NetworkInput(name, network.recipe.keys, network.pack, labels, _file_names(loader), subsets)


def _file_names(loader: DatasetLoader) -> list[str]:
    """By id, the file's name without suffix; of further bodies of a file with the body's number."""
    files = loader.files
    if not {"description", "body"} <= set(files.columns):
        return loader.names
    stems = [Path(str(source)).stem for source in files["description"]]
    return [stem if body < 1 else f"{stem}_{body}" for stem, body in zip(stems, files["body"].tolist(), strict=True)]


def parse_ids(text: str) -> list[range]:
    """Return ``0,5,10-19`` or ``@FILE`` as ranges, in the order given.

    Raises
    ------
    click.BadParameter
        If a word is neither an id nor a range, or there is none.
    """
    if text.startswith("@"):
        try:
            with open(text[1:], encoding="utf-8") as file:
                text = file.read()
        except (OSError, ValueError) as error:
            raise click.BadParameter(str(error), param_hint="--ids") from error
    found = []
    for word in text.replace(",", " ").split():
        first, dash, last = word.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or int(last or first) < int(first):
            shown = plain(word)
            raise click.BadParameter(f"{shown!r} is neither an id nor a range such as 10-19.", param_hint="--ids")
        found.append(range(int(first), int(last or first) + 1))
    if not found:
        raise click.BadParameter("no id is given; write ids and ranges such as 0,5,10-19.", param_hint="--ids")
    return found
