"""Where dflow and the kernel differ on a file, and which of them the arbiter finds right.

The kernel is taken as it is: its reader with default healing on the file's own bytes, its integrals with an error
bound. Every file is compared in a process of its own, which the kernel may crash.
"""

from __future__ import annotations

import faulthandler
import io
import math
import multiprocessing
import resource
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from OCP.BRepGProp import BRepGProp
from OCP.GProp import GProp_GProps
from OCP.IFSelect import IFSelect_RetDone
from OCP.STEPControl import STEPControl_Reader
from OCP.TopoDS import TopoDS_Shape

from dflow.cadaccess import Brep, CadLoader
from dflow.cadaccess.files import formats
from dflow.cadaccess.files.formats import CadFormat
from dflow.cadaccess.kernel import bintools, reading
from dflow.cadaccess.kernel.shape import KernelShape
from dflow.errors import CadError
from tests.benchmarks import arbiter
from tests.benchmarks.arbiter import Estimate

RELATIVE = 1e-6
"""Of a figure (and of the part's size, for places): what differs by more is a difference."""
TINY = 1e-9
"""Of the part's size, to the power of the figure's dimension: what differs by less is none."""
COARSE = 1e-3
"""The same for figures in which both agree, which the arbiter checks with its coarse triangulations."""
BOUND = 1e-7
"""Error bound of the kernel's integrals."""
MOST_LEVELS = 4
CONVINCING = 4
"""Times its own error: what the arbiter differs by from both, for them to be wrong."""
SECONDS = 300
"""Of processor time, for one file."""

VERDICTS = ("dflow right", "kernel right", "neither", "both wrong", "too close to call", "undecided")
"""The arbiter's. `both wrong`: where the two agree. `too close to call`: both are within the arbiter's error, to which
the gaps of the file's own geometry count. `undecided`: the loops bound no region or the faces no solid, or the counts
differ.
"""


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure: of a face, an edge (`row`), or of the whole file (-1)."""

    figure: str
    row: int
    ours: float
    kernel: float
    judged: float
    error: float
    verdict: str

    def __str__(self) -> str:
        where = f" {self.row}" if self.row >= 0 else ""
        return (
            f"{self.figure}{where}: dflow {self.ours:.9g}, kernel {self.kernel:.9g}, arbiter {self.judged:.9g} "
            f"± {self.error:.1g}: {self.verdict}"
        )


@dataclass(slots=True)
class FileResult:
    """One file: how dflow read it, the reason why one of the two has no figures, and what differs."""

    name: str
    path: str = ""
    n_faces: int = 0
    n_compared: int = 0
    cut_short: str = ""
    ours_failed: str = ""
    kernel_failed: str = ""
    differences: list[Difference] = field(default_factory=list)
    seconds: float = 0.0

    def failures(self) -> dict[str, str]:
        """Why one of the two has no figures, or not all were compared; {} where all were."""
        found = {"dflow": self.ours_failed, "the kernel": self.kernel_failed, "comparison": self.cut_short}
        return {who: what for who, what in found.items() if what}

    def counts(self) -> Counter[str]:
        return Counter(d.verdict for d in self.differences)


def judge(ours: float, kernel: float, estimate: Callable[[int], Estimate]) -> tuple[Estimate, str]:
    """The arbiter's figure, as fine as it has to be to tell the two apart, and its verdict."""
    found = Estimate(math.nan, math.inf)
    for levels in range(arbiter.LEVELS, MOST_LEVELS + 1):
        found = estimate(levels)
        if not math.isfinite(found.error):
            return found, "undecided"
        right = found.allows(ours), found.allows(kernel)
        if right == (True, False):
            return found, "dflow right"
        if right == (False, True):
            return found, "kernel right"
    away = min(abs(ours - found.value), abs(kernel - found.value))
    return found, "neither" if away > CONVINCING * found.error else "too close to call"


# -- one file


def compare(path: Path, every_face: bool, report: Callable[[FileResult], None]) -> None:
    """Compare one file; `report` gets the result as it grows, so that some is left if the kernel crashes."""
    result = FileResult(path.name, ours_failed="dflow crashed", kernel_failed="the kernel crashed")
    started = time.perf_counter()
    report(result)
    ours = _read_ours(path, result)
    report(result)
    shape = _read_by_kernel(path, result)
    result.seconds = time.perf_counter() - started
    report(result)
    if ours is not None:
        _Comparison(path, ours, shape, result).run(every_face, report)
    result.seconds = time.perf_counter() - started
    report(result)


def _read_ours(path: Path, result: FileResult) -> Brep | None:
    try:
        model = CadLoader().create_from_file(path)
        brep = model.get_brep()
        brep.face_areas(), brep.volume(), brep.edge_lengths(), brep.bounding_box()
    except CadError as error:
        result.ours_failed = f"{type(error).__name__}: {str(error).removeprefix(f'{path}: ')}"
        return None
    result.ours_failed, result.path, result.n_faces = "", model.read_report.healing, brep.n_faces
    return brep


def _read_by_kernel(path: Path, result: FileResult) -> TopoDS_Shape | None:
    content = formats.read_bytes(path)
    try:
        cad_format = formats.sniff(path, content)
        shape = (
            _plain_step(content) if cad_format is CadFormat.STEP else reading.transfer(path, content, cad_format).shape
        )
    except Exception as error:  # of any of the kernel's kinds
        result.kernel_failed = f"{type(error).__name__}: {error}"
        return None
    result.kernel_failed = "" if shape is not None else "no shape"
    return shape


def _plain_step(content: bytes) -> TopoDS_Shape | None:
    reader = STEPControl_Reader()
    if reader.ReadStream("part.step", io.BytesIO(content)) != IFSelect_RetDone:
        return None
    reader.TransferRoots()
    shape = reader.OneShape() if reader.NbShapes() else TopoDS_Shape()
    return None if shape.IsNull() else shape


class _Comparison:
    """Of one file: its shape by dflow, by the kernel (None where it has none), and unhealed for the arbiter."""

    def __init__(self, path: Path, ours: Brep, kernel: TopoDS_Shape | None, result: FileResult) -> None:
        self.path, self.ours, self.result = path, ours, result
        self.kernel = None if kernel is None else KernelShape(kernel)
        box = ours.bounding_box()
        self.size = float(np.linalg.norm(box[3:] - box[:3])) or 1.0
        self.centre = 0.5 * (box[3:] + box[:3])

    @property
    def plain(self) -> KernelShape:
        """The file's statements, not healed."""
        if not hasattr(self, "_plain"):
            content = formats.read_bytes(self.path)
            cad_format = formats.sniff(self.path, content)
            level = "planar" if cad_format is CadFormat.STEP else None
            self._plain = KernelShape(reading.transfer(self.path, content, cad_format, level).shape)
        return self._plain

    def run(self, every_face: bool, report: Callable[[FileResult], None]) -> None:
        for compare in (self._edges, self._whole, self._faces):
            compare(every_face)
            report(self.result)

    def see(
        self, figure: str, row: int, ours: float, kernel: float, estimate: Callable[[int], Estimate], least: float
    ) -> bool:
        """Let the arbiter decide where the two differ by more than `least` and than `RELATIVE`."""
        self.result.n_compared += 1
        if abs(ours - kernel) <= max(least, RELATIVE * abs(kernel)) or (np.isnan(ours) and np.isnan(kernel)):
            return False
        found, verdict = judge(ours, kernel, estimate)
        self.add(figure, row, ours, kernel, found, verdict)
        return True

    def add(self, figure: str, row: int, ours: float, kernel: float, found: Estimate, verdict: str) -> None:
        self.result.differences.append(Difference(figure, row, ours, kernel, found.value, found.error, verdict))

    def _faces(self, every_face: bool) -> None:
        areas, centroids = self.ours.face_areas(), self.ours.face_centroids()
        n = self.ours.n_faces
        theirs = self.kernel.face_map.Extent() if self.kernel is not None else -1
        if theirs != n or self.plain.face_map.Extent() != n:
            if self.kernel is not None and n + theirs:
                self._total_area(float(areas.sum()))
            if self.plain.face_map.Extent() != n:
                return
        for row in range(n):
            bad = False
            if theirs == n:
                area, centroid = self._kernel_face(row)
                bad = self.see("area", row, areas[row], area, self._area(row), TINY * self.size**2)
                if not bad:
                    away = np.abs(centroids[row] - centroid)
                    axis = int(away.argmax()) if np.isfinite(away).all() else 0
                    self.see(
                        f"centroid {'xyz'[axis]}",
                        row,
                        centroids[row, axis],
                        centroid[axis],
                        self._centroid(row, axis),
                        RELATIVE * self.size,
                    )
            if every_face and not bad and self.ours.tables.faces.kind[row] <= bintools.TORUS:
                self._check_agreed("area", row, areas[row], self._area(row))
        if theirs == n:
            self._senses()

    def _check_agreed(self, figure: str, row: int, agreed: float, estimate: Callable[[int], Estimate]) -> None:
        if math.isnan(agreed):
            return
        self.result.n_compared += 1
        found = estimate(2)
        if math.isfinite(found.error) and not found.allows(agreed, COARSE * abs(agreed)):
            found = estimate(MOST_LEVELS)
            if abs(agreed - found.value) > max(CONVINCING * found.error, RELATIVE * abs(agreed)):
                self.add(figure, row, agreed, agreed, found, "both wrong")

    def _total_area(self, ours: float) -> None:
        assert self.kernel is not None
        kernel = sum(self._kernel_face(row)[0] for row in range(self.kernel.face_map.Extent()))

        def estimate(levels: int) -> Estimate:
            found = [self._area(row)(levels) for row in range(self.plain.face_map.Extent())]
            return Estimate(sum(f.value for f in found), sum(f.error for f in found))

        self.see("total area", -1, ours, kernel, estimate, 0.0)

    def _kernel_face(self, row: int) -> tuple[float, np.ndarray]:
        assert self.kernel is not None
        found = GProp_GProps()
        BRepGProp.SurfaceProperties_s(self.kernel.face(row), found, BOUND)
        centre = found.CentreOfMass()
        return found.Mass(), np.array([centre.X(), centre.Y(), centre.Z()])

    def _area(self, row: int) -> Callable[[int], Estimate]:
        return lambda levels: arbiter.face_figures(self.plain.face(row), self.centre, levels).area

    def _centroid(self, row: int, axis: int) -> Callable[[int], Estimate]:
        return lambda levels: arbiter.face_figures(self.plain.face(row), self.centre, levels).centroid[axis]

    # -- senses

    def _senses(self) -> None:
        """The outward normal of each face at one of its points, for dflow and the kernel."""
        assert self.kernel is not None
        n_u = n_v = 5
        grid, bounds = self.ours.face_samples(n_u, n_v), self.ours.face_uv_bounds()
        for row in range(self.ours.n_faces):
            flat = grid[row].reshape(-1, 7)
            good = np.flatnonzero((flat[:, 6] == 1) & np.isfinite(flat[:, 3:6]).all(axis=1))
            if not len(good):
                continue
            at = int(good[len(good) // 2])
            uv = np.linspace(*bounds[row, :2], n_u)[at // n_v], np.linspace(*bounds[row, 2:], n_v)[at % n_v]
            point, normal = (a[0] for a in self.kernel.surface_points(row, np.array([uv])))
            self.result.n_compared += 1
            if np.linalg.norm(point - flat[at, :3]) > 1e-4 * self.size or not np.isfinite(normal).all():
                continue
            if flat[at, 3:6] @ normal < 0:
                side = self._outward(row, flat[at, :3])
                ours, kernel = (0 if side is None else float(np.sign(side @ n)) for n in (flat[at, 3:6], normal))
                verdict = "undecided" if side is None else "dflow right" if ours > 0 else "kernel right"
                self.add("sense", row, ours, kernel, Estimate(1.0, 0.0), verdict)

    def _outward(self, row: int, point: np.ndarray) -> np.ndarray | None:
        """The normal of the triangle nearest to `point` of a face, out of the material of its solid."""
        for faces, rows, sides in self._sides():
            if row in rows:
                i = rows.index(row)
                triangles = faces[i]
                near = triangles[np.linalg.norm(triangles.mean(axis=1) - point, axis=1).argmin()]
                return sides[i] * np.cross(near[1] - near[0], near[2] - near[0]) if sides[i] else None
        return None

    def _sides(self) -> list[tuple[list[np.ndarray], list[int], list[int]]]:
        """For each solid: its faces' coarse triangles, the faces' rows, and the side of the material."""
        if not hasattr(self, "_known_sides"):
            self._known_sides = []
            for solid in arbiter.solids_of(self.plain.shape):
                faces = arbiter.faces_of(solid)
                rows = [self.plain.face_map.FindIndex(face) - 1 for face in faces]
                triangles = [arbiter.triangulate(face, 0).corners for face in faces]
                self._known_sides.append((triangles, rows, arbiter.material_side(triangles)))
        return self._known_sides

    # -- edges and the whole

    def _edges(self, every_face: bool) -> None:
        rows, lengths = self.ours.kernel_edge_rows, self.ours.edge_lengths()
        if self.kernel is None:
            return
        theirs = _measurable_edges(self.kernel)
        if len(theirs) != len(rows):
            return
        plain = _measurable_edges(self.plain)
        for ours, row, place in zip(lengths.tolist(), theirs, range(len(rows)), strict=True):
            theirs_long = self.kernel.edge_length(row)

            def estimate(
                levels: int, place: int = place, lengths: tuple[float, float] = (ours, theirs_long)
            ) -> Estimate:
                if len(plain) != len(theirs):
                    return Estimate(math.nan, math.inf)
                found = arbiter.edge_length(self.plain.edge(plain[place]), levels)
                other_edge = all(abs(found.value - length) > 0.1 * length for length in lengths)
                return Estimate(found.value, math.inf) if other_edge else found

            self.see("length", place, ours, theirs_long, estimate, TINY * self.size)

    def _whole(self, every_face: bool) -> None:
        if self.kernel is None or not self.ours.n_faces:
            return
        volume = self._volume()
        ours = self.ours.volume()
        if not self.see("volume", -1, ours, volume, self._judge_volume, TINY * self.size**3) and every_face:
            self._check_agreed("volume", -1, ours, self._judge_volume)
        boxes = self.ours.bounding_box(), self.kernel.bounding_box()
        for side in range(6):
            self.see(
                f"box {('low', 'high')[side // 3]} {'xyz'[side % 3]}",
                -1,
                boxes[0][side],
                boxes[1][side],
                lambda levels, side=side: self._judge_box(levels, side),
                RELATIVE * self.size,
            )

    def _volume(self) -> float:
        assert self.kernel is not None
        total = math.nan
        for solid in arbiter.solids_of(self.kernel.shape):
            found = GProp_GProps()
            BRepGProp.VolumeProperties_s(solid, found, BOUND)
            total = found.Mass() + (0.0 if math.isnan(total) else total)
        return total

    def _judge_volume(self, levels: int) -> Estimate:
        return arbiter.volume(self.plain.shape, levels)

    def _judge_box(self, levels: int, side: int) -> Estimate:
        faces = [self.plain.face(row) for row in range(self.plain.face_map.Extent())]
        return arbiter.box_side(faces, self.centre, levels, side)


def _measurable_edges(shape: KernelShape) -> list[int]:
    from OCP.BRep import BRep_Tool

    rows = range(shape.edge_map.Extent())
    return [r for r in rows if not BRep_Tool.Degenerated_s(shape.edge(r)) and BRep_Tool.IsGeometric_s(shape.edge(r))]


# -- many files


def compare_files(files: Iterable[Path], every_face: bool = False) -> Iterator[FileResult]:
    """The result of each file, compared in a process of its own."""
    context = multiprocessing.get_context("fork")
    for path in files:
        here, there = context.Pipe(duplex=False)
        worker = context.Process(target=_work, args=(path, every_face, there))
        worker.start()
        there.close()
        result = FileResult(path.name, ours_failed="not started")
        try:
            while True:
                result = here.recv()
        except EOFError:
            pass
        worker.join()
        if worker.exitcode == -signal.SIGXCPU:
            result.cut_short = f"not all compared in {SECONDS} s"
        elif worker.exitcode and not (result.ours_failed or result.kernel_failed):
            result.cut_short = f"the comparison ended with {worker.exitcode}"
        yield result


def _work(path: Path, every_face: bool, pipe: Connection) -> None:
    faulthandler.disable()  # a crash of the kernel is a result
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 10))
    compare(path, every_face, pipe.send)
    pipe.close()
