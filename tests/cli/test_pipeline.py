"""``pipeline.py:flow``: what the name may be, and how options win over it."""

from __future__ import annotations

import click
import pytest

from dflow.cli.main import Failure
from dflow.cli.pipeline import Overrides, load_flow, split_target
from dflow.errors import SettingError


@pytest.mark.parametrize(
    ("attribute", "name", "n_tasks"),
    [
        ("flow", "parts", 2),
        ("make", "made", 2),
        ("tasks", "pipeline", 2),
        ("encode", "pipeline", 1),
        ("Places.flow", "made", 2),
    ],
)
def test_a_flow_comes_from_flows_functions_lists_and_tasks(pipeline, tmp_path, monkeypatch, attribute, name, n_tasks):
    monkeypatch.chdir(tmp_path)
    flow = load_flow(f"{pipeline}:{attribute}", Overrides())
    assert flow.name == name
    assert len(flow.settings.tasks) == n_tasks


def test_the_only_flow_of_a_file_needs_no_name(pipeline):
    assert load_flow(str(pipeline), Overrides()).name == "parts"


def test_a_file_may_be_named_like_a_module_of_python(pipeline):
    other = pipeline.with_name("queue.py")
    other.write_text(pipeline.read_text())
    flow = load_flow(f"{other}:flow", Overrides())
    assert flow.settings.tasks[0].function.__module__ == "pipeline_queue"


def test_options_win_over_the_file(pipeline, tmp_path):
    overrides = Overrides(
        name="other",
        out=str(tmp_path / "elsewhere"),
        workers=3,
        cluster="local",
        debug=False,
        sample="body",
        timeout_seconds=7.0,
        memory_limit="2GB",
        max_retries=0,
        max_failures=0.5,
        export=False,
        previews=True,
    )
    settings = load_flow(f"{pipeline}:flow", overrides).settings
    assert settings.paths.root == tmp_path / "elsewhere" / "flows" / "other"
    assert (settings.max_workers, settings.cluster, settings.debug) == (3, "local", False)
    assert (settings.sample, settings.export, settings.previews, settings.max_failures) == ("body", False, True, 0.5)
    limits = settings.limits
    assert (limits.timeout_seconds, limits.memory_bytes, limits.max_retries) == (7.0, 2_000_000_000, 0)
    untouched = load_flow(f"{pipeline}:flow", Overrides()).settings
    assert (untouched.paths.root, untouched.debug) == (tmp_path / "out" / "flows" / "parts", True)


def test_impossible_settings_are_dflow_errors(pipeline):
    with pytest.raises(SettingError, match="memory_limit='much'"):
        load_flow(f"{pipeline}:flow", Overrides(memory_limit="much"))
    with pytest.raises(SettingError, match="names its files"):
        load_flow(f"{pipeline}:flow", Overrides(name="a/b"))


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("{}:nothing", "has no nothing; it has gather, encode, stop, flow"),
        ("{}:number", "is int; expected a Flow"),
        ("/nowhere/p.py:flow", "There is no file /nowhere/p.py"),
        ("no_such_module:flow", "There is no file or module no_such_module"),
    ],
)
def test_what_is_no_flow_is_wrong_usage(pipeline, target, shown):
    with pytest.raises(click.UsageError) as error:
        load_flow(target.format(pipeline), Overrides())
    assert shown in error.value.message


def test_several_flows_must_be_told_apart(pipeline):
    pipeline.write_text(pipeline.read_text() + "\nsecond = make()\n")
    with pytest.raises(click.UsageError, match="has not exactly one flow") as error:
        load_flow(str(pipeline), Overrides())
    assert "flow, second" in error.value.message


@pytest.mark.parametrize("code", ["1 / 0", "import sys; sys.exit(4)", "def f(:"])
def test_a_file_that_raises_shows_where(tmp_path, code, monkeypatch):
    path = tmp_path / "bad.py"
    path.write_text(code + "\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(Failure) as error:
        load_flow(f"{path}:flow", Overrides())
    assert "raised while it was loaded" in error.value.message
    assert str(path) in error.value.message


def test_a_function_that_raises_shows_where(pipeline):
    with pytest.raises(Failure, match="not today"):
        load_flow(f"{pipeline}:broken", Overrides())


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        ("a/p.py:flow", ("a/p.py", "flow")),
        ("package.module:Places.flow", ("package.module", "Places.flow")),
        ("a/p.py", ("a/p.py", "")),
        ("C:\\work\\p.py", ("C:\\work\\p.py", "")),
        ("12:30/p.py:flow", ("12:30/p.py", "flow")),
        ("12:p.py", ("12:p.py", "")),
    ],
)
def test_a_target_is_a_file_and_a_name(target, parts):
    assert split_target(target) == parts
