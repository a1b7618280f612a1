"""``dflow info``."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dflow.cli.output import echo, echo_json, echo_table
from dflow.cli.target import Target, TargetPath

if TYPE_CHECKING:
    from dflow.dataset.query.store import DatasetStore


@click.command(short_help="What a flow did and what its dataset holds.")
@click.argument("flow", type=TargetPath())
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def info(flow: Target, as_json: bool) -> None:
    """Show what a flow did and what its dataset holds. Reads no array.

    \b
    Examples:
      dflow info out/flows/parts
      dflow info parts.flow --json
      dflow info parts.dataset
    """
    from dflow.dataset.format.location import locate, read_flow_file
    from dflow.dataset.format.tables import read_table
    from dflow.dataset.query.store import open_store

    summary = read_flow_file(flow.flow_file) if flow.flow_file is not None else None
    has_dataset = flow.dataset is not None or bool(summary and summary.get("flow_data"))
    if not as_json and summary is not None:
        _show_flow(summary, _run_facts(flow.root))
    if not has_dataset:
        if as_json:
            echo_json({"flow": summary, "run": _run_facts(flow.root), "dataset": None})
        elif summary is None:
            _show_early_end(_run_facts(flow.root), flow.root)
        return
    location = locate(flow.flow_file, dataset=flow.dataset)
    store = open_store(location.dataset, location.infoset)
    try:
        columns = read_table(location.infoset, ".infoset").column_names if location.infoset is not None else []
        if as_json:
            dataset = describe_dataset(store, columns)
            echo_json({"flow": summary, "run": _run_facts(flow.root), "dataset": dataset})
        else:
            _show_dataset(store, columns)
    finally:
        store.close()


def describe_dataset(store: DatasetStore, columns: list[str]) -> dict[str, Any]:
    """Return a dataset's path, groups, arrays, table columns and quality as plain values."""
    from dflow.dataset.report import read_quality

    groups = {
        group: {
            "dimension": store.row_dimension(group),
            "n_rows": store.n_rows(group),
            "arrays": {
                column.name: {"dims": list(column.dims), "shape": list(column.shape), "dtype": str(column.dtype)}
                for column in store.group(group).values()
            },
        }
        for group in (*store.row_groups, "file")
    }
    return {
        "path": str(store.folder.path),
        "n_samples": store.n_files,
        "build": store.folder.build,
        "n_bytes": sum(int(entry[0]) for entry in store.folder.listed_files.values() if isinstance(entry, list)),
        "groups": groups,
        "columns": columns,
        "quality": asdict(read_quality(store.infoset)),
    }


def _show_dataset(store: DatasetStore, columns: list[str]) -> None:
    from dflow.dataset.report import table_of_contents

    echo()
    for line in table_of_contents(store, columns).split("\n"):
        echo(line)


def _show_flow(summary: dict[str, Any], run: dict[str, Any]) -> None:
    finished = run.get("finished")
    seconds = summary.get("Duration [seconds]") or {}
    status = run.get("status", "finished")  # of the last run; all else is of the last finished one
    echo(f"FLOW {summary['flow_name']}" + (f", {status} {finished}" if finished else ""))
    names = ("submitted", "file_count", "skipped", "failed", "samples")
    labels = {"file_count": "succeeded"}
    counts = [f"{summary[name]} {labels.get(name, name)}" for name in names if name in summary]
    echo(f"  files: {', '.join(counts)}; {float(seconds.get('total', 0.0)):.1f} s")
    tasks = run.get("tasks")
    rows = [
        (task.get("task"), task.get("items"), task.get("reused"), f"{float(task.get('seconds', 0.0)):.2f}")
        for task in (tasks if isinstance(tasks, list) else [])
    ]
    if rows:
        echo()
        echo_table(("task", "items", "reused", "seconds"), rows)
    failures = summary.get("error_distribution") or {}
    if failures:
        echo()
        echo_table(("files", "failure"), sorted(((n, k) for k, n in failures.items()), reverse=True), numbers=1)
        echo("what to do about them: dflow errors")


def _show_early_end(run: dict[str, Any], root: Path) -> None:
    """Say of a flow that has never finished that it stopped, after how many files and by what."""
    ended = " ".join(str(run[name]) for name in ("status", "finished") if run.get(name))
    echo(f"FLOW {run.get('flow', root.name)} stopped before its end" + (f", {ended}" if ended else ""))
    counts = run.get("counts")
    if isinstance(counts, dict):
        names = ("submitted", "succeeded", "skipped", "failed")
        echo(f"  files: {', '.join(f'{counts[name]} {name}' for name in names if name in counts)}")
    if run.get("error"):
        echo(f"  {run['error']}")
    echo(f"what failed, and what to do about it: dflow errors {shlex.quote(str(root))}")
    echo("What has succeeded is kept: run the flow again to go on.")


def _run_facts(root: Path) -> dict[str, Any]:
    """Return ``run.json`` of the last run, empty where there is none: a dataset can be read without it."""
    from dflow.storage.paths import read_regular

    try:
        content = json.loads(read_regular(root / "run.json"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
