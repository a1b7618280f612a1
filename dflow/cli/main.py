"""The group ``dflow``: finds its commands without importing the packages that they need."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from dflow._version import __version__
from dflow.errors import DflowError

COMMANDS: dict[str, str] = {
    "demo": "dflow.cli.demo:demo",
}
"""Name of each command and where it is defined."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called or listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dflow")
def cli() -> None:
    """Folders of CAD files become datasets that machines learn from."""


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line; a dflow error becomes one line on standard error and exit code 1."""
    try:
        return cli.main(args=arguments, prog_name="dflow")
    except DflowError as error:
        click.echo(f"dflow: {error}", err=True)
        sys.exit(1)
