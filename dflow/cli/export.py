"""``dflow export``."""

from __future__ import annotations

import click

from dflow.cli.output import echo, echo_json
from dflow.cli.target import Target, TargetPath, merged
from dflow.plaintext import plain


@click.command(short_help="Write a dataset as Parquet, npz, PyG or HDF5.")
@click.argument("dataset", type=TargetPath())
@click.option("--to", "form", required=True, type=click.Choice(["parquet", "npz", "pyg", "hdf5"]), help="The format.")
@click.option("--out", required=True, type=click.Path(), help="The new folder, or for hdf5 the new file.")
@click.option(
    "--columns",
    multiple=True,
    help="Groups and group/array names, commas or repeated.  [default: all but the face-pair arrays]",
)
@click.option("--ids", default=None, help="Only these samples: ids and ranges such as 0,5,10-19, or @FILE with them.")
@click.option("--overwrite", is_flag=True, help="Replace an existing export of that name.")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
def export(
    dataset: Target,
    form: str,
    out: str,
    columns: tuple[str, ...],
    ids: str | None,
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
    hdf5     one file: an HDF5 group per group, file ids and row offsets, the two tables

    \b
    Examples:
      dflow export out/flows/parts --to parquet --out parts_parquet
      dflow export parts.flow --to pyg --out graphs --columns faces/face_uv_grids,edges/edge_u_grids,graph
      dflow export parts.flow --to hdf5 --out parts.h5 --ids 0-999
    """
    from dflow.dataset.export.export import export_dataset
    from dflow.dataset.format.location import locate

    location = locate(merged(dataset).flow_file, dataset=dataset.dataset)
    chosen = [name.strip() for text in columns for name in text.split(",") if name.strip()]
    report = export_dataset(
        location, out, form, columns=chosen or None, ids=None if ids is None else parse_ids(ids), overwrite=overwrite
    )
    if as_json:
        echo_json({"path": str(report.path), "n_samples": report.n_samples, "n_bytes": report.n_bytes})
    else:
        echo(f"{report.path}: {report.n_samples} samples, {report.n_bytes:,} bytes")


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
