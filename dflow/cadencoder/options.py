"""Options of the arrays: grid sizes, sample counts, conventions, each with its one default."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

from dflow.cadencoder.graph import KeptEdge
from dflow.errors import RecipeError

PointMethod = Literal["area", "grid"]
"""Origin of the histograms' points: drawn uniformly by area, or a grid uniform in (u, v) (HOOPS AI)."""

AngleKind = Literal["points", "normals"]
"""The angle of A3: the one at the middle one of three points (Osada et al. 2002), or between outward normals."""


TooBigPolicy = Literal["fail", "leave_out"]
"""What becomes of face-pair arrays beyond their limit: `TooBigError`, or the other arrays without them."""

FaceMask = Literal["closed", "open"]
"""Inside: in or on the trimmed face, or strictly inside."""

CoedgeOrder = Literal["stored", "walked"]
"""Coedges of a loop in stored order, or one after another along the loop."""

ConvexityRule = Literal["middle", "mean"]
"""Convexity by the middle of an edge, or by the mean of ten points (BRepNet)."""

_CHOICES = {
    "method": PointMethod,
    "kind": AngleKind,
    "too_big": TooBigPolicy,
    "kept_edge": KeptEdge,
    "face_mask": FaceMask,
    "coedge_order": CoedgeOrder,
    "convexity": ConvexityRule,
}


@dataclass(frozen=True, slots=True)
class EncodeOptions:
    """All options of `BrepEncoder.encode`; an option that no array of a recipe uses has no effect.

    Attributes
    ----------
    face_grid
        Samples of `face_uv_grids` along u and along v, one number or two.
    curve_grid
        Samples of `edge_u_grids` along an edge.
    point_samples
        Samples P of `face_discretization`.
    smooth_degrees
        Edges within this angle of tangent are smooth in `edge_convexities`.
    collapse, kept_edge
        One arc per pair of faces in the graph instead of one per physical edge: that of the pair's "lowest" edge, or of
        its "highest" (UV-Net, AAGNet).
    both_directions
        Arcs in both directions, sorted by source, then by the lowest edge of the pair of faces (UV-Net, AAGNet).
    face_mask
        What counts as inside in `face_uv_grids`: "closed", in or on the trimmed face (UV-Net); "open", strictly inside
        (BRepNet, AAGNet).
    orient_grids
        u of `face_uv_grids` runs backwards on reversed faces, so that ∂u × ∂v points outward on every face (UV-Net,
        BRepNet, AAGNet).
    degenerate_edges
        Edges without length, at poles and apexes, are rows of the edges and coedges (BRepNet).
    coedge_order
        Coedges of a loop as "stored", or "walked" from the loop's first along `next` (BRepNet).
    coedge_grid
        Samples of `coedge_grids` along a coedge.
    convexity
        Rule of `edge_convexities`: "middle", by the dihedral angle at the edge's midpoint; or "mean", by ten points
        uniform in the parameter: smooth where the mean cosine of the angle between the normals is more than that of
        `smooth_degrees`, else by the sign of the sum of (left × right normal) · tangent; seams are smooth (BRepNet,
        AAGNet).
    exact_lengths
        Edge lengths are exact; else those of conics are the kernel's, by a few Gauss points (BRepNet, AAGNet).
    unit_box
        Points, lengths and areas of the shape moved and scaled into [−1, 1]³, its longest side from −1 to 1 (BRepNet,
        AAGNet). Computed in float64 before any cast. File attributes and histograms stay as they are.
    path_length
        Length of a row of `face_pair_edges_path`.
    bins
        Bins of the two histograms.
    samples
        Points per face, and so distances and angles per histogram, with method "area".
    seed
        Of the points.
    method, histogram_grid
        "area", or "grid" with this many points along u and v.
    kind
        "points" or "normals" for the angles.
    max_pair_bytes
        Limit of the bytes of the face-pair arrays together. None: a quarter of the memory that a file may take
        (``memory_limit`` of the flow, or the machine's memory shared by its processors), at most 3.5 GiB.
    too_big
        With more than that, "fail" raises `TooBigError`; "leave_out" leaves the face-pair arrays out and keeps the
        rest, where `BrepEncoder.encode` makes several arrays.
    """

    face_grid: int | tuple[int, int] = 10
    curve_grid: int = 10
    point_samples: int = 25
    smooth_degrees: float = 5.0
    collapse: bool = False
    kept_edge: KeptEdge = "lowest"
    both_directions: bool = False
    face_mask: FaceMask = "closed"
    orient_grids: bool = False
    degenerate_edges: bool = False
    coedge_order: CoedgeOrder = "stored"
    coedge_grid: int = 10
    convexity: ConvexityRule = "middle"
    exact_lengths: bool = True
    unit_box: bool = False
    path_length: int = 16
    bins: int = 64
    samples: int = 512
    seed: int = 0
    method: PointMethod = "area"
    histogram_grid: int = 5
    kind: AngleKind = "points"
    max_pair_bytes: int | None = None
    too_big: TooBigPolicy = "fail"

    def __post_init__(self) -> None:
        if isinstance(self.face_grid, tuple) and len(self.face_grid) != 2:
            raise RecipeError(f"face_grid must be one number or two, not {self.face_grid!r}")
        for side in self.face_grid_shape:
            _check_integer("face_grid", side, lowest=1)
        for name in ("curve_grid", "coedge_grid", "point_samples", "path_length", "bins", "samples", "histogram_grid"):
            _check_integer(name, getattr(self, name), lowest=1)
        _check_integer("seed", self.seed, lowest=0)
        if self.max_pair_bytes is not None:
            _check_integer("max_pair_bytes", self.max_pair_bytes, lowest=0)
        for name in ("collapse", "both_directions", "orient_grids", "degenerate_edges", "exact_lengths", "unit_box"):
            if not isinstance(getattr(self, name), bool):
                raise RecipeError(f"{name} must be True or False, not {getattr(self, name)!r}")
        if isinstance(self.smooth_degrees, bool) or not isinstance(self.smooth_degrees, (int, float)):
            raise RecipeError(f"smooth_degrees must be a number of degrees, not {self.smooth_degrees!r}")
        if not 0 <= self.smooth_degrees <= 180:
            raise RecipeError(f"smooth_degrees must lie between 0 and 180, not {self.smooth_degrees!r}")
        for name, choice in _CHOICES.items():
            if getattr(self, name) not in (choices := get_args(choice)):
                raise RecipeError(f"{name} must be one of {', '.join(choices)}, not {getattr(self, name)!r}")

    @property
    def face_grid_shape(self) -> tuple[int, int]:
        """Samples along u and along v."""
        return self.face_grid if isinstance(self.face_grid, tuple) else (self.face_grid, self.face_grid)

    def override(self, changes: dict[str, Any]) -> EncodeOptions:
        """These options with some changed.

        Parameters
        ----------
        changes : option names and their new values

        Raises
        ------
        RecipeError
            If there is no option of a name, or a value is not allowed.
        """
        known = [field.name for field in fields(self)]
        if unknown := sorted(set(changes) - set(known)):
            raise RecipeError(f"there is no option {unknown[0]!r}; the options are {', '.join(known)}")
        return replace(self, **changes)


def _check_integer(name: str, value: Any, *, lowest: int) -> None:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise RecipeError(f"{name} must be an integer, not {value!r}")
    if value < lowest:
        raise RecipeError(f"{name} must be at least {lowest}, not {value!r}")
