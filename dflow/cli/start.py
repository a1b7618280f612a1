"""``dflow start``: from a folder of CAD files to a pipeline of one's own, a first dataset and the explorer."""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import shlex
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from dflow.cli.main import EXIT_SOME_FAILED
from dflow.cli.output import echo
from dflow.cli.pipeline import DEFAULT_OUT, Overrides, load_flow
from dflow.plaintext import plain

if TYPE_CHECKING:
    from dflow.cadaccess.files.survey import FolderSurvey
    from dflow.flowmanager.flow import Flow

N_SAMPLE = 20
_MOST_NAMES = 6
_UNITS = ("bytes", "kB", "MB", "GB", "TB")

_LABEL_SCHEMA = """builder = SchemaBuilder(domain="parts", version="1.0")
builder.define_categorical_metadata("category", "str", "The folder that the file lies in")
SCHEMA = builder.build()


"""

_PIPELINE = '''"""Build a dataset from CAD files."""

# Run it:    dflow run {file} --sources {folder}
# On Slurm:  dflow run {file} --sources {folder} --cluster slurm

{imports}
{schema}@flowtask.transform(name="encode", inputs=["cad_file", "cad_loader", "storage"], outputs=["encoded"])
def encode(cad_file, cad_loader, storage):
    """Encode one file: attributes of faces and edges, their graph, and grids of points ("uvnet")."""
    brep = cad_loader.create_from_file(cad_file).get_brep()
{set_schema}    BrepEncoder(brep, storage).encode("uvnet")
{save_label}    storage.compress_store()
    return storage.get_file_path("")


flow = create_flow(name={name}, tasks=[gather_cad_files, encode], flows_outputdir={out})
'''


@click.command(short_help="Look at a folder of CAD files and build a first dataset from it.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--all", "take_all", is_flag=True, help=f"Work on all files; {N_SAMPLE} of them if not given.")
@click.option(
    "--pipeline", default="pipeline.py", show_default=True, help="The file to write; one that exists is kept."
)
@click.option("--out", default=DEFAULT_OUT, show_default=True, help="Write the outputs below this folder.")
@click.option(
    "--workers", default=None, type=click.IntRange(min=1), help="Worker processes; one per core if not given."
)
@click.option(
    "--open/--no-open", "open_browser", default=None, help="Open the explorer at the end.  [default: on a terminal]"
)
@click.option("--port", default=5006, show_default=True, type=click.IntRange(0, 65535), help="0 takes any free one.")
@click.pass_context
def start(
    ctx: click.Context,
    folder: Path,
    take_all: bool,
    pipeline: str,
    out: str,
    workers: int | None,
    open_browser: bool | None,
    port: int,
) -> None:
    """Look at a folder of CAD files, write a pipeline to keep and edit, run it on 20 of the files, open the explorer.

    Says what lies in the folder: formats, sizes, copies, broken files, and subfolders that look like classes. The
    pipeline is an ordinary Python file; `dflow run` runs it later, here or on a queue.

    \b
    Examples:
      dflow start parts/
      dflow start parts/ --all --workers 8
      dflow start parts/ --pipeline mine.py --no-open
    """
    from dflow.cadaccess.files.survey import survey_folder

    folder, file = folder.expanduser(), Path(pipeline).expanduser()
    if folder.is_file():
        raise click.UsageError(f"{plain(folder)} is a file; give the folder that it lies in: {plain(folder.parent)}")
    if file.suffix != ".py" or not file.absolute().parent.is_dir():
        message = f"{plain(file)}: give the name of a .py file in a folder that exists."
        raise click.BadParameter(message, param_hint="--pipeline")
    survey = survey_folder(folder)
    _describe(survey)
    if not survey.files:
        raise click.UsageError(
            f"{folder} holds no STEP, IGES or BREP file. Give the folder that they lie in, or see one work: dflow demo"
        )
    _provide_pipeline(file, survey, folder=str(folder), out=out)
    sources = list(survey.files) if take_all else sample_files(survey.files)
    own_out = ctx.get_parameter_source("out") is ParameterSource.COMMANDLINE
    flow = load_flow(str(file), Overrides(workers=workers, out=out if own_out else None))
    _refuse_other_sources(flow, survey.folder, str(file))
    echo(
        f"It runs on {len(sources):,} of {len(survey.files):,} files; the first ones take longer, while workers start."
    )
    output, summary, flow_file = flow.process({"sources": sources})
    failed, samples = output.counts.failed, int(summary["samples"])
    _lead_on(flow_file, folder=str(folder), file=str(file), samples=samples, is_all=len(sources) == len(survey.files))
    if failed:
        _advise(f"{_count(failed, 'file')} failed. Why, and what to do:", f"dflow errors {shlex.quote(flow_file)}")
    if not samples:
        ctx.exit(EXIT_SOME_FAILED)
    if open_browser if open_browser is not None else sys.stdout.isatty():
        from dflow.insights.explore import serve

        serve(flow_file, port, open_browser=True)
    else:
        _advise("Look at it:", f"dflow explore {shlex.quote(flow_file)} --open")
    ctx.exit(EXIT_SOME_FAILED if failed else 0)


def _provide_pipeline(file: Path, survey: FolderSurvey, *, folder: str, out: str) -> None:
    """Write the pipeline where there is none.

    Raises
    ------
    click.UsageError
        If the file is there and has nothing to do with dflow.
    """
    if not file.exists():
        file.write_text(pipeline_text(survey, file=str(file), folder=folder, out=out), encoding="utf-8")
        echo(f"{file} is written: the pipeline, yours to edit.")
    elif "dflow" in file.read_text(encoding="utf-8", errors="replace"):
        echo(f"{file} is there already and is used as it is; for a new one: --pipeline OTHER.py")
    else:
        raise click.UsageError(f"{plain(file)} is no pipeline of dflow; have another one written: --pipeline OTHER.py")


def _refuse_other_sources(flow: Flow, folder: str, file: str) -> None:
    """Refuse to replace the dataset that the same flow made of other folders.

    Raises
    ------
    click.UsageError
        If the flow was last run on files outside of `folder`.
    """
    from dflow.flowmanager.run.inputs import remembered_inputs

    remembered = remembered_inputs(flow.settings.paths) or {}
    sources = [source for value in remembered.values() for source in (value if isinstance(value, list) else [value])]
    paths = [source for source in sources if isinstance(source, str) and os.path.isabs(source)]
    others = [path for path in paths if not (_lies_in(path, folder) or _lies_in(folder, path))]
    if others:
        raise click.UsageError(
            f"The flow {plain(flow.settings.paths.name)!r} of {plain(file)} was run on other files, such as "
            f"{plain(others[0])}; their dataset would be replaced. Have a pipeline written for this folder: "
            f"dflow start {plain(shlex.quote(folder))} --pipeline OTHER.py"
        )


def _lies_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _describe(survey: FolderSurvey) -> None:
    """Print what lies in the folder."""
    formats = ", ".join(f"{n:,} {kind.name.replace('_', ' ')}" for kind, n in survey.formats.items())
    echo(f"{survey.folder}: {_count(len(survey.files), 'CAD file')}{f' ({formats})' if formats else ''}")
    if survey.files:
        sizes = sorted(survey.n_bytes)
        low, middle, high = (size_text(sizes[i]) for i in (0, len(sizes) // 2, -1))
        echo(f"  sizes          {low} to {high}, half of them below {middle}; {size_text(sum(sizes))} in all")
    if survey.labels:
        echo(f"  subfolders     {_names(survey.labels)}: the pipeline keeps the folder's name as the label 'category'")
    if survey.copies:
        n = sum(len(paths) - 1 for paths in survey.copies)
        first, second = (os.path.relpath(path, survey.folder) for path in survey.copies[0][:2])
        echo(f"  copies         {_count(n, 'file')} with the same bytes as another ({second} as {first});")
        echo("                 keep them on one side of a split: loader.split(..., group_by='content_hash')")
    if survey.broken:
        path, reason = survey.broken[0]
        example = os.path.relpath(path, survey.folder)
        echo(f"  not readable   {_count(len(survey.broken), 'file')}, such as {example}: {reason};")
        echo("                 with --all they are recorded as failed, and `dflow errors` lists them")
    if survey.others:
        echo(f"  other files    {_names(survey.others)}: left out")


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def _names(numbers: dict[str, int]) -> str:
    """The first names of a count, ``a (3), b (2), …``."""
    shown = [f"{name} ({n:,})" for name, n in list(numbers.items())[:_MOST_NAMES]]
    return ", ".join(shown) + (f", … {len(numbers):,} in all" if len(numbers) > _MOST_NAMES else "")


def size_text(n_bytes: int) -> str:
    """Return a size for people: ``999 bytes``, ``1.2 MB``."""
    size = float(n_bytes)
    for unit in _UNITS:
        if size < 1000 or unit == _UNITS[-1]:
            return f"{size:.0f} {unit}" if unit == "bytes" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError(n_bytes)


def pipeline_text(survey: FolderSurvey, *, file: str, folder: str, out: str) -> str:
    """Return the pipeline's source, with a label where the folder has classes."""
    labelled = bool(survey.labels)
    names = ["BrepEncoder", *(["SchemaBuilder"] if labelled else []), "create_flow", "flowtask", "gather_cad_files"]
    imports = f"from dflow import {', '.join(names)}\n"
    if labelled:
        imports = f"from pathlib import Path\n\n{imports}"
    return _PIPELINE.format(
        file=shlex.quote(file).replace("\n", "?"),
        folder=shlex.quote(folder).replace("\n", "?"),
        imports=imports,
        schema=_LABEL_SCHEMA if labelled else "\n",
        set_schema="    storage.set_schema(SCHEMA)\n" if labelled else "",
        save_label='    storage.save_metadata("category", Path(cad_file).parent.name)\n' if labelled else "",
        name=json.dumps(_free_name(survey.folder, out), ensure_ascii=False),
        out=json.dumps(out, ensure_ascii=False),
    )


def _free_name(folder: str, out: str) -> str:
    """Return the folder's name as a flow's, with a number where a flow of that name has outputs already."""
    from dflow.storage.paths import FlowPaths

    name = re.sub(r"\W+", "_", Path(folder).name).strip("_") or "parts"
    numbered = (name if number == 1 else f"{name}_{number}" for number in itertools.count(1))
    return next(free for free in numbered if not FlowPaths.of(out, free).root.exists())


def sample_files(files: tuple[str, ...], n_files: int = N_SAMPLE) -> list[str]:
    """Return up to `n_files` of the files, drawn from all folders in turn; the same ones each time."""
    by_folder: dict[str, list[str]] = defaultdict(list)
    for path in files:
        by_folder[os.path.dirname(path)].append(path)
    rng = random.Random(0)
    for paths in by_folder.values():
        rng.shuffle(paths)
    turns = [(turn, folder, path) for folder, paths in by_folder.items() for turn, path in enumerate(paths)]
    return sorted(path for _, _, path in sorted(turns)[:n_files])


def _lead_on(flow_file: str, *, folder: str, file: str, samples: int, is_all: bool) -> None:
    """Print what came of it and the next commands."""
    quoted, source = shlex.quote(file), shlex.quote(folder)
    if not samples:
        echo("No file came through, so there is no dataset.")
        return
    _advise(f"The dataset has {_count(samples, 'sample')}. What it holds:", f"dflow info {shlex.quote(flow_file)}")
    if not is_all:
        _advise(
            f"Edit {file}, then work on all files; what is done and unchanged is reused:",
            f"dflow run {quoted} --sources {source}",
        )
    _advise("On a queue:", f"dflow run {quoted} --sources {source} --cluster slurm")


def _advise(what: str, command: str) -> None:
    """Print a sentence and the command that it leads to."""
    echo(what)
    echo(f"  {command}")
