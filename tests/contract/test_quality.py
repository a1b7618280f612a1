"""How each sample was read and what is wrong with its shape: in the tables, counted, a failure where that is asked."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dflow.flowmanager import create_flow, flowtask
from dflow.insights.explore.flow_data import FlowData
from tests.cadaccess import broken, solids
from tests.cli.programs import invoke
from tests.contract.running import run_flow

PATHS = {
    "text.step": "text",
    "planar.step": "planar",
    "light.step": "light",
    "full.step": "full",
    "stored.brep": "none",
}


@flowtask.transform(name="encode", inputs=["file"])
def encode(file, cad_loader, storage):
    model = cad_loader.create_from_file(file)
    storage.save_data("faces/areas", model.get_brep().face_areas())


def commented(path: Path) -> None:
    """Put a comment among the data, which dflow's own reader leaves to the kernel."""
    path.write_text(path.read_text().replace("DATA;", "DATA;\n/* left to the kernel */", 1))


def parts(folder: Path) -> list[str]:
    """One part for each way of reading. The last two have defects: loops that touch, and a shell without a lid."""
    solids.write_step(solids.box(), folder / "text.step")
    commented(solids.write_step(solids.box(), folder / "planar.step"))
    commented(solids.write_step(solids.cylinder(), folder / "light.step"))
    rims = broken.DIAMOND, [(x + 1, y) for x, y in broken.DIAMOND]
    solids.write_step(broken.flat_face(broken.SQUARE, *rims), folder / "full.step")
    solids.write_brep(solids.compound(broken.lidless_box(), solids.box().Reversed()), folder / "stored.brep")
    return [str(folder / name) for name in PATHS]


def by_file(run, column: str) -> dict[str, object]:
    info = run.info()
    return {source.rpartition("/")[2]: value for source, value in info[column].items()}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quality")
    return run_flow(folder, [encode], {"files": parts(folder)})


def test_each_sample_says_how_it_was_read(run):
    assert by_file(run, "read_path_label") == PATHS


def test_each_sample_names_its_defects(run):
    names = {"text.step": "none", "planar.step": "none", "light.step": "none"}
    names |= {"full.step": "loops cross", "stored.brep": "shell open, volume negative"}
    assert by_file(run, "defect_names_label") == names
    counts = {name: 0 if words == "none" else len(words.split(", ")) for name, words in names.items()}
    assert by_file(run, "n_defects") == counts
    np.testing.assert_array_equal(run.group("file")["n_defects"], run.info().sort_values("id")["n_defects"])


def test_info_and_the_explorer_count_them(run, capsys):
    lines = [
        "QUALITY read by path: full 1, light 1, none 1, planar 1, text 1",
        "  2 of 5 samples have a defect: loops cross 1, shell open 1, volume negative 1",
    ]
    assert "\n".join(lines) in invoke("info", run.flow_file).output
    quality = json.loads(invoke("info", run.flow_file, "--json").output)["dataset"]["quality"]
    assert quality["defects"] == {"loops cross": 1, "shell open": 1, "volume negative": 1}
    with run.explorer() as explorer:
        explorer.print_table_of_contents()
        assert "\n".join(lines) in capsys.readouterr().out
        assert "2 of 5 samples have a defect" in explorer._repr_html_()
        found = explorer.create_distribution("read_path", bins=None)
        assert dict(zip(found["labels"], found["hist"].tolist(), strict=True)) == dict.fromkeys(PATHS.values(), 1)


def test_a_defect_is_a_failure_where_the_flow_is_strict(tmp_path):
    def flow(**settings):
        return create_flow("strict", [encode], tmp_path, debug=True, export_visualization=False, **settings)

    inputs = {"files": parts(tmp_path)}
    output, _, _ = flow().process(inputs, progress=False)
    assert not output.errors
    output, _, _ = flow(strict_geometry=True).process(inputs, progress=False)
    assert {(e.file.rpartition("/")[2], e.kind) for e in output.errors} == {
        ("full.step", "geometry"),
        ("stored.brep", "geometry"),
    }
    message = next(e.message for e in output.errors if e.file.endswith("brep"))
    assert "strict_geometry allows no defect, the shape has 2: shell open (a solid has an open shell);" in message
    assert "repair the part, export it again, or leave strict_geometry out" in message
    output, _, _ = flow().process(inputs, progress=False)
    assert not output.errors


def test_body_by_body_each_has_its_own_defects(tmp_path):
    path = solids.write_brep(solids.compound(solids.box(), solids.box(3, 3, 3).Reversed()), tmp_path / "two.brep")
    run = run_flow(tmp_path, [encode], {"files": [str(path)]}, sample="body")
    columns = ["body", "n_defects", "defect_names_label"]
    assert run.info()[columns].to_numpy().tolist() == [[0, 0, "none"], [1, 1, "volume negative"]]
    run = run_flow(tmp_path, [encode], {"files": [str(path)]}, sample="body", strict_geometry=True)
    assert [error.kind for error in run.output.errors] == ["geometry"]
    assert run.output.errors[0].message.startswith("1 of 2 bodies failed (1); body 1: ")


def test_a_value_of_the_users_own_stays(tmp_path):
    @flowtask.transform(name="encode", inputs=["file"])
    def own(file, cad_loader, storage):
        cad_loader.create_from_file(file)
        storage.save_metadata("read_path", "scanned")

    run = run_flow(tmp_path, [own], {"files": parts(tmp_path)[:2]})
    assert run.info()["read_path_label"].tolist() == ["scanned", "scanned"]


def test_a_file_that_is_opened_beside_another_counts_too(tmp_path):
    @flowtask.transform(name="encode", inputs=["file"])
    def pair(file, cad_loader, storage):
        for name in ("full.step", "stored.brep", "full.step"):
            cad_loader.create_from_file(Path(file).with_name(name))
        storage.save_data("rows/x", np.arange(3))

    run = run_flow(tmp_path, [pair], {"files": parts(tmp_path)[:1]})
    row = run.info().iloc[0]
    assert row["read_path_label"] == "full, none"
    assert row["defect_names_label"] == "loops cross, shell open, volume negative"
    assert row["n_defects"] == 3


def test_the_explorer_page_offers_them(run):
    data = FlowData(run.flow_file)
    paths, names = data.variable("read_path"), data.variable("defect_names")
    assert dict(zip(paths.labels, paths.counts().tolist(), strict=True)) == dict.fromkeys(PATHS.values(), 1)
    assert dict(zip(names.labels, names.counts().tolist(), strict=True))["shell open, volume negative"] == 1
    data.close()
