"""How far dflow's geometry agrees with the kernel, with closed forms, with the files' own statements and with
brepgraph; where dflow and the kernel differ, `tests.benchmarks.arbiter` decides which of them is right.

``python -m tests.benchmarks.agreement`` takes some minutes for the real files beside the project (``--every 10`` takes
each tenth file). ``python -m tests.benchmarks.agreement FOLDER`` compares all files in a folder with the kernel and
lets the arbiter decide. A random part of a large folder is drawn with ``--sample N``: the files are sorted by path (as
text with ``/``), those are left whose base name has an even CRC-32 (``zlib.crc32(name.encode()) % 2 == 0``; the others
are held out for the day on which a change is judged), and ``random.Random(seed).sample`` draws N of them.

Every difference that is there by design carries one line of explanation.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import warnings
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from OCP.BRepGProp import BRepGProp
from OCP.GProp import GProp_GProps
from OCP.IntTools import IntTools_FClass2d
from OCP.TopAbs import TopAbs_IN

from dflow.cadaccess import Brep, CadLoader, CadModel, loader
from dflow.cadaccess.files import formats
from dflow.cadaccess.geometry import surfaces
from dflow.cadaccess.kernel import reading
from dflow.cadaccess.kernel.shape import CLASSIFIER_TOLERANCE
from dflow.errors import CadError
from tests.benchmarks import disputes

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
CRASHING = ("U009.stp", "Twi044.stp", "segv_line_direction_typeconfusion.step")
CORPORA = {"mfcad": "mfcad/step/*", "kicad": "kicad/*/*", "cad": "cad/*/*", "cases": "cases/*"}
ENDINGS = (".step", ".stp", ".iges", ".igs", ".brep")


def corpus(name: str, every: int) -> list[Path]:
    """The corpus's files but those that kill the process, each `every`-th."""
    files = (p for p in sorted(DATA.glob(CORPORA[name])) if p.is_file() and p.suffix.lower() != ".json")
    return [p for p in files if p.name not in CRASHING][::every]


def folder_files(folder: Path, n: int | None, seed: int) -> list[Path]:
    """The CAD files below a folder; of `n`, so many drawn from those whose base name has an even CRC-32."""
    found = (p for p in folder.rglob("*") if p.suffix.lower() in ENDINGS and p.is_file())
    files = sorted(found, key=Path.as_posix)
    if n is None:
        return files
    even = [path for path in files if zlib.crc32(path.name.encode()) % 2 == 0]
    return sorted(random.Random(seed).sample(even, min(n, len(even))))


# -- what dflow and the kernel differ in, and the arbiter


def print_disputes(files: Iterable[Path], every_face: bool) -> None:
    """One line a figure that differs, file by file, and the counts of verdicts."""
    n_files = n_figures = 0
    verdicts: Counter[str] = Counter()
    read_by: Counter[str] = Counter()
    by_file: Counter[str] = Counter()
    for result in disputes.compare_files(files, every_face):
        n_files += 1
        n_figures += result.n_compared
        read_by[result.path or "not by dflow"] += 1
        verdicts += result.counts()
        by_file += Counter(set(result.counts()))
        notes = [f"{who}: {what}" for who, what in result.failures().items()]
        if notes or result.differences:
            print(f"  {result.name}", *notes, sep="\n    ")
        for figure, verdict in {(d.figure, d.verdict): None for d in result.differences}:
            same = [d for d in result.differences if (d.figure, d.verdict) == (figure, verdict)]
            more = f" (and {len(same) - 1} more like it)" if len(same) > 1 else ""
            print(f"    {same[0]}{more}", flush=True)
    print(f"  {n_files} files, {n_figures} figures compared; read by {dict(read_by)}")
    for verdict in disputes.VERDICTS:
        print(f"  {verdict}: {verdicts[verdict]} figures in {by_file[verdict]} files")


@dataclass
class Worst:
    """The largest value of a figure and where it occurred."""

    value: float = 0.0
    where: str = ""

    def see(self, value: float, where: str) -> None:
        if value > self.value:
            self.value, self.where = float(value), where

    def __str__(self) -> str:
        return f"{self.value:.1e}" + (f" ({self.where})" if self.where else "")


def diagonal(brep: Brep) -> float:
    box = brep.bounding_box()
    return float(np.linalg.norm(box[3:] - box[:3]))


# -- light reading against the default-healed shape


@dataclass
class LightTally:
    n_files: int = 0
    healing: Counter[str] = field(default_factory=Counter)
    fallbacks: list[str] = field(default_factory=list)
    other_counts: list[str] = field(default_factory=list)
    area: Worst = field(default_factory=Worst)
    volume: Worst = field(default_factory=Worst)
    centroid: Worst = field(default_factory=Worst)


def compare_light(files: list[Path]) -> LightTally:
    """Accepted reads, by text or light healing, against full healing of the same bytes."""
    tally = LightTally()
    for path in files:
        try:
            pair = _both_readings(path)
        except CadError:
            continue
        if pair is None:
            continue
        tally.n_files += 1
        model, full = pair
        light, report = model.get_brep(), model.read_report
        tally.healing[report.healing] += 1
        if report.fallback:
            tally.fallbacks.append(f"{path.name}: {report.fallback}")
        elif _counts(light) != _counts(full):
            tally.other_counts.append(f"{path.name}: {light.n_faces} faces, {light.n_edges} | {full.n_edges} edges")
        else:
            _compare_sizes(light, full, path.name, tally)
    return tally


def _both_readings(path: Path) -> tuple[CadModel, Brep] | None:
    """As `CadLoader` reads the file, and as the kernel's default healing leaves it."""
    content = formats.read_bytes(path)
    cad_format = formats.sniff(path, content)
    if cad_format is not formats.CadFormat.STEP:
        return None
    moved = reading.transfer(path, content, cad_format, "full")
    full = loader._build_model(path, content, cad_format, moved, "", 0.0)
    return CadLoader().create_from_file(path), full.get_brep()


def _counts(brep: Brep) -> tuple[object, ...]:
    types = (brep.face_types().tolist(), brep.edge_types().tolist(), brep.face_loops().tolist())
    return brep.n_faces, brep.n_edges, *types


def _compare_sizes(light: Brep, full: Brep, name: str, tally: LightTally) -> None:
    if not light.n_faces:
        return
    tally.area.see(float(np.abs(light.face_areas() / full.face_areas() - 1).max()), name)
    away = np.abs(light.face_centroids() - full.face_centroids()).max() / diagonal(full)
    tally.centroid.see(float(away), name)
    if np.isfinite(full.volume()) and full.volume():
        tally.volume.see(abs(light.volume() / full.volume() - 1), name)


# -- numpy samples against the kernel's point by point


@dataclass
class SampleTally:
    n_faces: int = 0
    n_points: int = 0
    point: Worst = field(default_factory=Worst)
    normal: Worst = field(default_factory=Worst)
    edge_point: Worst = field(default_factory=Worst)
    mask_near: int = 0
    mask_clear: list[str] = field(default_factory=list)
    inside_out: list[str] = field(default_factory=list)
    by_kernel: int = 0


def compare_samples(files: list[Path], n_u: int = 8, n_v: int = 7) -> SampleTally:
    """Grids of accepted shapes, in float64, against `BRepAdaptor_Surface.D1` and `IntTools_FClass2d`."""
    tally = SampleTally()
    for path in files:
        try:
            brep = CadLoader().create_from_file(path).get_brep()
            if brep.n_faces:
                _compare_faces(brep, path.name, tally, n_u, n_v)
            _compare_edges(brep, path.name, tally)
        except CadError:
            continue
    return tally


def _compare_faces(brep: Brep, name: str, tally: SampleTally, n_u: int, n_v: int) -> None:
    grid, bounds, size = brep.face_samples(n_u, n_v), brep.face_uv_bounds(), diagonal(brep)
    for row in range(brep.n_faces):
        where = f"{name} face {row}"
        tally.n_faces += 1
        if not brep.chords.closed[row]:
            tally.by_kernel += 1
            continue
        u, v = np.linspace(*bounds[row, :2], n_u), np.linspace(*bounds[row, 2:], n_v)
        uv = np.stack(np.meshgrid(u, v, indexing="ij"), axis=-1).reshape(-1, 2)
        mine = grid[row].reshape(-1, 7)
        points, normals = brep.kernel.surface_points(row, uv)
        tally.n_points += len(uv)
        tally.point.see(float(np.abs(points - mine[:, :3]).max()) / size, where)
        both = np.isfinite(normals).all(axis=1) & np.isfinite(mine[:, 3:6]).all(axis=1)
        if both.any():
            tally.normal.see(float(np.abs(normals - mine[:, 3:6])[both].max()), where)
        wrong = _kernel_mask(brep, row, uv, (n_u, n_v)) != (mine[:, 6] == 1)
        if wrong.any() and _is_inside_out(brep, row):
            tally.inside_out.append(where)
        elif wrong.any():
            clear = _distance_to_boundary(brep, row, uv[wrong]) > 1e-3
            tally.mask_near += int((~clear).sum())
            tally.mask_clear += [where] * bool(clear.any())


def _kernel_mask(brep: Brep, row: int, uv: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The kernel's classifier; where a grid closes on itself it may see one side only of what is one point."""
    inside = brep.kernel.inside(row, uv).reshape(shape)
    turns = [period[row] for period in surfaces.periods(brep.tables.faces)]
    box = brep.face_uv_bounds()[row]
    if -1e-6 <= box[1] - box[0] - turns[0] <= 1e-3:
        inside[[0, -1]] = inside[0] | inside[-1]
    if -1e-6 <= box[3] - box[2] - turns[1] <= 1e-3:
        inside[:, [0, -1]] = (inside[:, 0] | inside[:, -1])[:, None]
    return inside.ravel()


def _is_inside_out(brep: Brep, row: int) -> bool:
    """Whether the kernel's classifier has all of the plane outside the loops inside: they run the wrong way round."""
    return IntTools_FClass2d(brep.kernel.face(row), CLASSIFIER_TOLERANCE).PerformInfinitePoint() == TopAbs_IN


def _distance_to_boundary(brep: Brep, row: int, uv: np.ndarray) -> np.ndarray:
    """Distance to the chords over the size of the face's (u, v) box; the band is a chord's sagitta wide."""
    chords, box = brep.chords, brep.face_uv_bounds()[row]
    span = slice(chords.first[row], chords.first[row + 1])
    scale = np.array([box[1] - box[0], box[3] - box[2]])
    scale = np.where(scale > 0, scale, 1.0)
    start, along = chords.start[span] / scale, (chords.end[span] - chords.start[span]) / scale
    off = uv[:, None] / scale - start
    length = (along**2).sum(axis=1)
    share = np.clip((off * along).sum(axis=2) / np.where(length > 0, length, 1.0), 0.0, 1.0)
    away = np.linalg.norm(off - share[..., None] * along, axis=2) - chords.sagitta[span] / scale.min()
    return away.min(axis=1)


def _compare_edges(brep: Brep, name: str, tally: SampleTally) -> None:
    grid, size = brep.edge_samples(6), diagonal(brep)
    for row, edge in enumerate(brep.kernel_edge_rows.tolist()):
        points, _ = brep.kernel.edge_points(edge, np.linspace(*brep.kernel.edge_range(edge), 6))
        tally.edge_point.see(float(np.abs(points - grid[row, :, :3]).max()) / size, f"{name} edge {row}")


# -- the manifest and the files' own statements


def compare_manifest(files: list[Path]) -> Iterator[str]:
    """Lines on counts, on areas and volumes against the kernel with an error bound and without, on stated values."""
    entries = {e["path"]: e for e in json.loads((DATA / "cad" / "manifest.json").read_text())}
    same = 0
    ours, default = Worst(), Worst()
    for path in files:
        entry = entries.get(path.relative_to(DATA / "cad").as_posix(), {}).get("occt8", {})
        try:
            brep = CadLoader().create_from_file(path).get_brep()
        except CadError:
            continue
        counted = {"face": brep.n_faces, "edge": brep.n_edges + int(brep.tables.edge_degenerate.sum())}
        counted |= {"solid": brep.tables.n_solids, "shell": brep.tables.n_shells}
        different = {k: (v, entry[k]) for k, v in counted.items() if k in entry and v != entry[k]}
        same += not different
        if different:
            yield f"  counts differ, ours | kernel: {path.name} {different}"
        if entry.get("valid") and brep.n_faces:
            exact = _adaptive_area(brep)
            default.see(abs(entry["area"] / exact - 1), path.name)
            off = abs(brep.area() / exact - 1)
            by_bound = [exact, *(_adaptive_area(brep, bound) for bound in BOUNDS)] if off > 1e-6 else [exact]
            if max(by_bound) / min(by_bound) - 1 > 0.3 * off:
                yield (
                    f"  the kernel's integral does not settle: {path.name}: {min(by_bound):.10g} to "
                    f"{max(by_bound):.10g} mm² for error bounds of 1e-3 to 1e-9; ours {brep.area():.10g}"
                )
            else:
                ours.see(off, path.name)
        stated = brep.stated_properties()
        if np.isfinite(stated.volume):
            volume, area = brep.volume() / stated.volume - 1, brep.area() / stated.area - 1
            yield f"  stated: {path.name}: volume off by {volume:+.1e}, area by {area:+.1e}"
    yield f"  {same} files with the kernel's own counts of faces, edges, shells and solids"
    yield f"  area of valid shapes against the kernel's integral with error bound 1e-7: ours {ours}"
    yield f"  the same for the kernel's default integral (no error bound; the manifest's values): {default}"


BOUNDS = (1e-3, 1e-5, 1e-9)
"""Beside 1e-7: an integral that has settled is the same with each, to within them."""


def _adaptive_area(brep: Brep, bound: float = 1e-7) -> float:
    total = 0.0
    for row in range(brep.n_faces):
        found = GProp_GProps()
        BRepGProp.SurfaceProperties_s(brep.kernel.face(row), found, bound)
        total += found.Mass()
    return total


# -- closed forms


def compare_closed_forms() -> Iterator[str]:
    """Worst relative error of volume and area over placed, mirrored and reversed solids."""
    from tests.cadaccess import solids
    from tests.cadaccess.test_brep import FORMS

    for form, (make, volume, area) in FORMS.items():
        worst = Worst()
        for how in solids.PLACES:
            with tempfile.TemporaryDirectory() as folder:
                brep = solids.open_brep(solids.place(make(), how), Path(folder))
                # A stored solid that is inside out encloses the space around it: a volume below 0.
                worst.see(abs(brep.volume() / (-volume if how == "reversed" else volume) - 1), f"volume, {how}")
                worst.see(abs(brep.area() / area - 1), f"area, {how}")
        yield f"  {form}: {worst}"


# -- brepgraph


@dataclass
class PeerTally:
    n_solids: int = 0
    n_refused: int = 0
    figures: dict[str, Worst] = field(default_factory=dict)
    different: dict[str, int] = field(default_factory=dict)

    def see(self, figure: str, value: float, where: str) -> None:
        self.figures.setdefault(figure, Worst()).see(value, where)

    def count(self, figure: str, n: int) -> None:
        self.different[figure] = self.different.get(figure, 0) + n


def compare_peer(files: list[Path]) -> PeerTally:
    """Arrays of brepgraph 0.3.0 (preset uvnet) for files of one solid."""
    import brepgraph

    tally = PeerTally()
    for path in files:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                graphs = brepgraph.load_all(str(path), "uvnet")
            model = CadLoader().create_from_file(path)
        except (brepgraph.BrepGraphError, CadError, RuntimeError, ValueError):
            tally.n_refused += 1
            continue
        if len(graphs) == 1 and model.get_body_count() == 1:
            tally.n_solids += 1
            _compare_graph(graphs[0], model.get_brep(), path.name, tally)
    return tally


def _compare_graph(graph: object, brep: Brep, name: str, tally: PeerTally) -> None:
    node, edge = graph.node_feats, graph.edge_feats  # type: ignore[attr-defined]
    if len(node["area"]) != brep.n_faces:
        tally.count("files with another number of faces (its healing)", 1)
        return
    size = diagonal(brep)
    tally.see("area, relative", float(np.abs(node["area"] / brep.face_areas() - 1).max()), name)
    tally.see("centroid / diagonal", float(np.abs(node["centroid"] - brep.face_centroids()).max()) / size, name)
    codes = np.array([0, 1, 2, 3, 4, 5, 5, 13, 14, 15, 16])
    tally.count("face types", int((codes[node["surface_type"]] != brep.face_types()).sum()))
    grid = np.moveaxis(node["uv_grid"], 1, -1)
    mine = brep.face_samples(*grid.shape[1:3])
    tally.see("grid points / diagonal", float(np.abs(grid[..., :3] - mine[..., :3]).max()) / size, name)
    tally.count("grid masks", int((grid[..., 6] != mine[..., 6]).sum()))
    filled = (np.abs(grid[..., 3:6]).sum(axis=-1) > 0) & np.isfinite(mine[..., 3:6]).all(axis=-1)
    tally.see("grid normals", float(np.abs(grid[..., 3:6] - mine[..., 3:6])[filled].max()), name)
    between = np.flatnonzero(np.isfinite(brep.edge_dihedral_angles()))
    if len(between) != len(edge["length"]):
        tally.count("files with another number of arcs", 1)
        return
    tally.see("length, relative", float(np.abs(edge["length"] / brep.edge_lengths()[between] - 1).max()), name)
    angle = brep.edge_dihedral_angles()[between]
    tally.see("dihedral angle", float(np.abs(edge["dihedral_angle"] - np.abs(angle)).max()), name)
    firm = np.abs(angle) > 0.02
    tally.count("convexity", int((edge["convexity"][firm] != (angle[firm] > 0)).sum()))
    curve = np.moveaxis(edge["u_grid"], 1, -1)
    own = brep.edge_samples(curve.shape[1])[between]
    ahead, back = (np.abs(curve[..., :3] - o).max(axis=(1, 2)) for o in (own[..., :3], own[:, ::-1, :3]))
    tally.see("curve points / diagonal", float(np.minimum(ahead, back).max()) / size, name)
    tally.count("curve grids that it runs backwards", int((back < ahead - 1e-6 * size).sum()))


EXPLANATIONS = (
    "areas, centroids: its kernel integral has no error bound, off by up to 1e-3 on curved trims; float32 adds 6e-8",
    "areas of free forms: ours are integrals around the loops, piece by piece; the kernel's rule does not settle on an"
    " extrusion of a curve of many spans, or at a slant",
    "areas of faces whose edges' ends lie apart: ours close the gap straight, the kernel's run along the edges alone"
    " (3e-5 of a plate with gaps of 0.02 mm)",
    "grid masks, points: float32; mask points that lie on a boundary to within rounding",
    "masks of faces whose outside the kernel takes for their inside: the loops, around no area, run the wrong way; only"
    " what lies on them is inside for dflow",
    "edge points of a Bézier curve of degree 25: the kernel's miss its last pole, where it ends, by 2e-6 of its length;"
    " ours meet it",
    "curve grids run backwards: it follows the edge's orientation in the solid, dflow the edge's curve",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="compare its files with the kernel, and only that")
    parser.add_argument("--every", type=int, default=1, help="take each n-th file")
    parser.add_argument("--sample", type=int, help="draw so many of the folder's files")
    parser.add_argument("--seed", type=int, default=17, help="of the draw")
    parser.add_argument(
        "--all-faces", action="store_true", help="let the arbiter check the areas and volumes that agree, too; slow"
    )
    chosen = parser.parse_args()
    if chosen.folder is not None:
        files = folder_files(chosen.folder, chosen.sample, chosen.seed)[:: chosen.every]
        if not files:
            parser.error(f"{chosen.folder} holds no file that ends in {', '.join(ENDINGS)}; name a folder that does")
        print_disputes(files, chosen.all_faces)
        return
    every = chosen.every
    print("closed forms, worst relative error")
    print("\n".join(compare_closed_forms()))
    for name in CORPORA:
        files = corpus(name, every)
        print(f"\n{name}: where dflow and the kernel differ")
        print_disputes(files, chosen.all_faces)
        light = compare_light(files)
        print(f"\n{name}: {len(files)} files; light reading against full healing, {light.n_files} STEP files")
        print("  read by:", dict(light.healing))
        print(f"  fell back to full healing: {len(light.fallbacks)}", *light.fallbacks, sep="\n    ")
        print(f"  accepted with other counts or types: {len(light.other_counts)}", *light.other_counts, sep="\n    ")
        print(f"  worst: area {light.area}, volume {light.volume}, centroid/diagonal {light.centroid}")
        drawn = compare_samples(files)
        print(f"{name}: samples against the kernel, {drawn.n_faces} faces, {drawn.n_points} points")
        print(f"  points/diagonal {drawn.point}, normals {drawn.normal}, edges/diagonal {drawn.edge_point}")
        print(f"  mask: {drawn.mask_near} differ within the band, {len(drawn.mask_clear)} faces clear of it")
        print("   ", *sorted(set(drawn.mask_clear))[:20])
        print(f"  faces whose outside the kernel takes for their inside: {len(drawn.inside_out)}", *drawn.inside_out)
        print(f"  faces whose mask the kernel decided (loops that do not close): {drawn.by_kernel}")
        if name == "cad":
            print("cad: manifest and stated values", *compare_manifest(files), sep="\n")
        peer = compare_peer(files)
        print(f"{name}: brepgraph on {peer.n_solids} single solids (it refused {peer.n_refused} files)")
        for figure, worst in peer.figures.items():
            print(f"  {figure}: {worst}")
        print("  different:", peer.different)
    print("\nsystematic differences", *EXPLANATIONS, sep="\n  ")


if __name__ == "__main__":
    main()
