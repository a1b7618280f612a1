"""The group ``dflow``, which lists its commands without importing the packages that they need."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import traceback
from typing import IO, Any

import click

from dflow._version import __version__
from dflow.errors import DflowError, FlowCancelledError
from dflow.plaintext import plain, plain_lines

COMMANDS: dict[str, str] = {
    "demo": "dflow.cli.demo:demo",
    "doctor": "dflow.cli.doctor:doctor",
    "errors": "dflow.cli.errors:errors",
    "explore": "dflow.cli.explore:explore",
    "export": "dflow.cli.export:export",
    "info": "dflow.cli.info:info",
    "retry": "dflow.cli.retry:retry",
    "run": "dflow.cli.run:run",
    "start": "dflow.cli.start:start",
    "validate": "dflow.cli.validate:validate",
}
"""Name of each command and where it is defined."""

EXIT_FAILURE = 1
EXIT_SOME_FAILED = 3
EXIT_INTERRUPTED = 130

EPILOG = """\b
Exit codes:
  0    success
  1    an error, printed in one line on standard error; problems found (validate, doctor)
  2    wrong usage: an unknown option, a file or name that does not exist
  3    the flow ran, but some of its files failed (run, retry, errors)
  130  interrupted; what was finished is kept, and the same command goes on from there
"""


class Failure(click.ClickException):
    """An error message, shown with control characters escaped; or the traceback of the user's own code."""

    exit_code = EXIT_FAILURE

    def show(self, file: IO[Any] | None = None) -> None:
        """Print it to standard error."""
        click.echo(f"dflow: {plain_lines(self.message)}", file=file, err=True)


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

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; an error becomes a message and an exit code."""
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, FlowCancelledError):
            click.echo("dflow: interrupted; the same command goes on from here", err=True)
            ctx.exit(EXIT_INTERRUPTED)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except (DflowError, OSError) as error:
            notes = [note.rstrip() for note in getattr(error, "__notes__", ())]  # a task's traceback
            raise Failure("\n".join([plain(" ".join(str(error).split("\n"))), *notes])) from error
        except Exception as error:
            raise Failure("".join(traceback.format_exception(error)).rstrip()) from error


class PlainHandler(logging.Handler):
    """Prints the package's warnings on standard error, one line each, with control characters escaped."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record; a flow's own errors are raised as well, and shown once."""
        if record.name != "dflow.flow" or record.levelno < logging.ERROR:
            click.echo(plain(record.getMessage()), err=True)


@click.group(cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dflow")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Turn folders of CAD files into datasets for machine learning.

    \b
    Examples:
      dflow demo
      dflow start parts/
      dflow run pipeline.py:flow --sources parts/ --workers 8
      dflow errors out/flows/parts
      dflow explore out/flows/parts
    """
    if os.environ.get("NO_COLOR"):  # https://no-color.org, which click does not support
        ctx.color = False
    logger = logging.getLogger("dflow")
    if not any(isinstance(handler, PlainHandler) for handler in logger.handlers):
        logger.addHandler(PlainHandler(logging.WARNING))


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line and exit; the group's help lists the exit codes."""
    sys.exit(cli.main(args=arguments, prog_name="dflow"))
