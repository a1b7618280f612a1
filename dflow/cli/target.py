"""The flow or dataset that a path on the command line leads to."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import click

from dflow.localpath import home_path
from dflow.plaintext import plain

# As in `dflow.storage.paths`, which brings numpy: help must not wait for that.
FLOW_SUFFIX = ".flow"
DATASET_SUFFIX = ".dataset"


@dataclass(frozen=True, slots=True)
class Target:
    """A flow's folder, its `.flow` file and its dataset; None for what the path does not lead to."""

    root: Path
    flow_file: Path | None = None
    dataset: Path | None = None


def merged(target: Target) -> Target:
    """Return the target, for commands that need its dataset.

    Raises
    ------
    click.BadParameter
        If it has none: the flow stopped early, or did not export.
    """
    if target.flow_file is None and target.dataset is None:
        raise click.BadParameter(f"{plain(target.root)} holds no dataset yet; run the flow to its end.")
    return target


class TargetPath(click.ParamType):  # type: ignore[type-arg]  # generic in click's newest releases only
    """A `.flow` file, the folder it lies in, the folder above several (if there is only one flow), or a `.dataset`."""

    name = "FLOW|FOLDER|DATASET"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Target:
        """Return the target, or raise a usage error that names what was found instead."""
        if isinstance(value, Target):
            return value
        path = Path(os.path.abspath(home_path(str(value))))
        if path.name.endswith(DATASET_SUFFIX) and path.is_dir():
            return _of_dataset(path)
        if path.is_dir():
            return self._in_folder(path, param, ctx)
        if path.name.endswith(FLOW_SUFFIX) and path.is_file():
            return Target(path.parent, path, _beside(path, DATASET_SUFFIX))
        what = "is neither a .flow file nor a .dataset folder" if path.exists() else "does not exist"
        raise click.BadParameter(f"{plain(path)} {what}.", ctx, param)

    def _in_folder(self, path: Path, param: click.Parameter | None, ctx: click.Context | None) -> Target:
        roots = [path, *_subfolders(path), *_subfolders(path / "flows")]
        flows = sorted({flow for root in roots for flow in root.glob(f"*{FLOW_SUFFIX}") if flow.is_file()})
        if len(flows) == 1:
            return Target(flows[0].parent, flows[0], _beside(flows[0], DATASET_SUFFIX))
        if flows:
            names = ", ".join(plain(flow.relative_to(path)) for flow in flows[:10])
            message = f"{plain(path)} holds {len(flows)} flows; name one of them: {names}"
            raise click.BadParameter(message, ctx, param)
        datasets = sorted(found for found in path.glob(f"*{DATASET_SUFFIX}") if found.is_dir())
        if len(datasets) == 1:
            return _of_dataset(datasets[0])
        stopped = [root for root in roots if (root / "error_summary.json").is_file()]  # flows that stopped early
        if len(stopped) == 1:
            return Target(stopped[0])
        raise click.BadParameter(f"{plain(path)} holds no flow and no dataset.", ctx, param)


def _of_dataset(path: Path) -> Target:
    return Target(path.parent, _beside(path, FLOW_SUFFIX), path)


def _beside(path: Path, suffix: str) -> Path | None:
    other = path.with_suffix(suffix)
    return other if other.exists() else None


def _subfolders(path: Path) -> list[Path]:
    try:
        with os.scandir(path) as entries:
            return [Path(entry.path) for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    except OSError:
        return []
