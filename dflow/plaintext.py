"""Text from outside (file names, messages, labels), escaped for terminals and for files of one line per entry."""

from __future__ import annotations


def plain(text: object) -> str:
    r"""Return `text` on one line: characters that a terminal would obey (escape sequences, line ends, marks of the
    writing direction, halves of surrogate pairs) become backslash escapes, ``\x1b`` or ``\n``; printable ones stay.
    """
    shown = str(text)
    if shown.isprintable():
        return shown
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in shown)


def plain_lines(text: object) -> str:
    """Return `text` escaped line by line: line ends stay, as in tracebacks."""
    return "\n".join(plain(line) for line in str(text).split("\n"))
