"""The table at the end of a flow: counts, seconds, and the most frequent errors."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dflow.flowmanager.cluster.deaths import KIND, MANY, by_host
from dflow.flowmanager.reports.flowoutput import FlowOutput, frequent_errors
from dflow.flowmanager.reports.outputs import ADVICE
from dflow.plaintext import plain


def print_report(output: FlowOutput, console: Console | None = None) -> None:
    """Print `output` for people, to the error stream by default."""
    console = console or Console(file=sys.stderr)
    console.print(_tasks_table(output))
    counts = output.counts
    share = f" ({100 * counts.failed / counts.submitted:.2f}%)" if counts.submitted else ""
    console.print(
        f"{counts.submitted} files: {counts.succeeded} succeeded, {counts.skipped} skipped, {counts.failed} "
        f"failed{share}; "
        f"{counts.reused} reused; {counts.samples} samples in {output.time_to_process:.1f} s",
        highlight=False,
    )
    if output.errors:
        console.print(_errors_table(output))
    if output.worker_deaths:
        console.print(_deaths_table(output))


def _tasks_table(output: FlowOutput) -> Table:
    table = Table(title=f"Flow {escape(output.flow_name)}", title_justify="left")
    for column in ("task", "seconds", "succeeded", "skipped", "failed", "reused"):
        table.add_column(column, justify="left" if column == "task" else "right")
    for task in output.task_instances:
        statuses = [record.status for record in task.records]
        reused = sum(record.reused for record in task.records)
        numbers = [statuses.count("succeeded"), statuses.count("skipped"), statuses.count("failed"), reused]
        cells = [str(number) if task.records else "" for number in numbers]
        table.add_row(escape(task.name), f"{task.seconds:.2f}", *cells)
    return table


def _errors_table(output: FlowOutput) -> Table:
    table = Table(title="Most frequent errors", title_justify="left")
    table.add_column("files", justify="right")
    table.add_column("reason", overflow="fold")
    table.add_column("what to do", overflow="fold")
    for reason, count in frequent_errors(output.errors):
        kind = reason[1 : reason.index("]")]
        table.add_row(str(count), escape(plain(reason)), ADVICE.get(kind, ""))
    return table


def _deaths_table(output: FlowOutput) -> Table:
    table = Table(title="Workers that were lost", title_justify="left")
    table.add_column("workers", justify="right")
    table.add_column("host")
    table.add_column("causes", overflow="fold")
    table.add_column("what to do", overflow="fold")
    for host, count, causes in by_host(output.worker_deaths):
        table.add_row(str(count), escape(host), escape(causes), ADVICE[KIND] if count >= MANY else "")
    return table
