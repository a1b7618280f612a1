"""`BrepEncoder`: HOOPS AI's interface over the feature functions, with or without a storage behind it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dflow.cadaccess.codes import EDGE_TYPES, FACE_TYPES
from dflow.cadencoder.access import BrepAccess
from dflow.cadencoder.facepairs import find_excess
from dflow.cadencoder.features import BrepFeatures, compute, file_attributes
from dflow.cadencoder.graph import to_networkx
from dflow.cadencoder.networks import find_network, pack_network, refuse_unless_one_solid
from dflow.cadencoder.options import AngleKind, EncodeOptions, PointMethod
from dflow.cadencoder.recipes import find_recipe
from dflow.errors import GeometryError, RecipeError, TooBigError
from dflow.hoops.arguments import hoops_arguments
from dflow.notebook import object_html
from dflow.schema import ArraySpec, FieldSpec, GroupSpec, Schema, resolve_array, standard_array, standard_group
from dflow.storage import DataStorage

Array = NDArray[Any]

_NO_SCHEMA = Schema()


class BrepEncoder:
    """Computes the arrays of a brep, and saves them where there is a storage.

    Every `push_*` returns its array in the stored dtype (float32 and int32 unless the storage's schema says
    otherwise), cast once from what was computed in float64. With a storage it also saves it under ``group/array`` and
    declares the standard group and array in the storage's schema where they are missing; an array that the storage has
    already is returned, not computed again. Face-pair arrays are returned as (F, F, …) and stored as (F², …).

    Not thread-safe. Shared intermediate results (graph, hops, sample points) are kept as long as
    the encoder.

    Parameters
    ----------
    brep
        The result of `CadModel.get_brep`, or any object with the methods of `dflow.cadencoder.access.BrepAccess`.
    storage
        Where arrays are saved; None to return them only.

    Examples
    --------
    With `part` the path of a STEP file, here a bracket of nine faces:

    >>> from dflow.cadaccess import CadLoader
    >>> from dflow.cadencoder import BrepEncoder
    >>> encoder = BrepEncoder(CadLoader().create_from_file(part).get_brep())
    >>> encoder.push_facegrid(ugrid=10, vgrid=10).shape
    (9, 10, 10, 7)
    >>> (types, areas, centroids, loops), names = encoder.push_face_attributes()
    >>> names[int(types[0])]
    'Plane'
    >>> encoder.encode("minimal")["edges/edge_lengths"].dtype
    dtype('float32')
    """

    @hoops_arguments
    def __init__(self, brep: BrepAccess, storage: DataStorage | None = None) -> None:
        if not hasattr(brep, "n_faces"):
            advice = "pass model.get_brep()" if hasattr(brep, "get_brep") else "the brep is CadModel.get_brep()"
            raise TypeError(f"BrepEncoder(brep, storage): brep is {type(brep).__name__}, expected a Brep; {advice}")
        if not (storage is None or hasattr(storage, "save_data")):
            raise TypeError(
                f"BrepEncoder(brep, storage): storage is {type(storage).__name__}, expected a DataStorage or None; "
                "pass the task's parameter `storage`"
            )
        self._features = BrepFeatures(brep)
        self._storage = storage

    def __repr__(self) -> str:
        return f"BrepEncoder({self.brep!r}, {self._storage!r})"

    def _repr_html_(self) -> str:
        parts: list[Any] = [part for part in (self.brep, self._storage) if hasattr(part, "_repr_html_")]
        return object_html(repr(self), ()) + "".join(part._repr_html_() for part in parts)

    @property
    def brep(self) -> BrepAccess:
        """The brep that is encoded."""
        return self._features.brep

    # Faces.

    def push_face_indices(self) -> Array:
        """``faces/face_indices`` : (F,) int32, 0..F−1."""
        return self._push("faces/face_indices")

    def push_face_attributes(self) -> tuple[list[Array], dict[int, str]]:
        """``faces/face_types``, ``face_areas``, ``face_centroids``, ``face_loops``.

        Returns
        -------
        [types, areas, centroids, loops], descriptions
            (F,) int32; (F,) float32 in mm²; (F, 3) float32 in mm; (F,) int32; and what the type codes mean, which a
            storage keeps as metadata ``descriptions/face_types``.
        """
        names = ("face_types", "face_areas", "face_centroids", "face_loops")
        arrays = self._push_many(f"faces/{name}" for name in names)
        return arrays, self._describe("face_types", FACE_TYPES)

    def push_face_discretization(self, pointsamples: int = 25) -> Array:
        """``faces/face_discretization`` : (F, P, 7) float32: x, y, z, outward normal, inside; uniform in (u, v).

        Parameters
        ----------
        pointsamples : P, points per face
        """
        return self._push("faces/face_discretization", point_samples=pointsamples)

    def push_facegrid(self, ugrid: int = 5, vgrid: int = 5) -> Array:
        """``faces/face_uv_grids`` : (F, U, V, 7) float32: x, y, z, outward unit normal, 1 in or on the face (UV-Net's
        channels). u and v run as the surface's own, so that ∂u × ∂v points inward on reversed faces; see the options
        `orient_grids` and `face_mask` for what networks expect.

        Parameters
        ----------
        ugrid, vgrid : U and V, points along u and v
        """
        return self._push("faces/face_uv_grids", face_grid=(ugrid, vgrid))

    def push_face_neighbors_count(self) -> Array:
        """``faces/face_neighborscount`` : (F,) int32, different faces that share an edge with each face."""
        return self._push("faces/face_neighborscount")

    # Edges.

    def push_edge_indices(self) -> Array:
        """``edges/edge_indices`` : (E,) int32, 0..E−1."""
        return self._push("edges/edge_indices")

    def push_edge_attributes(
        self, *, smooth_degrees: float = EncodeOptions().smooth_degrees
    ) -> tuple[list[Array], dict[int, str]]:
        """``edges/edge_types``, ``edge_lengths``, ``edge_dihedral_angles``, ``edge_convexities``.

        Parameters
        ----------
        smooth_degrees : normals of two faces that differ by less make the edge smooth

        Returns
        -------
        [types, lengths, dihedral_angles, convexities], descriptions
            (E,) int32; (E,) float32 in mm; (E,) float32 in radians, convex > 0, NaN where the edge has not exactly two
            faces; (E,) int32, 1 convex, 2 concave, 3 smooth, 0 undefined; and what the type codes mean, which a
            storage keeps as metadata ``descriptions/edge_types``.
        """
        names = ("edge_types", "edge_lengths", "edge_dihedral_angles", "edge_convexities")
        arrays = self._push_many((f"edges/{name}" for name in names), smooth_degrees=smooth_degrees)
        return arrays, self._describe("edge_types", EDGE_TYPES)

    def push_curvegrid(self, ugrid: int = 5) -> Array:
        """``edges/edge_u_grids`` : (E, U, 6) float32: x, y, z, unit tangent; uniform in the parameter.

        Parameters
        ----------
        ugrid : U, points per edge
        """
        return self._push("edges/edge_u_grids", curve_grid=ugrid)

    # Graph.

    def push_face_adjacency_graph(self, *, collapse: bool = False) -> Any:
        """``graph/edges_source``, ``edges_destination``, ``arc_edge`` : (A,) int32 each.

        Returns
        -------
        networkx.DiGraph
            Nodes 0..F−1 and one arc per physical edge that two different faces share, with its row in the edges as
            attribute ``edge``. With a storage, the edges without an arc are counted as file value
            ``nonmanifold_edges``. A `MultiDiGraph`, because two faces may share several edges; with `collapse` a plain
            `DiGraph` with one arc per pair of faces, that of their lowest edge. (UV-Net's has an arc each way per
            pair, that of the highest edge: options `both_directions` and `kept_edge` of `encode`.)
        """
        names = ("edges_source", "edges_destination", "arc_edge")
        self._push_many((f"graph/{name}" for name in names), collapse=collapse)
        return to_networkx(self._features.graph, collapse=collapse)

    def push_coedges(self) -> list[Array]:
        """BRepNet's incidence arrays ``coedges/next``, ``mate``, ``face``, ``edge`` : (C,) int32 each, and
        ``reversed`` : (C,) int8; in stored order, without degenerate edges (BRepNet's own have both otherwise).
        """
        return self._push_many(f"coedges/{name}" for name in ("next", "mate", "face", "edge", "reversed"))

    # Pairs of faces.

    def push_extended_adjacency(self, *, max_pair_bytes: int | None = None) -> Array:
        """``faceface/extended_adjacency`` : (F, F) float32, hops between faces, inf where there is no path.

        Parameters
        ----------
        max_pair_bytes : limit of the array's size, as in `EncodeOptions`; a larger array raises `TooBigError`
        """
        return self._push("faceface/extended_adjacency", max_pair_bytes=max_pair_bytes)

    def push_face_pair_edges_path(self, max_allow_edge_length: int = 16, *, max_pair_bytes: int | None = None) -> Array:
        """``faceface/face_pair_edges_path`` : (F, F, M) int32, edges on a shortest path, −1 behind its end.

        Parameters
        ----------
        max_allow_edge_length : M, the largest number of edges that are kept of a path
        max_pair_bytes : limit of the array's size, as in `EncodeOptions`; a larger array raises `TooBigError`
        """
        return self._push(
            "faceface/face_pair_edges_path", path_length=max_allow_edge_length, max_pair_bytes=max_pair_bytes
        )

    def push_average_face_pair_distance_histograms(
        self,
        grid: int = 5,
        num_bins: int = 64,
        *,
        method: PointMethod = "area",
        samples: int = 512,
        seed: int = 0,
        max_pair_bytes: int | None = None,
    ) -> Array:
        """``faceface/d2_distance`` : (F, F, B) float32, distances between two faces' points over the box's diagonal.

        `method` "area" draws `samples` points per face, uniform by area (brepgraph); "grid" uses all pairs of the
        `grid` × `grid` raster points inside the faces (HOOPS AI).

        Parameters
        ----------
        num_bins : B, equal bins from 0 to the diagonal of the part's box
        seed : of the drawn points
        max_pair_bytes : limit of the array's size, as in `EncodeOptions`; a larger array raises `TooBigError`
        """
        return self._push(
            "faceface/d2_distance",
            histogram_grid=grid,
            bins=num_bins,
            method=method,
            samples=samples,
            seed=seed,
            max_pair_bytes=max_pair_bytes,
        )

    def push_average_face_pair_angle_histograms(
        self,
        grid: int = 5,
        num_bins: int = 64,
        *,
        method: PointMethod = "area",
        kind: AngleKind = "points",
        samples: int = 512,
        seed: int = 0,
        max_pair_bytes: int | None = None,
    ) -> Array:
        """``faceface/a3_distance`` : (F, F, B) float32, angles over π.

        `kind` "points": the angle at the middle one of three points drawn from the two faces (Osada et al. 2002,
        brepgraph); "normals": between outward normals. `method` as for the distances; a raster's three points are
        `samples` seeded draws.

        Parameters
        ----------
        grid : raster points along u and v, for `method` "grid"
        num_bins : B, equal bins from 0 to π
        seed : of the drawn points
        max_pair_bytes : limit of the array's size, as in `EncodeOptions`; a larger array raises `TooBigError`
        """
        return self._push(
            "faceface/a3_distance",
            histogram_grid=grid,
            bins=num_bins,
            method=method,
            kind=kind,
            samples=samples,
            seed=seed,
            max_pair_bytes=max_pair_bytes,
        )

    # The whole sample.

    def push_file_attributes(self, *, check_validity: bool = False) -> dict[str, Any]:
        """The sample's own values: volume, area, bounding box and so on; see `features.file_attributes`.

        With a storage, numbers and truth values become flat metadata, ``bounding_box`` and ``centroid`` arrays of
        group ``file``.

        Parameters
        ----------
        check_validity : whether to run the kernel's validity check too, which costs as much as reading the file
        """
        values = file_attributes(self.brep, self._features.graph, check_validity=check_validity)
        storage = self._storage
        if storage is not None:
            arrays = {f"file/{name}": value for name, value in values.items() if isinstance(value, np.ndarray)}
            scalars = {name: value for name, value in values.items() if f"file/{name}" not in arrays}
            _declare(storage, arrays, scalars)
            for key, array in arrays.items():
                storage.save_data(key, array)
            for name, value in scalars.items():
                storage.save_metadata(name, value)
        return values

    def encode(self, recipe: str | None = None, *, network: str | None = None, **overrides: Any) -> dict[str, Array]:
        """All arrays of a recipe ("uvnet", "brepmfr", "brepnet", "minimal") by their keys, as they are stored; or those
        that the input of a published network is made of.

        Parameters
        ----------
        recipe
            See `dflow.cadencoder.recipes.RECIPES`.
        network
            "uvnet", "brepnet", "aagnet" or "brepmfr", in place of a recipe: what `pack_network` takes; see
            `dflow.cadencoder.networks`.
        **overrides
            Any attribute of `dflow.cadencoder.options.EncodeOptions`, in place of the recipe's own.

        Returns
        -------
        {"group/array": ndarray}
            Face-pair arrays as (F², …). With a storage, they are saved as well.

        Raises
        ------
        RecipeError
            If there is no such recipe, network or option, or no such value of the option.
        GeometryError
            If the shape is not one closed solid and a network is asked for; if an array has NaN or inf where the data
            dictionary allows none, or numbers beyond the stored dtype.
        TooBigError
            If the recipe's face-pair arrays would need more than `max_pair_bytes` together; nothing is computed or
            saved then. With ``too_big="leave_out"`` they are left out instead; the dataset's file values
            ``has_faceface_…`` say which samples have them.
        """
        if (recipe is None) == (network is None):
            raise RecipeError("encode takes a recipe or network=, one of the two")
        if network is not None:
            chosen = find_network(network).recipe
            refuse_unless_one_solid(self.brep, network)
        else:
            chosen = find_recipe(str(recipe))
        options = chosen.options.override(overrides)
        arrays = self._arrays(chosen.keys, options)
        if self._storage is not None:
            self._describe("face_types", FACE_TYPES)
            self._describe("edge_types", EDGE_TYPES)
        return {key: _stacked(key, array) for key, array in arrays.items()}

    # Common parts.

    def _push(self, key: str, **changes: Any) -> Array:
        return self._push_many([key], **changes)[0]

    def _push_many(self, keys: Iterable[str], **changes: Any) -> list[Array]:
        return list(self._arrays(tuple(keys), EncodeOptions().override(changes)).values())

    def _arrays(self, keys: tuple[str, ...], options: EncodeOptions) -> dict[str, Array]:
        """Arrays by key in the stored dtype, face pairs as (F, F, …); saved where a storage lacks them."""
        storage = self._storage
        missing = [key for key in keys if storage is None or not storage.has_data(key)]
        excess = find_excess(missing, self.brep.n_faces, options, storage.memory_bytes if storage else None)
        if excess and options.too_big == "fail":
            raise TooBigError(excess)
        if excess:
            keys = tuple(key for key in keys if key not in missing or not _is_pair(key))
            missing = [key for key in missing if key in keys]
        schema = storage.schema if storage is not None else _NO_SCHEMA
        made = {key: _cast(compute(self._features, key, options), _spec(schema, key)) for key in missing}
        if storage is not None:
            counted = self._counted(made)
            _declare(storage, made, counted)
            for key, array in made.items():
                storage.save_data(key, _stacked(key, array))
            for name, value in counted.items():
                storage.save_metadata(name, value)
        return {key: made[key] if key in made else self._stored(key) for key in keys}

    def _counted(self, keys: Iterable[str]) -> dict[str, int]:
        """Return the file values that belong to the arrays: the number of edges without an arc in the graph."""
        has_graph = any(key.startswith("graph/") for key in keys)
        return {"nonmanifold_edges": self._features.graph.nonmanifold_edges} if has_graph else {}

    def _stored(self, key: str) -> Array:
        assert self._storage is not None  # only called for keys that a storage has
        array: Array = self._storage.load_data(key)
        n_faces = self.brep.n_faces
        return array.reshape(n_faces, n_faces, *array.shape[1:]) if _is_pair(key) else array

    def _describe(self, table: str, codes: Mapping[int, str]) -> dict[int, str]:
        if self._storage is not None:
            self._storage.save_metadata(f"descriptions/{table}", {str(code): name for code, name in codes.items()})
        return dict(codes)


def network_arrays(brep: BrepAccess, network: str, **overrides: Any) -> dict[str, Array]:
    """The input of a published network, by the names, shapes, order and conventions of its authors' own files.

    Parameters
    ----------
    brep
        One solid.
    network
        "uvnet", "brepnet", "aagnet" or "brepmfr".
    **overrides
        Any attribute of `dflow.cadencoder.options.EncodeOptions` in place of the network's own; ``unit_box=False``
        leaves the shape in mm.

    Returns
    -------
    dict
        F faces, E edges, C coedges, A arcs (both ways between any two neighbouring faces); float32 and int32.

        * UV-Net: ``x`` (F, 10, 10, 7), ``e`` (A, 10, 6), ``src`` and ``dst`` (A,), ``n_solids`` 1. In mm, where the
          file has it: its loader centres and scales.
        * BRepNet: ``face_features`` (F, 7), ``face_point_grids`` (F, 7, 10, 10), ``edge_features`` (E, 10),
          ``coedge_point_grids`` (C, 12, 10), ``coedge_features`` (C, 1), ``coedge_lcs`` (C, 4, 4),
          ``coedge_scale_factors``, ``coedge_reverse_flags``, ``next``, ``mate``, ``face``, ``edge`` (C,).
        * AAGNet: ``edges`` (2, A), ``num_nodes``, ``graph_face_attr`` (F, 10), ``graph_face_grid`` (F, 7, 5, 5),
          ``graph_edge_attr`` (A, 12), ``graph_edge_grid`` (A, 12, 5).
        * BrepMFR, a mapping of our own to the names of its loader: ``node_data`` (F, 5, 5, 7), ``face_area``,
          ``face_type``, ``face_loop``, ``face_adj`` (F,), ``src``, ``dst`` (A,), ``edge_data`` (A, 5, 7),
          ``edge_type``, ``edge_len``, ``edge_ang``, ``edge_conv`` (A,), ``edges_path`` (F, F, 16), ``spatial_pos``
          (F, F), ``d2_distance``, ``angle_distance`` (F, F, 64); see `dflow.cadencoder.networks.NETWORKS`.

    Raises
    ------
    RecipeError
        If there is no such network or option.
    GeometryError
        If the shape is not one closed, manifold solid.
    """
    return pack_network(BrepEncoder(brep).encode(network=network, **overrides), network)


def _is_pair(key: str) -> bool:
    return key.startswith("faceface/")


def _stacked(key: str, array: Array) -> Array:
    """Face pairs as rows."""
    return array.reshape(array.shape[0] ** 2, *array.shape[2:]) if _is_pair(key) else array


def _spec(schema: Schema, key: str) -> ArraySpec:
    group, _, name = key.partition("/")
    spec = resolve_array(schema, group, name)
    assert spec is not None  # every key of `features` is a standard array
    return spec


def _cast(array: Array, spec: ArraySpec) -> Array:
    """The array in the stored dtype.

    Raises
    ------
    GeometryError
        If it has NaN or inf where the data dictionary allows none, or numbers beyond the stored dtype: broken files
        have coordinates like 1e300.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        cast = np.ascontiguousarray(array, dtype=spec.dtype)
    if cast.dtype.kind != "f":
        return cast
    finite = np.isfinite(cast)
    if finite.all():
        return cast
    if spec.nan_policy != "allow" or np.isfinite(array[~finite]).any():
        rows = np.unique(np.nonzero(~finite)[0])
        raise GeometryError(
            f"{spec.name}: {len(rows)} of {len(cast)} rows, the first is {rows[0]}, hold NaN, inf or numbers too large "
            f"for {spec.dtype}; the geometry is broken there"
        )
    return cast


def _declare(storage: DataStorage, keys: Iterable[str], values: Iterable[str] = ()) -> None:
    """Add standard arrays and file values to the storage's schema where it lacks them; its own declarations stay."""
    schema = storage.schema
    groups = dict(schema.groups)
    for key in keys:
        group, _, name = key.partition("/")
        if schema.array(group, name) is None:
            known = groups.get(group) or _empty_standard_group(group)
            groups[group] = replace(known, arrays={**known.arrays, name: _spec(schema, key)})
    fields = {name: _standard_field(name) for name in values if schema.field(name) is None}
    if groups != schema.groups or fields:
        storage.set_schema(replace(schema, groups=groups, file_level={**schema.file_level, **fields}))


def _empty_standard_group(name: str) -> GroupSpec:
    standard = standard_group(name)
    assert standard is not None  # every key of `features` is in a standard group
    return replace(standard, arrays={})


def _standard_field(name: str) -> FieldSpec:
    spec = standard_array("file", name)
    assert spec is not None  # every name of `fileattributes` is a standard array
    return FieldSpec(name, spec.dtype, spec.description)
