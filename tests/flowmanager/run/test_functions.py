"""Users' functions on their way to other processes."""

from __future__ import annotations

import importlib
import pickle
import subprocess
import sys
import textwrap
import threading

import cloudpickle
import pytest

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
