"""STEP texts of boxes, written statement by statement, for what the kernel's own writer never writes."""

from __future__ import annotations

from pathlib import Path

MILLIMETRE = "(LENGTH_UNIT()NAMED_UNIT(*)SI_UNIT(.MILLI.,.METRE.))"
RADIAN = "(NAMED_UNIT(*)PLANE_ANGLE_UNIT()SI_UNIT($,.RADIAN.))"

_CORNERS = [(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)]
_FACES = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
"""Corners of each face, counter-clockwise seen from outside, beginning with x = 0 and x = 1."""


class StepText:
    """A STEP file being written: every `add` returns the new instance's reference."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.app = self.add("APPLICATION_CONTEXT('x')")
        product = self.add(f"PRODUCT_CONTEXT('',{self.app},'mechanical')")
        self.product_context = product
        self.definition_context = self.add(f"PRODUCT_DEFINITION_CONTEXT('part definition',{self.app},'design')")

    def add(self, body: str) -> str:
        self.lines.append(f"#{len(self.lines) + 1}={body};")
        return f"#{len(self.lines)}"

    def direction(self, x: float, y: float, z: float) -> str:
        return self.add(f"DIRECTION('',({float(x)},{float(y)},{float(z)}))")

    def point(self, x: float, y: float, z: float) -> str:
        return self.add(f"CARTESIAN_POINT('',({float(x)},{float(y)},{float(z)}))")

    def placement(self, at: tuple = (0, 0, 0), z: tuple = (0, 0, 1), x: tuple = (1, 0, 0)) -> str:
        return self.add(f"AXIS2_PLACEMENT_3D('',{self.point(*at)},{self.direction(*z)},{self.direction(*x)})")

    def context(self, *units: str) -> str:
        """A geometric context with these units, given as bodies or as references."""
        references = [unit if unit.startswith("#") else self.add(unit) for unit in units or (MILLIMETRE, RADIAN)]
        return self.add(
            f"(GEOMETRIC_REPRESENTATION_CONTEXT(3)GLOBAL_UNIT_ASSIGNED_CONTEXT(({','.join(references)}))"
            "REPRESENTATION_CONTEXT('','3D'))"
        )

    def converted(self, name: str, measure: str) -> str:
        """A unit of length by conversion, its measure given as a body or as a reference."""
        exponents = self.add("DIMENSIONAL_EXPONENTS(1.,0.,0.,0.,0.,0.,0.)")
        reference = measure if measure.startswith("#") else self.add(measure)
        return self.add(f"(CONVERSION_BASED_UNIT('{name}',{reference})LENGTH_UNIT()NAMED_UNIT({exponents}))")

    def box(self, dx: float = 10, dy: float = 20, dz: float = 30) -> str:
        """A solid with its lowest corner at the origin."""
        at = [(x * dx, y * dy, z * dz) for x, y, z in _CORNERS]
        vertices = [self.add(f"VERTEX_POINT('',{self.point(*corner)})") for corner in at]
        edges: dict[tuple[int, int], str] = {}
        faces = [self._face(corners, at, vertices, edges) for corners in _FACES]
        shell = self.add(f"CLOSED_SHELL('',({','.join(faces)}))")
        return self.add(f"MANIFOLD_SOLID_BREP('',{shell})")

    def _face(self, corners: tuple, at: list, vertices: list[str], edges: dict[tuple[int, int], str]) -> str:
        uses = []
        for a, b in zip(corners, (*corners[1:], corners[0]), strict=True):
            key = min(a, b), max(a, b)
            if key not in edges:
                low, high = at[key[0]], at[key[1]]
                along = self.direction(*(h - s for s, h in zip(low, high, strict=True)))
                line = self.add(f"LINE('',{self.point(*low)},{self.add(f'VECTOR({chr(39) * 2},{along},1.)')})")
                edges[key] = self.add(f"EDGE_CURVE('',{vertices[key[0]]},{vertices[key[1]]},{line},.T.)")
            uses.append(self.add(f"ORIENTED_EDGE('',*,*,{edges[key]},.{'T' if a < b else 'F'}.)"))
        bound = self.add(f"FACE_OUTER_BOUND('',{self.add(f'EDGE_LOOP({chr(39) * 2},({chr(44).join(uses)}))')},.T.)")
        one, two, three = (at[corner] for corner in corners[:3])
        u = [q - p for p, q in zip(one, two, strict=True)]
        v = [q - p for p, q in zip(two, three, strict=True)]
        normal = u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]
        plane = self.add(f"PLANE('',{self.placement(one, normal, tuple(u))})")
        return self.add(f"ADVANCED_FACE('',({bound}),{plane},.T.)")

    def shape(self, context: str, *items: str, kind: str = "ADVANCED_BREP_SHAPE_REPRESENTATION") -> str:
        return self.add(f"{kind}('',({','.join(items)}),{context})")

    def product(self, name: str, shape: str) -> str:
        """A product with its shape; returns its definition."""
        product = self.add(f"PRODUCT('{name}','{name}','',({self.product_context}))")
        formation = self.add(f"PRODUCT_DEFINITION_FORMATION('','',{product})")
        definition = self.add(f"PRODUCT_DEFINITION('design','',{formation},{self.definition_context})")
        owner = self.add(f"PRODUCT_DEFINITION_SHAPE('','',{definition})")
        self.add(f"SHAPE_DEFINITION_REPRESENTATION({owner},{shape})")
        return definition

    def use(self, whole: str, part: str, shapes: tuple[str, str], operator: str) -> None:
        """Place a part in an assembly: `shapes` are the part's and the assembly's."""
        occurrence = self.add(f"NEXT_ASSEMBLY_USAGE_OCCURRENCE('{len(self.lines)}','','',{whole},{part},$)")
        owner = self.add(f"PRODUCT_DEFINITION_SHAPE('','',{occurrence})")
        relation = self.add(
            f"(REPRESENTATION_RELATIONSHIP('','',{shapes[0]},{shapes[1]})"
            f"REPRESENTATION_RELATIONSHIP_WITH_TRANSFORMATION({operator})SHAPE_REPRESENTATION_RELATIONSHIP())"
        )
        self.add(f"CONTEXT_DEPENDENT_SHAPE_REPRESENTATION({relation},{owner})")

    def mapped(self, shape: str, target: str) -> str:
        return self.add(f"MAPPED_ITEM('',{self.add(f'REPRESENTATION_MAP({self.placement()},{shape})')},{target})")

    def operator(self, at: tuple, scale: str, axes: tuple = ((1, 0, 0), (0, 1, 0), (0, 0, 1))) -> str:
        x, y, z = (self.direction(*axis) for axis in axes)
        return self.add(f"CARTESIAN_TRANSFORMATION_OPERATOR_3D('','','',{x},{y},{self.point(*at)},{scale},{z})")

    def text(self) -> str:
        head = (
            "ISO-10303-21;\nHEADER;\nFILE_DESCRIPTION((''),'2;1');\n"
            "FILE_NAME('x','2000-01-01T00:00:00',(''),(''),'','','');\n"
            "FILE_SCHEMA(('AUTOMOTIVE_DESIGN { 1 0 10303 214 1 1 1 1 }'));\nENDSEC;\nDATA;\n"
        )
        return head + "\n".join(self.lines) + "\nENDSEC;\nEND-ISO-10303-21;\n"

    def write(self, path: Path) -> Path:
        path.write_text(self.text(), encoding="ascii")
        return path
