"""``dflow errors``."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from dflow.cli.main import EXIT_SOME_FAILED
from dflow.cli.output import echo, echo_json, echo_table
from dflow.cli.target import Target, TargetPath
from dflow.plaintext import plain

MESSAGE_LENGTH = 100

LISTS = (
    ("too slow", ("timeout",), "dflow retry PIPELINE.PY:FLOW --kinds timeout --timeout-seconds 600"),
    (
        "too big",
        ("out_of_memory", "too_big"),
        "dflow retry PIPELINE.PY:FLOW --kinds out_of_memory,too_big --memory-limit 8GB",
    ),
)
"""Failures that more time or memory may cure: title, kinds, and the command that allows more."""


@click.command(short_help="What failed, why, and what to do about it.")
@click.argument("flow", type=TargetPath())
@click.option("--kind", "kinds", multiple=True, help="Only failures of these kinds; commas, or repeated.")
@click.option("--match", default=None, help="Only failures whose file or message this regular expression finds.")
@click.option("--files", is_flag=True, help="Print only the files, one per line.")
@click.option("--traceback", "tracebacks", is_flag=True, help="Also print one traceback of each message.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(min=1), help="Rows of the second table.")
@click.option("--json", "as_json", is_flag=True, help="Print the failures as a JSON list.")
@click.pass_context
def errors(
    ctx: click.Context,
    flow: Target,
    kinds: tuple[str, ...],
    match: str | None,
    files: bool,
    tracebacks: bool,
    limit: int,
    as_json: bool,
) -> None:
    """Show what failed in a flow's last run, by kind and by message, and what to do about it.

    Exit code 0: nothing failed (or nothing of that kind); 3: some files failed.

    \b
    Examples:
      dflow errors out/flows/parts
      dflow errors parts.flow --kind timeout --kind crash --files > again.txt
      dflow errors parts.flow --json | jq '.[].file'
    """
    entries = read_errors(flow.root)
    wanted = checked_kinds(kinds, entries, "--kind")
    found = [entry for entry in entries if _is_wanted(entry, wanted, _compiled(match))]
    if as_json:
        echo_json(found)
    elif files:
        for file in dict.fromkeys(_path(str(entry.get("file", "")), flow.root) for entry in found):
            echo(file)
    elif not found:
        echo("Nothing failed." if not (kinds or match) else "Nothing of that kind failed.")
    else:
        _show_kinds(found)
        echo()
        _show_messages(found, limit, tracebacks=tracebacks)
        _show_lists(found, flow.root, limit)
    ctx.exit(EXIT_SOME_FAILED if found else 0)


def read_errors(root: Path) -> list[dict[str, Any]]:
    """Return the entries of a flow's ``error_summary.json``.

    Raises
    ------
    FlowFileError
        If it is missing or damaged.
    """
    from dflow.errors import FlowFileError
    from dflow.storage.paths import read_regular

    path = root / "error_summary.json"
    try:
        entries = json.loads(read_regular(path))
    except FileNotFoundError as error:
        raise FlowFileError(
            f"There is no {path}: this flow has not run here yet; start it with `dflow run`."
        ) from error
    except (OSError, ValueError) as error:
        raise FlowFileError(f"{path} is damaged ({error}); run the flow again.") from error
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise FlowFileError(f"{path} is JSON, but not a list of failures; run the flow again.")
    return entries


def checked_kinds(texts: Iterable[str], entries: Iterable[dict[str, Any]], option: str) -> list[str]:
    """Return the kinds that an option's texts name, separated by commas.

    Raises
    ------
    click.BadParameter
        If one is neither a kind that dflow records nor that of an entry.
    """
    import dflow.errors
    from dflow.flowmanager.reports.flowfiles import ADVICE
    from dflow.schema.checks import hint

    wanted = [kind.strip() for text in texts for kind in text.split(",") if kind.strip()]
    present = Counter(str(entry.get("kind", "")) for entry in entries)
    raised = {each.kind for each in vars(dflow.errors).values() if hasattr(each, "kind")}
    for kind in wanted:
        if kind not in present.keys() | ADVICE.keys() | raised:
            there = ", ".join(f"{count} {plain(name)}" for name, count in present.most_common()) or "no failure"
            raise click.BadParameter(
                f"{kind!r} is no kind of failure{hint(kind, [*present, *ADVICE])}; the last run has: {there}; the "
                f"kinds are {', '.join(sorted(ADVICE))}.",
                param_hint=option,
            )
    return wanted


def _path(file: str, root: Path) -> str:
    """Return the absolute path of a file that still exists, else the item as recorded."""
    path = os.path.normpath(os.path.join(root, file))
    return path if file and os.path.exists(path) else file


def _compiled(match: str | None) -> re.Pattern[str] | None:
    try:
        return None if match is None else re.compile(match)
    except re.error as error:
        raise click.BadParameter(f"{error}", param_hint="--match") from error


def _is_wanted(entry: dict[str, Any], kinds: list[str], match: re.Pattern[str] | None) -> bool:
    if kinds and entry.get("kind") not in kinds:
        return False
    return match is None or bool(match.search(f"{entry.get('file')}\n{entry.get('message')}"))


def _show_kinds(entries: list[dict[str, Any]]) -> None:
    from dflow.flowmanager.reports.flowfiles import ADVICE

    counts = Counter(str(entry.get("kind", "error")) for entry in entries)
    rows = [(count, kind, ADVICE.get(kind, "see its message")) for kind, count in counts.most_common()]
    echo_table(("files", "kind", "what to do"), rows, numbers=1)


def _show_messages(entries: list[dict[str, Any]], limit: int, *, tracebacks: bool) -> None:
    """Print messages grouped by their text without numbers and file names: most differ only in a size or a line."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for entry in entries:
        file = str(entry.get("file", ""))
        line = _reason(entry).replace(file or "\0", "…").replace(os.path.basename(file) or "\0", "…")
        groups.setdefault((str(entry.get("kind", "error")), re.sub(r"\d+", "#", line)), []).append(entry)
    ranked = sorted(groups.values(), key=lambda group: -len(group))
    rows = [(len(g), g[0].get("kind"), _short(_reason(g[0])), g[0].get("file")) for g in ranked[:limit]]
    echo_table(("files", "kind", "message", "for example"), rows, numbers=1)
    if len(ranked) > limit:
        echo(f"… and {len(ranked) - limit} more messages (--limit)")
    for group in ranked[:limit] if tracebacks else []:
        echo()
        for line in str(group[0].get("traceback") or group[0].get("message")).split("\n"):
            echo(line)


def _show_lists(entries: list[dict[str, Any]], root: Path, limit: int) -> None:
    """Print the files that exceeded a limit, the slowest first."""
    for title, kinds, command in LISTS:
        files = [entry for entry in entries if entry.get("kind") in kinds]
        if not files:
            continue
        echo()
        echo(f"{len(files)} {title}; with another allowance: {command}")
        files.sort(key=lambda entry: -_seconds(entry))
        for entry in files[:limit]:
            echo(f"  {_seconds(entry):8.1f} s  {_path(str(entry.get('file', '')), root)}")
        if len(files) > limit:
            echo(f"  … and {len(files) - limit} more (--limit)")


def _seconds(entry: dict[str, Any]) -> float:
    seconds = entry.get("seconds")
    return float(seconds) if isinstance(seconds, (int, float)) else 0.0


def _reason(entry: dict[str, Any]) -> str:
    from dflow.records import reason

    return reason(*(str(entry.get(key) or "") for key in ("kind", "exception", "message", "file")))


def _short(line: str) -> str:
    return line if len(line) <= MESSAGE_LENGTH else line[: MESSAGE_LENGTH - 1] + "…"
