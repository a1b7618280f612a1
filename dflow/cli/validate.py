"""``dflow validate``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dflow.cli.main import EXIT_FAILURE
from dflow.cli.output import echo, echo_json
from dflow.cli.target import Target, TargetPath, merged

if TYPE_CHECKING:
    from dflow.dataset.format.location import DatasetLocation


@click.command(short_help="Check a finished dataset, and repair it.")
@click.argument("dataset", type=TargetPath())
@click.option("--repair", "is_repair", is_flag=True, help="Make damaged files anew from what is whole.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_context
def validate(ctx: click.Context, dataset: Target, is_repair: bool, as_json: bool) -> None:
    """Check a finished dataset: its list of files, checksums, row offsets, ids and tables; in a flow's folder also the
    .flow file, samples, previews and the journal. Reads each byte once.

    With --repair, damaged files are made anew: shards, metadata and tables from the encoded samples, the manifest and
    the .flow file from copies, pictures from meshes. It says what cannot be made, and who can make it.

    Exit code 0: sound, or sound after the repair; 1: problems (that are left), listed one per line.

    \b
    Examples:
      dflow validate out/flows/parts
      dflow validate parts.dataset --json
      dflow validate --repair out/flows/parts
    """
    from dflow.dataset.validate import examine
    from dflow.flowmanager.repair import repair_dataset

    location = _location(merged(dataset))
    found = examine(location.dataset, infoset=location.infoset, attribset=location.attribset)
    done: tuple[str, ...] = ()
    impossible: tuple[str, ...] = ()
    if is_repair:
        repair = repair_dataset(location.dataset, found)
        done, impossible, found = repair.done, repair.impossible, repair.after
    problems = [str(fault) for fault in found.faults]
    if as_json:
        answer = {"dataset": str(location.dataset), "sound": not problems, "problems": problems}
        answer["not_covered"] = list(found.uncovered)
        echo_json({**answer, "repaired": list(done), "not_repaired": list(impossible)} if is_repair else answer)
    else:
        for line in done:
            echo(f"repaired: {line}")
        for line in impossible:
            echo(f"not repaired: {line}")
        for problem in problems:
            echo(problem)
        for name in found.uncovered:
            echo(f"not covered by a checksum: {name}; run the flow again to add it")
        echo(f"{location.dataset}: {f'{len(problems)} problems' if problems else 'sound'}")
    ctx.exit(EXIT_FAILURE if problems else 0)


def _location(target: Target) -> DatasetLocation:
    """Return the paths that the `.flow` file names; those beside each other where it, or a table, is damaged."""
    from dflow.dataset.format.location import DatasetLocation, locate
    from dflow.errors import DflowError

    try:
        return locate(target.flow_file, dataset=target.dataset)
    except DflowError:
        dataset = target.dataset
        if dataset is None:
            assert target.flow_file is not None
            dataset = target.flow_file.with_suffix(".dataset")
        if not dataset.exists():
            raise
        return DatasetLocation(dataset, None, None, dataset.parent, dataset.stem)
