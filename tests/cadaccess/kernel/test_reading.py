"""Reading by the kernel: each format and level of healing, names, units and causes of errors."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
from OCP.BinTools import BinTools
from OCP.BRepMesh import BRepMesh_IncrementalMesh
from OCP.IGESControl import IGESControl_Writer

from dflow.cadaccess.files.formats import CadFormat
from dflow.cadaccess.kernel import placement, reading
from dflow.cadaccess.kernel.bintools import parse_shape
from dflow.cadaccess.kernel.shape import KernelShape
from dflow.errors import KernelError, NoGeometryError, UnreadableFileError
from tests.cadaccess import solids
from tests.cadaccess.stepboxes import StepText

PATH = Path("part.step")


def _box(name: str = "") -> bytes:
    text = StepText()
    text.product("p", text.shape(text.context(), text.placement(), text.box()))
    return text.text().replace("ADVANCED_FACE(''", f"ADVANCED_FACE('{name}'").encode()


def _content(cad_format: CadFormat, tmp_path: Path) -> bytes:
    shape = solids.box(10, 20, 30)
    if cad_format is CadFormat.BINARY_BREP:
        stream = io.BytesIO()
        BinTools.Write_s(shape, stream)
        return stream.getvalue()
    path = tmp_path / "part"
    if cad_format is CadFormat.IGES:
        writer = IGESControl_Writer("MM", 1)
        writer.AddShape(shape)
        writer.Write(str(path))
    elif cad_format is CadFormat.BREP:
        solids.write_brep(shape, path)
    else:
        solids.write_step(shape, path)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("cad_format", "healing", "unit"),
    [
        (CadFormat.STEP, "planar", "millimetre"),
        (CadFormat.IGES, "full", ""),
        (CadFormat.BREP, "none", ""),
        (CadFormat.BINARY_BREP, "none", ""),
    ],
)
def test_a_box_of_any_format_is_six_faces_in_mm(cad_format: CadFormat, healing: str, unit: str, tmp_path: Path) -> None:
    moved = reading.transfer(PATH, _content(cad_format, tmp_path), cad_format)
    kernel = KernelShape(moved.shape)
    assert kernel.face_map.Extent() == 6
    assert sum(kernel.face_moments(row)[0] for row in range(6)) == pytest.approx(2200.0)
    assert moved.healing == healing
    assert moved.file_unit().lower() == unit


@pytest.mark.parametrize("level", ["planar", "light", "full"])
def test_a_level_of_healing_is_the_one_that_is_given(level: str) -> None:
    moved = reading.transfer(PATH, _box(), CadFormat.STEP, level)  # type: ignore[arg-type]
    assert moved.healing == level
    assert KernelShape(moved.shape).edge_map.Extent() == 12


def test_meshes_of_a_brep_file_are_left_out(tmp_path: Path) -> None:
    shape = solids.drilled()
    BRepMesh_IncrementalMesh(shape, 0.1)
    content = solids.write_brep(shape, tmp_path / "part").read_bytes()
    code = parse_shape(placement.encode_shape(reading.transfer(PATH, content, CadFormat.BREP).shape))
    assert code.triangulations == []


DATA = b"ISO-10303-21;\nHEADER;\nENDSEC;\nDATA;\n"


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"ISO-10303-21;\nHEADER;\n", r"before its DATA section \(truncated\)"),
        (DATA + b"#1=CARTESIAN_POINT('',(0.,0.", r"DATA section has no end \(truncated\)"),
        (DATA + b"#1=DIRECTION('',(0.\nENDSEC;\n", r"no END-ISO-10303-21 \(truncated\)"),
    ],
)
def test_a_step_file_that_ends_early_says_where(content: bytes, cause: str) -> None:
    with pytest.raises(UnreadableFileError, match=f"part.step: .*{cause}"):
        reading.transfer(PATH, content, CadFormat.STEP)


@pytest.mark.parametrize("cad_format", [CadFormat.IGES, CadFormat.BREP])
def test_damaged_content_of_other_formats_is_unreadable(cad_format: CadFormat) -> None:
    with pytest.raises((UnreadableFileError, KernelError, NoGeometryError), match=r"^part\.step: "):
        reading.transfer(PATH, b"DBRep_DrawableShape\n\nCASCADE Topology V1, (c)\n", cad_format)


def test_a_step_file_without_a_shape_has_no_geometry() -> None:
    content = _box().split(b"#4=")[0] + b"ENDSEC;\nEND-ISO-10303-21;\n"
    with pytest.raises(NoGeometryError, match="nothing in it became a shape"):
        reading.transfer(PATH, content, CadFormat.STEP)


@pytest.mark.parametrize(
    ("header", "schema"),
    [
        (b"FILE_SCHEMA(('AUTOMOTIVE_DESIGN { 1 0 }'));", "AUTOMOTIVE_DESIGN { 1 0 }"),
        (b"FILE_SCHEMA (\n( 'CONFIG_CONTROL_DESIGN' , 'B') );", "CONFIG_CONTROL_DESIGN"),
        (b"FILE_NAME('FILE_SCHEMA');", ""),
    ],
)
def test_the_schema_is_the_first_name_of_the_header(header: bytes, schema: str) -> None:
    assert reading.step_schema(header) == schema


def test_names_belong_to_rows_and_formats_without_names_have_empty_ones(tmp_path: Path) -> None:
    moved = reading.transfer(PATH, _box("side"), CadFormat.STEP)
    assert reading.face_names(moved.reader, KernelShape(moved.shape)) == ["side"] * 6
    moved = reading.transfer(PATH, _content(CadFormat.BREP, tmp_path), CadFormat.BREP)
    assert reading.face_names(None, KernelShape(moved.shape)) == [""] * 6


SYNTAX_ERROR = """
from pathlib import Path
from dflow.cadaccess.files.formats import CadFormat
from dflow.cadaccess.kernel import reading
from dflow.errors import CadError
from OCP.Message import Message
printers = Message.DefaultMessenger_s().ChangePrinters
print("before", printers().Size() > 0, flush=True)
content = b"ISO-10303-21;\\nHEADER;;;\\nENDSEC;\\nDATA;\\n#1=(((;\\nENDSEC;\\n"
try:
    reading.transfer(Path("part.step"), content, CadFormat.STEP)
except CadError:
    print("refused", printers().Size(), flush=True)
"""


def test_the_kernel_prints_nothing_from_the_first_reading_on_and_importing_changes_nothing() -> None:
    run = subprocess.run([sys.executable, "-c", SYNTAX_ERROR], capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout.splitlines() == ["before True", "refused 0"]
