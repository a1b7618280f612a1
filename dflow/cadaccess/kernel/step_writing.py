"""A shape in the kernel's hands as the bytes of a STEP file.

Equal shapes give equal bytes: no dates, no counters of the process.
"""

from __future__ import annotations

import io
from pathlib import Path

from OCP.APIHeaderSection import APIHeaderSection_MakeHeader
from OCP.IFSelect import IFSelect_RetDone
from OCP.StepBasic import StepBasic_Product
from OCP.STEPControl import STEPControl_StepModelType, STEPControl_Writer
from OCP.StepData import StepData_StepModel
from OCP.TCollection import TCollection_HAsciiString
from OCP.TopoDS import TopoDS_Shape

from dflow.cadaccess.kernel.healing import heal
from dflow.errors import CadError, KernelError

_NO_DATE = "1970-01-01T00:00:00"


def encode_step(path: Path, shape: TopoDS_Shape, name: str) -> bytes:
    """Return the content of a STEP file (AP214, mm) with the shape, healed on a copy.

    Parameters
    ----------
    path : names the file in errors; it is not opened.
    name : of the file and its products; characters beyond ASCII become question marks.

    Raises
    ------
    KernelError
        The kernel cannot write it.
    """
    try:
        return _encode(path, heal(shape), name)
    except CadError:
        raise
    except Exception as error:  # OCCT's exceptions have no common base of their own
        raise KernelError(f"{path}: the kernel raised {type(error).__name__} while writing STEP: {error}") from error


def _encode(path: Path, shape: TopoDS_Shape, name: str) -> bytes:
    writer = STEPControl_Writer()
    if writer.Transfer(shape, STEPControl_StepModelType.STEPControl_AsIs) != IFSelect_RetDone:
        raise KernelError(f"{path}: the kernel cannot convert the shape of {name!r} to STEP")
    _name_model(writer.Model(), name.encode("ascii", "replace").decode())
    stream = io.BytesIO()
    if writer.WriteStream(stream) != IFSelect_RetDone:
        raise KernelError(f"{path}: the kernel cannot write {name!r} as STEP")
    return stream.getvalue()


def _name_model(model: StepData_StepModel, name: str) -> None:
    """Name the file and its products: the kernel counts the products of a process and writes the hour."""
    header = APIHeaderSection_MakeHeader(model)
    header.SetName(TCollection_HAsciiString(name))
    header.SetTimeStamp(TCollection_HAsciiString(_NO_DATE))
    products = [model.Value(number) for number in range(1, model.NbEntities() + 1)]
    products = [entity for entity in products if isinstance(entity, StepBasic_Product)]
    for number, product in enumerate(products, start=1):
        text = TCollection_HAsciiString(name if len(products) == 1 else f"{name} {number}")
        product.SetId(text)
        product.SetName(text)
