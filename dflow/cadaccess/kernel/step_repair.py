"""A STEP file's text, rewritten where the kernel misreads it.

The kernel misreads some valid STEP without a message: a unit that is defined by another converted unit, or whose
statement has a form that it does not support, as mm (or it crashes); the scale of a placement as its inverse; a shell
of a surface model, turned by its flag, as it is without the flag; a cone of a negative half angle as a cylinder; some
white space and quotes as the end of a statement or string. The text is brought into a normal form first, and such
statements are then rewritten in a form that the kernel supports, or refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from dflow.cadaccess.files.part21 import Instances, RefusedError, find_split_number, join_lines
from dflow.cadaccess.files.units import Units, find_units
from dflow.errors import GeometryError, UnreadableFileError

_SPACE = b" \t\r\n"
_STATEMENT = re.compile(rb"(#\d+)=([^;']*(?:'[^']*'[^;']*)*);")
_NAMED_SECTION = re.compile(rb"(ENDSEC;DATA)\((?:[^;']*'[^']*')*[^;']*\);")
_STRING = re.compile(rb"'[^']*'")
_WHOLE_STRING = re.compile(rb"'[^']*(?:''[^']*)*'")
_QUOTE_BEFORE_END = re.compile(rb"''(?=\s*[,)])")
_FOREIGN_STRING = re.compile(rb"'[^'\x80-\xff]*[\x80-\xff][^']*'")
_ESCAPING_STRING = re.compile(rb"'[^'\\]*\\[^']*'")
_KERNELS_STRING = re.compile(rb"'((?:[^']|'(?!\s*[,)]))*)(?:'|\Z)")
"""A quote ends a string for the kernel where a comma or bracket follows."""

_LONG_NUMBER = re.compile(rb"#\d{10}")
_STRING_OR_NUMBER = re.compile(rb"'[^']*'|#(\d+)")
_FREE_NUMBERS = 1_000_000_000
"""Instance numbers from here on are free in a prepared text. One beyond 2³¹ takes the kernel's process down."""

_CONTEXT = re.compile(
    rb"\(GEOMETRIC_REPRESENTATION_CONTEXT\(\d+\)(?:GLOBAL_UNCERTAINTY_ASSIGNED_CONTEXT\(\([^()]*\)\))?"
    rb"GLOBAL_UNIT_ASSIGNED_CONTEXT\(\([^()]*\)\)REPRESENTATION_CONTEXT\([^()]*\)\)"
)
_SI = re.compile(
    rb"\((?:LENGTH_UNIT\(\))?NAMED_UNIT\([^()]*\)(?:PLANE_ANGLE_UNIT\(\))?SI_UNIT\((?:\$|\.[A-Z]+\.),\.[A-Z]+\.\)\)"
)
_CONVERTED = re.compile(
    rb"\(CONVERSION_BASED_UNIT\('',(#\d+)\)(?:LENGTH_UNIT\(\))?NAMED_UNIT\([^()]*\)(?:PLANE_ANGLE_UNIT\(\))?\)"
)
_MEASURE = re.compile(
    rb"(?:LENGTH_|PLANE_ANGLE_)?MEASURE_WITH_UNIT\((?:[A-Z_]*MEASURE\()?[-+\d]*\.[-+.\dE]*\)?,(#\d+)\)"
)
"""The forms that the kernel supports, with empty strings."""

_ITEMS = re.compile(rb"\(((?:#\d+,?)+)\),(#\d+|\$|\*)\)")
_SHAPE = re.compile(
    rb"#\d+=(?:\(|[A-Z_]*(?:BREP|SOLID|SURFACE_MODEL|WIREFRAME|FACE|_SET|TESSELLATED|MAPPED_ITEM)[A-Z_]*\()"
)
_NUMBERS = re.compile(rb"#\d+=[A-Z_]+\('[^']*',\(([^()]*)\)")
_OPERATOR = re.compile(
    rb"CARTESIAN_TRANSFORMATION_OPERATOR_3D\((?:(?:''|\$),)*?(\$|#\d+),(\$|#\d+),(#\d+),([^,]+),(\$|#\d+)\)"
)

_REFERENCE = re.compile(rb"#\d+")
_MAP = re.compile(rb"#\d+=REPRESENTATION_MAP\((#\d+)")
_USES_OF_OPERATORS = (
    (b"MAPPED_ITEM", re.compile(rb"(MAPPED_ITEM\('(?:[^']|'')*',#\d+,)(#\d+)(\))")),
    (
        b"REPRESENTATION_RELATIONSHIP_WITH_TRANSFORMATION",
        re.compile(rb"(.*REPRESENTATION_RELATIONSHIP_WITH_TRANSFORMATION\()(#\d+)(\).*)", re.DOTALL),
    ),
)
_WAY_OUT = "export the copies as solids of their own"


def prepare(path: Path, content: bytes) -> bytes:
    """Return the text to give to the kernel: without comments and white space, and with no statement that it misreads.

    Parameters
    ----------
    path : names the file in errors.

    Raises
    ------
    UnreadableFileError
        White space splits a number.
    GeometryError
        A shape's unit of length is missing or not supported; a mapped item that the kernel cannot place.
    """
    text = _Text(_normalise(path, content))
    try:
        _state_units(text)
        _invert_scales(text)
        _turn_cones(text)
        _turn_shells(text)
        _refuse_whole_tori(text)
    except RefusedError as error:
        if b"END-ISO-10303-21" not in text.content[-4096:]:
            return content  # truncated: the reader raises the error
        raise GeometryError(f"{path}: {error}") from error
    return text.rewritten()


def _normalise(path: Path, content: bytes) -> bytes:
    """Return the text without comments and without white space outside of strings, of which the kernel takes some for
    part of a number or keyword, or for the end of a statement; its strings in the form that the kernel reads; its
    numbers within the kernel's range.
    """
    content = _remove_comments(content)
    split = find_split_number(content)
    if split:
        shown = split.decode("latin-1")
        raise UnreadableFileError(
            f"{path}: white space where a comma or bracket was expected, in {shown!r}; STEP does not split "
            "numbers: repair the text, or export the file again"
        )
    parts = content.split(b"'")
    if len(parts) % 2 == 0:  # a quote that is not doubled inside a string
        parts = _KERNELS_STRING.split(content)
    parts[::2] = b"'".join(parts[::2]).translate(None, _SPACE).split(b"'")
    text = b"'".join(parts)
    if b"" in parts[2:-1:2]:  # a doubled quote ends one piece and begins the next
        text = _WHOLE_STRING.sub(_spell_out_quotes, text)
    if not text.isascii():
        text = _FOREIGN_STRING.sub(_recode, text)
    if b"\\" in text:
        text = _ESCAPING_STRING.sub(lambda found: join_lines(found.group()), text)
    if _LONG_NUMBER.search(text):
        text = _renumber(text)
    if b"ENDSEC;DATA(" in text and text.count(b"ENDSEC;") == 2:  # a name is of use where there are several sections
        text = _NAMED_SECTION.sub(rb"\1;", text, count=1)
    return text


def _remove_comments(content: bytes) -> bytes:
    """The text with a space in place of each comment."""
    pieces, done, counted, n_quotes = [], 0, 0, 0
    at = content.find(b"/")  # a search for one byte costs a fraction of that for two
    while at >= 0:
        end = at + 1
        if content.startswith(b"*", end):
            n_quotes += content.count(b"'", counted, at)
            counted = end = end + 1
            if n_quotes % 2 == 0:
                end = content.find(b"*/", end) + 2
                if end < 2:
                    break
                pieces.append(content[done:at])
                done = counted = end
        at = content.find(b"/", end)
    return b" ".join([*pieces, content[done:]])


def _spell_out_quotes(found: re.Match[bytes]) -> bytes:
    """A string whose doubled quotes before a comma or bracket, where the kernel would end it, are ``\\X\\27``."""
    return b"'" + _QUOTE_BEFORE_END.sub(rb"\\X\\27", found.group()[1:-1]) + b"'"


def _recode(found: re.Match[bytes]) -> bytes:
    """A string in UTF-8, which the kernel takes for granted; one that is none is cp1252, or else Latin-1."""
    text = found.group()
    for encoding in ("utf-8", "cp1252"):
        try:
            return text.decode(encoding).encode()
        except UnicodeDecodeError:
            continue
    return text.decode("latin-1").encode()


def _renumber(text: bytes) -> bytes:
    """The text with numbers that are free in place of the long ones."""
    taken = {int(number) for number in _STRING_OR_NUMBER.findall(text) if number}
    free = (number for number in count(1) if number not in taken)
    new = dict(zip(sorted(number for number in taken if number >= _FREE_NUMBERS), free, strict=False))

    def restate(found: re.Match[bytes]) -> bytes:
        number = int(found.group(1) or 0)
        return b"#%d" % new.get(number, number) if number else found.group()

    return _STRING_OR_NUMBER.sub(restate, text)


@dataclass(slots=True)
class _Text:
    """A normal text, the statements that were collected, and the new text of some.

    `bodies` : as in `Instances`, white space kept in strings; `changes` : the new text of instances, by number.
    """

    content: bytes
    bodies: dict[bytes, bytes] = field(default_factory=dict)
    places: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    changes: dict[bytes, bytes] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=lambda: count(_FREE_NUMBERS))

    def gather(self, word: bytes) -> list[bytes]:
        """Collect and return every instance with `word` in its statement."""
        numbers = []
        at = self.content.find(word)
        while at >= 0:
            found = self._around(at)
            if found is not None:
                number, self.bodies[number] = found.groups()
                self.places[number] = found.span(2)
                numbers.append(number)
            at = self.content.find(word, at + 1 if found is None else found.end())
        return numbers

    def _around(self, at: int) -> re.Match[bytes] | None:
        """The statement that goes on at `at`."""
        begin = at
        while (begin := self.content.rfind(b"=", 0, begin)) >= 0:
            number = self.content.rfind(b"#", max(0, begin - 32), begin)
            found = _STATEMENT.match(self.content, number) if number >= 0 else None
            if found is not None and found.start(2) > begin:
                return found if found.end() > at else None
        return None

    def find(self, number: bytes) -> int:
        """Return where an instance begins; the end of the text where there is none."""
        at = self.content.find(b";%s=" % number)
        return len(self.content) if at < 0 else at + 1

    def references(self, number: bytes) -> list[bytes]:
        """What an instance refers to."""
        found = _STATEMENT.match(self.content, self.find(number))
        if found is None:
            raise RefusedError(f"{number.decode('ascii')} is missing")
        self.bodies[number], self.places[number] = found.group(2), found.span(2)
        return _REFERENCE.findall(_STRING.sub(b"", self.bodies[number]))

    def add(self, body: bytes) -> bytes:
        """The number of a new instance."""
        number = b"#%d" % next(self.numbers)
        self.changes[number] = body
        return number

    def rewritten(self) -> bytes:
        """The text with its changes."""
        if not self.changes:
            return self.content
        spans = sorted((*self.places[number], number) for number in self.changes if number in self.places)
        new = b"".join(b"%s=%s;\n" % pair for pair in self.changes.items() if pair[0] not in self.places)
        pieces, done = [], 0
        for begin, end, number in spans:
            pieces += [self.content[done:begin], self.changes[number]]
            done = end
        content = b"".join([*pieces, self.content[done:]])
        end = content.rfind(b"ENDSEC")
        return content[:end] + new + content[end:] if new else content


def _state_units(text: _Text) -> None:
    """Rewrite the units of shapes in forms that the kernel supports."""
    shapes: dict[bytes, list[bytes]] = {}
    for number in text.gather(b"SHAPE_REPRESENTATION"):
        found = _ITEMS.search(text.bodies[number])
        if found is not None:
            shapes.setdefault(found.group(2), []).extend(found.group(1).split(b","))
    text.gather(b"UNIT")
    instances = Instances(text.content, text.bodies)
    for context, items in shapes.items():
        try:
            units = find_units(instances, context)
        except RefusedError as error:
            if not any(_SHAPE.match(text.content, text.find(item)) for item in dict.fromkeys(items)):
                continue
            shown = context.decode("ascii")
            raise RefusedError(
                f"{error} (its context is {shown}), so that the size of its shape is unknown; state one in the file"
            ) from error
        if not units.angle and b"CONICAL_SURFACE" in text.content:
            raise RefusedError(f"a representation with a cone but without a unit of angle ({context.decode('ascii')})")
        _state_context(text, context, units)


def _state_context(text: _Text, context: bytes, units: Units) -> None:
    body = _STRING.sub(b"''", text.bodies[context])
    if not _CONTEXT.fullmatch(body):
        doubt = re.search(rb"GLOBAL_UNCERTAINTY_ASSIGNED_CONTEXT\(\([^()]*\)\)", body)
        stated = b",".join(reference for reference in units.references if reference)
        text.changes[context] = b"(GEOMETRIC_REPRESENTATION_CONTEXT(3)%sGLOBAL_UNIT_ASSIGNED_CONTEXT((%s))%s)" % (
            b"" if doubt is None else doubt.group(),
            stated,
            b"REPRESENTATION_CONTEXT('','')",
        )
    length, angle = units.references
    if not _is_known(text, length):
        _state(text, length, b"LENGTH", units.length, b".MILLI.,.METRE.")
    if angle and not _is_known(text, angle):
        _state(text, angle, b"PLANE_ANGLE", units.angle, b"$,.RADIAN.")


def _is_known(text: _Text, unit: bytes) -> bool:
    """Return whether the kernel supports a unit: an SI unit, or a multiple of one."""
    body = _STRING.sub(b"''", text.bodies[unit])
    converted = _CONVERTED.fullmatch(body)
    if converted is None:
        return _SI.fullmatch(body) is not None
    measure = _MEASURE.fullmatch(text.bodies.get(converted.group(1), b""))
    return measure is not None and _SI.fullmatch(text.bodies.get(measure.group(1), b"")) is not None


def _state(text: _Text, unit: bytes, quantity: bytes, factor: float, base: bytes) -> None:
    """Rewrite a unit as an SI unit, or as a multiple of one."""
    plain = re.search(rb"\bSI_UNIT\([^()]*\)", text.bodies[unit])
    if plain is not None:
        text.changes[unit] = _named(b"NAMED_UNIT(*)", plain.group().replace(b"(*,", b"("), quantity)
        return
    under = text.add(_named(b"NAMED_UNIT(*)", b"SI_UNIT(%s)" % base, quantity))
    measure = text.add(b"%s_MEASURE_WITH_UNIT(%s_MEASURE(%s),%s)" % (quantity, quantity, _real(factor), under))
    powers = b"0.,0.,0.,0.,0.,0.,0." if quantity == b"PLANE_ANGLE" else b"1.,0.,0.,0.,0.,0.,0."
    dimensions = text.add(b"DIMENSIONAL_EXPONENTS(%s)" % powers)
    name = re.search(rb"CONVERSION_BASED_UNIT\([^']*'((?:[^']|'')*)'", text.bodies[unit])
    converted = b"CONVERSION_BASED_UNIT('%s',%s)" % (b"" if name is None else name.group(1), measure)
    text.changes[unit] = _named(converted, b"NAMED_UNIT(%s)" % dimensions, quantity)


def _named(*parts: bytes) -> bytes:
    """A complex instance of a unit, its parts in alphabetical order, as the kernel requires."""
    *known, quantity = parts
    return b"(%s)" % b"".join(sorted([*known, quantity + b"_UNIT()"]))


def _invert_scales(text: _Text) -> None:
    """Placements that scale: the kernel maps p to (R p + origin) / scale instead of scale R p + origin.

    It writes the parts of an assembly for that reading, too; what it wrote itself is left as it is.
    """
    if b"CARTESIAN_TRANSFORMATION_OPERATOR_3D" not in text.content:
        return
    operators = set(text.gather(b"CARTESIAN_TRANSFORMATION_OPERATOR_3D"))
    own = b"Open CASCADE" in text.content[: text.content.find(b"ENDSEC")]
    for word, pattern in _USES_OF_OPERATORS[: 1 if own else 2]:
        for user in text.gather(word):
            found = pattern.fullmatch(text.bodies[user])
            if found is None or found.group(2) not in operators:
                continue
            target = _inverted(text, user, found.group(2))
            if word == b"MAPPED_ITEM" and not _is_mapped_from_origin(text, text.bodies[user]):
                raise RefusedError(f"{_shown(user)} maps from a placement that is not the origin; {_WAY_OUT}")
            if target:
                text.changes[user] = found.group(1) + target + found.group(3)
    for user in text.gather(b"ITEM_DEFINED_TRANSFORMATION"):
        if operators & set(_REFERENCE.findall(text.bodies[user])):
            raise RefusedError(f"{_shown(user)} goes from or to an operator, which the kernel ignores; {_WAY_OUT}")


def _shown(user: bytes) -> str:
    return f"the placement {user.decode('ascii')} of a part"


def _is_mapped_from_origin(text: _Text, item: bytes) -> bool:
    """Return whether a mapped item's source has the origin with the axes of space as its own placement."""
    source = _REFERENCE.search(item)
    found = source and _MAP.match(text.content, text.find(source.group()))
    place = found and _PLACEMENT.match(text.content, text.find(found.group(1)))
    if not place:
        return False
    point, axis, across = ([] if reference == b"$" else _numbers(text, reference) for reference in place.groups())
    upright = not axis or (axis[:2] == [0.0, 0.0] and axis[2] > 0)
    return point == [0.0, 0.0, 0.0] and upright and (not across or (across[0] > 0 and across[1] == 0.0))


def _turn_shells(text: _Text) -> None:
    """Shells of surface models that are turned by their flag, which the kernel ignores: their faces are turned."""
    if b"SHELL_BASED_SURFACE_MODEL" not in text.content or b"ORIENTED_" not in text.content:
        return
    models = text.gather(b"SHELL_BASED_SURFACE_MODEL")
    shells = {shell for model in models for shell in _REFERENCE.findall(_STRING.sub(b"", text.bodies[model]))}
    for word in (b"ORIENTED_OPEN_SHELL", b"ORIENTED_CLOSED_SHELL"):
        for shell in shells & set(text.gather(word)):
            if text.bodies[shell].endswith(b",.F.)"):
                for face in text.references(text.references(shell)[0]):
                    *bounds, _ = text.references(face)
                    for turned in (face, *bounds):
                        text.references(turned)
                        text.changes[turned] = _toggled(text.bodies[turned])


def _refuse_whole_tori(text: _Text) -> None:
    """The kernel makes the whole torus of the part of a torus that meets itself, inner or outer, without an edge."""
    surfaces = set(text.gather(b"DEGENERATE_TOROIDAL_SURFACE"))
    if not surfaces:
        return
    for face in list(text.gather(b"ADVANCED_FACE")):
        *bounds, surface = text.references(face)
        if surface in surfaces:
            for bound in bounds:
                loop = text.references(bound)[0]
                text.references(loop)
                if text.bodies[loop].startswith(b"VERTEX_LOOP"):
                    raise RefusedError(
                        f"face {face.decode()} is a DEGENERATE_TOROIDAL_SURFACE bounded by a VERTEX_LOOP, which the "
                        "kernel takes for the whole torus; export the face with a seam edge between its poles"
                    )


def _toggled(body: bytes) -> bytes:
    """A face or bound with its flag, which comes last, the other way."""
    return body[:-4] + (b".F.)" if body.endswith(b".T.)") else b".T.)")


def _inverted(text: _Text, item: bytes, operator: bytes) -> bytes:
    """The operator that makes the kernel apply `operator`; empty where `operator` itself does."""
    found = _OPERATOR.fullmatch(_STRING.sub(b"''", text.bodies[operator]))
    shown = _shown(item)
    if found is None:
        raise RefusedError(f"{shown} has an operator that is not understood; {_WAY_OUT}")
    first, second, origin, scale, third = found.groups()
    factor = 1.0 if scale == b"$" else float(scale)
    axes = [_numbers(text, axis) for axis in (first, second, third) if axis != b"$"]
    if not factor > 0 or (len(axes) == 3 and _volume(*axes) < 0):
        raise RefusedError(f"{shown} is mirrored, which the kernel cannot read; {_WAY_OUT}")
    if factor == 1.0:
        return b""
    point = text.add(b"CARTESIAN_POINT('',(%s))" % b",".join(_real(x / factor) for x in _numbers(text, origin)))
    parts = first, second, point, _real(1.0 / factor), third
    return text.add(b"CARTESIAN_TRANSFORMATION_OPERATOR_3D('','','',%s,%s,%s,%s,%s)" % parts)


def _numbers(text: _Text, reference: bytes) -> list[float]:
    """The coordinates of a point or direction."""
    found = _NUMBERS.match(text.content, text.find(reference))
    try:
        numbers = [] if found is None else list(map(float, found.group(1).split(b",")))
    except ValueError:
        numbers = []
    if len(numbers) != 3:
        raise RefusedError(f"{reference.decode('ascii')} is no point or direction in space")
    return numbers


def _volume(a: list[float], b: list[float], c: list[float]) -> float:
    """The triple product: negative where the three are left-handed."""
    return a[0] * (b[1] * c[2] - b[2] * c[1]) - a[1] * (b[0] * c[2] - b[2] * c[0]) + a[2] * (b[0] * c[1] - b[1] * c[0])


def _real(value: float) -> bytes:
    """A number in STEP's notation, to the last digit."""
    text = repr(value).upper()
    mantissa, _, exponent = text.partition("E")
    return (mantissa + ("" if "." in mantissa else ".") + (f"E{exponent}" if exponent else "")).encode("ascii")


_NAME = rb"'[^']*(?:''[^']*)*',"
_NARROWING = re.compile(rb"(CONICAL_SURFACE\(" + _NAME + rb")(#\d+)(,[^,()]*,)-([\d.Ee+-]*[1-9][\d.Ee+-]*)\)")
_PLACEMENT = re.compile(rb"#\d+=AXIS2_PLACEMENT_3D\(" + _NAME + rb"([^,]*),(#\d+|\$),([^,]*)\);")
_PCURVE = re.compile(rb"(PCURVE\(" + _NAME + rb")(#\d+)(,.*)", re.DOTALL)


def _turn_cones(text: _Text) -> None:
    """Cones of a negative half angle, which the kernel takes for cylinders, with their axis the other way round and a
    positive one: the same points and, as both parameters turn, the same normals.

    Curves in the parameters of such a cone are left with a copy of it as it was, whose faces have them no more.
    """
    copies: dict[bytes, bytes] = {}
    for cone in text.gather(b"CONICAL_SURFACE("):
        found = _NARROWING.fullmatch(text.bodies[cone])
        place = None if found is None else _PLACEMENT.match(text.content, text.find(found.group(2)))
        if found is None or place is None:
            continue
        head, _, radius, angle = found.groups()
        origin, axis, across = place.groups()
        along = [0.0, 0.0, 1.0] if axis == b"$" else _numbers(text, axis)
        backwards = text.add(b"DIRECTION('',(%s))" % b",".join(_real(-value) for value in along))
        turned = text.add(b"AXIS2_PLACEMENT_3D('',%s,%s,%s)" % (origin, backwards, across))
        copies[cone] = text.add(text.bodies[cone])
        text.changes[cone] = b"%s%s%s%s)" % (head, turned, radius, angle)
    for pcurve in text.gather(b"PCURVE(") if copies else ():
        found = _PCURVE.fullmatch(text.bodies[pcurve])
        if found is not None and found.group(2) in copies:
            text.changes[pcurve] = found.group(1) + copies[found.group(2)] + found.group(3)


_ON_CLOSED = re.compile(
    rb"#(\d+)=(ADVANCED_FACE|FACE_BOUND|FACE_OUTER_BOUND|EDGE_LOOP|ORIENTED_EDGE|EDGE_CURVE|SPHERICAL_SURFACE"
    rb"|TOROIDAL_SURFACE)\(" + _NAME + rb"([^;]*);"
)
_NUMBER = re.compile(rb"#(\d+)")


def widen_slits(content: bytes) -> bytes:
    """Return a text of `prepare` with a point as the bound of each sphere or torus that is bounded by a slit (a loop of
    edges that each run back again): both mean the whole surface. The kernel supports only slits along its own seams.
    """
    if b"SPHERICAL_SURFACE" not in content and b"TOROIDAL_SURFACE" not in content:
        return content
    found = {m.group(1): m for m in _ON_CLOSED.finditer(content)}
    points = {}
    for face in found.values():
        if face.group(2) == b"ADVANCED_FACE":
            *bounds, surface = _NUMBER.findall(face.group(3))
            if len(bounds) == 1 and surface in found and _is_closed(found[surface]):
                points.update(_point_of_slit(found, bounds[0]))
    for loop in sorted(points, key=lambda m: -m.start()):
        text = b"#%s=VERTEX_LOOP('',#%s);" % (loop.group(1), points[loop])
        content = content[: loop.start()] + text + content[loop.end() :]
    return content


def _is_closed(statement: re.Match[bytes]) -> bool:
    """Return whether a slit does not bound a surface: a sphere, or a torus that does not meet itself."""
    if statement.group(2) == b"TOROIDAL_SURFACE":
        _, major, minor = statement.group(3).rstrip().rstrip(b")").split(b",")
        return float(minor) < float(major)
    return statement.group(2) == b"SPHERICAL_SURFACE"


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
