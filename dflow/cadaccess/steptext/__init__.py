"""STEP files read from their text, without the kernel, where dflow is sure of every entity in them.

`read_step` gives the same `ShapeTables` that the kernel's own reading ends in, at a fraction of the cost, or refuses
with the reason; whoever is refused asks the kernel.

    records   the text as records: number, keyword, parameters
    units     the factors from the file's units to mm and radians
    walk      from the root down to points: topology, and which geometry is needed
    splines   B-spline curves and surfaces
    geometry  coordinates, frames, curves and surfaces of all of them at once; parameter ranges
    projection  edges seen from the surfaces they lie on
    cubics    curves in (u, v) where they are no lines, as the kernel makes them
    sides     the loops of whole spline surfaces
    pcurves   every edge's curve in its face's (u, v), loops unrolled, edges at poles
    assemble  the tables
"""

from dflow.cadaccess.steptext.assemble import TextShape, read_step
from dflow.cadaccess.steptext.records import RefusedError

__all__ = ["RefusedError", "TextShape", "read_step"]
