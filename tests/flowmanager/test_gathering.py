"""`gather_cad_files`: every CAD file below the sources, and a report of what is left out."""

from __future__ import annotations

import gzip
import logging
import os
from pathlib import Path

import pytest

import dflow
from dflow import gather_cad_files
from dflow.errors import EmptySourceError, SourceNotFoundError
from dflow.flowmanager import flowtask
from tests.cadaccess import solids

CAD = ["a.step", "b.STP", "c.iges", "d.IGS", "e.brep", "f.brp", "g.step.gz", "sub/h.stp", "sub/deep/i.Step"]
OTHER = ["j.sldprt", "k.SLDPRT", "sub/l.txt", "m.tar.gz", "README", "step"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "parts"
    for name in (*CAD, *OTHER):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def relative(found: list[str], root: Path) -> list[str]:
    return [os.path.relpath(path, root) for path in found]


def test_every_cad_file_is_found_and_the_others_are_counted(folder, caplog):
    with caplog.at_level(logging.WARNING, "dflow.flow"):
        found = gather_cad_files([str(folder)])
    assert found == sorted(found)
    assert relative(found, folder) == sorted(CAD)
    assert caplog.messages == ["gather_cad_files: 9 CAD files; left out: 2 .sldprt, 2 without a suffix, 1 .tar, 1 .txt"]


def test_nothing_is_reported_where_nothing_is_left_out(folder, caplog):
    gather_cad_files([folder / "sub" / "deep"])
    assert caplog.messages == []


def test_files_patterns_and_sources_within_each_other(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert relative(gather_cad_files(["README", "sub", "sub/deep", "*.st*p"]), folder) == sorted(
        ["README", "sub/h.stp", "sub/deep/i.Step", "a.step"]
    )
    assert relative(gather_cad_files(["**/*.[sS]te*"]), folder) == ["a.step", "g.step.gz", "sub/deep/i.Step"]


def test_files_that_only_a_pattern_names_must_be_cad(folder, caplog):
    assert relative(gather_cad_files([f"{folder}/*"]), folder) == sorted(CAD)
    assert caplog.messages[0].endswith("left out: 2 .sldprt, 2 without a suffix, 1 .tar, 1 .txt")


def test_the_home_folder_may_be_named_in_short(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    assert len(gather_cad_files(["~/sub"])) == 2


def test_links_to_folders_are_not_followed(folder):
    (folder / "sub" / "loop").symlink_to(folder, target_is_directory=True)
    assert len(gather_cad_files([folder])) == len(CAD)


def test_a_folder_that_cannot_be_read_is_reported(folder, caplog, monkeypatch):
    scan = os.scandir

    def refuse(path):
        if os.path.basename(path) == "deep":
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert len(gather_cad_files([folder])) == len(CAD) - 1
    assert f"the folder {folder}/sub/deep is left out: Permission denied" in caplog.messages


def test_many_kinds_of_other_files_are_summed_up(folder, caplog):
    for i in range(12):
        (folder / f"x.k{i:02}").touch()
    gather_cad_files([folder])
    assert caplog.messages[0].endswith("1 .k00, 1 .k01, 1 .k02, 1 .k03, 1 .k04, 1 .k05, 8 others")


@pytest.mark.parametrize(
    ("names", "words"),
    [(["a.sldprt", "b.txt"], "only: 1 .sldprt, 1 .txt; dflow reads .step"), ([], "and no other file; dflow reads")],
)
def test_a_source_without_any_says_what_is_there(names, words, tmp_path):
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(EmptySourceError, match=words) as caught:
        gather_cad_files([str(tmp_path)])
    assert repr(str(tmp_path)) in str(caught.value)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("missing", "no file or folder .*missing"),
        ("*.nothing", r"no file or folder .*\*\.nothing"),
        ("https://example.org/parts", "is an address; copy its files"),
    ],
)
def test_a_source_that_is_not_there_is_named(source, words):
    with pytest.raises(SourceNotFoundError, match=words):
        gather_cad_files([source])


def test_a_flow_takes_all_formats_from_it(tmp_path, caplog):
    @flowtask.transform(name="encode", inputs=["cad_file"])
    def encode(cad_file, cad_loader, storage):
        storage.save_metadata("suffix", os.path.basename(cad_file).partition(".")[2])
        return cad_loader.create_from_file(cad_file).get_face_count()

    source = solids.write_step(solids.box(), tmp_path / "box.step").read_bytes()
    parts = tmp_path / "parts"
    parts.mkdir()
    for name, content in {
        "a.step": source,
        "b.STP": source,
        "c.stp.gz": gzip.compress(source),
        "d.pdf": b"%PDF",
    }.items():
        (parts / name).write_bytes(content)
    flow = dflow.create_flow("all", [gather_cad_files, encode], tmp_path, debug=True, export_visualization=False)
    output, _, _ = flow.process({"sources": [str(parts)]}, progress=False)
    assert (output.counts.succeeded, output.counts.failed) == (3, 0)
    assert "gather_cad_files: 3 CAD files; left out: 1 .pdf" in caplog.messages
    (parts / "none").mkdir()
    (parts / "d.pdf").rename(parts / "none" / "d.pdf")
    with pytest.raises(EmptySourceError, match=r"only: 1 \.pdf"):
        flow.process({"sources": [str(parts / "none")]}, progress=False)
