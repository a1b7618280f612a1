"""Listings of a dataset's groups and arrays, and of its split, as text and as HTML."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dflow.dataset.format.stored_split import SUBSETS
from dflow.dataset.format.tables import read_table, table_columns
from dflow.dataset.query.store import ID_PREFIX, Column, DatasetStore
from dflow.plaintext import html_text, plain
from dflow.schema import FILE_GROUP


def human_bytes(n_bytes: float) -> str:
    """Format a number of bytes: ``1536`` → ``1.5 KiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if n_bytes < 1024:
            return f"{n_bytes:.0f} {unit}" if unit == "B" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1024
    return f"{n_bytes:.1f} TiB"


def _shape(column: Column) -> str:
    return ", ".join(f"{dim}: {size}" for dim, size in zip(column.dims, column.shape, strict=True)) or "scalar"


def _shown(store: DatasetStore, group: str) -> Iterable[Column]:
    columns = store.file_values if group == FILE_GROUP else store.group(group)
    return [c for n, c in columns.items() if not n.startswith(ID_PREFIX)]


def _groups(store: DatasetStore) -> list[tuple[str, str]]:
    titles = [(g, f"{store.n_rows(g):,} rows ({store.row_dimension(g)})") for g in store.row_groups]
    return [*titles, (FILE_GROUP, f"{store.n_files:,} samples, one value each")]


def summary_line(store: DatasetStore) -> str:
    """Name, number of samples and rows per group, in one line."""
    rows = ", ".join(f"{store.n_rows(g):,} {g}" for g in store.row_groups)
    return plain(f"{store.folder.path.name}: {store.n_files:,} samples" + (f", {rows}" if rows else ""))


def table_of_contents(store: DatasetStore, table_columns: Iterable[str]) -> str:
    """List groups, arrays and columns, for `print_table_of_contents`."""
    lines = [f"DATASET {summary_line(store)}"]
    for group, title in _groups(store):
        lines += ["", f"GROUP {group}: {title}"]
        columns = list(_shown(store, group))
        width = max((len(c.name) for c in columns), default=0)
        for column in columns:
            lines.append(
                f"  {column.name:<{width}}  ({_shape(column)})  {column.dtype}  {human_bytes(column.n_bytes)}".rstrip()
            )
        if not columns:
            lines.append("  (no arrays)")
    if quality := read_quality(store.infoset).lines:
        lines += ["", *quality]
    lines += ["", f"TABLE file_info: {store.n_files:,} rows", "  " + (", ".join(table_columns) or "(no .infoset)")]
    return "\n".join(map(plain, lines))


@dataclass(frozen=True, slots=True)
class Quality:
    """How the samples were read and what is wrong with their shapes: samples by read path and by name of defect, the
    most frequent first. `n_defective` is the number of samples with a defect.
    """

    read_paths: dict[str, int]
    n_defective: int
    defects: dict[str, int]

    @property
    def lines(self) -> list[str]:
        """Two lines; none for a dataset that was made before the samples said so."""
        if not self.read_paths:
            return []
        defective = f"  {self.n_defective:,} of {sum(self.read_paths.values()):,} samples have a defect"
        named = f": {_counts(self.defects)}" if self.defects else ""
        return [f"QUALITY read by path: {_counts(self.read_paths)}", defective + named]


def read_quality(infoset: Path | None) -> Quality:
    """Count the samples by what `.infoset` says of their reading; no counts where it says nothing, or cannot be read:
    reading the table itself raises the error.
    """
    columns = table_columns(infoset)
    wanted = [next((c for c in (f"{name}_label", name) if c in columns), "") for name in _QUALITY]
    if infoset is None or not all(wanted):
        return Quality({}, 0, {})
    found = read_table(infoset, ".infoset", columns=wanted)
    paths, n_defects, names = (found.column(name).to_pylist() for name in wanted)
    each = [name for count, text in zip(n_defects, names, strict=True) if count for name in str(text).split(", ")]
    return Quality(
        _by_frequency(str(path) for path in paths if path is not None),
        sum(bool(count) for count in n_defects),
        _by_frequency(each),
    )


_QUALITY = ("read_path", "n_defects", "defect_names")


def _by_frequency(words: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(words).items(), key=lambda item: (-item[1], item[0])))


def _counts(found: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in found.items())


def to_html(store: DatasetStore) -> str:
    """List groups and arrays for notebooks: one folded table per group."""
    parts = [f"<div><strong>{html_text(summary_line(store))}</strong>"]
    if quality := read_quality(store.infoset).lines:
        parts += [f"<div>{html_text(line)}</div>" for line in quality]
    for group, title in _groups(store):
        rows = "".join(
            f"<tr><td>{html_text(c.name)}</td><td>{html_text(_shape(c))}</td>"
            f"<td>{c.dtype}</td><td>{human_bytes(c.n_bytes)}</td></tr>"
            for c in _shown(store, group)
        )
        head = "<tr><th>array</th><th>dimensions</th><th>type</th><th>in memory</th></tr>"
        summary = f"{html_text(group)}: {html_text(title)}"
        parts.append(f"<details><summary>{summary}</summary><table>{head}{rows}</table></details>")
    return "".join([*parts, "</div>"])


def split_to_html(title: str, sizes: Sequence[int] | None, request: Mapping[str, Any]) -> str:
    """Show a split in a notebook: the size and share of each subset, and the arguments.

    Parameters
    ----------
    title : a line about the loader
    sizes : samples of each subset, in the order of `SUBSETS`; None without a split
    request : the arguments of the split; may be empty
    """
    page = f"<div><strong>{html_text(title.strip('<>'))}</strong>"
    if sizes is None:
        return page + "</div>"
    total = max(sum(sizes), 1)
    rows = "".join(
        f"<tr><td>{subset}</td><td>{size:,}</td><td>{size / total:.1%}</td></tr>"
        for subset, size in zip(SUBSETS, sizes, strict=True)
    )
    arguments = ", ".join(f"{key}={value!r}" for key, value in request.items() if value is not None)
    head = "<tr><th>subset</th><th>samples</th><th>share</th></tr>"
    return f"{page}<table>{head}{rows}</table><div>{html_text(arguments)}</div></div>"
