"""Users' functions on their way to other processes."""

from __future__ import annotations

import functools
import importlib
import pickle
import subprocess
import sys
import textwrap
import threading

import cloudpickle
import pytest

from dflow.cadaccess.kernel.check import require_kernel
from dflow.errors import TaskDefinitionError
from dflow.flowmanager.history.fingerprint import fingerprint
from dflow.flowmanager.run.functions import pack_function, pack_here


def test_modules_that_workers_cannot_import_travel_by_value(tmp_path, monkeypatch):
    (tmp_path / "user_helpers_x.py").write_text("FACTOR = 3\ndef scale(x):\n    return x * FACTOR\n")
    (tmp_path / "user_tasks_x.py").write_text(
        "from user_helpers_x import scale\ndef task(x):\n    return scale(x) + 1\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    module = importlib.import_module("user_tasks_x")
    modules = fingerprint([module.task], {}).modules
    assert set(modules) == {"user_tasks_x", "user_helpers_x"}
    data = pack_function(module.task, modules, "task")
    code = "import pickle, sys; print(pickle.loads(bytes.fromhex(sys.argv[1]))(2))"
    done = subprocess.run([sys.executable, "-c", code, data.hex()], cwd="/", capture_output=True, text=True, check=True)
    assert done.stdout == "7\n"
    assert not cloudpickle.list_registry_pickle_by_value()
    for name in modules:
        del sys.modules[name]


def test_what_cannot_travel_is_an_error_that_says_what_to_do():
    lock = threading.Lock()

    def task(x):
        with lock:
            return x

    with pytest.raises(TaskDefinitionError, match=r"Task 'task' uses something .*lock.*debug=True"):
        pack_function(task, (), "task")


@functools.cache
def cached(number):
    return {"n": number}


@functools.lru_cache(maxsize=7, typed=True)
def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


@functools.singledispatch
def kind_of(value):
    return "something"


@kind_of.register
def _(value: int):
    return "a number"


class Cached:
    @functools.cached_property
    def once(self):
        return 5

    @functools.cache  # noqa: B019 - users do it
    def method(self):
        return 6


def unpacked_elsewhere(function, *arguments):
    """What a function of this module returns in a process that cannot import the module."""
    data = pack_function(function, [__name__], "task")
    code = "import pickle, sys; print(pickle.loads(bytes.fromhex(sys.argv[1]))(*map(int, sys.argv[2:])))"
    command = [sys.executable, "-P", "-c", code, data.hex(), *map(str, arguments)]
    return subprocess.run(command, cwd="/", capture_output=True, text=True, check=True).stdout.strip()


def test_cached_and_dispatched_functions_travel_with_the_module_they_are_defined_in():
    cached(1)
    assert unpacked_elsewhere(lambda n: (cached(n), cached.cache_info().currsize), 2) == "({'n': 2}, 1)"
    assert unpacked_elsewhere(lambda n: (fibonacci(n), fibonacci.cache_parameters()), 30) == (
        "(832040, {'maxsize': 7, 'typed': True})"
    )
    assert unpacked_elsewhere(lambda n: (kind_of(n), kind_of("n")), 1) == "('a number', 'something')"
    assert unpacked_elsewhere(lambda n: (Cached().once, Cached().method()), 1) == "(5, 6)"


def test_a_cached_function_of_a_library_stays_a_reference():
    data = pack_function(lambda: require_kernel, (), "task")
    assert pickle.loads(data)() is require_kernel


class ByName:
    """An object that is pickled as the name under which a function has it."""

    def __init__(self):
        self.__module__, self.__qualname__ = __name__, "define.<locals>.by_name"

    def __reduce__(self):
        return self.__qualname__


def test_other_objects_that_are_pickled_by_name_are_refused_at_the_start():
    by_name = ByName()
    with pytest.raises(TaskDefinitionError, match=r"by_name' is pickled by its name only.*create it inside"):
        pack_function(lambda: by_name, (), "task")


def test_here_the_function_itself_comes_back():
    seen = []

    def task(x):
        seen.append(x)

    assert pickle.loads(pack_here(task)) is task
    assert pack_here(task) == pack_here(task)


def test_tasks_of_a_main_module_run_on_the_cluster(tmp_path):
    script = tmp_path / "main.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import dflow
            from dflow.flowmanager import flowtask
            OFFSET = 5
            class Part:
                def __init__(self, n): self.n = n + OFFSET
            @flowtask.transform(inputs=["part"])
            def task(part): return Part(part)
            @flowtask.custom(inputs=["task"])
            def read(part): return part.n
            flow = dflow.create_flow("m", [task, read], {str(tmp_path)!r}, max_workers=1, export_visualization=False)
            output, _, _ = flow.process(inputs={{"parts": [1, 2]}}, progress=False)
            print(output.task_instances[1].results)
            """
        )
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=200, check=False)
    assert done.stdout == "[6, 7]\n", done.stderr
