"""STEP files as instances that can be changed: parsed (ISO 10303-21), and written again."""

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
        return self.instances[number_of(number)][0].values

    def keyword(self, number: int | str) -> str:
        parts = self.instances[number_of(number)]
        return parts[0].keyword if len(parts) == 1 else ""

    def part(self, number: int | str, keyword: str) -> Entity | None:
        return next((part for part in self.instances[number_of(number)] if part.keyword == keyword), None)

    def users(self, number: int) -> list[int]:
        return [n for n, parts in self.instances.items() if f"#{number}" in set(references_of(parts))]

    def below(self, *roots: int) -> set[int]:
        """The instances that these refer to, and they themselves."""
        seen, todo = set(), list(roots)
        while todo:
            number = todo.pop()
            if number not in seen and number in self.instances:
                seen.add(number)
                todo += [number_of(reference) for reference in references_of(self.instances[number])]
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
        return self.add("CARTESIAN_POINT", "''", write_reals(at))

    def direction(self, along: np.ndarray) -> str:
        return self.add("DIRECTION", "''", write_reals(along))

    def place(self, at: np.ndarray, z: np.ndarray, x: np.ndarray) -> str:
        return self.add("AXIS2_PLACEMENT_3D", "''", self.point(at), self.direction(z), self.direction(x))

    def copy(self, reference: str) -> str:
        parts = self.instances[number_of(reference)]
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
        number, at = number_of(tokens[at]), at + 2  # past "="
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
            if tokens[at] not in (",", ")"):
                raise ValueError(f"{tokens[at - 1]} and {tokens[at]} have no comma between them")
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


def number_of(reference: int | str) -> int:
    return reference if isinstance(reference, int) else int(reference[1:])


def references_of(value: object) -> Iterator[str]:
    if isinstance(value, str):
        if value.startswith("#"):
            yield value
    else:
        for inner in value.values if isinstance(value, Entity) else value:  # type: ignore[union-attr]
            yield from references_of(inner)


def map_atoms(value: object, change: Callable[[str], str]) -> object:
    """The value with every atom changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Entity):
        return Entity(value.keyword, [map_atoms(inner, change) for inner in value.values])
    return [map_atoms(inner, change) for inner in value]  # type: ignore[union-attr]


def _copied(values: list) -> list:
    return [map_atoms(value, str) for value in values]


def write_reals(values: object) -> list[str]:
    return [write_real(value) for value in values]  # type: ignore[union-attr]


def write_real(value: float) -> str:
    mantissa, _, exponent = repr(float(value)).upper().partition("E")
    return mantissa + ("" if "." in mantissa else ".") + (f"E{exponent}" if exponent else "")


def toggled(flag: str) -> str:
    return {".T.": ".F.", ".F.": ".T."}[flag]


def some_of(numbers: list[int], random: Random) -> list[int]:
    """One, half or all of them."""
    share = random.choice((0.0, 0.5, 1.0))
    return [n for n in numbers if random.random() < share] or numbers[: random.randint(0, 1)]


class NotApplicableError(Exception):
    """A rewrite cannot tell its effect on this file."""
