"""Rewrites of STEP files: those that keep a file's meaning, and those whose effect is known.

A file is parsed into instances (ISO 10303-21), changed as ISO 10303-42 allows, and written again. Every rewrite takes a
`StepFile`, which it changes, and a source of randomness; where a file has nothing that it could change, it leaves the
file as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random

import numpy as np


@dataclass(slots=True)
class Entity:
    """A keyword and its parameters: texts as they stand (strings with their quotes), lists, typed values."""

    keyword: str
    values: list


@dataclass(slots=True)
class StepFile:
    """`instances` : by number; a complex instance has several entities. `style` : how `text` writes it."""

    head: str
    instances: dict[int, list[Entity]]
    style: set[str] = field(default_factory=set)
    seed: int = 0

    # -- finding

    def of(self, *keywords: str) -> list[int]:
        return [n for n, parts in self.instances.items() if len(parts) == 1 and parts[0].keyword in keywords]

    def values(self, number: int | str) -> list:
        return self.instances[_number(number)][0].values

    def keyword(self, number: int | str) -> str:
        parts = self.instances[_number(number)]
        return parts[0].keyword if len(parts) == 1 else ""

    def part(self, number: int | str, keyword: str) -> Entity | None:
        return next((part for part in self.instances[_number(number)] if part.keyword == keyword), None)

    def users(self, number: int) -> list[int]:
        return [n for n, parts in self.instances.items() if f"#{number}" in set(_references(parts))]

    def below(self, *roots: int) -> set[int]:
        """The instances that these refer to, and they themselves."""
        seen, todo = set(), list(roots)
        while todo:
            number = todo.pop()
            if number not in seen and number in self.instances:
                seen.add(number)
                todo += [_number(reference) for reference in _references(self.instances[number])]
        return seen

    def solids(self) -> list[int]:
        return self.of("MANIFOLD_SOLID_BREP", "BREP_WITH_VOIDS")

    def reals(self, reference: str) -> np.ndarray:
        return np.array([float(value) for value in self.values(reference)[1]])

    def frame(self, reference: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Origin, z and x of an AXIS2_PLACEMENT_3D."""
        _, at, along, across = self.values(reference)
        z = np.array([0.0, 0.0, 1.0]) if along == "$" else self.reals(along)
        z = z / np.linalg.norm(z)
        if across == "$":
            x = np.array([1.0, 0.0, 0.0]) if abs(z[0]) < 1 - 1e-9 else np.array([0.0, 0.0, 1.0])
        else:
            x = self.reals(across)
        x = x - (x @ z) * z
        return self.reals(at), z, x / np.linalg.norm(x)

    # -- making

    def add(self, keyword: str, *values: object) -> str:
        return self.add_complex(Entity(keyword, list(values)))

    def add_complex(self, *parts: Entity) -> str:
        number = max(self.instances) + 1
        self.instances[number] = list(parts)
        return f"#{number}"

    def point(self, at: np.ndarray) -> str:
        return self.add("CARTESIAN_POINT", "''", _reals(at))

    def direction(self, along: np.ndarray) -> str:
        return self.add("DIRECTION", "''", _reals(along))

    def place(self, at: np.ndarray, z: np.ndarray, x: np.ndarray) -> str:
        return self.add("AXIS2_PLACEMENT_3D", "''", self.point(at), self.direction(z), self.direction(x))

    def copy(self, reference: str) -> str:
        parts = self.instances[_number(reference)]
        return self.add_complex(*(Entity(part.keyword, _copied(part.values)) for part in parts))

    # -- writing

    def text(self) -> str:
        random = Random(self.seed)
        gap = (lambda: "") if "spread" not in self.style else lambda: random.choice(("", "", " ", "\n", "  \n ", "\t"))
        remark = (lambda: "") if "comment" not in self.style else lambda: random.choice(("", "", "", *_REMARKS))
        spelt = "numbers" in self.style

        def write(value: object) -> str:
            if isinstance(value, list):
                return f"({gap()}" + f"{gap()},{remark()}{gap()}".join(map(write, value)) + f"{gap()})"
            if isinstance(value, Entity):
                return value.keyword + gap() + write(value.values)
            return spell_real(value, random) if spelt and _REAL.fullmatch(value) else value

        lines = []
        for number, parts in self.instances.items():
            body = gap().join(map(write, parts))
            body = body if len(parts) == 1 else f"({gap()}{body}{gap()})"
            lines.append(f"{remark()}#{number}{gap()}={gap()}{body}{gap()};")
        line = "" if "one line" in self.style else "\n"
        return f"{self.head}\nDATA;{line}{line.join(lines)}{line}ENDSEC;\nEND-ISO-10303-21;\n"


def copy_of(file: StepFile) -> StepFile:
    """The file, to be changed apart."""
    instances = {n: [Entity(p.keyword, _copied(p.values)) for p in parts] for n, parts in file.instances.items()}
    return StepFile(file.head, instances, set(file.style), file.seed)


_REMARKS = ("/* it's */", "/* #1=PLANE('',#2); */", "/* ENDSEC; */", "/**/", "/* a \n b ' ; */")
_TOKEN = re.compile(r"\s+|/\*.*?\*/|('(?:[^']|'')*'|\"[^\"]*\"|[^\s'\"(),;=/]+|[(),;=])", re.DOTALL)
_REAL = re.compile(r"[-+]?\d+\.\d*(?:E[-+]?\d+)?")
_REFERENCE = re.compile(r"#\d+")


def parse(text: str) -> StepFile:
    """The file, its faces named ``0``, ``1`` … in the order of their statements."""
    begin, end = re.search(r"ENDSEC\s*;\s*DATA\s*;", text), text.rindex("ENDSEC")
    assert begin is not None
    tokens = [found.group(1) for found in _TOKEN.finditer(text, begin.end(), end) if found.group(1)]
    instances, at = {}, 0
    while at < len(tokens):
        number, at = _number(tokens[at]), at + 2  # past "="
        whole = tokens[at] == "("
        parts, at = [], at + whole
        while tokens[at] not in (";", ")"):
            values, after = _parse_list(tokens, at + 2)
            parts.append(Entity(tokens[at], values))
            at = after
        at += whole + 1
        instances[number] = parts
    head = text[: begin.start()] + "ENDSEC;"
    file = StepFile(head, instances)
    for row, face in enumerate(file.of("ADVANCED_FACE", "FACE_SURFACE")):
        file.values(face)[0] = f"'{row}'"
    return file


def _parse_list(tokens: list[str], at: int) -> tuple[list, int]:
    """The values up to the closing bracket, and where it goes on behind it."""
    values: list = []
    while tokens[at] != ")":
        if tokens[at] == ",":
            at += 1
        elif tokens[at] == "(":
            inner, at = _parse_list(tokens, at + 1)
            values.append(inner)
        elif tokens[at + 1] == "(":
            inner, after = _parse_list(tokens, at + 2)
            values.append(Entity(tokens[at], inner))
            at = after
        else:
            values.append(tokens[at])
            at += 1
    return values, at + 1


def spell_real(text: str, random: Random) -> str:
    """The same number in another of the forms that ISO 10303-21 knows."""
    value = Decimal(text)
    shift = random.randint(-3, 3)
    mantissa = f"{value.scaleb(-shift):f}"
    mantissa += "" if "." in mantissa else "."
    mantissa += "0" * random.randint(0, 2)
    sign = "+" if random.random() < 0.3 and not mantissa.startswith("-") else ""
    exponent = f"{'+' if random.random() < 0.5 and shift >= 0 else ''}{shift}"
    return sign + mantissa + (f"E{exponent}" if shift or random.random() < 0.5 else "")


def _number(reference: int | str) -> int:
    return reference if isinstance(reference, int) else int(reference[1:])


def _references(value: object) -> Iterator[str]:
    if isinstance(value, str):
        if value.startswith("#"):
            yield value
    else:
        for inner in value.values if isinstance(value, Entity) else value:  # type: ignore[union-attr]
            yield from _references(inner)


def _mapped(value: object, change: Callable[[str], str]) -> object:
    """The value with every atom changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Entity):
        return Entity(value.keyword, [_mapped(inner, change) for inner in value.values])
    return [_mapped(inner, change) for inner in value]  # type: ignore[union-attr]


def _copied(values: list) -> list:
    return [_mapped(value, str) for value in values]


def _reals(values: object) -> list[str]:
    return [_real(value) for value in values]  # type: ignore[union-attr]


def _real(value: float) -> str:
    mantissa, _, exponent = repr(float(value)).upper().partition("E")
    return mantissa + ("" if "." in mantissa else ".") + (f"E{exponent}" if exponent else "")


def _toggled(flag: str) -> str:
    return {".T.": ".F.", ".F.": ".T."}[flag]


def _some(numbers: list[int], random: Random) -> list[int]:
    """One, half or all of them."""
    share = random.choice((0.0, 0.5, 1.0))
    return [n for n in numbers if random.random() < share] or numbers[: random.randint(0, 1)]


# -- senses


def flip_edges(file: StepFile, random: Random) -> None:
    """Edges from their other end, every use of them the other way round."""
    for edge in _some(file.of("EDGE_CURVE"), random):
        values = file.values(edge)
        values[1], values[2], values[4] = values[2], values[1], _toggled(values[4])
        for use in file.users(edge):
            if file.keyword(use) == "ORIENTED_EDGE":
                file.values(use)[4] = _toggled(file.values(use)[4])


def drop_pcurves(file: StepFile, random: Random) -> None:
    """Edges with their curve in space alone, without those on surfaces."""
    wrappers = set(file.of("SURFACE_CURVE", "SEAM_CURVE", "INTERSECTION_CURVE"))
    for edge in file.of("EDGE_CURVE"):
        while _number(file.values(edge)[3]) in wrappers:
            file.values(edge)[3] = file.values(file.values(edge)[3])[1]
    used = {_number(r) for n, parts in file.instances.items() if n not in wrappers for r in _references(parts)}
    for wrapper in wrappers - used:
        for curve in file.values(wrapper)[2]:
            file.instances.pop(_number(curve), None) if file.users(_number(curve)) == [wrapper] else None
        del file.instances[wrapper]


def reverse_curves(file: StepFile, random: Random) -> None:
    """Edges along the same curve run backwards."""
    drop_pcurves(file, random)
    for edge in _some(file.of("EDGE_CURVE"), random):
        values = file.values(edge)
        curve = _reversed_curve(file, values[3])
        if curve:
            values[3], values[4] = curve, _toggled(values[4])


def _reversed_curve(file: StepFile, reference: str) -> str:
    keyword, curve = file.keyword(reference), file.copy(reference)
    if keyword == "LINE":
        values = file.values(curve)
        _, direction, size = file.values(values[2])
        values[2] = file.add("VECTOR", "''", file.direction(-file.reals(direction)), size)
        return curve
    if keyword in ("CIRCLE", "ELLIPSE"):
        at, z, x = file.frame(file.values(curve)[1])
        file.values(curve)[1] = file.place(at, -z, x)
        return curve
    if keyword == "B_SPLINE_CURVE_WITH_KNOTS":
        values = file.values(curve)
        _reverse(values, 2, 6)
        values[7] = _reversed_knots(values[7])
        return curve
    knots, poles, weights = (
        file.part(curve, k) for k in ("B_SPLINE_CURVE_WITH_KNOTS", "B_SPLINE_CURVE", "RATIONAL_B_SPLINE_CURVE")
    )
    if knots is None or poles is None or weights is None:
        return ""
    _reverse(poles.values, 1)
    _reverse(weights.values, 0)
    _reverse(knots.values, 0)
    knots.values[1] = _reversed_knots(knots.values[1])
    return curve


def _reverse(values: list, *at: int) -> None:
    for i in at:
        values[i] = values[i][::-1]


def _reversed_knots(knots: list[str]) -> list[str]:
    total = float(knots[0]) + float(knots[-1])
    return [_real(total - float(knot)) for knot in knots[::-1]]


def reverse_surfaces(file: StepFile, random: Random) -> None:
    """Faces on the same surface with its normal the other way."""
    drop_pcurves(file, random)
    for face in _some(file.of("ADVANCED_FACE"), random):
        values = file.values(face)
        surface = _reversed_surface(file, values[2])
        if surface:
            values[2], values[3] = surface, _toggled(values[3])


def _reversed_surface(file: StepFile, reference: str) -> str:
    keyword = file.keyword(reference)
    surface = file.copy(reference)
    values = file.values(surface)
    if keyword == "PLANE":
        at, z, x = file.frame(values[1])
        values[1] = file.place(at, -z, x)
    elif keyword == "B_SPLINE_SURFACE_WITH_KNOTS":
        values[1], values[2] = values[2], values[1]
        values[3] = [list(column) for column in zip(*values[3], strict=True)]
        values[5], values[6] = values[6], values[5]
        values[8], values[9], values[10], values[11] = values[9], values[8], values[11], values[10]
    elif keyword == "SURFACE_OF_LINEAR_EXTRUSION":
        _, direction, size = file.values(values[2])
        values[2] = file.add("VECTOR", "''", file.direction(-file.reals(direction)), size)
    elif keyword == "SURFACE_OF_REVOLUTION":
        _, at, along = file.values(values[2])
        z = np.array([0.0, 0.0, 1.0]) if along == "$" else file.reals(along)
        values[2] = file.add("AXIS1_PLACEMENT", "''", at, file.direction(-z))
    else:
        return ""
    return surface


def reverse_bounds(file: StepFile, random: Random) -> None:
    """Loops the other way round, and their bounds' flags with them."""
    for bound in _some(file.of("FACE_BOUND", "FACE_OUTER_BOUND"), random):
        values = file.values(bound)
        if file.keyword(values[1]) != "EDGE_LOOP":
            continue
        loop = file.copy(values[1])
        uses = [file.copy(use) for use in file.values(loop)[1][::-1]]
        for use in uses:
            file.values(use)[4] = _toggled(file.values(use)[4])
        file.values(loop)[1] = uses
        values[1], values[2] = loop, _toggled(values[2])


def turn_cavities(file: StepFile, random: Random) -> None:
    """Cavities whose shell looks the other way, as their flag does."""
    for void in _some(file.of("ORIENTED_CLOSED_SHELL"), random):
        values = file.values(void)
        values[3] = _toggled(values[3])
        turn_shell(file, _number(values[2]))


def turn_shell(file: StepFile, shell: int) -> None:
    """The shell inside out: its faces' senses and bounds the other way round."""
    for face in file.values(shell)[1]:
        values = file.values(face)
        values[3] = _toggled(values[3])
        for bound in values[1]:
            file.values(bound)[2] = _toggled(file.values(bound)[2])


def turn_inside_out(file: StepFile, random: Random) -> None:
    """Every shell inside out; the solids of a STEP file have no inside but theirs."""
    for shell in file.of("CLOSED_SHELL"):
        turn_shell(file, shell)


# -- order


def turn_loops(file: StepFile, random: Random) -> None:
    """Loops from another of their edges."""
    for loop in file.of("EDGE_LOOP"):
        uses = file.values(loop)[1]
        at = random.randrange(len(uses))
        uses[:] = uses[at:] + uses[:at]


def shuffle_lists(file: StepFile, random: Random) -> None:
    """Faces of shells and bounds of faces in another order; outer bounds that do not say so."""
    for number in [*file.of("CLOSED_SHELL", "OPEN_SHELL"), *file.of("ADVANCED_FACE")]:
        random.shuffle(file.values(number)[1])
    for bound in _some(file.of("FACE_OUTER_BOUND"), random):
        file.instances[bound][0].keyword = "FACE_BOUND"


def shuffle_statements(file: StepFile, random: Random) -> None:
    """Statements in another order and with other numbers."""
    old = list(file.instances)
    new = random.sample(range(1, random.choice((1, 10, 10**6)) * len(old) + 1), len(old))
    numbers = {f"#{a}": f"#{b}" for a, b in zip(old, new, strict=True)}
    random.shuffle(old)
    file.instances = {
        _number(numbers[f"#{n}"]): [_mapped(part, lambda t: numbers.get(t, t)) for part in file.instances[n]]  # type: ignore[misc]
        for n in old
    }


def unshare(file: StepFile, random: Random) -> None:
    """Points, directions, placements, curves and surfaces of one's own instead of shared ones."""
    kinds = ("CARTESIAN_POINT", "DIRECTION", "AXIS2_PLACEMENT_3D", "VECTOR", "LINE", "CIRCLE", "PLANE")
    shared = set(file.of(*kinds))
    users = ("VERTEX_POINT", "EDGE_CURVE", "ADVANCED_FACE", "CYLINDRICAL_SURFACE", "TOROIDAL_SURFACE", *kinds)
    keep = {_number(r) for n in file.of("PCURVE", "SURFACE_CURVE", "SEAM_CURVE") for r in _references(file.values(n))}
    for number in _some(file.of(*users), random):
        values = file.values(number)
        for i, value in enumerate(values):
            if isinstance(value, str) and value.startswith("#") and _number(value) in shared - keep:
                values[i] = file.copy(value)


# -- axes


def turn_axes(file: StepFile, random: Random) -> None:
    """Surfaces and circles with other frames for the same points, directions of other lengths and beside the normal."""
    drop_pcurves(file, random)
    kept = _without_seam(file)
    for surface in _some(file.of("PLANE", "CYLINDRICAL_SURFACE", "SPHERICAL_SURFACE", "TOROIDAL_SURFACE"), random):
        if f"#{surface}" in kept:
            continue
        kind, values = file.keyword(surface), file.values(surface)
        at, z, x = file.frame(values[1])
        angle, y = random.uniform(-3, 3), np.cross(z, x)
        x, y = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
        if kind == "PLANE":
            at = at + random.uniform(-9, 9) * x + random.uniform(-9, 9) * y
        elif kind == "CYLINDRICAL_SURFACE":
            at, z = at + random.uniform(-9, 9) * z, random.choice((1, -1)) * z
        elif kind == "TOROIDAL_SURFACE":
            z = random.choice((1, -1)) * z
        values[1] = file.place(at, z, x)
    for circle in _some(file.of("CIRCLE"), random):
        if file.keyword(file.values(circle)[1]) != "AXIS2_PLACEMENT_3D":
            continue
        at, z, x = file.frame(file.values(circle)[1])
        angle = random.uniform(-3, 3)
        file.values(circle)[1] = file.place(at, z, np.cos(angle) * x + np.sin(angle) * np.cross(z, x))


def _without_seam(file: StepFile) -> set[str]:
    """Curved surfaces of faces with several loops and no seam: the kernel puts one where their axes are, and cuts the
    loops there.
    """
    found = set()
    for face in file.of("ADVANCED_FACE"):
        _, bounds, surface, _ = file.values(face)
        loops = [file.values(bound)[1] for bound in bounds]
        if len(loops) > 1 and file.keyword(surface) != "PLANE":
            edges = [
                file.values(use)[3]
                for loop in loops
                if file.keyword(loop) == "EDGE_LOOP"
                for use in file.values(loop)[1]
            ]
            if len(set(edges)) == len(edges):
                found.add(surface)
    return found


def slide_lines(file: StepFile, random: Random) -> None:
    """Lines from another of their points, with vectors of another length."""
    drop_pcurves(file, random)
    for line in _some(file.of("LINE"), random):
        values = file.values(line)
        if len(file.values(values[1])[1]) != 3:
            continue
        along = file.reals(file.values(values[2])[1])
        values[1] = file.point(file.reals(values[1]) + random.uniform(-20, 20) * along / np.linalg.norm(along))
        values[2] = file.add("VECTOR", "''", file.direction(along), _real(random.choice((0.01, 1.0, 37.0))))


def slant_directions(file: StepFile, random: Random) -> None:
    """Directions that are not of length 1, reference directions that are not square to their axes."""
    for place in _some(file.of("AXIS2_PLACEMENT_3D"), random):
        _, z, x = file.frame(f"#{place}")
        along, across = random.choice((0.3, 1.0, 20.0)) * z, random.choice((0.3, 1.0, 20.0)) * (x + 0.4 * z)
        file.values(place)[2:] = [file.direction(along), file.direction(across)]


def leave_out_axes(file: StepFile, random: Random) -> None:
    """Placements that leave out the directions that are there by default."""
    for place in file.of("AXIS2_PLACEMENT_3D"):
        _, z, x = file.frame(f"#{place}")
        if abs(z[2] - 1) < 1e-15 and abs(x[0] - 1) < 1e-15:
            file.values(place)[2:] = random.choice(
                (["$", "$"], ["$", file.values(place)[3]], [file.values(place)[2], "$"])
            )


# -- text


def spread(file: StepFile, random: Random) -> None:
    file.style.add(random.choice(("spread", "one line")))


def comment(file: StepFile, random: Random) -> None:
    file.style.add("comment")


def spell_numbers(file: StepFile, random: Random) -> None:
    file.style.add("numbers")


def name_oddly(file: StepFile, random: Random) -> None:
    """Entities whose names look like other parts of a file; faces keep their numbers before it."""
    odd = ("it''s", ";", "/* no */", "#1=PLANE('''',#2);", "ENDSEC;", "(1.,2.)", "a,b", ")", "1 2", "DATA;", "\\\\")
    named = (
        "ADVANCED_FACE",
        "CLOSED_SHELL",
        "EDGE_CURVE",
        "PLANE",
        "CARTESIAN_POINT",
        "MANIFOLD_SOLID_BREP",
        "PRODUCT",
    )
    for number in _some(file.of(*named), random):
        values = file.values(number)
        values[0] = f"{values[0][:-1]}_{random.choice(odd)}'"


# -- units


def restate_lengths(file: StepFile, random: Random) -> None:
    """Lengths in another unit, which is stated in one of several ways."""
    factor, unit = random.choice(_UNITS)(file)
    _scale_lengths(file, set(file.instances), _unit_of_all(file) / factor)
    _assign(file, "LENGTH_UNIT", unit)


def restate_angles(file: StepFile, random: Random) -> None:
    """Angles in degrees or radians."""
    degree = np.pi / 180
    if not all(_si_unit(file, reference) for reference in _assigned(file, "PLANE_ANGLE_UNIT")):
        return
    for cone in file.of("CONICAL_SURFACE"):
        file.values(cone)[3] = _real(float(file.values(cone)[3]) / degree)
    radian = file.add_complex(
        Entity("NAMED_UNIT", ["*"]), Entity("PLANE_ANGLE_UNIT", []), Entity("SI_UNIT", ["$", ".RADIAN."])
    )
    measure = file.add("PLANE_ANGLE_MEASURE_WITH_UNIT", Entity("PLANE_ANGLE_MEASURE", [_real(degree)]), radian)
    none = file.add("DIMENSIONAL_EXPONENTS", *(["0."] * 7))
    unit = file.add_complex(
        Entity("CONVERSION_BASED_UNIT", ["'DEGREE'", measure]),
        Entity("NAMED_UNIT", [none]),
        Entity("PLANE_ANGLE_UNIT", []),
    )
    _assign(file, "PLANE_ANGLE_UNIT", unit)


def _si(file: StepFile, prefix: str) -> str:
    return file.add_complex(
        Entity("LENGTH_UNIT", []), Entity("NAMED_UNIT", ["*"]), Entity("SI_UNIT", [prefix, ".METRE."])
    )


def _converted(file: StepFile, name: str, factor: float, base: str) -> str:
    measure = file.add("LENGTH_MEASURE_WITH_UNIT", Entity("LENGTH_MEASURE", [_real(factor)]), base)
    power = file.add("DIMENSIONAL_EXPONENTS", "1.", *(["0."] * 6))
    return file.add_complex(
        Entity("CONVERSION_BASED_UNIT", [f"'{name}'", measure]),
        Entity("LENGTH_UNIT", []),
        Entity("NAMED_UNIT", [power]),
    )


_UNITS: tuple[Callable[[StepFile], tuple[float, str]], ...] = (
    lambda file: (1.0, _si(file, ".MILLI.")),
    lambda file: (1000.0, _si(file, "$")),
    lambda file: (10.0, _si(file, ".CENTI.")),
    lambda file: (25.4, _converted(file, "INCH", 25.4, _si(file, ".MILLI."))),
    lambda file: (25.4, _converted(file, "inch", 2.54, _si(file, ".CENTI."))),
    lambda file: (304.8, _converted(file, "FOOT", 12.0, _converted(file, "INCH", 0.0254, _si(file, "$")))),
)
"""Each gives how many mm the unit is, and its instance."""


def _assigned(file: StepFile, quantity: str) -> list[str]:
    """The units of this quantity in all contexts."""
    lists = [part.values[0] for parts in file.instances.values() for part in parts if part.keyword == _CONTEXT]
    return [unit for units in lists for unit in units if file.part(unit, quantity) is not None]


_CONTEXT = "GLOBAL_UNIT_ASSIGNED_CONTEXT"


def _assign(file: StepFile, quantity: str, unit: str) -> None:
    for parts in file.instances.values():
        for part in parts:
            if part.keyword == _CONTEXT:
                part.values[0] = [unit if file.part(u, quantity) is not None else u for u in part.values[0]]


def _si_unit(file: StepFile, unit: str) -> list | None:
    part = file.part(unit, "SI_UNIT")
    return None if part is None else part.values


_PREFIXES = {".MILLI.": 1.0, "$": 1000.0, ".CENTI.": 10.0}


def _unit_of_all(file: StepFile) -> float:
    """mm in the one unit of length of the file.

    Raises
    ------
    NotApplicableError
        There are several, or it is no SI unit.
    """
    prefixes = {(_si_unit(file, unit) or ["none"])[0] for unit in _assigned(file, "LENGTH_UNIT")}
    if len(prefixes) != 1 or not prefixes <= set(_PREFIXES):
        raise NotApplicableError("no one SI unit of length")
    return _PREFIXES[prefixes.pop()]


class NotApplicableError(Exception):
    """A rewrite cannot tell its effect on this file."""


_LENGTHS = {
    "CIRCLE": (2,),
    "ELLIPSE": (2, 3),
    "CYLINDRICAL_SURFACE": (2,),
    "CONICAL_SURFACE": (2,),
    "SPHERICAL_SURFACE": (2,),
    "TOROIDAL_SURFACE": (2, 3),
    "OFFSET_SURFACE": (2,),
    "VECTOR": (2,),
}
_UNSCALED = (
    "TRIMMED_CURVE",
    "HYPERBOLA",
    "PARABOLA",
    "OFFSET_CURVE_3D",
    "DEGENERATE_TOROIDAL_SURFACE",
    "EDGE_BASED_WIREFRAME_MODEL",
)
"""Their lengths or parameters are not scaled here."""


def _scale_lengths(file: StepFile, among: set[int], factor: float) -> None:
    if file.of(*_UNSCALED):
        raise NotApplicableError("curves whose parameters are lengths")
    drop_pcurves(file, Random(0))
    for number in among & set(file.instances):
        keyword, values = file.keyword(number), file.instances[number][0].values
        if keyword == "CARTESIAN_POINT" and len(values[1]) == 3:
            values[1] = _reals(float(x) * factor for x in values[1])
        for i in _LENGTHS.get(keyword, ()):
            values[i] = _real(float(values[i]) * factor)


# -- placements


def _geometry(file: StepFile) -> set[int]:
    """All below the solids, where nothing places them."""
    drop_pcurves(file, Random(0))
    if file.of("MAPPED_ITEM", "ITEM_DEFINED_TRANSFORMATION", "SHELL_BASED_SURFACE_MODEL", "GEOMETRIC_CURVE_SET"):
        raise NotApplicableError("parts that are placed")
    if not file.solids():
        raise NotApplicableError("no solids")
    for representation in file.of("ADVANCED_BREP_SHAPE_REPRESENTATION", "SHAPE_REPRESENTATION"):
        for i, item in enumerate(file.values(representation)[1]):
            if file.keyword(item) == "AXIS2_PLACEMENT_3D":  # may share its point with the shape
                file.values(representation)[1][i] = file.place(*file.frame(item))
    return file.below(*file.solids())


def random_move(random: Random) -> tuple[np.ndarray, np.ndarray]:
    """A rotation : (3, 3) and a shift : (3,)."""
    q, r = np.linalg.qr(np.array([[random.gauss(0, 1) for _ in range(3)] for _ in range(3)]))
    q = q * np.sign(np.diag(r))
    q[:, 0] *= np.sign(np.linalg.det(q))
    return q, np.array([random.uniform(-50, 50) for _ in range(3)])


def move(file: StepFile, turn: np.ndarray, shift: np.ndarray) -> None:
    """All solids where the rotation and the shift bring them."""
    for number in _geometry(file):
        values, keyword = file.instances[number][0].values, file.keyword(number)
        if keyword == "CARTESIAN_POINT":
            values[1] = _reals(turn @ file.reals(f"#{number}") + shift)
        elif keyword == "DIRECTION":
            values[1] = _reals(turn @ file.reals(f"#{number}"))
        elif keyword == "AXIS2_PLACEMENT_3D" and "$" in values[2:]:
            raise NotApplicableError("directions by default")


def scale(file: StepFile, factor: float) -> None:
    """All solids larger, about the origin."""
    _scale_lengths(file, _geometry(file), factor)


def mirror(file: StepFile) -> None:
    """All solids mirrored at the plane x = 0."""
    among = _geometry(file)
    if file.of("SURFACE_OF_LINEAR_EXTRUSION", "SURFACE_OF_REVOLUTION", "OFFSET_SURFACE") or any(
        file.part(n, "RATIONAL_B_SPLINE_SURFACE") for n in among
    ):
        raise NotApplicableError("surfaces whose normals follow their curves")
    conics = {n: file.frame(file.values(n)[1]) for n in among if file.keyword(n) in ("CIRCLE", "ELLIPSE")}
    bent = {f"#{n}" for n in among if file.keyword(n) == "B_SPLINE_SURFACE_WITH_KNOTS"}
    for number in among:
        keyword = file.keyword(number)
        if keyword in ("CARTESIAN_POINT", "DIRECTION"):
            x, *rest = file.values(number)[1]
            file.values(number)[1] = [_real(-float(x)), *rest]
        elif keyword in ("FACE_BOUND", "FACE_OUTER_BOUND"):  # what ran left about a normal runs right about its image
            file.values(number)[2] = _toggled(file.values(number)[2])
        elif keyword == "ADVANCED_FACE" and file.values(number)[2] in bent:
            file.values(number)[3] = _toggled(file.values(number)[3])
    flip = np.array([-1.0, 1.0, 1.0])
    for number, (at, z, x) in conics.items():
        file.values(number)[1] = file.place(flip * at, -flip * z, flip * x)


_ORIGIN = np.zeros(3), np.array([0.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0])


def _move_away(file: StepFile, random: Random) -> tuple[int, str, str]:
    """Move all solids; the representation that has them, where its frame went, and the frame at the origin."""
    representations = file.of("ADVANCED_BREP_SHAPE_REPRESENTATION")
    if len(representations) != 1 or len(file.of("SHAPE_DEFINITION_REPRESENTATION")) != 1:
        raise NotApplicableError("more than one product")
    turn, shift = random_move(random)
    move(file, turn, shift)
    return representations[0], file.place(shift, turn[:, 2], turn[:, 0]), file.place(*_ORIGIN)


def map_back(file: StepFile, random: Random) -> None:
    """Solids elsewhere, and a mapped item that brings them back."""
    whole, there, here = _move_away(file, random)
    values = file.values(whole)
    part = file.add("ADVANCED_BREP_SHAPE_REPRESENTATION", "''", [*map(str, values[1])], values[2])
    item = file.add("MAPPED_ITEM", "''", file.add("REPRESENTATION_MAP", there, part), here)
    values[1] = [file.place(*_ORIGIN), item]
    file.instances[whole][0].keyword = "SHAPE_REPRESENTATION"


def assemble_back(file: StepFile, random: Random) -> None:
    """Solids elsewhere, and an assembly that has them where they were."""
    part, there, here = _move_away(file, random)
    (definition,) = file.of("SHAPE_DEFINITION_REPRESENTATION")
    owner, shape = file.values(definition)
    single = file.values(owner)[2]
    formation, stage = file.values(single)[2:4]
    product = file.values(formation)[2]
    whole = file.add("PRODUCT", "'whole'", "'whole'", "''", file.values(product)[3])
    edition = file.add("PRODUCT_DEFINITION_FORMATION", "''", "''", whole)
    assembly = file.add("PRODUCT_DEFINITION", "'design'", "''", edition, stage)
    assembly_shape = file.add("PRODUCT_DEFINITION_SHAPE", "''", "''", assembly)
    file.values(part)[1].append(there)
    representation = file.add("SHAPE_REPRESENTATION", "''", [file.place(*_ORIGIN), here], file.values(part)[2])
    file.add("SHAPE_DEFINITION_REPRESENTATION", assembly_shape, representation)
    use = file.add("NEXT_ASSEMBLY_USAGE_OCCURRENCE", "'1'", "''", "''", assembly, single, "$")
    placed = file.add("PRODUCT_DEFINITION_SHAPE", "''", "''", use)
    step = file.add("ITEM_DEFINED_TRANSFORMATION", "''", "''", there, here)
    relation = file.add_complex(
        Entity("REPRESENTATION_RELATIONSHIP", ["''", "''", shape, representation]),
        Entity("REPRESENTATION_RELATIONSHIP_WITH_TRANSFORMATION", [step]),
        Entity("SHAPE_REPRESENTATION_RELATIONSHIP", []),
    )
    file.add("CONTEXT_DEPENDENT_SHAPE_REPRESENTATION", relation, placed)


def hollow(file: StepFile, factor: float, centre: np.ndarray) -> None:
    """The file's one solid with a cavity: a copy of its shell, smaller by `factor` about `centre`.

    Its faces are the last ones.
    """
    _geometry(file)
    (solid,) = file.solids()
    if file.keyword(solid) != "MANIFOLD_SOLID_BREP":
        raise NotApplicableError("a solid with cavities")
    shell = file.values(solid)[1]
    among = file.below(_number(shell))
    numbers = {f"#{n}": f"#{max(file.instances) + 1 + i}" for i, n in enumerate(sorted(among))}
    for number in sorted(among):
        parts = [_mapped(part, lambda t: numbers.get(t, t)) for part in file.instances[number]]
        file.instances[_number(numbers[f"#{number}"])] = parts  # type: ignore[assignment]
    copies = {_number(n) for n in numbers.values()}
    _scale_lengths(file, copies, factor)
    for number in copies:
        if file.keyword(number) == "CARTESIAN_POINT":
            file.values(number)[1] = _reals(file.reals(f"#{number}") + (1 - factor) * centre)
    void = file.add("ORIENTED_CLOSED_SHELL", "''", "*", numbers[shell], ".F.")
    file.instances[solid] = [Entity("BREP_WITH_VOIDS", [file.values(solid)[0], shell, [void]])]


IN_TEXT = (shuffle_statements, spread, comment, spell_numbers, name_oddly, unshare, turn_loops, shuffle_lists)
"""Rewrites that keep what is said."""

IN_SHAPE = (
    flip_edges,
    drop_pcurves,
    reverse_curves,
    reverse_surfaces,
    reverse_bounds,
    turn_cavities,
    turn_inside_out,
    turn_axes,
    slide_lines,
    slant_directions,
    leave_out_axes,
    restate_lengths,
    restate_angles,
    map_back,
    assemble_back,
)
"""Rewrites that say the same in another way."""
