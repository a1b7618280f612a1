"""`CadModel`: one opened file."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dflow.cadaccess import complements, defects, writing
from dflow.cadaccess.bodies import Bodies
from dflow.cadaccess.brep import Brep
from dflow.cadaccess.files.validation_properties import StatedProperties
from dflow.cadaccess.kernel.healing import Healing
from dflow.cadaccess.kernel.shape import KernelShape
from dflow.errors import CadError
from dflow.hoops.names import hoops_names
from dflow.notebook import object_html

if TYPE_CHECKING:
    from dflow.cadaccess.tessellation.mesh import Mesh


@dataclass(frozen=True, slots=True)
class ReadReport:
    """How a file was read.

    Attributes
    ----------
    format : "step", "iges", "brep" or "binary_brep".
    healing : how far the kernel healed it, see `dflow.cadaccess.kernel.healing`; "text" where dflow read the file
        without the kernel.
    fallback : why a reading with less healing was not good enough, "" where it was (or was not tried).
    unit : the file's length unit in its own words, "" where it states none; the shape is in mm.
    schema : the STEP schema.
    seconds : wall time.
    """

    format: str
    healing: Healing
    fallback: str = ""
    unit: str = ""
    schema: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Source:
    """Where a model came from, and what can still be read from its file.

    `content` is the file's, unpacked; `names` and `colors` return those of the faces of one body, or of the whole file;
    `stated` returns the file's geometric validation properties.

    The content is kept for as long as the model: names, stated values and the kernel's shape of a STEP file are read
    from it on first use. It is 5 % of the memory of a shape that the kernel has read.
    """

    path: str
    content: bytes
    shape: KernelShape
    bodies: Bodies
    names: Callable[[KernelShape, int | None], list[str]]
    stated: Callable[[], StatedProperties]
    colors: Callable[[KernelShape, int | None], np.ndarray]


class CadModel:
    """One opened CAD file, or one body of it (`for_body`).

    Guarantees: the geometry is in mm and in place; body, face and edge order are stable for a file and kernel version.
    For one process and thread. Created by `CadLoader`.

    Parameters
    ----------
    source : the file's shape, as tables and as the kernel holds it
    read_report : how it was read
    body_index : the body that this is a view of; None for the whole file
    breps : the breps built so far by body index (None: the whole file), which views of one file share
    is_checked : whether the shape has passed all checks of `dflow.cadaccess.defects`
    """

    def __init__(
        self,
        source: Source,
        read_report: ReadReport,
        *,
        body_index: int | None = None,
        breps: dict[int | None, Brep] | None = None,
        is_checked: bool = False,
    ) -> None:
        self._source = source
        self._breps = {} if breps is None else breps
        self._body_index = body_index
        self._shape_defects: dict[str, str] | None = {} if is_checked else None
        self._noted: dict[str, str] = {}
        self.read_report = read_report

    if not TYPE_CHECKING:  # for a type checker a missing attribute stays an error
        __getattr__ = hoops_names("dflow.hoops.cad:ModelNames")

    def __repr__(self) -> str:
        body = "" if self._body_index is None else f", body={self._body_index}"
        return f"CadModel({self._source.path!r}{body})"

    def _repr_html_(self) -> str:
        report = self.read_report
        facts = [("format", report.format), ("schema", report.schema), ("unit of the file", report.unit)]
        try:
            return self.get_brep().to_html(repr(self), [(name, value) for name, value in facts if value])
        except CadError as error:
            return object_html(repr(self), facts, note=str(error))

    def get(self) -> Any:
        """Return the kernel's shape of the whole file."""
        return self._source.shape.shape

    def get_filesource(self) -> str:
        """Return the path that the file was opened from."""
        return self._source.path

    def is_of_same_file(self, other: CadModel) -> bool:
        """Return whether both were read from the same content, whatever the paths.

        Parameters
        ----------
        other : another model, or a view of a body
        """
        return self._source is other._source or self._source.content == other._source.content

    def get_body_count(self) -> int:
        """Return the number of bodies: solids, and shells and faces that belong to none; 0 for a file of wires only; 1
        for a view of one body.
        """
        return self._source.bodies.count if self._body_index is None else 1

    def get_face_count(self) -> int:
        """Return the number of faces of the model (of the body, for a view of one)."""
        return self.get_brep().n_faces

    def get_edge_count(self) -> int:
        """Return the number of edges of the model (of the body, for a view of one), degenerate ones left out."""
        return self.get_brep().n_edges

    def get_brep(self, body_index: int | None = None) -> Brep:
        """Return the boundary representation of the whole file, or of one body.

        Parameters
        ----------
        body_index : 0 to ``get_body_count() - 1``; None for the whole file

        Raises
        ------
        IndexError
            There is no body of that index.
        """
        key = self._resolve(body_index)
        if key not in self._breps:
            alone = key is not None and self._source.bodies.is_alone(key)
            self._breps[key] = self._whole() if alone else self._build(key)
        return self._breps[key]

    def find_defects(self) -> dict[str, str]:
        """Return what is wrong with the shape as it was read: a message by each defect's name; {} where nothing is.

        A flow keeps the names with each sample, as file values ``n_defects`` and ``defect_names``.

        ====================  =========================================================================================
        curve missing         a curved face has an edge without a curve on its surface
        loop open             a loop does not close
        edges apart           ends of neighbouring edges of a plane lie more than 0.001 mm apart
        vertex not shared     neighbouring edges have no vertex in common
        bounds beyond a turn  a face spans more than a full turn of its surface
        loops cross           two loops of a face cross, or a hole touches the outer loop from outside
        outer loop off        a plane has no outer loop, or several
        area off              a face's area is not positive, or does not fit its boundary
        shell open            a solid's shell has a free edge, or one that is used twice the same way
        volume negative       a solid has no positive volume
        cavity turned         a cavity faces the way of its solid's outer shell
        stated volume off     the volume differs by more than 0.1 % from that which the file states of its one body
        stated area off       the same of the area
        face complemented     healing took the rest of a closed surface for a face, against its edges' directions
        unmeasurable          a check could not be made
        ====================  =========================================================================================

        Notes
        -----
        Reading has checked shapes that were read from their text or healed lightly, so that only the values that the
        file states are compared; others are checked here, once.
        """
        if self._shape_defects is None:
            self._shape_defects = defects.find_defects(self.get_brep())
        return {**self._shape_defects, **self._noted, **defects.find_stated_errors(self.get_brep())}

    def check(self) -> str:
        """Return a message about the first defect of a lightly healed shape; "" where it has none, which the model
        remembers.
        """
        defect = defects.find_defect(self.get_brep())
        self._shape_defects = None if defect else {}
        return defect

    def compare_with(self, stated: CadModel) -> None:
        """Note what full healing hid: a face that is the rest of its surface (`dflow.cadaccess.complements`), and
        loops that crossed.

        Parameters
        ----------
        stated : the same file as read before, whose loops run as the file states them
        """
        before = stated.find_defects()
        self._noted |= {name: before[name] for name in ("loops cross",) if name in before}
        if "volume negative" in before and "area off" not in before:
            return  # what the file states encloses nothing
        found = complements.find_complement(self.get_brep(), stated.get_brep())
        if found:
            self._noted["face complemented"] = found

    def get_mesh(self, body_index: int | None = None) -> Mesh:
        """Compute the triangles of the whole file or of one body; the shape is not changed.

        Parameters
        ----------
        body_index : 0 to ``get_body_count() - 1``; None for the whole file
        """
        from dflow.cadaccess.tessellation import mesh  # loads numba, which reading and encoding do not need

        brep = self.get_brep(body_index)
        return mesh.mesh_shape(brep.tables, brep.chords, lambda: brep.kernel)

    def export_step(self, path: str | os.PathLike[str]) -> int:
        """Write the model (the body, for a view of one) as STEP in mm, and return the file's size in bytes.

        Parameters
        ----------
        path : of the new file; an existing one is replaced

        Raises
        ------
        KernelError
            The kernel cannot write it.

        Notes
        -----
        The shape is healed fully, on a copy. Faces keep their order; names, colours and the assembly are lost.
        """
        return writing.write_step(self.get_brep().kernel.shape, path)

    def export_obj(self, path: str | os.PathLike[str]) -> int:
        """Write the model's mesh as Wavefront OBJ (mm, one group ``face_<index>`` per face) and return the file's size
        in bytes.

        Parameters
        ----------
        path : of the new file; an existing one is replaced
        """
        return writing.write_obj(self.get_mesh(), path)

    def export_stl(self, path: str | os.PathLike[str]) -> int:
        """Write the model's mesh as binary STL (mm) and return the file's size in bytes.

        Parameters
        ----------
        path : of the new file; an existing one is replaced
        """
        return writing.write_stl(self.get_mesh(), path)

    def for_body(self, body_index: int) -> CadModel:
        """Return a view of one body: its `get_brep()` is that body's.

        Parameters
        ----------
        body_index : 0 to ``get_body_count() - 1``

        Raises
        ------
        IndexError
            There is no body of that index.
        """
        self._check(body_index)
        checked = self._shape_defects == {}
        view = CadModel(self._source, self.read_report, body_index=body_index, breps=self._breps, is_checked=checked)
        view._noted = self._noted
        return view

    def _whole(self) -> Brep:
        if None not in self._breps:
            self._breps[None] = self._build(None)
        return self._breps[None]

    def _resolve(self, body_index: int | None) -> int | None:
        if self._body_index is None:
            if body_index is not None:
                self._check(body_index)
            return body_index
        if body_index not in (None, 0):
            raise IndexError(
                f"{self!r} is a view of one body, which get_brep() or get_brep(0) returns; found get_brep({body_index})"
            )
        return self._body_index

    def _check(self, body_index: int) -> None:
        count = self._source.bodies.count
        if not 0 <= body_index < count:
            raise IndexError(f"{self._source.path}: no body {body_index}; the file has {count}")

    def _kernel_shape(self, body_index: int | None) -> KernelShape:
        whole = self._source.shape
        return whole if body_index is None else KernelShape(lambda: whole.bodies[body_index])

    def _build(self, body_index: int | None) -> Brep:
        bodies, names, colors = self._source.bodies, self._source.names, self._source.colors
        whole = body_index is None
        return Brep(
            bodies.tables(body_index),
            self._kernel_shape(body_index),
            n_bodies=bodies.count if whole else 1,
            names=lambda kernel: names(kernel, body_index),
            stated=self._source.stated if whole or bodies.count == 1 else None,
            colors=lambda kernel: colors(kernel, body_index),
        )
