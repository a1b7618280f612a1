"""``dflow validate``."""

from __future__ import annotations

import click

from dflow.cli.main import EXIT_FAILURE
from dflow.cli.output import echo, echo_json
from dflow.cli.target import Target, TargetPath, merged


@click.command(short_help="Check a finished dataset.")
@click.argument("dataset", type=TargetPath())
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_context
def validate(ctx: click.Context, dataset: Target, as_json: bool) -> None:
    """Check a finished dataset: its list of files, checksums, row offsets, ids and tables. Reads each byte once.

    Exit code 0: sound; 1: problems, listed one per line.

    \b
    Examples:
      dflow validate out/flows/parts
      dflow validate parts.dataset --json
    """
    from dflow.dataset.format.location import locate
    from dflow.dataset.validate import validate_dataset

    location = locate(merged(dataset).flow_file, dataset=dataset.dataset)
    problems = validate_dataset(location.dataset, infoset=location.infoset, attribset=location.attribset)
    if as_json:
        echo_json({"dataset": str(location.dataset), "sound": not problems, "problems": problems})
    else:
        for problem in problems:
            echo(problem)
        echo(f"{location.dataset}: {f'{len(problems)} problems' if problems else 'sound'}")
    ctx.exit(EXIT_FAILURE if problems else 0)
