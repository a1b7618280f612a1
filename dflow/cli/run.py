"""``dflow run``."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import click

from dflow.cli.main import EXIT_SOME_FAILED, Failure
from dflow.cli.output import echo, echo_json
from dflow.cli.pipeline import Overrides, flow_options, load_flow
from dflow.errors import DflowError
from dflow.plaintext import plain

if TYPE_CHECKING:
    from dflow.flowmanager import Flow


@click.command(short_help="Run a flow of a Python file.")
@click.argument("pipeline", metavar="PIPELINE.PY[:FLOW]")
@click.option("--sources", multiple=True, help="A folder or file to work on, or a pattern; may be repeated.")
@click.option("--input", "inputs", multiple=True, metavar="NAME=VALUE", help="A further input: text, or JSON.")
@flow_options
@click.option("--clean", is_flag=True, help="Delete what earlier runs of this flow left, and start afresh.")
@click.option("--quiet", is_flag=True, help="No progress bars and no tables.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON on standard output.")
@click.pass_context
def run(
    ctx: click.Context,
    pipeline: str,
    sources: tuple[str, ...],
    inputs: tuple[str, ...],
    overrides: Overrides,
    clean: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Run a flow of a Python file; what an earlier run finished is reused.

    FLOW is a name in the file: a Flow, a function that returns one, or a list of tasks (the flow is then named after
    the file). Without a name, the file's only flow is taken; without --sources, the last run's. Options override the
    file's settings. Prints the path of the .flow file.

    Exit code 0: no file failed; 3: some files failed, the dataset holds the others; 1: the flow itself failed;
    130: interrupted.

    \b
    Examples:
      dflow run pipeline.py:flow --sources parts/ --out /data/out --workers 8
      dflow run pipeline.py:tasks --name parts --sources a/ --sources b/ --cluster slurm
      dflow run pipeline.py --sources parts/odd.step --debug --no-export
    """
    flow = load_flow(pipeline, overrides)
    given = given_inputs(flow, sources, inputs)
    progress = False if quiet else None
    run_to_exit(ctx, lambda: flow.process(given, clean_output_dir=clean, progress=progress), as_json=as_json)


def given_inputs(flow: Flow, sources: tuple[str, ...], inputs: tuple[str, ...]) -> dict[str, Any]:
    """Return the flow's inputs by name: `sources` feed the first.

    Raises
    ------
    click.UsageError
        If a source does not exist, an input is not ``name=value``, or there is nothing to work on.
    """
    from dflow.flowmanager.plan.wiring import plan
    from dflow.flowmanager.run.inputs import remembered_inputs

    given: dict[str, Any] = {}
    if sources:
        given[plan(flow.settings.tasks).input_keys[0]] = [_source(source) for source in sources]
    for text in inputs:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise click.BadParameter(f"{plain(text)!r} is not NAME=VALUE.", param_hint="--input")
        given[name] = _value(value)
    if given:
        return given
    remembered = remembered_inputs(flow.settings.paths)
    if remembered is None:
        raise click.UsageError(
            "Nothing to work on: give --sources FOLDER (there is no earlier run whose sources could be used)."
        )
    return remembered


def _source(text: str) -> str:
    path = os.path.abspath(os.path.expanduser(text))
    if os.path.exists(path):
        return path
    if "://" in text or re.search(r"[*?\[\]{}]", text):
        return text
    raise click.BadParameter(f"there is no file or folder {plain(path)}.", param_hint="--sources")


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


if TYPE_CHECKING:
    from dflow.flowmanager import FlowOutput

Process = Callable[[], tuple["FlowOutput", Mapping[str, Any], str]]


def run_to_exit(ctx: click.Context, process: Process, *, as_json: bool) -> NoReturn:
    """Run a flow, print its outcome on standard output, and exit: 0, or 3 where files failed.

    Bars and tables go to standard error. An error in the user's own code shows its traceback.
    """
    try:
        with _terminated_like_interrupted():
            output, summary, flow_file = process()
    except DflowError:
        raise
    except Exception as error:
        lines = "".join(traceback.format_exception(error)).rstrip()
        raise Failure(f"a task of the flow raised:\n{lines}") from error
    if as_json:
        echo_json({**summary, "flow_file": flow_file})
    else:
        echo(flow_file)
        if output.counts.failed or output.counts.verdict:
            what = output.counts.verdict.rstrip(".") or f"{output.counts.failed} files failed"
            echo(f"{what}; see: dflow errors {flow_file}", err=True)
    ctx.exit(EXIT_SOME_FAILED if output.counts.failed else 0)


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Make SIGTERM (a queue's time limit, a service that stops) end the flow like Ctrl-C: cleanly, to be resumed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: Any) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
