"""The group itself: quick help, exit codes, errors on one harmless line."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from dflow.cli.main import COMMANDS, LazyGroup, main
from dflow.errors import FlowCancelledError, UnknownKeyError
from tests.cli.programs import invoke

HEAVY = ("numpy", "dask", "distributed", "zarr", "xarray", "pandas", "pyarrow", "rich", "bokeh", "vtkmodules", "OCP")


def test_help_lists_every_command_and_loads_no_heavy_library():
    program = (
        "import sys\nfrom dflow.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as end:\n    assert not end.code\n"
        f"assert not [name for name in {HEAVY!r} if name in sys.modules], sorted(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    for name in COMMANDS:
        assert f"\n  {name} " in done.stdout
    assert "Exit codes:" in done.stdout
    assert "..." not in done.stdout.partition("Commands:")[2]


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help_with_examples(name):
    result = invoke(name, "--help")
    assert result.exit_code == 0
    assert "Example" in result.output
    assert f"dflow {name}" in result.output


@pytest.mark.parametrize(("value", "color"), [(None, None), ("", None), ("1", False)])
def test_no_color_is_heeded(monkeypatch, value, color):
    """The commands' texts go through click, which takes colours out where its context says so."""
    seen = []

    @click.command()
    @click.pass_context
    def shout(ctx):
        seen.append(ctx.color)

    monkeypatch.setattr(LazyGroup, "get_command", lambda *_: shout)
    monkeypatch.delenv("NO_COLOR", raising=False)
    if value is not None:
        monkeypatch.setenv("NO_COLOR", value)
    assert invoke("shout").exit_code == 0
    assert seen == [color]


def test_wrong_usage_is_exit_code_two():
    assert invoke("nonsense").exit_code == 2
    assert invoke("run").exit_code == 2
    assert invoke("info", "/nowhere/\x1b[2J").exit_code == 2
    assert "\x1b" not in invoke("info", "/nowhere/\x1b[2J").output


@pytest.fixture
def raising(monkeypatch):
    """A command that raises what it is told."""
    raised: list[BaseException] = []

    @click.command()
    def command():
        raise raised[0]

    monkeypatch.setattr(LazyGroup, "get_command", lambda *_: command)
    return raised


@pytest.mark.parametrize(
    ("error", "code", "shown"),
    [
        (UnknownKeyError("no group 'x\x1b[2J'\nhere"), 1, r"dflow: no group 'x\x1b[2J'\nhere"),
        (PermissionError(13, "Permission denied", "/data\x07"), 1, r"dflow: [Errno 13] Permission denied: '/data\x07'"),
        (FlowCancelledError("enough"), 130, "interrupted"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_errors_are_one_harmless_line_and_a_code(raising, error, code, shown):
    raising.append(error)
    result = invoke("anything")
    assert result.exit_code == code
    assert shown in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stdout == ""


def test_an_unexpected_error_shows_its_traceback_without_escape_sequences(raising):
    raising.append(RuntimeError("surprise \x1b[2J"))
    result = invoke("anything")
    assert result.exit_code == 1
    assert "Traceback" in result.stderr
    assert r"surprise \x1b[2J" in result.stderr


def test_main_exits_with_the_code():
    with pytest.raises(SystemExit) as end:
        main(["info", "/nowhere"])
    assert end.value.code == 2


def test_python_dash_m_is_the_same_command_line():
    done = subprocess.run([sys.executable, "-m", "dflow", "--version"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.split()[0]) == (0, "dflow,")
