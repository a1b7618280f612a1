"""``dflow explore``."""

from __future__ import annotations

import click

from dflow.cli.target import Target, TargetPath


@click.command(short_help="Browse a dataset in the browser.")
@click.argument("flow", type=TargetPath())
@click.option("--port", default=5006, show_default=True, type=click.IntRange(0, 65535), help="0 takes any free one.")
@click.option(
    "--address", default="127.0.0.1", show_default=True, help="Where to listen; other addresses let machines in."
)
@click.option("--allow-host", "allow_hosts", multiple=True, help="A further name, or name:port, that browsers may use.")
@click.option("--open/--no-open", "open_browser", default=False, help="Open the page in a browser.")
def explore(flow: Target, port: int, address: str, allow_hosts: tuple[str, ...], open_browser: bool) -> None:
    """Browse a flow's dataset: linked histograms, a table, pictures, each part's page, the failures. Ctrl-C ends it.

    \b
    Examples:
      dflow explore out/flows/parts --open
      dflow explore parts.flow --port 0
      ssh -L 5006:localhost:5006 cluster dflow explore parts.flow
    """
    from dflow.insights.explore import serve

    if flow.flow_file is None:
        raise click.BadParameter(f"{flow.root} has no .flow file; run the flow to its end.", param_hint="FLOW")
    serve(flow.flow_file, port, address, allow_hosts=allow_hosts, open_browser=open_browser)
