"""``dflow doctor``."""

from __future__ import annotations

import os

import click

from dflow.cli.main import EXIT_FAILURE
from dflow.cli.output import echo, echo_json

COLOURS = {"ok": "green", "warning": "yellow", "problem": "red"}


@click.command(short_help="Can this machine, or a cluster, run a flow?")
@click.option("--cluster", default=None, help="A scheduler's address or a profile: local, slurm, pbs, lsf, sge.")
@click.option("--workers", default=None, type=click.IntRange(min=1), help="How many workers a profile starts.")
@click.option("--sources", multiple=True, help="A folder or file that the flow will read; may be repeated.")
@click.option("--out", default=".", show_default=True, help="The folder that flows will write below.")
@click.option("--kernel/--no-kernel", default=True, help="Load the CAD kernel (takes seconds).")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.pass_context
def doctor(
    ctx: click.Context,
    cluster: str | None,
    workers: int | None,
    sources: tuple[str, ...],
    out: str,
    kernel: bool,
    as_json: bool,
) -> None:
    """Check whether this machine, and every worker of a cluster, can run a flow.

    Checks the CAD kernel and its system libraries, the versions on client and workers, whether all of them see the
    sources and share the output folder, free disk, memory and open files. Each finding names the host, the path, and
    what to do. Exit code 0: no problem (warnings do not count); 1: problems.

    \b
    Examples:
      dflow doctor
      dflow doctor --cluster tcp://10.0.0.1:8786 --sources /data/cad --out /shared/out
      dflow doctor --cluster slurm --workers 2 --out ~/out --json
    """
    from dflow.flowmanager.cluster.clusters import resolve
    from dflow.flowmanager.cluster.doctor import examine

    connection = resolve(cluster, max_workers=workers) if cluster else None
    try:
        paths = [os.path.abspath(os.path.expanduser(source)) for source in sources]
        report = examine(connection.client if connection else None, paths, out, kernel=kernel)
    finally:
        if connection is not None:
            connection.close()
    if as_json:
        echo_json(report.to_dict())
    else:
        for finding in report.findings:
            click.secho(f"{finding.level:8}", fg=COLOURS[finding.level], nl=False)
            echo(f"{finding.check:12} {finding}")
    ctx.exit(EXIT_FAILURE if report.problems else 0)
