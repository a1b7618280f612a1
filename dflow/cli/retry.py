"""``dflow retry``."""

from __future__ import annotations

from collections import Counter

import click

from dflow.cli.errors import checked_kinds, read_errors
from dflow.cli.output import echo
from dflow.cli.pipeline import Overrides, flow_options, load_flow
from dflow.cli.run import run_to_exit


@click.command(short_help="Run again what failed in a flow's last run.")
@click.argument("pipeline", metavar="PIPELINE.PY[:FLOW]")
@click.option("--kinds", "--kind", "kinds", multiple=True, help="Only failures of these kinds; commas, or repeated.")
@flow_options
@click.option("--quiet", is_flag=True, help="No progress bars and no tables.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON on standard output.")
@click.pass_context
def retry(
    ctx: click.Context, pipeline: str, kinds: tuple[str, ...], overrides: Overrides, quiet: bool, as_json: bool
) -> None:
    """Run again what failed in a flow's last run, with another allowance if one is given; all else is reused.

    The kinds are those that `dflow errors` prints. PIPELINE, --name and --out must name the same flow as in the run.
    Exit codes as of `dflow run`; 0 also where nothing of these kinds failed.

    \b
    Examples:
      dflow retry pipeline.py:flow --kinds timeout --timeout-seconds 600
      dflow retry pipeline.py:flow --kinds crash,out_of_memory --memory-limit 8GB --workers 2
    """
    flow = load_flow(pipeline, overrides)
    entries = read_errors(flow.settings.paths.root)
    wanted = checked_kinds(kinds, entries, "--kinds")
    failed = Counter(str(entry.get("kind", "")) for entry in entries)
    if not (set(wanted) & set(failed) if wanted else failed):
        present = ", ".join(f"{count} {kind}" for kind, count in failed.most_common()) or "none"
        kinds_wanted = ", ".join(wanted) or "any kind"
        echo(f"Nothing to retry: the last run has no failure of {kinds_wanted} (it has: {present}).")
        return
    progress = False if quiet else None
    run_to_exit(ctx, lambda: flow.retry(wanted or None, progress=progress), as_json=as_json)
