"""STEP files written statement by statement, for what no modeller writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

Vector = Sequence[float]

_HEAD = """ISO-10303-21;
HEADER;
FILE_DESCRIPTION((''),'2;1');
FILE_NAME('part','2026-01-01T00:00:00',(''),(''),'','','');
FILE_SCHEMA(('AUTOMOTIVE_DESIGN { 1 0 10303 214 1 1 1 1 }'));
ENDSEC;
DATA;
"""
_TAIL = "ENDSEC;\nEND-ISO-10303-21;\n"


class Statements:
    """A STEP file that grows; every method adds statements and returns the last one's instance number."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, text: str) -> str:
        self.lines.append(f"#{len(self.lines) + 1}={text};")
        return f"#{len(self.lines)}"

    def point(self, at: Vector) -> str:
        return self.add(f"CARTESIAN_POINT('',{_reals(at)})")

    def direction(self, along: Vector) -> str:
        return self.add(f"DIRECTION('',{_reals(along)})")

    def vertex(self, at: Vector) -> str:
        return self.add(f"VERTEX_POINT('',{self.point(at)})")

    def place(self, at: Vector = (0, 0, 0), z: Vector = (0, 0, 1), x: Vector = (1, 0, 0)) -> str:
        return self.add(f"AXIS2_PLACEMENT_3D('',{self.point(at)},{self.direction(z)},{self.direction(x)})")

    def line(self, at: Vector, along: Vector) -> str:
        vector = self.add(f"VECTOR('',{self.direction(along)},1.)")
        return self.add(f"LINE('',{self.point(at)},{vector})")

    def circle(self, radius: float, at: Vector = (0, 0, 0), z: Vector = (0, 0, 1), x: Vector = (1, 0, 0)) -> str:
        return self.add(f"CIRCLE('',{self.place(at, z, x)},{radius!r})")

    def edge(self, start: str, end: str, curve: str, *, along: bool = True) -> str:
        return self.add(f"EDGE_CURVE('',{start},{end},{curve},{_flag(along)})")

    def face(
        self,
        surface: str,
        *loops: Sequence[tuple[str, bool]],
        forward: bool = True,
        name: str = "",
        turned: bool = False,
    ) -> str:
        """A face whose loops have it on their left, seen from outside; `turned` : stored backwards, and turned by
        their bounds.
        """
        bounds = []
        for uses in loops:
            oriented = [self.add(f"ORIENTED_EDGE('',*,*,{edge},{_flag(onward != turned)})") for edge, onward in uses]
            oriented = oriented[::-1] if turned else oriented
            loop = self.add(f"EDGE_LOOP('',({','.join(oriented)}))")
            bounds.append(self.add(f"FACE_BOUND('',{loop},{_flag(not turned)})"))
        return self.add(f"ADVANCED_FACE('{name}',({','.join(bounds)}),{surface},{_flag(forward)})")

    def point_bound_face(self, surface: str, at: Vector) -> str:
        """A face that is the whole of a closed surface."""
        loop = self.add(f"VERTEX_LOOP('',{self.vertex(at)})")
        bound = self.add(f"FACE_BOUND('',{loop},.T.)")
        return self.add(f"ADVANCED_FACE('',({bound}),{surface},.T.)")

    def shell(self, *faces: str) -> str:
        return self.add(f"CLOSED_SHELL('',({','.join(faces)}))")

    def solid(self, *faces: str) -> str:
        return self.add(f"MANIFOLD_SOLID_BREP('',{self.shell(*faces)})")

    def disc(self, rim: str, *, onward: bool, at: Vector, z: Vector) -> str:
        return self.face(self.add(f"PLANE('',{self.place(at, z)})"), [(rim, onward)])

    def write(self, path: Path, *items: str, uncertainty: float = 0.0) -> Path:
        """Make a product of these items and write the file; `uncertainty` : of lengths, stated unless it is 0."""
        mm = self.add("(LENGTH_UNIT()NAMED_UNIT(*)SI_UNIT(.MILLI.,.METRE.))")
        radian = self.add("(NAMED_UNIT(*)PLANE_ANGLE_UNIT()SI_UNIT($,.RADIAN.))")
        steradian = self.add("(NAMED_UNIT(*)SI_UNIT($,.STERADIAN.)SOLID_ANGLE_UNIT())")
        doubt = ""
        if uncertainty:
            measure = f"LENGTH_MEASURE({uncertainty:.1E}),{mm},'distance_accuracy_value',''"
            doubt = f"GLOBAL_UNCERTAINTY_ASSIGNED_CONTEXT(({self.add(f'UNCERTAINTY_MEASURE_WITH_UNIT({measure})')}))"
        context = self.add(
            f"(GEOMETRIC_REPRESENTATION_CONTEXT(3){doubt}"
            f"GLOBAL_UNIT_ASSIGNED_CONTEXT(({mm},{radian},{steradian}))REPRESENTATION_CONTEXT('','3D'))"
        )
        application = self.add("APPLICATION_CONTEXT('mechanical design')")
        discipline = self.add(f"PRODUCT_CONTEXT('',{application},'mechanical')")
        product = self.add(f"PRODUCT('part','part','',({discipline}))")
        formation = self.add(f"PRODUCT_DEFINITION_FORMATION('','',{product})")
        stage = self.add(f"PRODUCT_DEFINITION_CONTEXT('part definition',{application},'design')")
        definition = self.add(f"PRODUCT_DEFINITION('design','',{formation},{stage})")
        shape = self.add(f"PRODUCT_DEFINITION_SHAPE('','',{definition})")
        listed = ",".join([self.place(), *items])
        representation = self.add(f"ADVANCED_BREP_SHAPE_REPRESENTATION('',({listed}),{context})")
        self.add(f"SHAPE_DEFINITION_REPRESENTATION({shape},{representation})")
        path.write_text(_HEAD + "\n".join(self.lines) + "\n" + _TAIL)
        return path


def _reals(values: Vector) -> str:
    return "(" + ",".join(repr(float(value)) for value in values) + ")"


def _flag(value: bool) -> str:
    return ".T." if value else ".F."
