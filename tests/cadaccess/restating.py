"""Rewrites of STEP files: the same units and placements in other words, and sizes and places with a known effect."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import numpy as np

from tests.cadaccess.rewriting import drop_pcurves
from tests.cadaccess.stepfile import (
    Entity,
    NotApplicableError,
    StepFile,
    map_atoms,
    number_of,
    toggled,
    write_real,
    write_reals,
)

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
        file.values(cone)[3] = write_real(float(file.values(cone)[3]) / degree)
    radian = file.add_complex(
        Entity("NAMED_UNIT", ["*"]), Entity("PLANE_ANGLE_UNIT", []), Entity("SI_UNIT", ["$", ".RADIAN."])
    )
    measure = file.add("PLANE_ANGLE_MEASURE_WITH_UNIT", Entity("PLANE_ANGLE_MEASURE", [write_real(degree)]), radian)
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
    measure = file.add("LENGTH_MEASURE_WITH_UNIT", Entity("LENGTH_MEASURE", [write_real(factor)]), base)
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
            values[1] = write_reals(float(x) * factor for x in values[1])
        for i in _LENGTHS.get(keyword, ()):
            values[i] = write_real(float(values[i]) * factor)


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
            values[1] = write_reals(turn @ file.reals(f"#{number}") + shift)
        elif keyword == "DIRECTION":
            values[1] = write_reals(turn @ file.reals(f"#{number}"))
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
            file.values(number)[1] = [write_real(-float(x)), *rest]
        elif keyword in ("FACE_BOUND", "FACE_OUTER_BOUND"):  # what ran left about a normal runs right about its image
            file.values(number)[2] = toggled(file.values(number)[2])
        elif keyword == "ADVANCED_FACE" and file.values(number)[2] in bent:
            file.values(number)[3] = toggled(file.values(number)[3])
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
    among = file.below(number_of(shell))
    numbers = {f"#{n}": f"#{max(file.instances) + 1 + i}" for i, n in enumerate(sorted(among))}
    for number in sorted(among):
        parts = [map_atoms(part, lambda t: numbers.get(t, t)) for part in file.instances[number]]
        file.instances[number_of(numbers[f"#{number}"])] = parts  # type: ignore[assignment]
    copies = {number_of(n) for n in numbers.values()}
    _scale_lengths(file, copies, factor)
    for number in copies:
        if file.keyword(number) == "CARTESIAN_POINT":
            file.values(number)[1] = write_reals(file.reals(f"#{number}") + (1 - factor) * centre)
    void = file.add("ORIENTED_CLOSED_SHELL", "''", "*", numbers[shell], ".F.")
    file.instances[solid] = [Entity("BREP_WITH_VOIDS", [file.values(solid)[0], shell, [void]])]


IN_UNITS_AND_PLACES = (restate_lengths, restate_angles, map_back, assemble_back)
"""Rewrites that keep what a file means."""
