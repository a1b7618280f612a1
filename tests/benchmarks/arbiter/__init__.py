"""A third opinion on areas, volumes, lengths, boxes and senses: fine triangulations that neither dflow nor the kernel
integrates.

From the kernel the arbiter takes the statements of the file only: each face's surface and its edges' curves in space,
of a shape that was not healed. All else is its own: it inverts the edges' points onto the surface (in closed form on
planes, cylinders, cones, spheres and tori, whose points it computes itself), finds the trimmed region from the loops'
directions on the closed surface, without curves on the surface, seams or bounds, cuts it into strips and triangles, and
adds these up. Which side of a face is out follows from rays through the triangles of its solid, not from any flag.

Each figure comes from triangulations of three finenesses, each with half the steps of the one before. The error of
chords and flat triangles falls with the square of the step; what extrapolation from the first two and from the last two
differ by is the figure's error. A face whose loops do not close, or bound no region, has an infinite error.
"""

from __future__ import annotations

from tests.benchmarks.arbiter.edges import edge_length, edge_line
from tests.benchmarks.arbiter.estimates import LEVELS, Estimate, extrapolate
from tests.benchmarks.arbiter.faces import FaceFigures, Triangles, face_figures, triangulate
from tests.benchmarks.arbiter.solids import box_side, faces_of, material_side, solids_of, volume

__all__ = [
    "Estimate",
    "FaceFigures",
    "LEVELS",
    "Triangles",
    "box_side",
    "edge_length",
    "edge_line",
    "extrapolate",
    "face_figures",
    "faces_of",
    "material_side",
    "solids_of",
    "triangulate",
    "volume",
]
