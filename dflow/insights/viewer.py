"""Show pictures and 3D views of a dataset's parts."""

from __future__ import annotations

import os
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
from matplotlib.colors import to_rgb

from dflow.errors import CadError, DatasetError, UnknownKeyError
from dflow.hoops.arguments import compared_in_3d, hoops_arguments
from dflow.insights.cad_viewer import CADViewer, DisplayMode, show_together
from dflow.insights.catalog import PartCatalog, PartEntry, part_names
from dflow.insights.coloring import FaceColoring, Labels, LabelSource, color_faces
from dflow.insights.grid import MISSING_RGB, Image, PreviewFigure, Tile, draw_grid, load_picture, save_figure
from dflow.insights.palette import ColorPalette, Rgb, checked_color
from dflow.insights.search_results import SearchResult, read_results
from dflow.render import read_glb, render_image

LabelFormat = Literal["id", "name", "both"]
QUERY_FRAME: Rgb = (214, 92, 24)


class DatasetViewer:
    """Pictures and 3D views of parts by file id.

    Reads files only when it shows them; a missing or damaged picture is shown as such. Works without a display. The
    explorer must stay open while faces are coloured by an array of the dataset.

    Parameters
    ----------
    file_ids : the parts' file ids
    png_paths, scs_paths : their pictures and meshes (binary glTF), None for a missing one
    file_names : their names in labels; by default their ids
    reference_dir : the folder that relative paths start from; by default the current one
    source : the opened `DatasetExplorer` whose arrays `color_by` names

    Raises
    ------
    ValueError
        If the sequences are not equally long.
    """

    def __init__(
        self,
        file_ids: Sequence[int],
        png_paths: Sequence[Any],
        scs_paths: Sequence[Any],
        file_names: Sequence[str] | None = None,
        reference_dir: str | os.PathLike[str] | None = None,
        *,
        source: LabelSource | None = None,
    ) -> None:
        self._parts = PartCatalog(file_ids, png_paths, scs_paths, names=file_names, root=reference_dir)
        self._reference_dir = os.curdir if reference_dir is None else os.fspath(reference_dir)
        self._source = source

    @classmethod
    def from_explorer(cls, explorer: Any) -> DatasetViewer:
        """Return a viewer of all parts of an opened dataset (`DatasetExplorer`); labels use the source files' names.

        Parameters
        ----------
        explorer : an opened `DatasetExplorer`

        Raises
        ------
        DatasetError
            If it is something else.
        """
        if not hasattr(explorer, "get_stream_cache_paths"):
            raise DatasetError(
                f"found a {type(explorer).__name__}, {explorer!r}; expected an opened dataset: pass "
                "DatasetExplorer(path), which dflow.dataset has"
            )
        paths = explorer.get_stream_cache_paths()
        names = part_names(explorer.get_file_info_all())
        pictures, meshes = paths["stream_cache_png"].tolist(), paths["stream_cache_3d"].tolist()
        return cls(paths["id"].tolist(), pictures, meshes, names, source=explorer)

    def __len__(self) -> int:
        return len(self._parts)

    def __repr__(self) -> str:
        return f"<DatasetViewer of {len(self):,} parts>"

    # Pictures

    def show_preview_as_image(
        self,
        file_ids: Iterable[int] | int,
        k: int = 25,
        *,
        grid_cols: int | None = None,
        figsize: tuple[float, float] | None = None,
        show_labels: bool = True,
        label_format: LabelFormat = "id",
        title: str | None = None,
        missing_color: Sequence[float] | str = MISSING_RGB,
        save_path: str | os.PathLike[str] | None = None,
        color_by: str | Mapping[int, Labels] | None = None,
        palette: ColorPalette | None = None,
    ) -> PreviewFigure:
        """Draw a grid of previews.

        Parameters
        ----------
        file_ids : the parts to show, e.g. the result of `DatasetExplorer.get_file_list`
        k : show the first `k` of them
        grid_cols : tiles per row
        figsize : width and height in inches
        show_labels, label_format : below each tile its "id", its file "name", or "both"
        title : by default the numbers of shown and of all parts, if they differ
        missing_color : fill of parts without a picture; three numbers from 0 to 255, or from 0 to 1, or a name
        save_path : a file to save the figure to, in the format of the suffix
        color_by : an array with one value per face ("face_types"), or labels by file id; pictures are then drawn from
            the meshes. Many distinct numbers are shown as ranges
        palette : colours of the labels

        Returns
        -------
        A matplotlib figure.

        Raises
        ------
        UnknownKeyError
            If a file id or the array to colour by does not exist.
        ValueError
            If there is not one value to colour by per face.
        """
        wanted = _as_ids(file_ids)
        shown = self._parts.entries(_first(wanted, k))
        coloring = self._coloring([e.file_id for e in shown if e.has_3d], color_by, palette)
        tiles = [self._tile(entry, coloring, label_format if show_labels else None) for entry in shown]
        figure = draw_grid(
            tiles,
            columns=grid_cols,
            figsize=figsize,
            title=title if title is not None or len(shown) == len(wanted) else f"{len(shown)} of {len(wanted):,}",
            missing_color=_rgb(missing_color),
            legend=coloring.legend() if coloring else (),
        )
        if save_path is not None:
            save_figure(figure, save_path)
        return figure

    @compared_in_3d
    def create_comparison_view(
        self,
        a: Iterable[int] | int,
        b: Iterable[int] | int,
        *,
        k: int = 10,
        titles: tuple[str, str] = ("A", "B"),
        label_format: LabelFormat = "id",
        save_path: str | os.PathLike[str] | None = None,
    ) -> PreviewFigure:
        """Draw two groups of parts in two rows (two single parts beside each other), the first `k` of each.

        Parameters
        ----------
        a, b : file ids
        titles : of the two rows
        label_format : the text below each picture: "id", "name" or "both"
        save_path : a file to save the figure to
        """
        groups = [self._parts.entries(_first(_as_ids(ids), k)) for ids in (a, b)]
        single = all(len(group) == 1 for group in groups)
        columns = 2 if single else max(1, *(len(group) for group in groups))
        tiles: list[Tile] = []
        for name, group in zip(titles, groups, strict=True):
            row = [self._tile(entry, None, label_format, prefix=f"{name}: ") for entry in group]
            blank = Tile(np.full((2, 2, 3), 255, np.uint8))
            tiles += row if single else row + [blank] * (columns - len(row))
        figure = draw_grid(tiles, columns=columns, title=f"{titles[0]}  |  {titles[1]}")
        if save_path is not None:
            save_figure(figure, save_path)
        return figure

    def show_search_results(
        self,
        hits: Iterable[Any],
        query_file: int | str | os.PathLike[str] | None = None,
        *,
        grid_cols: int | None = None,
        reference_dir: str | os.PathLike[str] | None = None,
        save_path: str | os.PathLike[str] | None = None,
    ) -> PreviewFigure:
        """Draw the results of a similarity search in their order, with their scores; the query comes first, framed.

        Parameters
        ----------
        hits : file ids or names of files, (id, score) pairs, dictionaries with ``id`` and ``score``, or objects with
            such attributes
        query_file : a file id of the dataset, the path of a picture, or that of a CAD file
        reference_dir : a folder with pictures ``<file's name>.png`` of files that are not in the dataset; by default
            that of the viewer
        grid_cols : pictures per row; by default about as many as rows, five at most
        save_path : a file to save the figure to
        """
        pictures = self._reference_dir if reference_dir is None else os.fspath(reference_dir)
        tiles = [] if query_file is None else [self._query_tile(query_file, pictures)]
        tiles += [self._result_tile(result, pictures) for result in read_results(hits)]
        figure = draw_grid(tiles, columns=grid_cols, title=None)
        if save_path is not None:
            save_figure(figure, save_path)
        return figure

    # 3D

    @hoops_arguments
    def show_preview_as_3d(
        self,
        file_ids: Iterable[int] | int,
        k: int = 5,
        *,
        display_mode: DisplayMode = "inline",
        width: int = 400,
        height: int = 400,
        color_by: str | Mapping[int, Labels] | None = None,
        palette: ColorPalette | None = None,
        save_path: str | os.PathLike[str] | None = None,
    ) -> list[CADViewer]:
        """Show parts to turn and zoom in the notebook, each also as a `CADViewer` of its own.

        Parameters
        ----------
        file_ids, k : the parts; the first `k` are shown
        display_mode : "inline" shows them in a notebook ("sidecar" means the same here), "none" shows nothing
        width, height : of each part, in pixels
        color_by, palette : as for `show_preview_as_image`
        save_path : a file to save all of them to, as one page that needs no server and no network
        """
        if display_mode not in get_args(DisplayMode):
            raise ValueError(f"display_mode={display_mode!r}; expected one of {', '.join(get_args(DisplayMode))}")
        shown = self._parts.entries(_first(_as_ids(file_ids), k))
        coloring = self._coloring([e.file_id for e in shown if e.has_3d], color_by, palette)
        viewers = []
        for entry in shown:
            viewer = CADViewer(label=_label(entry, "both"))
            if entry.has_3d:
                viewer.load_scs_file(str(entry.glb))
                if coloring is not None:
                    viewer.color_faces_by_labels(coloring.labels[entry.file_id], coloring.palette)
            viewers.append(viewer)
        legend = coloring.legend() if coloring else ()
        show_together(
            viewers,
            size=(width, height),
            legend=legend,
            save_path=save_path,
            display=display_mode != "none",
        )
        return viewers

    # Availability

    def get_file_info(self, file_id: int) -> dict[str, Any]:
        """Return id, name, paths and availability of one part.

        Parameters
        ----------
        file_id : of the part
        """
        entry = self._parts.entry(file_id)
        return {
            "id": entry.file_id,
            "name": entry.name,
            "png_path": None if entry.png is None else str(entry.png),
            "scs_path": None if entry.glb is None else str(entry.glb),
            "stream_cache_path": None if entry.glb is None else str(entry.glb),  # HOOPS AI's name
            "png_available": entry.has_png,
            "3d_available": entry.has_3d,
        }

    def get_available_file_ids(self) -> list[int]:
        """Return the ids of the parts whose picture exists, in their order."""
        return self.filter_by_availability(self._parts.file_ids, require_png=True)

    def filter_by_availability(
        self, file_ids: Iterable[int] | int, require_png: bool = True, require_3d: bool = False
    ) -> list[int]:
        """Return the ids of the parts whose required files exist.

        Parameters
        ----------
        file_ids : the parts to check
        require_png, require_3d : whether the picture, and the mesh, must exist
        """
        return self._parts.select(
            _as_ids(file_ids),
            lambda entry: (entry.has_png or not require_png) and (entry.has_3d or not require_3d),
        )

    def get_statistics(self) -> dict[str, int | float]:
        """Count the parts with a picture and with a mesh. Checks every file, 20 µs per file."""
        entries = self._parts.entries(self._parts.file_ids)
        png = sum(entry.has_png for entry in entries)
        meshes = sum(entry.has_3d for entry in entries)
        total = max(len(entries), 1)
        return {
            "total_files": len(entries),
            "png_available": png,
            "3d_available": meshes,
            "png_missing": len(entries) - png,
            "3d_missing": len(entries) - meshes,
            "png_percentage": 100.0 * png / total,
            "3d_percentage": 100.0 * meshes / total,
        }

    def print_statistics(self) -> None:
        """Print `get_statistics` as two lines."""
        found = self.get_statistics()
        for title, what in (("pictures ", "png"), ("3D meshes", "3d")):
            n, share = found[f"{what}_available"], found[f"{what}_percentage"]
            print(f"{title} {n:>9,} of {found['total_files']:,} parts ({share:.1f} %)")

    # Internals

    def _coloring(
        self, file_ids: Sequence[int], color_by: str | Mapping[int, Labels] | None, palette: ColorPalette | None
    ) -> FaceColoring | None:
        if color_by is None:
            return None
        return color_faces(file_ids, color_by, source=self._source, palette=palette)

    def _tile(
        self, entry: PartEntry, coloring: FaceColoring | None, label_format: LabelFormat | None, prefix: str = ""
    ) -> Tile:
        label = "" if label_format is None else prefix + _label(entry, label_format)
        if coloring is not None and entry.has_3d:
            return _colored_tile(entry, coloring, label)
        if not entry.has_png:
            return Tile(None, label)
        picture = load_picture(str(entry.png))
        return Tile(picture, label, missing="damaged preview")

    def _query_tile(self, query: int | str | os.PathLike[str], pictures: str) -> Tile:
        if isinstance(query, (int, np.integer)):
            tile = self._tile(self._parts.entry(int(query)), None, "name", prefix="query: ")
            return Tile(tile.picture, tile.label, tile.missing, QUERY_FRAME)
        label = f"query: {os.path.basename(query)}"
        picture = load_picture(query)
        if picture is None:
            picture = self._picture_of(os.fspath(query), pictures)
        if picture is None and os.path.isfile(query):
            picture = _picture_of_cad_file(os.fspath(query))
        return Tile(picture, label, "no picture", QUERY_FRAME)

    def _result_tile(self, hit: SearchResult, pictures: str) -> Tile:
        score = "" if hit.score is None else f"  {hit.score:.3g}"
        if isinstance(hit.file_id, str):
            label = f"{os.path.basename(hit.file_id)}{score}"
            return Tile(self._picture_of(hit.file_id, pictures), label, "no picture")
        try:
            tile = self._tile(self._parts.entry(hit.file_id), None, None)
        except UnknownKeyError:
            tile = Tile(None, missing="not in the dataset")
        return Tile(tile.picture, f"{hit.file_id}{score}", tile.missing)

    def _picture_of(self, file: str, folder: str) -> Image | None:
        """Return the picture of a file by its name: the dataset's, else one in a folder of pictures."""
        entry = self._parts.find(file)
        if entry is not None and entry.has_png:
            return load_picture(str(entry.png))
        name = os.path.basename(file)
        names = (f"{base}{end}.png" for base in (os.path.splitext(name)[0], name) for end in ("", "_white"))
        found = (load_picture(os.path.join(folder, each)) for each in names)
        return next((picture for picture in found if picture is not None), None)


def _picture_of_cad_file(path: str) -> Image | None:
    """Return a new picture of a CAD file; None if it cannot be read."""
    from dflow.cadaccess import CadLoader

    try:
        return render_image(CadLoader().create_from_file(path).get_mesh())
    except CadError:
        return None


def _as_ids(file_ids: Iterable[int] | int) -> list[int]:
    try:
        return [int(file_ids)] if isinstance(file_ids, (int, np.integer, str)) else [int(i) for i in file_ids]
    except (TypeError, ValueError) as error:
        raise UnknownKeyError(
            f"found {reprlib.repr(file_ids)}, expected file ids, which are numbers: look them up by the "
            "parts' names in the table explorer.files"
        ) from error


def _first(ids: list[int], k: int) -> list[int]:
    if k < 0:
        raise ValueError(f"k={k}; expected the number of parts to show, at least 0")
    return ids[:k]


def _label(entry: PartEntry, label_format: LabelFormat) -> str:
    if label_format == "both":
        return f"{entry.file_id}: {entry.name}"
    if label_format not in ("id", "name"):
        raise ValueError(f"label_format={label_format!r}; expected 'id', 'name' or 'both'")
    return str(entry.file_id) if label_format == "id" else entry.name


def _colored_tile(entry: PartEntry, coloring: FaceColoring, label: str) -> Tile:
    try:
        mesh = read_glb(str(entry.glb))
    except ValueError:
        return Tile(None, label, missing="damaged mesh")
    return Tile(render_image(mesh, face_colors=coloring.colors(entry.file_id)), label)


def _rgb(color: Sequence[float] | str) -> Rgb:
    values: Sequence[float] = color if not isinstance(color, str) else to_rgb(color)
    if len(values) == 3 and max(values) <= 1.0:  # as matplotlib states colours
        values = [255 * c for c in values]
    return checked_color([round(c) for c in values])
