"""Text from outside (file names, messages, labels), escaped for terminals, logs and files of one line per entry."""

from __future__ import annotations

import html
import logging
import os
from collections.abc import Mapping
from typing import Any


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


def html_text(text: object) -> str:
    """Return `text` as `plain`, for HTML."""
    return html.escape(plain(text))


def get_logger(name: str) -> logging.Logger:
    """Return a logger that escapes the texts, paths and errors among a message's arguments."""
    logger = logging.getLogger(name)
    logger.addFilter(_escape)
    return logger


def _escape(record: logging.LogRecord) -> bool:
    if isinstance(record.args, Mapping):
        record.args = {key: _escaped(value) for key, value in record.args.items()}
    elif record.args:
        record.args = tuple(map(_escaped, record.args))
    record.msg = plain_lines(record.msg)
    return True


def _escaped(value: Any) -> Any:
    return plain(value) if isinstance(value, (str, os.PathLike, BaseException)) else value
