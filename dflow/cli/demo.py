"""``dflow demo``."""

from __future__ import annotations

import click


@click.command(short_help="Generate parts and build a dataset from them.")
@click.option("--out", default="demo_output", show_default=True, help="Folder for the parts and the outputs.")
@click.option("--parts", default=60, show_default=True, type=click.IntRange(min=6), help="How many parts to generate.")
@click.option(
    "--workers", default=None, type=click.IntRange(min=1), help="Worker processes; one per core if not given."
)
def demo(out: str, parts: int, workers: int | None) -> None:
    """Generate parts, build a dataset from them, and show its contents.

    \b
    Example:
      dflow demo --out /tmp/demo --parts 24
    """
    from dflow.demo.flow import run_demo

    run_demo(out, n_parts=parts, max_workers=workers, show=click.echo)
