"""`Brep`: a shape's geometry and topology as numpy arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from dflow.cadaccess import topology
from dflow.cadaccess.files.validation_properties import StatedProperties
from dflow.cadaccess.geometry.tables import ShapeTables
from dflow.cadaccess.kernel import bintools
from dflow.cadaccess.kernel.bintools import Spline, SplineSurface
from dflow.cadaccess.kernel.shape import KernelShape
from dflow.cadaccess.measure import (
    area_sampling,
    bounding_box,
    coedges,
    contacts,
    moments,
    properties,
    sampling,
    trimming,
)
from dflow.cadaccess.measure.area_sampling import Trapezoids
from dflow.cadaccess.measure.moments import Moments
from dflow.cadaccess.measure.trimming import Chords
from dflow.cadaccess.topology import Topology
from dflow.errors import CadError, GeometryError
from dflow.hoops.names import hoops_names
from dflow.notebook import object_html

DRAWN_FACES = 5000
"""The largest number of faces of which a picture is drawn in a notebook: a larger shape would take seconds."""

_FACE_CODE = np.full(12, 16, np.int32)
_FACE_CODE[[1, 2, 3, 4, 5]] = [0, 1, 2, 3, 4]
_FACE_CODE[[bintools.EXTRUSION, bintools.REVOLUTION, bintools.OFFSET]] = [14, 13, 15]
_FACE_CODE[[bintools.BEZIER_SURFACE, bintools.BSPLINE_SURFACE]] = 5

_EDGE_CODE = np.full(10, 8, np.int32)
_EDGE_CODE[1:8] = [0, 1, 2, 4, 3, 5, 6]
_EDGE_CODE[bintools.OFFSET_CURVE] = 7


class Brep:
    """One shape: a whole file or one of its bodies.

    All arrays are numpy, float64 unless stated otherwise, in mm and radians, in world coordinates; faces and edges
    come in the order of the kernel's maps, degenerate edges left out. Everything is computed on first use and kept;
    arrays are read-only. For one process and thread.

    Parameters
    ----------
    tables : the shape as tables.
    kernel : the same shape as the kernel holds it, for what has no table.
    n_bodies : how many bodies it holds.
    degenerate_edges : whether edges without length (poles, apexes) are rows too.
    names : returns the file's face names.
    stated : returns the file's geometric validation properties.
    colors : returns the colours that the file gives its faces.
    """

    def __init__(
        self,
        tables: ShapeTables,
        kernel: KernelShape,
        *,
        n_bodies: int = 1,
        degenerate_edges: bool = False,
        names: Callable[[KernelShape], list[str]] | None = None,
        stated: Callable[[], StatedProperties] | None = None,
        colors: Callable[[KernelShape], np.ndarray] | None = None,
    ) -> None:
        self._tables = tables
        self._kernel = kernel
        self._names = names
        self._stated = stated
        self._colors = colors
        self._n_bodies = n_bodies
        rows = np.arange(len(tables.edge_degenerate))
        self.kernel_edge_rows = rows if degenerate_edges else np.flatnonzero(~tables.edge_degenerate)
        self._memory: dict[tuple[object, ...], np.ndarray | tuple[np.ndarray, ...]] = {}

    if not TYPE_CHECKING:  # for a type checker a missing attribute stays an error
        __getattr__ = hoops_names("dflow.hoops.cad:BrepNames")

    def __repr__(self) -> str:
        return f"Brep(n_faces={self.n_faces}, n_edges={self.n_edges}, n_bodies={self.n_bodies})"

    def _repr_html_(self) -> str:
        return self.to_html("Brep")

    def to_html(self, title: str, facts: Iterable[tuple[str, str]] = ()) -> str:
        """Return HTML for a notebook: a picture (of up to `DRAWN_FACES` faces), counts, area and volume.

        Parameters
        ----------
        title : the first line
        facts : further names and values for the table
        """
        rows = [
            *facts,
            ("bodies", f"{self.n_bodies:,}"),
            ("faces", f"{self.n_faces:,}"),
            ("edges", f"{self.n_edges:,}"),
        ]
        try:
            rows += [("area", f"{self.area():.6g} mm²"), ("volume", f"{self.volume():.6g} mm³")]
            png = self._picture() if 0 < self.n_faces <= DRAWN_FACES else None
        except CadError as error:
            return object_html(title, rows, note=str(error))
        return object_html(title, rows, png=png)

    def _picture(self) -> bytes:
        from dflow.cadaccess.tessellation import mesh  # both load numba, which reading and encoding do not need
        from dflow.render.png import encode_png
        from dflow.render.sample import render_image

        triangles = mesh.mesh_shape(self.tables, self.chords, lambda: self.kernel)
        return encode_png(render_image(triangles, size=(200, 200)))

    @property
    def tables(self) -> ShapeTables:
        """The tables everything is computed from."""
        return self._tables

    @property
    def kernel(self) -> KernelShape:
        """The kernel's own view of the shape: slow, for tests and for what has no array."""
        return self._kernel

    @property
    def n_faces(self) -> int:
        """F."""
        return self._tables.n_faces

    @property
    def n_edges(self) -> int:
        """E, degenerate edges left out."""
        return len(self.kernel_edge_rows)

    @property
    def n_bodies(self) -> int:
        """How many bodies: solids, and sheets that belong to none."""
        return self._n_bodies

    @property
    def n_solids(self) -> int:
        """How many of the bodies are solids; the others are sheets."""
        return self._tables.n_solids

    def with_degenerate_edges(self) -> Brep:
        """The same shape with the edges without length (at poles and apexes) as rows of the edges and the coedges.

        Such an edge has length 0, no dihedral angle, is closed, and is a circle at the apex of a cone, else of type
        "other": what the kernel says of its curve on the surface.
        """
        if not self._tables.edge_degenerate.any():
            return self
        return Brep(
            self._tables,
            self._kernel,
            n_bodies=self.n_bodies,
            degenerate_edges=True,
            names=self._names,
            stated=self._stated,
            colors=self._colors,
        )

    # -- faces

    def face_types(self) -> np.ndarray:
        """(F,) int32, see `FACE_TYPES`."""
        return _FACE_CODE[self._tables.face_named]

    def face_reversed(self) -> np.ndarray:
        """(F,) bool: the outward normal is −Su × Sv of the surface."""
        return self._tables.face_reversed

    def face_rational(self) -> np.ndarray:
        """(F,) bool: a B-spline or Bézier surface with weights."""
        named = self.face_types() == 5
        return named & _have_weights(self._tables.faces.splines, self.n_faces)

    def face_areas(self) -> np.ndarray:
        """(F,) float64, mm²."""
        return self._areas_and_centroids[0]

    def face_centroids(self) -> np.ndarray:
        """(F, 3) float64, mm: centres of mass of the trimmed faces; of its corners where a face has no area."""
        return self._areas_and_centroids[1]

    def face_loops(self) -> np.ndarray:
        """(F,) int32: boundary loops, holes included."""
        return self._tables.face_loops

    def face_uv_bounds(self) -> np.ndarray:
        """(F, 4) float64: u_min, u_max, v_min, v_max of the trimmed faces, as ``BRepTools::UVBounds`` gives them."""
        bounds = self._uv_bounds
        start = self._tables.face_v_start
        return bounds + np.stack([0.0 * start, 0.0 * start, start, start], axis=1) if start.any() else bounds

    def face_samples(self, n_u: int, n_v: int, *, closed: bool = True) -> np.ndarray:
        """A grid on every face, uniform in (u, v) over its bounds, both ends included.

        Parameters
        ----------
        n_u, n_v : points along u and v, two or more each
        closed : whether points on the boundary count as inside

        Returns
        -------
        (F, n_u, n_v, 7) float64: x, y, z in mm, outward unit normal, 1 where inside the trimmed face and 0 elsewhere.
        """
        key = ("face_samples", n_u, n_v, closed)
        if key not in self._memory:
            grid = sampling.face_grids(
                self._tables, self._kernel, self.chords, self._uv_bounds, (n_u, n_v), closed=closed
            )
            _finite(grid[..., :3], "face")
            self._memory[key] = _frozen(grid)
        return self._memory[key]  # type: ignore[return-value]

    def surface_samples(self, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw points uniformly by area from the trimmed faces.

        Parameters
        ----------
        n
            points per face
        seed
            of the random numbers; the same seed gives the same points

        Returns
        -------
        points (F, n, 3) in mm and outward unit normals (F, n, 3), float64; a face without area repeats one point.
        """
        rows = np.arange(self.n_faces)
        return sampling.face_points(self._tables, self._kernel, rows, *self._area_samples(n, seed))

    def surface_points(self, n: int, seed: int) -> np.ndarray:
        """The points of `surface_samples` alone, at less than half the cost.

        Parameters
        ----------
        n, seed : as there

        Returns
        -------
        (F, n, 3) float64, mm: a view of one coordinate after another.
        """
        points = np.empty((3, self.n_faces, n))
        rows = np.arange(self.n_faces)
        sampling.fill_faces(self._tables, self._kernel, rows, *self._area_samples(n, seed), points, None)
        return np.moveaxis(points, 0, -1)

    def _area_samples(self, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        return area_sampling.sample_faces(
            self._tables, self._kernel, self.chords, self._trapezoids, self._uv_bounds, n, seed
        )

    # -- edges

    def edge_types(self) -> np.ndarray:
        """(E,) int32, see `EDGE_TYPES`."""
        codes = _EDGE_CODE[self._tables.edges.kind[self.kernel_edge_rows]]
        codes[self._at_apex] = 1
        return codes

    def edge_lengths(self, *, exact: bool = True) -> np.ndarray:
        """(E,) float64, mm.

        Parameters
        ----------
        exact : else conics have the length that the kernel's ``BRepGProp::LinearProperties`` gives them, by a few
            Gauss points over the whole edge: a whole ellipse of axes 10 : 1 is more than 1 % off
        """
        if exact:
            return self._edge_lengths
        return properties.gauss_lengths(self._tables, self.kernel_edge_rows, self._edge_lengths)

    def edge_rational(self) -> np.ndarray:
        """(E,) bool: a B-spline or Bézier curve with weights."""
        edges = self._tables.edges
        return _have_weights(edges.splines, len(edges.kind))[self.kernel_edge_rows]

    def edge_closed(self) -> np.ndarray:
        """(E,) bool: the edge begins and ends at one vertex."""
        first, last = self._tables.edge_vertices[self.kernel_edge_rows].T
        return (first == last) & (first >= 0)

    def edge_samples(self, n_u: int) -> np.ndarray:
        """Points along every edge, uniform in the parameter, both ends included, along the edge's curve.

        Parameters
        ----------
        n_u : points per edge, two or more

        Returns
        -------
        (E, n_u, 6) float64: x, y, z in mm and the unit tangent.
        """
        key = ("edge_samples", n_u)
        if key not in self._memory:
            self._memory[key] = _finite(
                sampling.edge_grids(self._tables, self._kernel, self.kernel_edge_rows, n_u), "edge"
            )
        return self._memory[key]  # type: ignore[return-value]

    def edge_dihedral_angles(self) -> np.ndarray:
        """(E,) float64, radians in [−π, π]: between the two outward normals at the edge's midpoint, convex > 0, tangent
        0.

        NaN where the edge has not exactly two faces, or a face has no normal there.
        """
        return self._dihedral_angles

    def edge_convexities(self, smooth_degrees: float = 5.0) -> np.ndarray:
        """(E,) int32: 1 convex, 2 concave, 3 smooth (within `smooth_degrees` of tangent), 0 where undefined."""
        angles = self._dihedral_angles
        codes = np.where(angles > 0, 1, 2).astype(np.int32)
        codes[np.abs(angles) <= np.radians(smooth_degrees)] = 3
        codes[np.isnan(angles)] = 0
        return codes

    def coedge_samples(self, n: int, *, by_length: bool = True) -> np.ndarray:
        """Points along every coedge in its direction, both ends included, with the normals of the faces on both sides.

        Parameters
        ----------
        n : points per coedge, two or more
        by_length : uniform in arc length, over a polyline of 100 points uniform in the parameter as in BRepNet; else
            uniform in the parameter

        Returns
        -------
        (C, n, 12) float64, rows as in `topology`: x, y, z in mm; unit tangent; outward unit normal of the coedge's own
        face, on its left; that of the face on its right, the mate's. On a seam, and without a mate, both normals are
        the left one. NaN on degenerate edges.
        """
        key = ("coedge_samples", n, by_length)
        if key not in self._memory:
            found = self._topology
            grid = coedges.sample(
                self._tables,
                self._kernel,
                self.kernel_edge_rows,
                n,
                edge=found.coedge_edge,
                left=found.coedge_use,
                right=found.coedge_use[topology.coedge_mates(found.coedge_edge, n_edges=self.n_edges)],
                backwards=found.coedge_reversed != 0,
                by_length=by_length,
            )
            self._memory[key] = _frozen(grid)
        return self._memory[key]  # type: ignore[return-value]

    def topology(self) -> Topology:
        """Coedges, loops and their order."""
        return self._topology

    # -- the whole

    def bounding_box(self) -> np.ndarray:
        """(6,) float64, mm: x_min, y_min, z_min, x_max, y_max, z_max of the exact geometry; NaN when it is empty."""
        return self._bounding_box

    def area(self) -> float:
        """mm², all faces."""
        return float(self.face_areas().sum())

    def volume(self) -> float:
        """mm³ enclosed by the solids; NaN where there is none."""
        return self._volume_and_centroid[0]

    def centroid(self) -> np.ndarray:
        """(3,) float64, mm: centre of mass of the solids, or of the faces where there is no solid; NaN without
        either.
        """
        return self._volume_and_centroid[1]

    def is_closed(self) -> bool:
        """Return whether there is a shell and every edge of every shell is used twice, once each way."""
        return properties.shells_are_closed(self._tables)

    def is_valid(self) -> bool:
        """Return the result of the kernel's own check; slow."""
        return self._kernel.is_valid()

    def stated_properties(self) -> StatedProperties:
        """Return the volume and area that the file itself states (geometric validation properties); NaN where it states
        none.
        """
        return self._stated_once

    def face_names(self) -> list[str]:
        """Return the file's own name of each face, "" where it has none: the only reliable key from labels to rows."""
        if self._names is None:
            return [""] * self.n_faces
        return self._names(self._kernel)

    def face_colors(self) -> np.ndarray:
        """(F, 3) float64: red, green and blue in 0 to 1, as the STEP file states them; NaN where it gives the face none
        (other formats give none).
        """
        return self._face_colors

    # -- computed once

    @cached_property
    def _face_colors(self) -> np.ndarray:
        return _frozen(np.full((self.n_faces, 3), np.nan) if self._colors is None else self._colors(self._kernel))

    @cached_property
    def _stated_once(self) -> StatedProperties:
        return self._stated() if self._stated is not None else StatedProperties()

    @cached_property
    def _at_apex(self) -> np.ndarray:
        tables = self._tables
        on_cone = tables.use_edge[tables.faces.kind[tables.use_face] == bintools.CONE]
        apex = np.zeros(len(tables.edge_degenerate), bool)
        apex[on_cone] = tables.edge_degenerate[on_cone]
        return apex[self.kernel_edge_rows]

    @cached_property
    def chords(self) -> Chords:
        """The faces' boundaries as chords in (u, v)."""
        return trimming.build_chords(self._tables)

    @cached_property
    def touching_loops(self) -> np.ndarray:
        """(n, 3) int: the pairs of loops of one face that touch or cross, the face's row first."""
        return contacts.find_contacts(self._tables, self.chords)

    @cached_property
    def _trapezoids(self) -> Trapezoids:
        return area_sampling.cut_polygons(self._tables, self.chords)

    @cached_property
    def moments(self) -> Moments:
        """Integrals over the faces that have tables: all but offsets and faces with open loops."""
        return moments.integrate(self._tables, self.chords)

    @cached_property
    def _uv_bounds(self) -> np.ndarray:
        return _finite(properties.uv_bounds(self._tables, self._kernel, self.chords), "face")

    @cached_property
    def _areas_and_centroids(self) -> tuple[np.ndarray, np.ndarray]:
        areas, centroids = properties.face_moments(self._tables, self._kernel, self.chords, self.moments)
        return _finite(areas, "face"), _finite(centroids, "face")

    @cached_property
    def _edge_lengths(self) -> np.ndarray:
        return _finite(properties.edge_lengths(self._tables, self._kernel, self.kernel_edge_rows), "edge")

    @cached_property
    def _dihedral_angles(self) -> np.ndarray:
        return _frozen(properties.dihedral_angles(self._tables, self._kernel, self.kernel_edge_rows))

    @cached_property
    def _bounding_box(self) -> np.ndarray:
        return _frozen(bounding_box.bounding_box(self._tables, self._kernel, self.chords, self._uv_bounds))

    @cached_property
    def _volume_and_centroid(self) -> tuple[float, np.ndarray]:
        if self._tables.n_solids:
            volume, centroid = properties.volume_and_centroid(self._tables, self._kernel, self.chords, self.moments)
            return volume, _frozen(centroid)
        areas = self.face_areas()
        total = float(areas.sum())
        if not total > 0:
            return float("nan"), _frozen(np.full(3, np.nan))
        return float("nan"), _frozen(np.nansum(areas[:, None] * self.face_centroids(), axis=0) / total)

    @cached_property
    def _topology(self) -> Topology:
        return topology.build_topology(self._tables, self.kernel_edge_rows)


def _have_weights(splines: Mapping[int, Spline] | Mapping[int, SplineSurface], n: int) -> np.ndarray:
    rational = np.zeros(n, bool)
    rational[[row for row, spline in splines.items() if spline.weights is not None]] = True
    return rational


def _frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def _finite(array: np.ndarray, what: str) -> np.ndarray:
    """Freeze and return `array`, whose rows are faces or edges; raise GeometryError for a row with NaN or inf."""
    finite = np.isfinite(array)
    if not finite.all():
        bad = np.nonzero(~finite)[0]
        raise GeometryError(f"{what} {bad[0]} of the shape has no finite position or size")
    return _frozen(array)
