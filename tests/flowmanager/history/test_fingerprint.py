"""The pipeline's fingerprint: sees every change of the user's own code and constants, and nothing else."""

from __future__ import annotations

import importlib
import linecache
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


REACHED = {
    "a module imported as the task runs": ("import lazy", "lazy.f()", {"lazy.py": "def f(): return 1"}),
    "a name imported as the task runs": ("from lazy import f", "f()", {"lazy.py": "def f(): return 1"}),
    "what such a module imports": (
        "from lazy import f",
        "f()",
        {"lazy.py": "from lazier import f", "lazier.py": "def f(): return 1"},
    ),
    "a package's module, by its dots": (
        "from lazy.one import f",
        "f()",
        {
            "lazy/__init__.py": "",
            "lazy/one.py": "def f():\n    from .two import g\n    return g()",
            "lazy/two.py": "def g(): return 1",
        },
    ),
    "a package's own file": ("import lazy.one", "lazy.K", {"lazy/__init__.py": "K = 1", "lazy/one.py": ""}),
    "a module of a package's members": (
        "from lazy import one",
        "one.f()",
        {"lazy/__init__.py": "", "lazy/one.py": "def f(): return 1"},
    ),
}


def lazily(folder, monkeypatch, statement, call, files):
    """The fingerprint of a task with that import inside, each time as in a new process."""
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    for name in [name for name in sys.modules if name.startswith("laz")]:
        monkeypatch.delitem(sys.modules, name)
    importlib.invalidate_caches()
    (folder / "lazy_task.py").write_text(f"def task(x):\n    import json\n    {statement}\n    return {call}\n")
    return importlib.import_module("lazy_task").task


@pytest.mark.parametrize("what", REACHED)
def test_modules_that_are_imported_as_a_task_runs_count_before_they_are(tmp_path, monkeypatch, what):
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    statement, call, files = REACHED[what]
    task = lazily(tmp_path, monkeypatch, statement, call, files)
    first = fingerprint([task], {})
    assert set(sys.modules) & {name.partition(".")[0].partition("/")[0] for name in files} == set(), "nothing is run"
    assert task(0) == 1
    assert fingerprint([task], {}) == first, "whether it is loaded does not matter"
    commented = {name: text + "  # a comment" for name, text in files.items()}
    assert fingerprint([lazily(tmp_path, monkeypatch, statement, call, commented)], {}) == first
    changed = {name: text.replace("1", "2") for name, text in files.items()}
    second = fingerprint([lazily(tmp_path, monkeypatch, statement, call, changed)], {})
    assert any("module laz" in each for each in changes(dict(first.parts), dict(second.parts)))
    assert "" != first.imports != second.imports
    assert not any("json" in name for name, _ in first.parts)


OTHER_WAYS = {
    "a wrapper": """
        import functools
        def one_more(g):
            @functools.wraps(g)
            def wrapper():
                return g() + 1
            return wrapper
        @one_more
        def f():
            return 7
        """,
    "what a wrapper reaches": """
        import functools
        STEP = 1
        def one_more(g):
            @functools.wraps(g)
            def wrapper():
                return g() + STEP
            return wrapper
        @one_more
        def f():
            return 7
        """,
    "a compiled function": """
        import numba
        @numba.njit
        def f():
            return 1
        """,
    "a function chosen by type": """
        import functools
        @functools.singledispatch
        def by_type(x):
            return 0
        @by_type.register
        def _(x: int):
            return 1
        def f():
            return by_type(3)
        """,
}


@pytest.mark.parametrize("what", OTHER_WAYS)
def test_functions_that_are_reached_in_other_ways_count(tmp_path, monkeypatch, what):
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def read(text):
        (tmp_path / "lazy_helpers.py").write_text(textwrap.dedent(text))
        (tmp_path / "lazy_task.py").write_text("from lazy_helpers import f\ndef task(x):\n    return f()\n")
        for name in ("lazy_helpers", "lazy_task"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        importlib.invalidate_caches()
        linecache.clearcache()
        return fingerprint([importlib.import_module("lazy_task").task], {})

    text = OTHER_WAYS[what]
    first = read(text)
    assert first == read(text)
    assert first.unknown == ()
    assert first.digest != read(text.replace("1", "2")).digest


def test_a_module_of_a_package_counts_by_its_dots(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "lazy_package").mkdir()
    (tmp_path / "lazy_package" / "__init__.py").write_text("")
    (tmp_path / "lazy_task.py").write_text("import lazy_package.one\ndef task(x):\n    return lazy_package.one.f()\n")

    def read(number):
        (tmp_path / "lazy_package" / "one.py").write_text(f"import lazy_package\ndef f():\n    return {number}\n")
        for name in ("lazy_task", "lazy_package", "lazy_package.one"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        importlib.invalidate_caches()
        return fingerprint([importlib.import_module("lazy_task").task], {})

    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert read(1) == read(1)
    assert read(1).digest != read(2).digest


EDITED = """
class Reader:
    def read(self):
        return 1

    @property
    def size(self):
        return 2

def outer(x):
    return x + 3

def task(x):
    return Reader().read() + Reader().size + outer(x)
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [("return 1", "return 4"), ("return 2", "return 4"), ("x + 3", "x + 4"), ("\nclass", "\n\n\nclass")],
)
def test_what_is_loaded_counts_not_what_its_file_says_by_now(tmp_path, monkeypatch, old, new):
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def load(text):
        monkeypatch.delitem(sys.modules, "edited_task", raising=False)
        (tmp_path / "edited_task.py").write_text(text)
        importlib.invalidate_caches()
        return importlib.import_module("edited_task").task

    task = load(EDITED)
    before = fingerprint([task], {})
    assert before.unknown == ()
    (tmp_path / "edited_task.py").write_text(EDITED.replace(old, new) + "# longer\n")
    meanwhile = fingerprint([task], {})
    assert meanwhile == fingerprint([task], {})
    assert "edited after it was loaded" in meanwhile.unknown[0]
    after = fingerprint([load(EDITED.replace(old, new) + "# longer\n")], {})
    assert after.unknown == ()
    assert meanwhile.digest != after.digest, "or what the old code made would be taken for the new code's"
    assert (before.digest == after.digest) == (new.strip() == "class")


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
