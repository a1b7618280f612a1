"""What a look at a folder says of its files."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from dflow.cadaccess.files.formats import CadFormat
from dflow.cadaccess.files.survey import survey_folder
from dflow.errors import SourceNotFoundError

STEP = b"ISO-10303-21;\nHEADER;\n"
IGES = b" " * 72 + b"S      1\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in {
        "bolts/a.step": STEP + b"a",
        "bolts/b.STP": STEP + b"b",
        "bolts/c.step.gz": gzip.compress(STEP + b"c"),
        "nuts/d.igs": IGES,
        "nuts/e.brep": b"DBRep_DrawableShape\n",
        "nuts/f.step": STEP + b"a",
        "nuts/part.sldprt": b"\xd0\xcf",
        "nuts/readme": b"text",
        "nuts/empty.stp": b"",
        "nuts/text.step": b"not a part",
        "nuts/cut.step.gz": b"\x1f\x8b\x08\x00nonsense",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    return tmp_path


def names(paths: tuple[str, ...]) -> list[str]:
    return [os.path.basename(path) for path in paths]


def test_a_survey_says_formats_broken_files_copies_and_classes(folder: Path) -> None:
    survey = survey_folder(folder)
    assert names(survey.files) == ["a.step", "b.STP", "c.step.gz", "d.igs", "e.brep", "f.step"]
    assert survey.formats == {CadFormat.STEP: 4, CadFormat.IGES: 1, CadFormat.BREP: 1}
    assert survey.n_bytes == tuple(os.path.getsize(path) for path in survey.files)
    reasons = {os.path.basename(path): reason for path, reason in survey.broken}
    assert reasons.keys() == {"empty.stp", "text.step", "cut.step.gz"}
    assert reasons["empty.stp"] == "the file is empty"
    assert "not a STEP, IGES or BREP file" in reasons["text.step"]
    assert survey.others == {".sldprt": 1, "no suffix": 1}
    assert [names(group) for group in survey.copies] == [["a.step", "f.step"]]
    assert survey.labels == {"bolts": 3, "nuts": 3}
    for name in ("a.step", "f.step"):  # sparse, and too large to be compared
        os.truncate(next(path for path in survey.files if path.endswith(name)), 20_000_000_000)
    assert survey_folder(folder).copies == ()
    with pytest.raises(SourceNotFoundError, match="not a folder"):
        survey_folder(folder / "bolts" / "a.step")


@pytest.mark.parametrize(
    ("paths", "labels"),
    [
        (["a/1", "a/2", "b/1", "b/2"], {"a": 2, "b": 2}),
        (["1", "a/2", "b/1", "b/2"], {}),  # one lies in no subfolder
        (["a/1", "b/1", "c/1"], {}),  # a folder for every part
        (["a/1", "a/2"], {}),  # one folder
        (["x/a/1", "x/a/2", "y/a/1", "y/a/2"], {}),  # two folders of one name
    ],
)
def test_subfolders_are_classes_where_they_look_like_it(
    tmp_path: Path, paths: list[str], labels: dict[str, int]
) -> None:
    for path in paths:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{path}.step").write_bytes(STEP + path.encode())
    assert survey_folder(tmp_path).labels == labels


def test_a_pipe_is_named_and_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.step")
    assert [reason for _, reason in survey_folder(tmp_path).broken] == ["a pipe, socket or device, not a file"]
