"""View one part in 3D, with coloured faces."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

from dflow.hoops.arguments import hoops_arguments
from dflow.insights.palette import NEUTRAL, ColorPalette, Rgb, checked_color
from dflow.insights.part_page import PagePart, frame_page, part_page
from dflow.insights.view_server import ViewServer
from dflow.localpath import local_path
from dflow.render import pack_glb, read_glb
from dflow.render.mesh import clean_arrays

if TYPE_CHECKING:
    from dflow.cadaccess.model import CadModel

DisplayMode = Literal["inline", "sidecar", "none"]

HIGHLIGHT: Rgb = (120, 180, 240)
"""The colour of faces that are marked without a colour of their own."""

CAPTION_PIXELS = 40
"""The height of a part's name below it."""


class CADViewer:
    """A view of one part that can be turned, zoomed and clicked, in a notebook or as a page of its own.

    The view is a self-contained page: nothing is loaded, and it also works if the notebook runs on another machine.
    Colours that are set after `show` appear with the next `show`. Only `get_viewer_url` starts a server, on this
    machine, and only pages opened from it report which faces were clicked.

    Parameters
    ----------
    host, port : where `get_viewer_url` serves; None takes the first free port from 8000 to 8099
    display_mode : "none" makes `show` do nothing; "inline" and "sidecar" show in the notebook
    auto_display : show each part as soon as it is loaded
    label : the text below the part; by default the file's name
    """

    @hoops_arguments
    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int | None = None,
        *,
        display_mode: DisplayMode = "sidecar",
        auto_display: bool = False,
        label: str = "",
    ) -> None:
        self._address = (host, port)
        self._display_mode, self._auto_display = display_mode, auto_display
        self._server: ViewServer | None = None
        self._selected: list[int] = []
        self._label = label
        self._mesh: bytes | None = None
        self._n_faces = 0
        self._colors: dict[int, Rgb] = {}
        self._texts: dict[int, str] = {}
        self._legend: list[tuple[Rgb, str]] = []
        self._shown_in: int | None = None
        self._terminated = False

    def __enter__(self) -> CADViewer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.terminate()

    def __repr__(self) -> str:
        return f"<CADViewer {self._label!r}, {self._n_faces} faces>"

    # The part

    @hoops_arguments
    def load_cad_file(self, path: str | os.PathLike[str]) -> bool:
        """Read a CAD file and tessellate it; return True.

        Parameters
        ----------
        path : a STEP, IGES or BREP file

        Raises
        ------
        CadError
            If it cannot be read or holds no faces.
        """
        from dflow.cadaccess import CadLoader

        self.load_model(CadLoader().create_from_file(path))
        return True

    def load_model(self, model: CadModel) -> None:
        """Tessellate an opened file, or a body of it.

        Parameters
        ----------
        model : the result of `CadLoader.create_from_file`, or of `CadModel.for_body`

        Raises
        ------
        CadError
            If it holds no faces.
        """
        arrays = clean_arrays(model.get_mesh())
        self._set_mesh(pack_glb(arrays), arrays.n_faces, model.get_filesource())

    def load_scs_file(self, path: str | os.PathLike[str]) -> bool:
        """Load a mesh that a flow wrote to ``stream_cache`` (binary glTF). A damaged one is shown as missing, and gives
        False.

        Parameters
        ----------
        path : a ``.glb`` file
        """
        try:
            n_faces = read_glb(path).n_faces
        except ValueError:
            self._set_mesh(None, 0, path)
            return False
        with open(path, "rb") as file:
            self._set_mesh(file.read(), n_faces, path)
        return True

    def _set_mesh(self, mesh: bytes | None, n_faces: int, path: str | os.PathLike[str]) -> None:
        self._mesh, self._n_faces = mesh, n_faces
        self._label = self._label or os.path.basename(path)
        self._selected = []
        self.clear_face_colors()
        if self._auto_display:
            self.show()

    # Colours

    def set_face_color(self, face_ids: Iterable[int] | int, color: Sequence[int] = HIGHLIGHT) -> None:
        """Colour faces by index.

        Parameters
        ----------
        face_ids : face indices
        color : red, green and blue, 0 to 255; by default light blue

        Raises
        ------
        IndexError
            If the part has no such face.
        ValueError
            If the colour is not three numbers from 0 to 255.
        """
        rgb = checked_color(color)
        faces = [int(face_ids)] if isinstance(face_ids, (int, np.integer)) else [int(f) for f in face_ids]
        strange = [face for face in faces if not 0 <= face < self._n_faces]
        if strange:
            raise IndexError(
                f"no face {strange[0]}: {self._label or 'the part'} has {self._n_faces} faces; expected indices from 0 "
                f"to {self._n_faces - 1}"
            )
        self._colors.update(dict.fromkeys(faces, rgb))

    @hoops_arguments
    def color_faces_by_groups(
        self, groups: Iterable[tuple[Iterable[int], Sequence[int], str]], *, clear_first: bool = True
    ) -> None:
        """Colour groups of faces, as `group_predictions_by_label` returns them.

        Parameters
        ----------
        groups : (face indices, colour, description); colours are (r, g, b), 0 to 255
        clear_first : remove earlier colours
        """
        if clear_first:
            self.clear_face_colors()
        for faces, color, description in groups:
            members = list(faces)
            self.set_face_color(members, color)
            self._texts.update(dict.fromkeys(members, description))
            self._legend.append((checked_color(color), description))

    def color_faces_by_labels(self, labels: Sequence[Hashable] | npt.NDArray[Any], palette: ColorPalette) -> None:
        """Colour every face by its label, in face-index order.

        Parameters
        ----------
        labels : (n_faces,), keys of the palette
        palette : the colours

        Raises
        ------
        ValueError
            If there are fewer labels than faces.
        """
        values = np.asarray(labels).tolist()
        if len(values) < self._n_faces:
            raise ValueError(
                f"{len(values)} labels for the {self._n_faces} faces of {self._label or 'the part'}; expected one "
                "per face"
            )
        self.clear_face_colors()
        self._colors = {face: palette.get_color(label) for face, label in enumerate(values)}
        self._texts = {face: palette.get_description(label) for face, label in enumerate(values)}
        used = set(values)
        self._legend = [entry for label, entry in palette.items() if label in used]

    def clear_face_colors(self) -> None:
        """Give all faces the neutral colour."""
        self._colors, self._texts, self._legend = {}, {}, []

    @staticmethod
    def validate_color(color: Sequence[int]) -> bool:
        """Return whether this is a colour: red, green and blue, 0 to 255.

        Parameters
        ----------
        color : what to check
        """
        try:
            checked_color(color)
        except ValueError:
            return False
        return True

    # Showing

    @hoops_arguments
    def show(self, width: int = 600, height: int = 500) -> None:
        """Show the part in the notebook.

        Parameters
        ----------
        width, height : of the view, pixels
        """
        shown = self._display_mode != "none"
        show_together([self], size=(width, height), legend=self._legend, display=shown)

    def to_html(self, width: int = 600, height: int = 500, *, served: bool = False) -> str:
        """Return the view as a complete page.

        Parameters
        ----------
        width, height : of the view, pixels
        served : whether the page reports clicks to the server that it was loaded from
        """
        return part_page([self.page_part()], size=(width, height), legend=self._legend, served=served)

    def get_viewer_url(self) -> str:
        """Serve the view on this machine until `terminate`; return the address to open in a browser.

        Raises
        ------
        ServerError
            If no port is free.
        """
        if self._server is None:
            host, port = self._address
            self._server = ViewServer(
                lambda: self.to_html(900, 700, served=True), self._set_selection, host=host, port=port
            )
        return self._server.url

    def get_selected_faces(self) -> list[int]:
        """Return the faces clicked in a page opened from `get_viewer_url`, ascending; Ctrl-click selects several."""
        return list(self._selected)

    def _set_selection(self, faces: list[int]) -> None:
        self._selected = sorted(face for face in faces if face < self._n_faces)

    def save_html(self, path: str | os.PathLike[str], width: int = 900, height: int = 700) -> None:
        """Save the view as a page that any browser opens, without a server or a network.

        Parameters
        ----------
        path : the new file
        width, height : of the view, pixels
        """
        _write_text(path, self.to_html(width, height))

    def _repr_html_(self) -> str | None:
        shown_in, self._shown_in = self._shown_in, None
        if shown_in is not None and shown_in == _cell_number():
            return None  # `quick_view` has shown it in this cell, whose last line it is
        return frame_page(self.to_html(), width=640, height=500 + CAPTION_PIXELS + 20 * bool(self._legend))

    def page_part(self) -> PagePart:
        """Return this part for `dflow.insights.part_page.part_page`."""
        faces = range(self._n_faces)
        return PagePart(
            self._label,
            self._mesh,
            face_colors=[self._colors.get(face, NEUTRAL) for face in faces] if self._colors else None,
            face_labels=[self._texts.get(face, "") for face in faces] if self._texts else None,
        )

    def get_status(self) -> dict[str, Any]:
        """Return the part's label, its numbers of faces, coloured and selected faces, mesh size and address."""
        return {
            "label": self._label,
            "loaded": self._mesh is not None,
            "n_faces": self._n_faces,
            "n_colored_faces": len(self._colors),
            "n_selected_faces": len(self._selected),
            "mesh_bytes": len(self._mesh or b""),
            "url": None if self._server is None else self._server.url,
            **self._hoops_status(),
        }

    def _hoops_status(self) -> dict[str, Any]:
        """Return the part of the status that scripts written for HOOPS AI read."""
        url = None if self._server is None else self._server.url
        return {
            "active": self.is_active,
            "model_loaded": self._mesh is not None,
            "port": self._address[1] if url is None else urlsplit(url).port,
            "viewer_url": url,
            "model_url": url,
        }

    @property
    def is_active(self) -> bool:
        """Whether the viewer can show a part: until `terminate`."""
        return not self._terminated

    def terminate(self) -> None:
        """Release the mesh and stop the server, if one was started."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self._mesh, self._n_faces, self._selected = None, 0, []
        self._terminated = True
        self.clear_face_colors()


@hoops_arguments
def quick_view(
    path: str | os.PathLike[str] | CadModel,
    display_mode: DisplayMode = "sidecar",
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    width: int = 600,
    height: int = 500,
) -> CADViewer:
    """Show a CAD file, a mesh of ``stream_cache`` or an opened model in the notebook, once.

    Parameters
    ----------
    path : a STEP, IGES or BREP file, a ``.glb`` of a flow, or a `CadModel`
    display_mode, host, port : as of `CADViewer`
    width, height : of the view, pixels

    Raises
    ------
    TypeError
        If it is neither a path nor a model.
    """
    viewer = CADViewer(host, port, display_mode=display_mode)
    if not isinstance(path, (str, os.PathLike)):
        if not hasattr(path, "get_mesh"):
            raise TypeError(
                f"quick_view cannot show {type(path).__name__}; expected the path of a CAD file, or a CadModel "
                "(CadLoader().create_from_file(path))"
            )
        viewer.load_model(path)
    elif os.fspath(path).lower().endswith((".glb", ".scs")):
        viewer.load_scs_file(path)
    else:
        viewer.load_cad_file(path)
    viewer.show(width, height)
    viewer._shown_in = _cell_number()
    return viewer


def show_together(
    viewers: Sequence[CADViewer],
    *,
    size: tuple[int, int],
    legend: Sequence[tuple[Rgb, str]] = (),
    save_path: str | os.PathLike[str] | None = None,
    display: bool,
) -> None:
    """Show parts side by side if `display` is set and this is a notebook; save them as a page to `save_path`."""
    page = part_page([viewer.page_part() for viewer in viewers], size=size, legend=legend)
    if save_path is not None:
        _write_text(save_path, page)
    if display and _in_notebook():
        from IPython.display import display as show

        n_columns = max(1, min(len(viewers), 1000 // (size[0] + 8)))
        n_rows = -(-len(viewers) // n_columns)
        height = n_rows * (size[1] + CAPTION_PIXELS) + 20 * len(legend)
        # Not through HTML(), which warns of any content that begins with a frame.
        show({"text/html": frame_page(page, width="100%", height=height)}, raw=True)


def _in_notebook() -> bool:
    return hasattr(_shell(), "kernel")


def _cell_number() -> int | None:
    """The number of the cell that runs; None outside of a notebook."""
    return _shell().execution_count if _in_notebook() else None


def _shell() -> Any:
    try:
        from IPython import get_ipython
    except ImportError:
        return None
    return get_ipython()


def _write_text(path: str | os.PathLike[str], text: str) -> None:
    target = os.path.abspath(local_path(path))
    os.makedirs(os.path.dirname(target), exist_ok=True)
    temporary = os.path.join(os.path.dirname(target), f".tmp-{os.getpid()}-{os.path.basename(target)}")
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, target)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)
