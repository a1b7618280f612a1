"""Files that others made: names and labels, units, light reading, stated values, and every odd file's own cause."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dflow.cadaccess import CadLoader
from dflow.cadaccess.geometry import bsplines
from dflow.cadaccess.kernel import bintools
from dflow.cadaccess.measure import properties
from dflow.errors import CadError

CRASHING = ("dodgy/U009.stp", "dodgy/Twi044.stp", "broken/segv_line_direction_typeconfusion.step")
"""These end the process inside the kernel's transfer."""


@pytest.fixture(scope="module")
def manifest(shared_data: Path) -> dict[str, dict]:
    entries = json.loads((shared_data / "cad" / "manifest.json").read_text())
    return {entry["path"]: entry for entry in entries}


def _open(shared_data: Path, name: str):
    return CadLoader().create_from_file(shared_data / "cad" / name)


def test_face_names_carry_the_labels_to_the_rows(shared_data: Path) -> None:
    labels = json.loads((shared_data / "mfcad" / "face_labels.json").read_text())
    reordered = 0
    for name in sorted(labels)[::40]:
        path = shared_data / "mfcad" / "step" / name
        brep = CadLoader().create_from_file(path if path.exists() else path.with_suffix(".step")).get_brep()
        names = brep.face_names()
        assert sorted(map(int, names)) == list(range(brep.n_faces))
        assert len(labels[name]) == brep.n_faces
        reordered += names != [str(i) for i in range(brep.n_faces)]
    assert reordered > 0  # the file's order is not the row order: only the names tell


@pytest.mark.parametrize(
    "name",
    [
        "mfcadpp_cases/1_true.stp",
        "stepcode/as1-oc-214.stp",
        "asitus_iges/TO3_alumina_spacer.IGS",
        "foxtrot/cube_hole.step",
        "aag/box.brep",
        "mayo/cube.iges",
    ],
)
def test_counts_and_sizes_are_those_of_a_plain_kernel_read(name: str, shared_data: Path, manifest: dict) -> None:
    expected = manifest[name]["occt8"]
    model = _open(shared_data, name)
    brep = model.get_brep()
    assert brep.n_faces == expected["face"]
    assert brep.face_loops().sum() == expected["wire"]
    assert brep.n_edges + brep.tables.edge_degenerate.sum() == expected["edge"]
    assert brep.area() == pytest.approx(expected["area"], rel=1e-5)
    if expected["solid"]:
        assert model.get_body_count() == expected["solid"]
        assert brep.volume() == pytest.approx(expected["vol"], rel=1e-5)
        diagonal = np.linalg.norm(brep.bounding_box()[3:] - brep.bounding_box()[:3])
        np.testing.assert_allclose(brep.centroid(), expected["com"], atol=1e-5 * diagonal)


@pytest.mark.parametrize("name", ["stepcode/sg1-c5-214.stp", "stepcode/dm1-id-214.stp", "stepcode/as1-oc-214.stp"])
def test_stated_volume_is_met(name: str, shared_data: Path) -> None:
    brep = _open(shared_data, name).get_brep()
    assert brep.stated_properties().volume == pytest.approx(brep.volume(), rel=1e-5)
    assert brep.stated_properties().area == pytest.approx(brep.area(), rel=2e-4)


def test_area_over_a_curve_of_many_spans_is_its_seen_length_times_the_height(shared_data: Path) -> None:
    """The kernel's integral gives 2.7e8 to 3.3e8 mm², by the error that it is allowed."""
    brep = _open(shared_data, "asitus_anomalies/occSurfLinearExtrusion.brep").get_brep()
    (spline,) = brep.tables.faces.sweeps[0].splines.values()
    u = np.unique(spline.knots)
    u = np.append(np.linspace(u[:-1], u[1:], 2000, endpoint=False, axis=1).ravel(), u[-1])
    points = bsplines.evaluate_curves([spline], np.array([len(u)]), u)[0]
    flat = points - np.outer(points @ brep.tables.faces.z[0], brep.tables.faces.z[0])
    length = np.linalg.norm(np.diff(flat, axis=0), axis=1).sum()
    u_min, u_max, v_min, v_max = brep.face_uv_bounds()[0]
    assert (u_min, u_max) == pytest.approx((spline.knots[0], spline.knots[-1]))
    assert brep.area() == pytest.approx(length * (v_max - v_min), rel=1e-6)


def test_a_loop_through_both_poles_of_a_ball_bounds_what_lies_on_its_left(shared_data: Path) -> None:
    """Full healing takes the rest of the sphere: 881,142 mm³."""
    model = _open(shared_data, "stepcode/HEAD_BACK.stp")
    assert (model.read_report.healing, model.find_defects()) == ("light", {})
    assert model.get_brep().volume() == pytest.approx(23636.8, rel=1e-5)
    assert _open(shared_data, "foxtrot/cuboid.step").read_report.healing == "text"


def test_a_hole_that_the_kernel_leaves_a_turn_off_needs_no_full_healing(shared_data: Path) -> None:
    report = _open(shared_data, "asitus_holes/260953.stp").read_report
    assert (report.healing, report.fallback) == ("light", "")


def test_edges_that_full_healing_cuts_where_loops_touch_are_counted_as_it_cuts_them(shared_data: Path) -> None:
    path = shared_data / "kicad" / "LED_THT" / "LED_D5.0mm_FlatTop.step"
    model = CadLoader().create_from_file(path)
    assert model.read_report.fallback == "face 2 has loops that touch"
    assert model.get_brep().n_edges == 37


@pytest.mark.parametrize(
    "name",
    [
        "kicad/Inductor_THT/L_Radial_D29.8mm_P28.50mm_muRATA_1400series.step",
        "kicad/Capacitor_SMD/CP_Elec_16x17.5.step",
        "cad/asitus_milled/milled_004.stp",
    ],
)
def test_bounds_of_faces_with_splines_are_the_kernels_without_asking_it(name: str, shared_data: Path) -> None:
    brep = CadLoader().create_from_file(shared_data / name).get_brep()
    tables = brep.tables
    kind = tables.use_curves.kind[tables.use_boundary]
    assert (kind >= bintools.BEZIER).any()
    want = [brep.kernel.uv_bounds(row) for row in range(brep.n_faces)]
    got = properties.uv_bounds(tables, None, brep.chords)
    got[:, 2:] += tables.face_v_start[:, None]
    np.testing.assert_allclose(got, want, atol=1e-8)  # parameters 1e-9 apart are the same to the kernel


def test_masks_agree_with_the_kernels_classifier(shared_data: Path) -> None:
    for name in (
        "asitus_pockets/pockets_2.stp",
        "aagnet/partA.step",
        "asitus_canrec/canrec_005.stp",
        "asitus_anomalies/Cylinder_1_COMPOUND.brep",  # a loop that goes around twice
    ):
        brep = _open(shared_data, name).get_brep()
        bounds, grid = brep.face_uv_bounds(), brep.face_samples(6, 5)[..., 6]
        for row in range(0, brep.n_faces, 3):
            u, v = np.linspace(*bounds[row, :2], 6), np.linspace(*bounds[row, 2:], 5)
            uv = np.stack(np.meshgrid(u, v, indexing="ij"), axis=-1).reshape(-1, 2)
            np.testing.assert_array_equal(grid[row].ravel() == 1, brep.kernel.inside(row, uv), err_msg=f"{name} {row}")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("broken/empty.step", "unreadable"),
        ("broken/truncated_50pct.step", "unreadable"),
        ("broken/truncated_header.step", "unreadable"),
        ("broken/random_bytes.step", "unreadable"),
        ("broken/html_error_page.step", "unreadable"),
        ("broken/git_lfs_pointer.step", "unreadable"),
        ("dodgy/Ad054.stp", "no_geometry"),
        ("stepcode/FOOT.stp", "no_geometry"),
    ],
)
def test_broken_files_fail_with_their_own_kind(name: str, kind: str, shared_data: Path) -> None:
    with pytest.raises(CadError) as caught:
        _open(shared_data, name)
    assert caught.value.kind == kind
    assert Path(name).name in str(caught.value)


@pytest.mark.parametrize(
    "name", ["broken/bom.step", "broken/crlf.step", "broken/step_named.iges", "broken/step_named.brep"]
)
def test_files_that_only_look_broken_are_read(name: str, shared_data: Path) -> None:
    assert _open(shared_data, name).get_face_count() > 0


_PROBE = """
import sys, numpy as np
from dflow.cadaccess import CadLoader
from dflow.errors import CadError
for path in sys.argv[1:]:
    try:
        brep = CadLoader().create_from_file(path).get_brep()
        grid, edges = brep.face_samples(4, 4), brep.edge_samples(4)
        finite = np.isfinite(grid[..., :3]).all() and np.isfinite(edges).all()
        finite &= np.isfinite(brep.face_areas()).all() and np.isfinite(brep.edge_lengths()).all()
        brep.edge_convexities(), brep.topology(), brep.volume(), brep.bounding_box()
        outcome = "ok" if finite else "nonfinite"
    except CadError as error:
        outcome = error.kind
    print(outcome, path, flush=True)
"""


@pytest.mark.slow
def test_every_file_is_read_or_fails_with_a_cause(shared_data: Path) -> None:
    files = sorted(p for p in (shared_data / "cad").rglob("*") if p.suffix.lower() in SUFFIXES)
    safe = [str(p) for p in files if not p.as_posix().endswith(CRASHING)]
    run = subprocess.run(
        [sys.executable, "-c", _PROBE, *safe], capture_output=True, text=True, timeout=900, check=False
    )
    assert run.returncode == 0, run.stderr[-2000:]
    outcomes = [line.split(" ", 1) for line in run.stdout.splitlines()]
    assert len(outcomes) == len(safe)
    assert {kind for kind, _ in outcomes} <= {"ok", "unreadable", "no_geometry", "kernel_error", "geometry"}
    assert sum(kind == "ok" for kind, _ in outcomes) >= 160


SUFFIXES = (".step", ".stp", ".igs", ".iges", ".brep")


@pytest.mark.slow
@pytest.mark.parametrize("name", CRASHING)
def test_files_that_kill_the_kernel_do_so_in_their_own_process(name: str, shared_data: Path) -> None:
    path = str(shared_data / "cad" / name)
    run = subprocess.run([sys.executable, "-c", _PROBE, path], capture_output=True, timeout=120, check=False)
    assert run.returncode != 0 or run.stdout.split()[:1] in ([b"kernel_error"], [b"geometry"])
