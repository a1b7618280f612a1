"""A STEP text reworded where the kernel's reader takes it wrongly: the same statements, in a form that it knows."""

from __future__ import annotations

import re

_STRING_OR_COMMENT = re.compile(rb"'[^']*(?:''[^']*)*'|/\*.*?\*/", re.DOTALL)
_QUOTE_BEFORE_END = re.compile(rb"''(?=\s*[,)])")
_QUOTE_IN_COMMENT = re.compile(rb"/\*(?:(?!\*/)[^'])*'")
_NAME = rb"\s*'[^']*(?:''[^']*)*'\s*,"
_NARROWING = re.compile(
    rb"#(\d+)\s*=\s*(CONICAL_SURFACE\s*\("
    + _NAME
    + rb")\s*#(\d+)\s*(,[^,()]*,)\s*-\s*([\d.Ee+-]*[1-9][\d.Ee+-]*)\s*\)\s*;"
)
_PLACEMENT = rb"#%s\s*=\s*AXIS2_PLACEMENT_3D\s*\(" + _NAME + rb"([^,]*),\s*(#\d+|\$)\s*,([^,]*)\)\s*;"
_DIRECTION = rb"#%s\s*=\s*DIRECTION\s*\(" + _NAME + rb"\s*\(([^)]*)\)\s*\)\s*;"
_ON_CLOSED = re.compile(
    rb"#(\d+)\s*=\s*(ADVANCED_FACE|FACE_BOUND|FACE_OUTER_BOUND|EDGE_LOOP|ORIENTED_EDGE|EDGE_CURVE|SPHERICAL_SURFACE"
    rb"|TOROIDAL_SURFACE)\s*\(" + _NAME + rb"([^;]*);"
)
_NUMBER = re.compile(rb"#\s*(\d+)")
_PCURVE = re.compile(rb"(\bPCURVE\s*\(" + _NAME + rb"\s*#)(\d+)\b")


def reword(content: bytes) -> bytes:
    """The file's text as the kernel's reader understands it."""
    data = content[content.find(b"ENDSEC") :]  # many a header has comments with quotes
    doubled = b"" in data.split(b"'")[2:-1:2]  # a doubled quote ends one piece and begins the next
    if doubled or (b"/*" in data and _QUOTE_IN_COMMENT.search(data)):
        content = _STRING_OR_COMMENT.sub(_spell_out_quotes, content)
    if b"CONICAL_SURFACE" in content and _NARROWING.search(content):
        content = _turn_cones(content)
    return content


def _spell_out_quotes(found: re.Match[bytes]) -> bytes:
    """A string whose doubled quotes before a comma or bracket, where the reader would end it, are ``\\X\\27``."""
    text = found.group()
    if not text.startswith(b"'"):
        return text
    return b"'" + _QUOTE_BEFORE_END.sub(rb"\\X\\27", text[1:-1]) + b"'"


def _turn_cones(content: bytes) -> bytes:
    """Cones of a negative half angle, which the reader takes for cylinders, with their axis the other way round and a
    positive one: the same points and, as both parameters turn, the same normals.

    Curves in the parameters of such a cone are left with a copy of it as it was, whose faces have them no more.
    """
    number = max(map(int, re.findall(rb"#(\d+)\s*=", content)))
    added: list[bytes] = []
    copies: dict[bytes, bytes] = {}

    def turn(found: re.Match[bytes]) -> bytes:
        nonlocal number
        cone, head, placement, radius, angle = found.groups()
        turned = _turn_axis(content, placement, number + 1)
        if not turned:
            return found.group()
        number += len(turned) + 1
        copies[cone] = b"%d" % number
        added.extend([*turned, b"#%d=%s#%s%s-%s);" % (number, head, placement, radius, angle)])
        return b"#%s=%s#%d%s%s);" % (cone, head, number - 1, radius, angle)

    content = _NARROWING.sub(turn, content)
    content = _PCURVE.sub(lambda found: found.group(1) + copies.get(found.group(2), found.group(2)), content)
    end = content.rfind(b"ENDSEC")
    return content[:end] + b"\n".join(added) + b"\n" + content[end:]


def _turn_axis(content: bytes, placement: bytes, number: int) -> list[bytes]:
    """A direction and a placement as new statements, of `number` and the next; empty where the old are not found."""
    place = re.search(_PLACEMENT % placement, content)
    if place is None:
        return []
    origin, axis, across = place.groups()
    along = [0.0, 0.0, 1.0]
    if axis != b"$":
        direction = re.search(_DIRECTION % axis[1:], content)
        if direction is None:
            return []
        along = [float(value) for value in direction.group(1).split(b",")]
    backwards = b",".join(b"%.16E" % -value for value in along)
    return [
        b"#%d=DIRECTION('',(%s));" % (number, backwards),
        b"#%d=AXIS2_PLACEMENT_3D('',%s,#%d,%s);" % (number + 1, origin, number, across),
    ]


def widen_slits(content: bytes) -> bytes:
    """Spheres and tori that are bounded by a slit (a loop of edges that each run back again), with a point as their
    bound instead: both mean the whole surface. Of slits the reader knows those along its own seams only.
    """
    if b"SPHERICAL_SURFACE" not in content and b"TOROIDAL_SURFACE" not in content:
        return content
    found = {m.group(1): m for m in _ON_CLOSED.finditer(content)}
    points = {}
    for face in found.values():
        if face.group(2) == b"ADVANCED_FACE":
            *bounds, surface = _NUMBER.findall(face.group(3))
            if len(bounds) == 1 and surface in found and found[surface].group(2).endswith(b"_SURFACE"):
                points.update(_point_of_slit(found, bounds[0]))
    for loop in sorted(points, key=lambda m: -m.start()):
        text = b"#%s=VERTEX_LOOP('',#%s);" % (loop.group(1), points[loop])
        content = content[: loop.start()] + text + content[loop.end() :]
    return content


def _point_of_slit(found: dict[bytes, re.Match[bytes]], bound: bytes) -> dict[re.Match[bytes], bytes]:
    """The bound's loop and one of its vertices where it is a slit; empty where it is none."""
    balance: dict[bytes, int] = {}
    try:
        loop = found[_NUMBER.findall(found[bound].group(3))[0]]
        if loop.group(2) != b"EDGE_LOOP":
            return {}
        for oriented in _NUMBER.findall(loop.group(3)):
            text = found[oriented].group(3)
            edge = _NUMBER.findall(text)[0]
            balance[edge] = balance.get(edge, 0) + (1 if b".T." in text else -1)
        if not balance or any(balance.values()):
            return {}
        return {loop: _NUMBER.findall(found[next(iter(balance))].group(3))[0]}
    except (KeyError, IndexError):
        return {}
