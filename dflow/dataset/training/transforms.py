"""Transforms of samples before training: similarity transforms of the geometry, and standardisation.

A transform is a function of an item (a dictionary of arrays) that returns an item. Those with ``elementwise = True``
treat every row separately and are applied to whole batches at once where a loader reads many samples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dflow.dataset.training.samples import ID, Item, SampleReader
from dflow.errors import DatasetError, UnknownKeyError
from dflow.schema import FILE_GROUP

Array = np.ndarray[Any, np.dtype[Any]]
Transform = Callable[[Item], Item]

POINTS: Mapping[str, slice] = {
    "faces/face_centroids": slice(0, 3),
    "faces/face_discretization": slice(0, 3),
    "faces/face_uv_grids": slice(0, 3),
    "edges/edge_u_grids": slice(0, 3),
    "file/centroid": slice(0, 3),
}
"""Arrays whose last dimension holds a position there; directions, where they hold some, follow at 3:6."""

DIRECTIONS: Mapping[str, slice] = {
    "faces/face_discretization": slice(3, 6),
    "faces/face_uv_grids": slice(3, 6),
    "edges/edge_u_grids": slice(3, 6),
}
POWERS: Mapping[str, int] = {"edges/edge_lengths": 1, "faces/face_areas": 2, "file/area": 2, "file/volume": 3}
"""Measures, and the power of the scale that they are proportional to."""

BOX = "file/bounding_box"


def similarity(item: Item, *, scale: float = 1.0, rotation: Array | None = None, centre: Array | None = None) -> Item:
    """Move, rotate and scale an item: ``p → scale · rotation · (p − centre)``; lengths, areas and volumes follow.

    Other arrays, and all dtypes, are kept. The bounding box becomes that of the rotated box's corners.
    """
    turn = np.eye(3) if rotation is None else np.asarray(rotation, np.float64)
    origin = np.zeros(3) if centre is None else np.asarray(centre, np.float64)
    result = dict(item)
    for key, value in item.items():
        if key == BOX:
            result[key] = _box(np.asarray(value), scale, turn, origin)
        elif key in POWERS:
            result[key] = (value * scale ** POWERS[key]).astype(value.dtype)
        elif key in POINTS:
            moved = np.array(value)
            moved[..., POINTS[key]] = scale * (moved[..., POINTS[key]] - origin) @ turn.T
            if key in DIRECTIONS:
                moved[..., DIRECTIONS[key]] = moved[..., DIRECTIONS[key]] @ turn.T
            result[key] = moved
    return result


def _box(box: Array, scale: float, turn: Array, origin: Array) -> Array:
    """Bounds (x0, y0, z0, x1, y1, z1) of the box's eight corners after the transform."""
    low, high = box[:3], box[3:]
    corners = np.array([[(low, high)[(i >> axis) & 1][axis] for axis in range(3)] for i in range(8)])
    moved = scale * (corners - origin) @ turn.T
    return np.concatenate([moved.min(axis=0), moved.max(axis=0)]).astype(box.dtype)


@dataclass(frozen=True, slots=True)
class UnitBox:
    """Centre the sample's bounding box at the origin and scale its longest side to 2: coordinates lie in [−1, 1], as
    in UV-Net.

    The box is ``file/bounding_box`` where the item has it, else that of its points.
    """

    def __call__(self, item: Item) -> Item:
        low, high = _bounds(item)
        extent = float((high - low).max())
        scale = 2.0 / extent if np.isfinite(extent) and extent > 0 else 1.0
        centre = (low + high) / 2
        return similarity(item, scale=scale, centre=centre if np.all(np.isfinite(centre)) else None)


def _bounds(item: Item) -> tuple[Array, Array]:
    if BOX in item:
        box = np.asarray(item[BOX], np.float64)
        return box[:3], box[3:]
    points = [np.asarray(item[k])[..., s].reshape(-1, 3) for k, s in POINTS.items() if k in item]
    joined = np.concatenate(points) if points else np.empty((0, 3))
    if not points:
        raise DatasetError(f"UnitBox needs {BOX} or one of {', '.join(POINTS)} among the columns")
    if not len(joined):
        return np.full(3, np.nan), np.full(3, np.nan)
    return joined.min(axis=0).astype(np.float64), joined.max(axis=0).astype(np.float64)


@dataclass(frozen=True, slots=True)
class RandomRotation:
    """Rotate each sample about the origin, uniformly over all rotations, or with ``axis="z"`` about the z axis.

    Equal for equal seed, epoch and sample, in any order of reading and with any number of workers.
    """

    seed: int = 0
    axis: str = "all"
    epoch: int = 0

    def __call__(self, item: Item) -> Item:
        rng = np.random.default_rng([self.seed, self.epoch, int(item.get(ID, 0)) + 1])
        return similarity(item, rotation=_about_z(rng) if self.axis == "z" else random_rotation(rng))

    def for_epoch(self, epoch: int) -> RandomRotation:
        """Return the same transform with the rotations of another epoch."""
        return RandomRotation(self.seed, self.axis, epoch)


def random_rotation(rng: np.random.Generator) -> Array:
    """Draw a uniform (3, 3) rotation from a normalised Gaussian quaternion (Shoemake, Graphics Gems III, 1992)."""
    w, x, y, z = (q := rng.normal(size=4)) / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def _about_z(rng: np.random.Generator) -> Array:
    angle = rng.uniform(0, 2 * np.pi)
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


@dataclass(frozen=True)
class Standardise:
    """Subtract the mean and divide by the standard deviation of the training subset, column by column.

    `statistics` is the result of `CADDataset.statistics` or `DatasetLoader.statistics`: ``{"group/array": (mean,
    std)}``. Results are float32; a constant column becomes 0. NaN and infinities become `missing`: 0, the mean, unless
    another value is passed; with None they stay.
    """

    statistics: Mapping[str, tuple[Array, Array]]
    missing: float | None = 0.0
    elementwise = True

    def __call__(self, item: Item) -> Item:
        result = dict(item)
        for key, (mean, std) in self.statistics.items():
            if key not in item:
                raise UnknownKeyError(
                    f"Standardise has statistics of {key}, but the columns are {', '.join(item)}; add it to columns= "
                    "of get_dataset(), or leave it out of the statistics"
                )
            spread = np.where(np.asarray(std) > 0, std, 1.0)
            scaled = ((item[key] - mean) / spread).astype(np.float32)
            result[key] = scaled if self.missing is None else _filled(scaled, np.isfinite(scaled), self.missing)
        return result


@dataclass(frozen=True)
class FillNan:
    """Put a value in place of NaN, e.g. of the dihedral angles of boundary edges.

    Parameters
    ----------
    value : in its place
    columns : keys ``group/array``; all arrays of floats if omitted
    """

    value: float = 0.0
    columns: tuple[str, ...] | None = None
    elementwise = True

    def __call__(self, item: Item) -> Item:
        if lacking := [key for key in self.columns or () if key not in item]:
            raise UnknownKeyError(
                f"FillNan has the column {lacking[0]}, but the columns are {', '.join(item)}; add it to columns= of "
                "get_dataset(), or leave it out"
            )
        chosen = item if self.columns is None else self.columns
        floats = {key: np.asarray(item[key]) for key in chosen if np.asarray(item[key]).dtype.kind == "f"}
        return {**item, **{key: _filled(value, ~np.isnan(value), self.value) for key, value in floats.items()}}


def _filled(array: Array, known: Array, value: float) -> Array:
    return np.where(known, array, array.dtype.type(value))


@dataclass(frozen=True, slots=True)
class Compose:
    """Apply transforms one after the other."""

    transforms: tuple[Transform, ...]

    def __call__(self, item: Item) -> Item:
        for transform in self.transforms:
            item = transform(item)
        return item


def at_epoch(transform: Transform | None, epoch: int) -> Transform | None:
    """Return the transform of an epoch: calls `for_epoch` where there is one, also inside `Compose`."""
    if isinstance(transform, Compose):
        return Compose(tuple(at_epoch(t, epoch) or t for t in transform.transforms))
    for_epoch = getattr(transform, "for_epoch", None)
    return transform if for_epoch is None else for_epoch(epoch)


class Statistics(dict[str, tuple[Array, Array]]):
    """Mean and standard deviation of columns, for `Standardise`: a dictionary ``{"group/array": (mean, std)}``.

    Parameters
    ----------
    moments : of each column
    """

    def __init__(self, moments: Mapping[str, Moments]) -> None:
        super().__init__({key: (found.mean, found.std) for key, found in moments.items()})
        self.counts = {key: found.count for key, found in moments.items()}
        """Of each column the number of finite values, per component: int64."""
        self.missing = {key: found.missing for key, found in moments.items()}
        """Of each column the number of values left out, per component: NaN, infinities, and rows of samples that lack
        the array: int64.
        """


@dataclass(slots=True)
class Moments:
    """Count, mean and sum of squared deviations of each component of the last dimension, and how many values were left
    out; scalars if there is one dimension.
    """

    count: Array
    mean: Array
    squares: Array
    missing: Array

    @classmethod
    def of(cls, values: Array, known: Array | None = None) -> Moments:
        """Compute the moments of rows; values that are not finite, and rows that are not `known`, are left out."""
        x = values.astype(np.float64).reshape(-1, values.shape[-1] if values.ndim > 1 else 1)
        finite = np.isfinite(x)
        if known is not None:
            finite &= np.repeat(known, len(x) // max(len(known), 1))[:, None]
        count = finite.sum(axis=0)
        mean = np.where(finite, x, 0).sum(axis=0) / np.maximum(count, 1)
        squares = np.square(np.where(finite, x - mean, 0)).sum(axis=0)
        shape = values.shape[-1:] if values.ndim > 1 else ()
        return cls(*(part.reshape(shape) for part in (count, mean, squares, len(x) - count)))

    def join(self, other: Moments) -> Moments:
        """Combine two moments (Chan, Golub and LeVeque 1979)."""
        count = self.count + other.count
        shift = other.mean - self.mean
        share = other.count / np.maximum(count, 1)
        squares = self.squares + other.squares + shift**2 * self.count * share
        return Moments(count, self.mean + shift * share, squares, self.missing + other.missing)

    @property
    def std(self) -> Array:
        """The population's standard deviation."""
        return np.sqrt(self.squares / np.maximum(self.count, 1))


_SAMPLES = 512


def column_moments(reader: SampleReader, ids: Array, transform: Transform | None = None) -> dict[str, Moments]:
    """Compute the moments of every column of a reader over the samples `ids`, ascending, after a transform.

    Raises
    ------
    DatasetError
        If a column holds no real numbers.
    """
    found: dict[str, Moments] = {}
    lacking = {c.key: reader.store.present(c.group, c.name) for c in reader.columns}
    whole = transform is None or getattr(transform, "elementwise", False)
    for start in range(0, len(ids), _SAMPLES):
        samples = reader.read_many(ids[start : start + _SAMPLES])
        blocks: list[tuple[Array, Mapping[str, Any], Mapping[str, Array] | None]]
        if whole:
            arrays = {**samples.rows, **samples.values}
            blocks = [(samples.ids, arrays if transform is None else transform(arrays), samples.counts)]
        else:
            assert transform is not None
            items = [transform(samples.item(i)) for i in range(len(samples))]
            blocks = [(samples.ids[i : i + 1], item, None) for i, item in enumerate(items)]
        for block_ids, found_arrays, counts in blocks:
            for key, values in found_arrays.items():
                if key == ID:
                    continue
                part = _moments_of(key, np.asarray(values), block_ids, lacking.get(key), counts)
                found[key] = found[key].join(part) if key in found else part
    return found


def _moments_of(
    key: str, values: Array, ids: Array, present: Array | None, counts: Mapping[str, Array] | None
) -> Moments:
    """The moments of the rows of some samples; `counts` are these samples' rows, None for one sample."""
    if values.dtype.kind not in "biuf":
        raise DatasetError(f"{key} is {values.dtype}, which has no mean; leave it out of columns=")
    group = key.partition("/")[0]
    if counts is None and group == FILE_GROUP:
        values = values[None]
    if present is None:
        return Moments.of(values)
    known = np.asarray(present[ids], bool)
    if counts is None:
        known = np.full(len(values), known[0])
    elif group != FILE_GROUP:
        known = np.repeat(known, counts[group])
    return Moments.of(values, known)
