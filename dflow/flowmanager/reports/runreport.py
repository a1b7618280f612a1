"""``report.html``: a run's facts as one page to keep, send or attach to a bug report.

The page is one file without scripts or content from other hosts (its security policy forbids both), and names of files
and tasks are escaped.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from dflow.flowmanager.reports.runfacts import HISTOGRAM_SECONDS, SHARES, SLOWEST
from dflow.plaintext import plain

ROWS_SHOWN = 100
"""Most rows in a table of hosts or workers; ``run.json`` has them all."""

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
    """Return the page for the content of ``run.json`` (`dflow.flowmanager.reports.runfacts.run_facts`)."""
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
        note = "The share of each task's items that had ended, by the run's wall time."
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
    near = [
        [each["file"], each["task"], duration(each["seconds"]), duration(each["limit"])]
        for each in facts.get("near_limit", [])[:SLOWEST]
    ]
    if near:
        yield _section("Near the time limit", _table(("file", "task", "time", "limit"), near, n_texts=2))
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
    """Return a section as HTML, "" without content; `title` and `content` are HTML already."""
    shown_note = f'<p class="note">{shown(note)}</p>' if note else ""
    return f"<h2>{title}</h2>{shown_note}{content}" if content else ""


def _pairs(values: Mapping[str, Any]) -> str:
    rows = [[name, ", ".join(map(str, v)) if isinstance(v, (list, tuple)) else v] for name, v in values.items()]
    return _table(("", ""), rows, n_texts=2)


def _table(heads: Sequence[str], rows: Iterable[Iterable[Any]], *, n_texts: int = 1) -> str:
    """Return a table whose first `n_texts` columns are texts, "" without rows."""
    cells = [[shown("" if value is None else value) for value in row] for row in rows]
    if not cells:
        return ""
    more = f'<p class="note">and {len(cells) - ROWS_SHOWN:,} more, see run.json</p>' if len(cells) > ROWS_SHOWN else ""
    head = _row("th", [shown(head) for head in heads], n_texts) if any(heads) else ""
    return f"<table>{head}{''.join(_row('td', row, n_texts) for row in cells[:ROWS_SHOWN])}</table>{more}"


def _row(tag: str, cells: Sequence[str], n_texts: int) -> str:
    kinds = (' class="text"' if number < n_texts else "" for number in range(len(cells)))
    return "<tr>" + "".join(f"<{tag}{kind}>{cell}</{tag}>" for kind, cell in zip(kinds, cells, strict=True)) + "</tr>"


COLORS = ("#2a9d8f", "#457b9d", "#e76f51", "#8d6a9f", "#c9a227", "#6b705c")
WIDTH, LEFT, RIGHT = 900, 150, 20
"""Width of the picture and of its margins beside the plot, in pixels."""

ROW = 16
WORKERS_SHOWN = 48
"""Most rows of the workers' chart; those that worked longest are shown."""

NAME_LENGTH = 22
SHADES = 4


def shown(text: object) -> str:
    """Return any text as HTML that only displays it."""
    return html.escape(plain(text), quote=True)


def duration(seconds: float) -> str:
    """Return seconds as ``3.2 ms``, ``12.4 s`` or ``2 h 05 min``."""
    if seconds < 0.1:
        return f"{1e3 * seconds:.1f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def progress_chart(done: Mapping[str, Sequence[Sequence[float]]], seconds: float) -> str:
    """Draw the share of each task's items that had ended, by time; `done` holds (seconds, items) by task."""
    height = 170
    lines = [_time_axis(seconds, height)]
    for number, (task, points) in enumerate(done.items()):
        most = max((count for _, count in points), default=0)
        if not most:
            continue
        places = " ".join(f"{_x(at, seconds):.1f},{10 + height * (1 - count / most):.1f}" for at, count in points)
        color = COLORS[number % len(COLORS)]
        lines.append(f'<polyline points="{places}" fill="none" stroke="{color}" stroke-width="2"/>')
        lines.append(_label(f"{_short(task)} {most:,}", 26 + ROW * number, color, task))
    return _picture(lines, max(height, ROW * len(done)) + 40)


def worker_chart(workers: Sequence[Mapping[str, Any]], bin_seconds: float, seconds: float) -> str:
    """Draw a row per worker process: the darker, the busier."""
    longest = sorted(workers, key=lambda worker: -worker["seconds"])[:WORKERS_SHOWN]
    height = ROW * max(1, len(longest))
    lines = [_time_axis(seconds, height)]
    for row, worker in enumerate(longest):
        lines.append(_label(f"{_short(worker['host'], 14)} {worker['pid']}", 22 + ROW * row, "#333", worker["host"]))
        shades = [min(SHADES, round(SHADES * busy / bin_seconds)) for busy in worker["busy_seconds"]]
        for shade, run in groupby(enumerate(shades), key=lambda each: each[1]):
            numbers = [number for number, _ in run]
            begin, end = _x(numbers[0] * bin_seconds, seconds), _x((numbers[-1] + 1) * bin_seconds, seconds)
            if shade and end > begin:
                lines.append(
                    f'<rect x="{begin:.1f}" y="{12 + ROW * row}" width="{end - begin:.1f}" height="{ROW - 4}" '
                    f'fill="{COLORS[1]}" fill-opacity="{shade / SHADES:.2f}"/>'
                )
    return _picture(lines, height + 40)


def histogram_chart(counts: Sequence[int], limits: Sequence[float], color: str = COLORS[0]) -> str:
    """Draw the number of items by time; `counts` has one entry more than `limits`, for longer times."""
    held = [number for number, count in enumerate(counts) if count]
    first, last = (held[0], held[-1]) if held else (0, 0)
    width, most, height = min(110, (WIDTH - 40) // (last - first + 1)), max(counts, default=0) or 1, 70
    bars = []
    for place, number in enumerate(range(first, last + 1)):
        tall, left = height * counts[number] / most, 20 + place * width
        label = f"≤ {duration(limits[number])}" if number < len(limits) else f"> {duration(limits[-1])}"
        middle = left + width / 2
        bars.append(
            f'<rect x="{left + 2}" y="{20 + height - tall:.1f}" width="{width - 4}" height="{tall:.1f}" '
            f'fill="{color}"/>'
            f'<text x="{middle}" y="{15 + height - tall:.1f}" text-anchor="middle">{counts[number]:,}</text>'
            f'<text x="{middle}" y="{height + 34}" text-anchor="middle">{label}</text>'
        )
    return _picture(bars, height + 42)


def _picture(parts: Sequence[str], height: int) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">{"".join(parts)}</svg>'


def _x(at: float, seconds: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * min(1.0, at / max(seconds, 1e-3))


def _time_axis(seconds: float, height: int) -> str:
    ticks = []
    for quarter in range(5):
        x = _x(seconds * quarter / 4, seconds)
        ticks.append(
            f'<line x1="{x:.1f}" y1="10" x2="{x:.1f}" y2="{10 + height}" stroke="#e3e6ea"/>'
            f'<text x="{x:.1f}" y="{26 + height}" text-anchor="middle">{duration(seconds * quarter / 4)}</text>'
        )
    return "".join(ticks)


def _label(text: str, y: int, color: str, title: str) -> str:
    return f'<text x="6" y="{y}" fill="{color}"><title>{shown(title)}</title>{shown(text)}</text>'


def _short(name: str, length: int = NAME_LENGTH) -> str:
    return name if len(name) <= length else name[: length - 1] + "…"
