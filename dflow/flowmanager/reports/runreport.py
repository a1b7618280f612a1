"""``report.html``: a run's facts as one page to keep, send or attach to a bug report.

Everything is in the one file: no script, nothing from another host (the page itself forbids the browser both), and
names of files and tasks are text, whatever they hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dflow.flowmanager.reports.runcharts import COLORS, duration, histogram_chart, progress_chart, shown, worker_chart
from dflow.flowmanager.reports.runfacts import HISTOGRAM_SECONDS, SHARES

ROWS_SHOWN = 100
"""In a table of hosts or workers; ``run.json`` has them all."""

STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; color: #222; max-width: 940px; margin: 24px auto; padding: 0 16px; }
h1 { font-size: 22px; margin: 0 0 4px; overflow-wrap: anywhere; } h2 { font-size: 16px; margin: 28px 0 8px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 3px 8px; border-bottom: 1px solid #e3e6ea; }
th { color: #555; font-weight: 600; white-space: nowrap; }
th.text, td.text { text-align: left; overflow-wrap: anywhere; }
svg { max-width: 100%; height: auto; font-size: 11px; } .note { color: #666; } .failed { color: #b3261e; }
"""


def report_page(facts: Mapping[str, Any]) -> str:
    """The page for the content of ``run.json`` (`dflow.flowmanager.reports.runfacts.run_facts`)."""
    title = f"Flow {shown(facts['flow'])}"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n"
        + "\n".join(part for part in _parts(facts) if part)
        + "\n</body></html>\n"
    )


def _parts(facts: Mapping[str, Any]) -> Iterable[str]:
    timeline, seconds = facts["timeline"], facts["seconds"]
    yield _headline(facts)
    yield _section("Tasks", _tasks(facts["tasks"]))
    if timeline["done"]:
        note = "The share of each task's items that was through, by the run's wall time."
        yield _section("Progress", progress_chart(timeline["done"], seconds), note)
    if timeline["workers"]:
        note = f"The darker, the busier, in steps of {duration(timeline['bin_seconds'])}."
        yield _section("Workers", worker_chart(timeline["workers"], timeline["bin_seconds"], seconds), note)
    timed = [task for task in facts["tasks"] if "histogram" in task and sum(task["histogram"]) > 1]
    for number, task in enumerate(timed):
        chart = histogram_chart(task["histogram"], HISTOGRAM_SECONDS, COLORS[number % len(COLORS)])
        yield _section(f"Time of each item: {shown(task['task'])}", chart)
    slowest = [[each["file"], each["task"], each["result"], duration(each["seconds"])] for each in facts["slowest"]]
    yield _section("Slowest", _table(("file", "task", "result", "time"), slowest, n_texts=3))
    yield _section("Failures", _table(("kind", "items"), facts["failures"].items()))
    yield _section("Hosts", _hosts(facts["hosts"]))
    yield _section("Cluster", _cluster(facts["cluster"]))
    yield _section("Configuration", _pairs(facts["configuration"]))
    yield _section("Versions", _pairs(_versions(facts)))


def _headline(facts: Mapping[str, Any]) -> str:
    counts = facts["counts"]
    kind = "" if facts["status"] == "finished" else ' class="failed"'
    why = f": {shown(facts['error'])}" if facts["error"] else ""
    return (
        f"<p{kind}>{shown(facts['status'].capitalize())} {shown(facts['finished'])} "
        f"after {duration(facts['seconds'])}{why}</p>"
        f"<p>{counts['submitted']:,} files: {counts['succeeded']:,} succeeded ({counts['reused']:,} reused), "
        f"{counts['skipped']:,} skipped, {counts['failed']:,} failed; {counts['samples']:,} samples.</p>"
    )


def _tasks(tasks: Sequence[Mapping[str, Any]]) -> str:
    heads = ("task", "wall", "CPU", "items", "reused", "skipped", "failed", "MB", *(f"p{share}" for share in SHARES))
    return _table(heads, [_task_row(task) for task in tasks])


def _task_row(task: Mapping[str, Any]) -> list[Any]:
    of_items = task.get("seconds_per_item", {})
    counts = [f"{task[name]:,}" if task["items"] else "" for name in ("items", "reused", "skipped", "failed")]
    return [
        task["task"],
        duration(task["seconds"]),
        duration(task["cpu_seconds"]) if of_items else "",
        *counts,
        f"{task['bytes'] / 1e6:,.1f}" if task["bytes"] else "",
        *(duration(of_items[f"p{share}"]) if of_items else "" for share in SHARES),
    ]


def _hosts(hosts: Sequence[Mapping[str, Any]]) -> str:
    rows = [[h["host"], h["workers"], f"{h['items']:,}", duration(h["seconds"])] for h in hosts]
    return _table(("host", "worker processes", "items", "busy"), rows)


def _cluster(cluster: Mapping[str, Any]) -> str:
    if not cluster.get("scheduler"):
        return ""
    rows = [
        [f"{address} on {worker['host']}", worker["threads"], f"{(worker['memory_limit'] or 0) / 1e9:.1f}"]
        for address, worker in cluster["workers"].items()
    ]
    return _table(
        (f"{len(rows)} workers at the end; scheduler {cluster['scheduler']}", "threads", "memory limit, GB"), rows
    )


def _versions(facts: Mapping[str, Any]) -> dict[str, Any]:
    unknown = facts["fingerprint"]["unknown"]
    return {
        "dflow": facts["dflow"],
        "python": facts["python"],
        **facts["versions"],
        "platform": facts["platform"],
        "client's host": facts["host"],
        "pipeline's fingerprint": facts["fingerprint"]["digest"],
        **({"not in the fingerprint": ", ".join(map(str, unknown))} if unknown else {}),
    }


def _section(title: str, content: str, note: str = "") -> str:
    """`title` and `content` are HTML already; nothing at all where there is no content."""
    said = f'<p class="note">{shown(note)}</p>' if note else ""
    return f"<h2>{title}</h2>{said}{content}" if content else ""


def _pairs(values: Mapping[str, Any]) -> str:
    rows = [[name, ", ".join(map(str, v)) if isinstance(v, (list, tuple)) else v] for name, v in values.items()]
    return _table(("", ""), rows, n_texts=2)


def _table(heads: Sequence[str], rows: Iterable[Iterable[Any]], *, n_texts: int = 1) -> str:
    """A table whose first `n_texts` columns are texts, "" without rows."""
    cells = [[shown("" if value is None else value) for value in row] for row in rows]
    if not cells:
        return ""
    more = f'<p class="note">and {len(cells) - ROWS_SHOWN:,} more, see run.json</p>' if len(cells) > ROWS_SHOWN else ""
    head = _row("th", [shown(head) for head in heads], n_texts) if any(heads) else ""
    return f"<table>{head}{''.join(_row('td', row, n_texts) for row in cells[:ROWS_SHOWN])}</table>{more}"


def _row(tag: str, cells: Sequence[str], n_texts: int) -> str:
    kinds = (' class="text"' if number < n_texts else "" for number in range(len(cells)))
    return "<tr>" + "".join(f"<{tag}{kind}>{cell}</{tag}>" for kind, cell in zip(kinds, cells, strict=True)) + "</tr>"
