"""Rewrites of STEP files that keep their meaning: senses, order, axes, text.

A file is parsed into instances (ISO 10303-21), changed as ISO 10303-42 allows, and written again. Every rewrite takes a
`StepFile`, which it changes, and a source of randomness; where a file has nothing that it could change, it leaves the
file as it is.
"""

from __future__ import annotations

from random import Random

import numpy as np

from tests.cadaccess.stepfile import StepFile, map_atoms, number_of, references_of, some_of, toggled, write_real

# -- senses


def flip_edges(file: StepFile, random: Random) -> None:
    """Edges from their other end, every use of them the other way round."""
    for edge in some_of(file.of("EDGE_CURVE"), random):
        values = file.values(edge)
        values[1], values[2], values[4] = values[2], values[1], toggled(values[4])
        for use in file.users(edge):
            if file.keyword(use) == "ORIENTED_EDGE":
                file.values(use)[4] = toggled(file.values(use)[4])


def drop_pcurves(file: StepFile, random: Random) -> None:
    """Edges with their curve in space alone, without those on surfaces."""
    wrappers = set(file.of("SURFACE_CURVE", "SEAM_CURVE", "INTERSECTION_CURVE"))
    for edge in file.of("EDGE_CURVE"):
        while number_of(file.values(edge)[3]) in wrappers:
            file.values(edge)[3] = file.values(file.values(edge)[3])[1]
    used = {number_of(r) for n, parts in file.instances.items() if n not in wrappers for r in references_of(parts)}
    for wrapper in wrappers - used:
        for curve in file.values(wrapper)[2]:
            file.instances.pop(number_of(curve), None) if file.users(number_of(curve)) == [wrapper] else None
        del file.instances[wrapper]


def reverse_curves(file: StepFile, random: Random) -> None:
    """Edges along the same curve run backwards."""
    drop_pcurves(file, random)
    for edge in some_of(file.of("EDGE_CURVE"), random):
        values = file.values(edge)
        curve = _reversed_curve(file, values[3])
        if curve:
            values[3], values[4] = curve, toggled(values[4])


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
    return [write_real(total - float(knot)) for knot in knots[::-1]]


def reverse_surfaces(file: StepFile, random: Random) -> None:
    """Faces on the same surface with its normal the other way."""
    drop_pcurves(file, random)
    for face in some_of(file.of("ADVANCED_FACE"), random):
        values = file.values(face)
        surface = _reversed_surface(file, values[2])
        if surface:
            values[2], values[3] = surface, toggled(values[3])


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
    for bound in some_of(file.of("FACE_BOUND", "FACE_OUTER_BOUND"), random):
        values = file.values(bound)
        if file.keyword(values[1]) != "EDGE_LOOP":
            continue
        loop = file.copy(values[1])
        uses = [file.copy(use) for use in file.values(loop)[1][::-1]]
        for use in uses:
            file.values(use)[4] = toggled(file.values(use)[4])
        file.values(loop)[1] = uses
        values[1], values[2] = loop, toggled(values[2])


def turn_cavities(file: StepFile, random: Random) -> None:
    """Cavities whose shell looks the other way, as their flag does."""
    for void in some_of(file.of("ORIENTED_CLOSED_SHELL"), random):
        values = file.values(void)
        values[3] = toggled(values[3])
        turn_shell(file, number_of(values[2]))


def turn_shell(file: StepFile, shell: int) -> None:
    """The shell inside out: its faces' senses and bounds the other way round."""
    for face in file.values(shell)[1]:
        values = file.values(face)
        values[3] = toggled(values[3])
        for bound in values[1]:
            file.values(bound)[2] = toggled(file.values(bound)[2])


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
    for bound in some_of(file.of("FACE_OUTER_BOUND"), random):
        file.instances[bound][0].keyword = "FACE_BOUND"


def shuffle_statements(file: StepFile, random: Random) -> None:
    """Statements in another order and with other numbers."""
    old = list(file.instances)
    new = random.sample(range(1, random.choice((1, 10, 10**6)) * len(old) + 1), len(old))
    numbers = {f"#{a}": f"#{b}" for a, b in zip(old, new, strict=True)}
    random.shuffle(old)
    file.instances = {
        number_of(numbers[f"#{n}"]): [map_atoms(part, lambda t: numbers.get(t, t)) for part in file.instances[n]]  # type: ignore[misc]
        for n in old
    }


def unshare(file: StepFile, random: Random) -> None:
    """Points, directions, placements, curves and surfaces of one's own instead of shared ones."""
    kinds = ("CARTESIAN_POINT", "DIRECTION", "AXIS2_PLACEMENT_3D", "VECTOR", "LINE", "CIRCLE", "PLANE")
    shared = set(file.of(*kinds))
    users = ("VERTEX_POINT", "EDGE_CURVE", "ADVANCED_FACE", "CYLINDRICAL_SURFACE", "TOROIDAL_SURFACE", *kinds)
    keep = {
        number_of(r) for n in file.of("PCURVE", "SURFACE_CURVE", "SEAM_CURVE") for r in references_of(file.values(n))
    }
    for number in some_of(file.of(*users), random):
        values = file.values(number)
        for i, value in enumerate(values):
            if isinstance(value, str) and value.startswith("#") and number_of(value) in shared - keep:
                values[i] = file.copy(value)


# -- axes


def turn_axes(file: StepFile, random: Random) -> None:
    """Surfaces and circles with other frames for the same points, directions of other lengths and beside the normal."""
    drop_pcurves(file, random)
    kept = _without_seam(file)
    for surface in some_of(file.of("PLANE", "CYLINDRICAL_SURFACE", "SPHERICAL_SURFACE", "TOROIDAL_SURFACE"), random):
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
    for circle in some_of(file.of("CIRCLE"), random):
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
    for line in some_of(file.of("LINE"), random):
        values = file.values(line)
        if len(file.values(values[1])[1]) != 3:
            continue
        along = file.reals(file.values(values[2])[1])
        values[1] = file.point(file.reals(values[1]) + random.uniform(-20, 20) * along / np.linalg.norm(along))
        values[2] = file.add("VECTOR", "''", file.direction(along), write_real(random.choice((0.01, 1.0, 37.0))))


def slant_directions(file: StepFile, random: Random) -> None:
    """Directions that are not of length 1, reference directions that are not square to their axes."""
    for place in some_of(file.of("AXIS2_PLACEMENT_3D"), random):
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
    for number in some_of(file.of(*named), random):
        values = file.values(number)
        values[0] = f"{values[0][:-1]}_{random.choice(odd)}'"


IN_TEXT = (shuffle_statements, spread, comment, spell_numbers, name_oddly, unshare, turn_loops, shuffle_lists)
"""Rewrites of the text only."""

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
)
"""Rewrites of senses and axes."""
