"""Text from outside (file names, messages, labels) made harmless for a terminal and for files of one line an entry."""

from __future__ import annotations


def plain(text: object) -> str:
    r"""`text` on one line: what a terminal would obey (escape sequences, line ends, marks that turn the direction of
    writing, halves of surrogate pairs) is shown as a backslash escape, ``\x1b`` or ``\n``. Printable text is unchanged.
    """
    shown = str(text)
    if shown.isprintable():
        return shown
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in shown)


def plain_lines(text: object) -> str:
    """The same line by line: line ends stay, for tracebacks and other text that has several."""
    return "\n".join(plain(line) for line in str(text).split("\n"))
