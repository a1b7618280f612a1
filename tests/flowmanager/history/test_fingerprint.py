"""The pipeline's fingerprint: sees every change of the user's own code and constants, and nothing else."""

from __future__ import annotations

import importlib
import sys
import textwrap

import pytest

from dflow.flowmanager.history.fingerprint import changes, fingerprint, versions

HELPERS = """
    SCALE = 2.0
    UNUSED = 1

    def scale(x):
        return x * SCALE
"""

TASKS = """
    import numpy as np
    import {helpers}
    from {helpers} import scale
    from dflow.flowmanager import flowtask

    LABELS = {{"a": [1, 2], "b": (3, None)}}
    TABLE = np.arange(6).reshape(2, 3)
    HANDLE = None

    class Reader:
        factor = 3

        def read(self, path):
            return LABELS, self.factor

    @flowtask.transform(name="encode")
    def encode(path, storage=None, power=2):
        # a comment
        local = lambda y: scale(y) ** power
        return Reader().read(path), local(TABLE), {helpers}.SCALE
"""


class Project:
    """A user's two modules on disk, which can be edited and imported anew."""

    def __init__(self, folder, tag):
        self.folder, self.helpers_name, self.tasks_name = folder, f"fp_helpers_{tag}", f"fp_tasks_{tag}"
        self.helpers, self.tasks = HELPERS, TASKS.format(helpers=self.helpers_name)

    def read(self):
        for name, text in ((self.helpers_name, self.helpers), (self.tasks_name, self.tasks)):
            (self.folder / f"{name}.py").write_text(textwrap.dedent(text))
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        module = importlib.import_module(self.tasks_name)
        return fingerprint([module.encode], {"sample": "file"})


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    project = Project(tmp_path, tmp_path.name.replace("-", "_"))
    yield project
    for name in (project.helpers_name, project.tasks_name):
        sys.modules.pop(name, None)


def test_reading_twice_gives_the_same(project):
    first = project.read()
    assert project.read() == first
    assert set(first.modules) == {project.helpers_name, project.tasks_name}
    assert first.unknown == ()


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("SCALE = 2.0", "SCALE = 2.5", "SCALE"),
        ("return x * SCALE", "return SCALE * x", "scale"),
        ('"b": (3, None)', '"b": (3, 4)', "LABELS"),
        ("np.arange(6)", "np.arange(1, 7)", "TABLE"),
        ("factor = 3", "factor = 4", "Reader"),
        ("power=2", "power=3", "encode"),
        ("** power", "* power", "encode"),
        ('name="encode"', 'name="encode2"', "encode2"),
    ],
)
def test_changes_of_what_the_task_reaches_are_seen_and_named(project, old, new, named):
    first = project.read()
    assert old in project.helpers + project.tasks
    project.helpers = project.helpers.replace(old, new)
    project.tasks = project.tasks.replace(old, new)
    second = project.read()
    assert second.digest != first.digest
    assert any(named in change for change in changes(dict(first.parts), dict(second.parts)))


@pytest.mark.parametrize(
    ("old", "new"), [("# a comment", "# another"), ("UNUSED = 1", "UNUSED = 2"), ("x * SCALE", "x  *  SCALE")]
)
def test_comments_layout_and_unreached_constants_do_not_matter(project, old, new):
    first = project.read()
    project.helpers = project.helpers.replace(old, new)
    project.tasks = project.tasks.replace(old, new)
    assert project.read().digest == first.digest


def test_what_cannot_be_read_is_reported(project):
    project.tasks = project.tasks.replace("HANDLE = None", "HANDLE = object()").replace("# a comment", "print(HANDLE)")
    (unknown,) = project.read().unknown
    assert "HANDLE" in unknown


def test_functions_without_source_count_by_their_bytecode():
    def made(text):
        scope: dict = {}
        exec(text, scope)
        return scope["f"]

    one = fingerprint([made("def f(x): return x + 1")], {})
    assert one == fingerprint([made("def f(x): return x + 1")], {})
    assert one.digest != fingerprint([made("def f(x): return x + 2")], {}).digest


def test_closures_and_parameters_count():
    def make(n):
        def inner(x):
            return x + n

        return inner

    assert fingerprint([make(1)], {}).digest != fingerprint([make(2)], {}).digest
    assert fingerprint([make(1)], {}).digest == fingerprint([make(1)], {}).digest
    assert fingerprint([make(1)], {"sample": "file"}).digest != fingerprint([make(1)], {"sample": "body"}).digest


def test_objects_that_refer_to_themselves_end():
    class Node:
        pass

    node = Node()
    node.me = node

    def task(x):
        return node

    assert fingerprint([task], {}).digest == fingerprint([task], {}).digest


def test_versions_name_the_kernel():
    assert set(versions()) == {"dflow", "cadquery-ocp"}
    assert versions()["cadquery-ocp"] != "absent"
