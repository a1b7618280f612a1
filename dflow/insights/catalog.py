"""The parts of a dataset, with the paths of their pictures and meshes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dflow.errors import UnknownKeyError
from dflow.plaintext import get_logger
from dflow.storage.paths import Below

_log = get_logger(__name__)


def part_names(files: Any) -> list[str]:
    """Return the names of a dataset's samples from its table of files: the file's name without its folder, with the
    body's number if the sample is a body.
    """
    names = [source.rpartition("/")[2] for source in files["description"].astype(str)]
    if "body" not in files:
        return names
    bodies = files["body"].tolist()
    return [name if body < 0 else f"{name} [{body}]" for name, body in zip(names, bodies, strict=True)]


@dataclass(frozen=True, slots=True)
class PartEntry:
    """One part: `png` and `glb` are absolute paths from the tables; the files may be missing."""

    file_id: int
    name: str
    png: Path | None
    glb: Path | None

    @property
    def has_png(self) -> bool:
        """Whether the picture exists now."""
        return self.png is not None and self.png.is_file()

    @property
    def has_3d(self) -> bool:
        """Whether the mesh exists now."""
        return self.glb is not None and self.glb.is_file()


class PartCatalog:
    """The parts of a dataset by file id.

    Lookup takes constant time. Paths are resolved against `root` only when an entry is read, so that a catalog of
    200,000 parts costs only its lists. Immutable.

    Parameters
    ----------
    root : the folder that relative paths start from; None is the working directory
    only_below : leave out paths that lead out of `root`, also through a link; for paths from a table
    """

    def __init__(
        self,
        file_ids: Sequence[int],
        png_paths: Sequence[Any],
        glb_paths: Sequence[Any],
        *,
        names: Sequence[str] | None = None,
        root: str | os.PathLike[str] | None = None,
        only_below: bool = False,
    ) -> None:
        lengths = {len(file_ids), len(png_paths), len(glb_paths), len(file_ids if names is None else names)}
        if len(lengths) > 1:
            raise ValueError(
                f"file_ids, png_paths, scs_paths and file_names must be equally long; they have {len(file_ids)}, "
                f"{len(png_paths)}, {len(glb_paths)} and {'none' if names is None else len(names)} entries"
            )
        self._ids = [int(i) for i in file_ids]
        self._rows = {file_id: row for row, file_id in enumerate(self._ids)}
        self._png, self._glb, self._names = png_paths, glb_paths, names
        self._root = Path.cwd() if root is None else Path(root).absolute()
        self._below = Below(self._root) if only_below else None

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def file_ids(self) -> list[int]:
        """All ids, in the order of the argument."""
        return list(self._ids)

    def entry(self, file_id: int) -> PartEntry:
        """Return one part.

        Raises
        ------
        UnknownKeyError
            If the dataset has no such file id.
        """
        row = self._rows.get(int(file_id))
        if row is None:
            known = f"{min(self._ids)} to {max(self._ids)}" if self._ids else "none"
            raise UnknownKeyError(f"no part has the file id {file_id}; the dataset has {known}")
        name = str(file_id) if self._names is None else str(self._names[row])
        return PartEntry(int(file_id), name, self._resolve(self._png[row]), self._resolve(self._glb[row]))

    def find(self, name: str) -> PartEntry | None:
        """Return the first part of a file's name; None if the dataset has none.

        Parameters
        ----------
        name : a file's name, or a path that ends with it; with or without its suffix
        """
        if self._names is None:
            return None
        wanted = os.path.basename(name)
        names = [str(each) for each in self._names]
        if wanted in names:
            return self.entry(self._ids[names.index(wanted)])
        stems = [os.path.splitext(each)[0] for each in names]
        stem = os.path.splitext(wanted)[0]
        return self.entry(self._ids[stems.index(stem)]) if stem in stems else None

    def entries(self, file_ids: Iterable[int]) -> list[PartEntry]:
        """Return several parts, in the order of `file_ids`."""
        return [self.entry(file_id) for file_id in file_ids]

    def select(self, file_ids: Iterable[int], keep: Callable[[PartEntry], bool]) -> list[int]:
        """Return the ids of the parts for which `keep` is true, in the order of `file_ids`."""
        return [entry.file_id for entry in self.entries(file_ids) if keep(entry)]

    def _resolve(self, path: Any) -> Path | None:
        # The tables hold None, which pandas turns into NaN.
        if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
            return None
        if self._below is None:
            return self._root / os.fspath(path)
        found = self._below.path(os.fspath(path))
        if found is None:
            _log.warning("the preview %r lies outside of %s and is not shown", path, self._root)
        return None if found is None else Path(found)
