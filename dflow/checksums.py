"""Documents that carry the CRC-32 of their own bytes, as a member that other readers ignore.

``"crc32_of_this_file": "1a2b3c4d"`` is the checksum of all bytes of the file, with eight zeros in its own place. It
finds a changed byte before anything is believed, and needs no second file that could be lost or renewed too late.
"""

from __future__ import annotations

import json
import re
from typing import Any

from isal import isal_zlib

MEMBER = "crc32_of_this_file"
"""The name of the member that holds the checksum."""

BLANK = "00000000"
"""The member's value until `seal` fills it in."""

_PLACE = re.compile(rb'"crc32_of_this_file": ?"([0-9a-f]{8})"')


def seal(content: bytes) -> bytes:
    """Return a document with its checksum filled in; its first member `MEMBER` is `BLANK`."""
    place = _PLACE.search(content)
    assert place is not None
    begin, end = place.span(1)
    return b"".join([content[:begin], b"%08x" % _blanked_crc(content, begin, end), content[end:]])


def is_sealed(content: bytes) -> bool:
    """Whether a document carries its checksum. Documents of older versions do not.

    Raises
    ------
    ValueError
        If the checksum differs from the document's bytes.
    """
    place = _PLACE.search(content)
    if place is None:
        if MEMBER.encode() in content:
            raise ValueError("its own checksum is damaged")
        return False
    begin, end = place.span(1)
    if _blanked_crc(content, begin, end) != int(place[1], 16):
        raise ValueError("its bytes differ from its own checksum, so it was damaged or changed since it was written")
    return True


def parse_document(content: bytes) -> Any:
    """Parse JSON, after comparing it with the checksum that it may carry.

    Raises
    ------
    ValueError
        If the checksum differs, or the content is not JSON, or nested too deeply.
    """
    is_sealed(content)
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not JSON: {error}") from error


def _blanked_crc(content: bytes, begin: int, end: int) -> int:
    view = memoryview(content)
    return isal_zlib.crc32(view[end:], isal_zlib.crc32(BLANK.encode(), isal_zlib.crc32(view[:begin])))


def checked_line(content: bytes) -> bytes:
    """Return a line of a journal: the CRC-32 of its content in hexadecimal, a blank, the content."""
    return b"%08x %s\n" % (isal_zlib.crc32(content), content)


def line_content(line: bytes) -> bytes | None:
    """Return the content of a line that `checked_line` made; None if the line is torn or damaged."""
    if len(line) < 12 or not line.endswith(b"\n"):
        return None
    try:
        expected = int(line[:8], 16)
    except ValueError:
        return None
    text = line[9:-1]
    return text if isal_zlib.crc32(text) == expected else None
