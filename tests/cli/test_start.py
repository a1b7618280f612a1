"""``dflow start``: what it says of a folder, the pipeline that it writes, and what it runs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import zarr

from dflow.cadaccess.files.survey import survey_folder
from dflow.cli.start import N_SAMPLE, pipeline_text, sample_files, size_text
from dflow.demo.parts import write_parts
from tests.cli.programs import invoke


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty-four parts in six folders."""
    folder = tmp_path_factory.mktemp("generated") / "parts"
    write_parts(folder, n_parts=24)
    return folder


@pytest.fixture
def parts(generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The parts, a copy of one, a broken file and a drawing, below the current folder."""
    folder = tmp_path / "my parts"
    shutil.copytree(generated, folder)
    first = next(folder.rglob("*.step"))
    shutil.copy(first, first.with_name("again.STP"))
    first.with_name("broken.step").write_bytes(b"")
    first.with_name("drawing.dwg").write_bytes(b"AC1032")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return folder


def test_it_leads_from_a_folder_to_a_dataset_and_on(parts: Path, tmp_path: Path) -> None:
    result = invoke("start", parts, "--no-open", "--workers", "1")
    assert result.exit_code == 0, result.output
    said = result.stdout
    assert "25 CAD files (25 STEP)" in said
    assert "1 file with the same bytes" in said
    assert "the file is empty" in said
    assert ".dwg (1): left out" in said
    flow_file = tmp_path / "dflow_output" / "flows" / "my_parts" / "my_parts.flow"
    dataset = zarr.open_group(str(flow_file.with_suffix(".dataset")), mode="r")
    assert dataset["file/category"].shape == (N_SAMPLE,)
    commands = re.findall(r"^  (dflow .*)", said, re.MULTILINE)
    assert [command.split()[1] for command in commands] == ["info", "run", "run", "explore"]
    for command in (commands[0], commands[1]):  # what it advises works, and reuses the files that are done
        words = command.replace("dflow ", f"'{sys.executable}' -m dflow ", 1)
        done = subprocess.run(words, shell=True, capture_output=True, text=True, cwd=tmp_path, check=False)
        assert done.returncode in (0, 3), done.stderr
    assert f"{N_SAMPLE} reused" in done.stderr
    assert "1 failed" in done.stderr


def test_a_pipeline_that_exists_is_kept(parts: Path, tmp_path: Path) -> None:
    text = pipeline_text(survey_folder(parts), file="pipeline.py", folder=str(parts), out="elsewhere")
    (tmp_path / "pipeline.py").write_text(text.replace('encode("uvnet")', 'encode("minimal")'))
    result = invoke("start", parts, "--no-open", "--workers", "1")
    assert "is there already and is used as it is" in result.output
    dataset = zarr.open_group(str(tmp_path / "elsewhere" / "flows" / "my_parts" / "my_parts.dataset"), mode="r")
    assert "face_uv_grids" not in dataset["faces"]


def test_a_folder_without_cad_files_is_an_error_that_leads_on(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    result = invoke("start", tmp_path, "--no-open")
    assert result.exit_code == 2
    assert "holds no STEP, IGES or BREP file" in result.stderr
    assert "dflow demo" in result.stderr


def test_another_folder_does_not_replace_a_dataset(parts: Path, generated: Path, tmp_path: Path) -> None:
    assert invoke("start", parts, "--no-open", "--workers", "1").exit_code == 0
    result = invoke("start", generated, "--no-open", "--workers", "1")
    assert result.exit_code == 2
    assert "was run on other files, such as" in result.stderr
    assert "--pipeline OTHER.py" in result.stderr
    other = tmp_path / "other" / "my parts"  # of the same name
    shutil.copytree(generated, other)
    text = pipeline_text(survey_folder(other), file="other.py", folder=str(other), out="dflow_output")
    assert 'create_flow(name="my_parts_2"' in text
    (tmp_path / "elsewhere.py").write_text(text)
    elsewhere = invoke("start", other, "--pipeline", "elsewhere.py", "--out", "~/out", "--no-open", "--workers", "1")
    assert elsewhere.exit_code == 0, elsewhere.output
    assert (Path.home() / "out" / "flows" / "my_parts_2" / "my_parts_2.dataset").is_dir()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["part.step"], "is a file; give the folder that it lies in"),
        (["nowhere"], "is not a folder"),
        (["folder", "--pipeline", "mine.txt"], "give the name of a .py file"),
        (["folder", "--pipeline", "nowhere/mine.py"], "in a folder that exists"),
        (["folder", "--pipeline", "pipeline.py:flow"], "give the name of a .py file"),
        (
            ["folder", "--pipeline", "script.py"],
            "is no pipeline of dflow; have another one written: --pipeline OTHER.py",
        ),
    ],
)
def test_mistakes_are_named_before_anything_is_written_or_run(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    for name in ("part.step", "folder/part.step"):
        (tmp_path / name).write_text("ISO-10303-21;")
    (tmp_path / "script.py").write_text("raise SystemExit('run')")
    before = sorted(tmp_path.rglob("*"))
    result = invoke("start", *arguments, "--no-open")
    assert result.exit_code in (1, 2)
    assert message in " ".join(result.stderr.split())
    assert sorted(tmp_path.rglob("*")) == before


def test_where_every_file_fails_there_is_nothing_to_look_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "a.step").write_text("ISO-10303-21;\nHEADER;\n")
    result = invoke("start", "parts", "--no-open", "--workers", "1")
    assert result.exit_code == 3
    assert "No file came through" in result.stdout
    assert "dflow errors" in result.stdout
    assert "dflow explore" not in result.stdout


def test_a_folder_of_any_name_makes_a_pipeline_that_can_be_loaded(tmp_path: Path) -> None:
    folder = tmp_path / 'C:\\new\\U1 """ it\'s\nhere'
    folder.mkdir()
    (folder / "a.step").write_text("ISO-10303-21;")
    compile(pipeline_text(survey_folder(folder), file="p.py", folder=str(folder), out="out"), "p.py", "exec")


def test_without_classes_there_is_no_label(generated: Path, tmp_path: Path) -> None:
    for path in generated.rglob("*.step"):
        shutil.copy(path, tmp_path)
    text = pipeline_text(survey_folder(tmp_path), file="p.py", folder="a b", out="out")
    assert "category" not in text
    assert "--sources 'a b'" in text
    compile(text, "p.py", "exec")


def test_the_sample_takes_from_every_folder_in_turn() -> None:
    files = tuple(f"/{folder}/{i}.step" for folder in "abc" for i in range(30))
    sample = sample_files(files, 7)
    assert len(sample) == 7
    assert {os.path.dirname(path) for path in sample} == {"/a", "/b", "/c"}
    assert sample == sample_files(files, 7)


@pytest.mark.parametrize(
    ("n_bytes", "text"), [(999, "999 bytes"), (1500, "1.5 kB"), (250_000_000, "250 MB"), (3 * 10**15, "3000 TB")]
)
def test_sizes_are_for_people(n_bytes: int, text: str) -> None:
    assert size_text(n_bytes) == text
