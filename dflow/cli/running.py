"""Running a flow from the command line: signals, what is printed, and the exit code."""

from __future__ import annotations

import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import click

from dflow.cli.main import EXIT_SOME_FAILED, Failure
from dflow.cli.output import echo, echo_json
from dflow.errors import DflowError

if TYPE_CHECKING:
    from dflow.flowmanager import FlowOutput

Process = Callable[[], tuple["FlowOutput", Mapping[str, Any], str]]


def run_to_exit(ctx: click.Context, process: Process, *, as_json: bool) -> NoReturn:
    """Run a flow, tell what came out on standard output, and exit: 0, or 3 where files failed.

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
        if output.counts.failed:
            echo(f"{output.counts.failed} files failed; see: dflow errors {flow_file}", err=True)
    ctx.exit(EXIT_SOME_FAILED if output.counts.failed else 0)


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """SIGTERM (a queue's time limit, a service that stops) ends the flow as Ctrl-C does: cleanly, to be resumed."""
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
