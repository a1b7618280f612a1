"""Models of STEP files read from their text: when the kernel has to read them, and when it reads after all."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dflow.cadaccess.kernel import reading
from dflow.cadaccess.model import CadModel
from dflow.cadaccess.step import text_model
from dflow.errors import KernelError
from tests.cadaccess import solids
from tests.cadaccess.stepboxes import StepText

PATH = Path("part.step")


def _boxes(n: int = 1) -> bytes:
    """A file of n boxes beside each other; its faces are named f0, f1, …"""
    text = StepText()
    context = text.context()
    text.product("p", text.shape(context, text.placement(), *(text.box(1 + i, 2, 3) for i in range(n))))
    content = text.text()
    for i in range(6 * n):
        content = content.replace("ADVANCED_FACE(''", f"ADVANCED_FACE('f{i}'", 1)
    return content.encode()


def _open(content: bytes) -> CadModel:
    model, defect = text_model.open_text(PATH, content, 0.0)
    assert model is not None
    assert not defect
    return model


@pytest.fixture
def transfers(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """The levels of healing of the kernel's readings."""
    levels: list[str | None] = []
    transfer = reading.transfer

    def counted(*args: object) -> reading.Transfer:
        levels.append(args[3] if len(args) > 3 else None)  # type: ignore[arg-type]
        return transfer(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(reading, "transfer", counted)
    return levels


def test_a_supported_text_is_read_without_the_kernel(transfers: list[str | None]) -> None:
    model = _open(_boxes())
    brep = model.get_brep()
    assert (brep.n_faces, brep.n_edges, brep.volume()) == (6, 12, pytest.approx(6.0))
    assert brep.face_names() == ["f0", "f1", "f2", "f3", "f4", "f5"]
    report = model.read_report
    assert (report.format, report.healing, report.fallback) == ("step", "text", "")
    assert report.schema.startswith("AUTOMOTIVE_DESIGN")
    assert not transfers


def test_the_kernels_shape_is_read_on_first_use_and_once(transfers: list[str | None]) -> None:
    model = _open(_boxes())
    assert model.get_brep().kernel.face_map.Extent() == 6
    assert model.get() is model.get()
    assert len(transfers) == 1


def test_a_text_with_unsupported_entities_is_left_to_the_kernel_without_a_defect() -> None:
    content = _boxes().replace(b"PLANE('',", b"OFFSET_SURFACE('',", 1)
    assert text_model.open_text(PATH, content, 0.0) == (None, "")


def test_a_shape_that_fails_a_check_comes_with_its_defect() -> None:
    opened = re.sub(rb"(CLOSED_SHELL\('',\()#\d+,", rb"\1", _boxes())
    model, defect = text_model.open_text(PATH, opened, 0.0)
    assert model is not None
    assert model.get_face_count() == 5
    assert "shell" in defect
    assert set(model.find_defects()) == {"shell open"}


def test_each_bodys_faces_have_their_own_names(transfers: list[str | None]) -> None:
    model = _open(_boxes(2))
    assert model.get_body_count() == 2
    assert model.get_brep(1).face_names() == [f"f{i}" for i in range(6, 12)]
    assert model.get_brep().face_names() == [f"f{i}" for i in range(12)]
    assert not transfers


@pytest.mark.parametrize(("written", "name"), [(rb"\X\E4", "ä"), ("面".encode(), "面")])
def test_names_with_escapes_or_beyond_ascii_are_the_kernels(
    written: bytes, name: str, transfers: list[str | None]
) -> None:
    model = _open(_boxes().replace(b"'f3'", b"'" + written + b"'"))
    assert sorted(model.get_brep().face_names()) == sorted(["f0", "f1", "f2", name, "f4", "f5"])
    assert len(transfers) == 1


def test_a_doubled_quote_in_a_name_is_one() -> None:
    assert _open(_boxes().replace(b"'f0'", b"'it''s'")).get_brep().face_names()[0] == "it's"


def test_a_kernel_shape_of_other_counts_is_an_error_after_full_healing(
    monkeypatch: pytest.MonkeyPatch, transfers: list[str | None]
) -> None:
    model = _open(_boxes())
    other = reading.Transfer(solids.cylinder(), "light")
    monkeypatch.setattr(reading, "transfer", lambda *args: transfers.append(args[3]) or other)
    with pytest.raises(KernelError, match=r"part.step: .*other numbers of faces or edges.*export the part again"):
        model.get()
    assert transfers == ["planar", "full"]
