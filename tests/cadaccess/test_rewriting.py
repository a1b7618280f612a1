"""Files that are rewritten: what keeps their meaning keeps their arrays, what changes it changes them as it must."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dflow.cadaccess import Brep
from dflow.errors import CadError
from tests.cadaccess import restating, rewriting, solids, stepfile, ways
from tests.cadaccess.stepboxes import StepText
from tests.cadaccess.stepfile import NotApplicableError, StepFile

DATA = Path(__file__).parents[2].parent / "shared" / "data"
FORMS = {
    "box": solids.box,
    "cylinder": solids.cylinder,
    "wedge": lambda: solids.cylinder(2.0, 7.0, 2.0),
    "cone": solids.cone,
    "sphere": solids.sphere,
    "torus": solids.torus,
    "pocket": solids.pocket,
    "drilled": solids.drilled,
    "boss": solids.boss,
    "filleted": solids.filleted_cylinder,
    "two": lambda: solids.compound(solids.box(), solids.place(solids.drilled(), "placed")),
}
CONVEX = ("box", "cylinder", "wedge", "cone", "sphere")


@cache
def generated(form: str, how: str, pcurves: bool) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "part.step"
        if form == "written hollow":
            file, centre = stepfile.parse(generated("written box", how, pcurves)), np.array([5.0, 10.0, 15.0])
            restating.hollow(file, 0.5, centre)
            path.write_text(file.text())
        elif form == "written box":
            text = StepText()
            text.product("box", text.shape(text.context(), text.placement(), text.box()))
            text.write(path)
        else:
            solids.write_step(solids.place(FORMS[form](), how), path, pcurves=pcurves)
        return path.read_text(encoding="latin-1")


SOURCES = st.builds(
    generated,
    st.sampled_from([*FORMS, "written box", "written hollow"]),
    st.sampled_from(("at_origin", "placed")),
    st.booleans(),
)


# -- what is compared


@dataclass(frozen=True)
class Figures:
    """What a reading gives, faces in the order of their numbers, edges in that of their faces and midpoints."""

    way: str
    names: list[str]
    areas: np.ndarray
    centroids: np.ndarray
    types: np.ndarray
    loops: np.ndarray
    points: list[np.ndarray]
    normals: list[np.ndarray]
    lengths: np.ndarray
    middles: np.ndarray
    angles: np.ndarray
    beside: list[tuple[str, ...]]
    volume: float
    centroid: np.ndarray
    box: np.ndarray | None
    size: float


def _measure(way: str, brep: Brep) -> Figures:
    names = [re.match(r"\d*", name).group() for name in brep.face_names()]  # type: ignore[union-attr]
    centroids = brep.face_centroids()
    order = sorted(range(brep.n_faces), key=lambda row: (int(names[row] or -1), *centroids[row].round(4)))
    scattered = brep.surface_samples(60, 0)
    topology = brep.topology()
    beside: list[list[str]] = [[] for _ in range(brep.n_edges)]
    for edge, face in zip(topology.coedge_edge.tolist(), topology.coedge_face.tolist(), strict=True):
        beside[edge].append(names[face])
    faces = [tuple(sorted(found)) for found in beside]
    middles = brep.edge_samples(3)[:, 1, :3]
    lengths = brep.edge_lengths()
    edges = sorted(range(brep.n_edges), key=lambda row: (faces[row], round(lengths[row], 4), *middles[row].round(4)))
    return Figures(
        way,
        [names[row] for row in order],
        brep.face_areas()[order],
        centroids[order],
        brep.face_types()[order],
        brep.face_loops()[order],
        [scattered[0][row] for row in order],
        [scattered[1][row] for row in order],
        lengths[edges],
        middles[edges],
        brep.edge_dihedral_angles()[edges],
        [faces[row] for row in edges],
        brep.volume(),
        brep.centroid(),
        brep.bounding_box(),
        float(np.linalg.norm(np.diff(brep.bounding_box().reshape(2, 3), axis=0))),
    )


def read(text: str, way: str) -> Figures | None:
    """What this way of reading gives; None where it leaves the file to another."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "part.step"
        path.write_text(text, encoding="latin-1", newline="")
        model = ways.open_by(way, path)
        return None if model is None else _measure(way, model.get_brep())


def assert_same(got: Figures, want: Figures, *, scale: float = 1.0) -> None:
    """The same sizes, places, senses and neighbours; `scale` : the size of a tolerable difference."""
    size = want.size
    near = 1e-6 * size * scale
    assert got.names == want.names
    np.testing.assert_array_equal(got.types, want.types, "types")
    np.testing.assert_array_equal(got.loops, want.loops, "loops")
    np.testing.assert_allclose(got.areas, want.areas, rtol=1e-5 * scale, atol=1e-3 * near * size, err_msg="areas")
    np.testing.assert_allclose(got.centroids, want.centroids, atol=10 * near, err_msg="centroids")
    np.testing.assert_allclose(got.volume, want.volume, rtol=1e-5 * scale, err_msg="volume")
    np.testing.assert_allclose(got.centroid, want.centroid, atol=10 * near, err_msg="centroid")
    if want.box is not None:
        np.testing.assert_allclose(got.box, want.box, atol=10 * near, err_msg="box")
    assert got.beside == want.beside
    np.testing.assert_allclose(got.lengths, want.lengths, rtol=1e-5 * scale, atol=near, err_msg="lengths")
    assert_near(got, want, size)


def assert_near(got: Figures, want: Figures, size: float) -> None:
    """Edges at the same places with the same convexity, normals that look to the same side."""
    whole = {name for name, kind in zip(want.names, want.types, strict=True) if kind in (3, 4)}
    for faces in set(want.beside):
        if len(set(faces)) == 1 and faces[0] in whole:
            continue  # a slit in a sphere or torus, which ends at neither side: the kernel has it on its own seam
        mine = [i for i, beside in enumerate(got.beside) if beside == faces]
        far = np.linalg.norm(got.middles[mine][:, None] - want.middles[mine][None], axis=2)
        other = far.argmin(axis=1)
        assert far.min(axis=1).max() <= 1e-4 * size, f"edges between {faces} lie elsewhere"
        angles = want.angles[np.array(mine)[other]]
        np.testing.assert_array_equal(np.isnan(got.angles[mine]), np.isnan(angles), "edges of one face")
        off = np.nan_to_num(got.angles[mine] - angles)
        off = np.minimum(np.abs(off), 2 * np.pi - np.abs(off))  # a blade's edge is as convex as it is concave
        np.testing.assert_allclose(off, 0, atol=1e-3, err_msg="angles")
    for name, points, normals, its_points, its_normals in zip(
        want.names, got.points, got.normals, want.points, want.normals, strict=True
    ):
        far = np.linalg.norm(points[:, None] - its_points[None], axis=2)
        along = np.einsum("nk,nk->n", normals, its_normals[far.argmin(axis=1)])
        assert np.median(along) > 0.5, f"face {name} looks the other way"


# -- the same meaning

Rewrite = Callable[[StepFile, Random], None]
EXACT_WAYS = ("text", "light", "full", "any")


def rewrite(text: str, rewrites: Sequence[Rewrite], seed: int) -> str:
    file, random = stepfile.parse(text), Random(seed)
    file.seed = seed
    for change in rewrites:
        before = stepfile.copy_of(file)
        try:
            change(file, random)
        except (NotApplicableError, KeyError):  # a statement that is missing
            file = before
    return file.text()


def check_same(text: str, rewrites: Sequence[Rewrite], seed: int) -> list[str]:
    """Read as it is and rewritten, in every way; the ways that took the rewritten one."""
    plain, other = stepfile.parse(text).text(), rewrite(text, rewrites, seed)
    taken = []
    for way in EXACT_WAYS:
        want, got = _expected(plain, way), read(other, way)
        if got is not None:
            taken.append(way)
            want = want or _expected(plain, "any")
            assert want is not None
            try:
                assert_same(got, want)
            except AssertionError as error:
                error.add_note(f"read by {way}")
                raise
    return taken


@cache
def _expected(text: str, way: str) -> Figures | None:
    return read(text, way)


ALL = (*rewriting.IN_TEXT, *rewriting.IN_SHAPE, *restating.IN_UNITS_AND_PLACES)


LONG = settings(max_examples=2000, suppress_health_check=list(HealthCheck))


def _rewrites(*few: Rewrite) -> st.SearchStrategy[list[Rewrite]]:
    return st.lists(st.sampled_from(few or ALL), min_size=1, max_size=4)


@settings(max_examples=20)
@given(SOURCES, _rewrites(), st.integers(0, 2**32))
def test_a_rewrite_that_keeps_the_meaning_keeps_the_arrays(text: str, rewrites: list[Rewrite], seed: int) -> None:
    assert {"full", "any"} <= set(check_same(text, rewrites, seed))


@pytest.mark.long
@pytest.mark.timeout(3600)
@LONG
@given(SOURCES, _rewrites(), st.integers(0, 2**32))
def test_many_rewrites_keep_the_arrays(text: str, rewrites: list[Rewrite], seed: int) -> None:
    assert {"full", "any"} <= set(check_same(text, rewrites, seed))


@pytest.mark.parametrize("change", ALL, ids=lambda change: change.__name__)
def test_every_rewrite_changes_a_file(change: Rewrite) -> None:
    """Else it would prove nothing."""
    texts = [generated(form, "at_origin", True) for form in ("drilled", "cone", "written hollow")]
    assert any(rewrite(text, [change], seed) != stepfile.parse(text).text() for text in texts for seed in range(5))


def test_the_text_is_read_after_most_rewrites_of_a_shape() -> None:
    """Else the text's reader would be left untried."""
    text = generated("drilled", "placed", False)
    left = {c.__name__ for c in ALL if not any(read(rewrite(text, [c], seed), "text") for seed in range(3))}
    assert left <= {"comment", "name_oddly", "turn_inside_out", "leave_out_axes", "map_back", "assemble_back"}


# -- real files


def _real_files() -> list[Path]:
    found = [p for folder in ("mfcad", "kicad", "cad", "cases") for p in sorted((DATA / folder).rglob("*.st*p"))]
    return [p for p in found if p.stat().st_size < 150_000 and p.name not in CRASHING]


CRASHING = ("U009.stp", "Twi044.stp", "segv_line_direction_typeconfusion.step")
"""These end the process inside the kernel."""

REAL = _real_files()
real = pytest.mark.skipif(not REAL, reason="real CAD files are absent: ../shared/data")


def check_real(path: Path, rewrites: Sequence[Rewrite], seed: int) -> None:
    text = path.read_bytes().decode("latin-1")
    try:
        plain = stepfile.parse(text).text()
        if _expected(plain, "any") is None or not _expected(plain, "full"):
            return
    except (CadError, AssertionError, LookupError, ValueError):
        return  # not a file that can be rewritten
    check_same(text, rewrites, seed)


@real
@settings(max_examples=4)
@given(st.sampled_from(REAL or [None]), _rewrites(), st.integers(0, 2**32))
def test_a_rewrite_of_a_real_file_keeps_its_arrays(path: Path, rewrites: list[Rewrite], seed: int) -> None:
    check_real(path, rewrites, seed)


@real
@pytest.mark.long
@pytest.mark.timeout(7200)
@LONG
@given(st.sampled_from(REAL or [None]), _rewrites(), st.integers(0, 2**32))
def test_many_rewrites_of_real_files_keep_their_arrays(path: Path, rewrites: list[Rewrite], seed: int) -> None:
    check_real(path, rewrites, seed)


# -- a known effect


def check_effect(text: str, change: Callable[[StepFile], None], want: Callable[[Figures], Figures], seed: int) -> None:
    """The change's effect in every way, with another rewrite on top."""
    plain = stepfile.parse(text).text()
    file = stepfile.parse(text)
    try:
        change(file)
    except NotApplicableError:
        return
    for changed in (file.text(), rewrite(file.text(), [Random(seed).choice(ALL)], seed)):
        for way in EXACT_WAYS:
            got, base = read(changed, way), _expected(plain, way) or _expected(plain, "any")
            if got is not None and base is not None:
                assert_same(got, want(base))


EFFECTS = st.sampled_from(("move", "scale", "mirror"))


def _carry(base: Figures, linear: np.ndarray, shift: np.ndarray, factor: float = 1.0) -> Figures:
    """The figures of the shape after x -> linear x + shift, where `linear` is a rotation or mirror times `factor`."""

    def at(points: np.ndarray) -> np.ndarray:
        return points @ linear.T + shift

    return replace(
        base,
        areas=base.areas * factor**2,
        centroids=at(base.centroids),
        points=[at(p) for p in base.points],
        normals=[n @ linear.T / factor for n in base.normals],
        lengths=base.lengths * factor,
        middles=at(base.middles),
        volume=base.volume * factor**3,
        centroid=at(base.centroid),
        box=None,
        size=base.size * factor,
    )


@settings(max_examples=10)
@given(SOURCES, EFFECTS, st.integers(0, 2**32))
def test_a_moved_scaled_or_mirrored_solid(text: str, effect: str, seed: int) -> None:
    random, still = Random(seed), np.zeros(3)
    if effect == "move":
        turn, shift = restating.random_move(random)
        check_effect(text, lambda f: restating.move(f, turn, shift), lambda base: _carry(base, turn, shift), seed)
    elif effect == "scale":
        s = random.choice((0.2, 3.0, 25.4))
        check_effect(text, lambda f: restating.scale(f, s), lambda base: _carry(base, s * np.eye(3), still, s), seed)
    else:
        flip = np.diag([-1.0, 1.0, 1.0])
        check_effect(text, restating.mirror, lambda base: _carry(base, flip, still), seed)


@settings(max_examples=6)
@given(st.sampled_from(CONVEX), st.sampled_from(("at_origin", "placed")), _rewrites(), st.integers(0, 2**32))
def test_a_cavity_takes_its_volume_and_adds_its_area(form: str, how: str, rewrites: list[Rewrite], seed: int) -> None:
    text = generated(form, how, False)
    base = _expected(stepfile.parse(text).text(), "any")
    assert base is not None
    file = stepfile.parse(text)
    restating.hollow(file, 0.5, base.centroid)
    for way in EXACT_WAYS:
        got = read(rewrite(file.text(), rewrites, seed), way)
        if got is None:
            continue
        inner = [int(name) >= len(base.names) for name in got.names]
        assert got.volume == pytest.approx(base.volume * (1 - 0.5**3), rel=1e-6)
        np.testing.assert_allclose(got.areas[inner], base.areas * 0.25, rtol=1e-6)
        np.testing.assert_allclose(got.areas[~np.array(inner)], base.areas, rtol=1e-6)
        np.testing.assert_allclose(got.centroid, base.centroid, atol=1e-6 * base.size)
        cavity = [int(faces[0]) >= len(base.names) for faces in got.beside]
        np.testing.assert_allclose(np.sort(got.angles[cavity]), np.sort(-base.angles), atol=1e-6)
        np.testing.assert_allclose(np.sort(got.angles[~np.array(cavity)]), np.sort(base.angles), atol=1e-6)
