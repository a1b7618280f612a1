"""Compiled loops: what they may refer to, and that they stay within their arrays."""

from __future__ import annotations

import importlib
import os
import pkgutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
import pytest
from numba.core.dispatcher import Dispatcher

import dflow
from dflow.compiled import arguments, compiled, record

ROOT = Path(dflow.__file__).parent


def _modules() -> list[str]:
    """Modules with compiled functions."""
    names = [module.name for module in pkgutil.walk_packages([str(ROOT)], "dflow.")]
    sources = {name: ROOT.parent.joinpath(*name.split(".")).with_suffix(".py") for name in names}
    return [name for name, path in sources.items() if path.is_file() and "import compiled" in path.read_text()]


@pytest.mark.parametrize("name", _modules())
def test_a_kernel_refers_to_kernels_and_numbers_only(name):
    """Kept machine code is dropped when one of these changes, and not when anything else does."""
    module = importlib.import_module(name)
    kernels = [value for value in vars(module).values() if isinstance(value, Dispatcher)]
    assert kernels
    for kernel in kernels:
        for used in kernel.py_func.__code__.co_names:
            known = kernel.py_func.__globals__.get(used)
            foreign = isinstance(known, ModuleType) and known.__name__.partition(".")[0] != "dflow"
            assert known is None or foreign or isinstance(known, (Dispatcher, int, float, tuple)), (
                f"{kernel.py_func.__name__} refers to {used}"
            )


LOW = """
from dflow.compiled import compiled, inlined

OFFSET = 30.0


@compiled()
def low(x):
    return 2 * x


@inlined
def written(x):
    return 3 * x
"""

MIDDLE = """
from dflow.compiled import compiled
from kernels.low import low, written


@compiled()
def middle(x):
    return low(x) + written(x)
"""

TOP = """
from dflow.compiled import compiled
from kernels.low import OFFSET
from kernels.middle import middle


@compiled("float64(float64)")
def top(x):
    return middle(x) + OFFSET
"""


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("2 * x", "5 * x", 8 * 12.0 + 30.0),
        ("3 * x", "6 * x", 8 * 12.0 + 30.0),
        ("OFFSET = 30.0", "OFFSET = 31.0", 5 * 12.0 + 31.0),
    ],
)
def test_an_edited_callee_in_another_module_is_noticed(tmp_path, old, new, wanted):
    """Also one that is called by a callee, one that is written into it, and a number."""
    folder = tmp_path / "kernels"
    folder.mkdir()
    for name, source in (("__init__", ""), ("low", LOW), ("middle", MIDDLE), ("top", TOP)):
        (folder / f"{name}.py").write_text(source)
    assert _call_top(tmp_path) == (90.0, 0)
    assert _call_top(tmp_path) == (90.0, 1)  # kept
    assert old in LOW
    (folder / "low.py").write_text(LOW.replace(old, new))
    assert _call_top(tmp_path) == (wanted, 0)
    assert _call_top(tmp_path) == (wanted, 1)


def _call_top(folder: Path) -> tuple[float, int]:
    """What the kernel gives in a process of its own, and how often its kept code was used."""
    code = "from kernels.top import top; print(top(12.0), sum(top.stats.cache_hits.values()))"
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder / "kept"), "PYTHONDONTWRITEBYTECODE": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(folder), str(ROOT.parent)])
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    value, hits = done.stdout.split()
    return float(value), int(hits)


def test_there_are_kernels():
    assert "dflow.render.raster" in _modules()


@pytest.mark.parametrize("statement", ["import dflow.flowmanager.flow", "from dflow.cadaccess import CadLoader"])
def test_numba_is_loaded_by_those_who_draw_only(statement):
    code = f"{statement}; import sys; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


DRAW = """
import numpy as np
from dflow.render import passes
box = np.array([[np.inf] * 3, [-np.inf] * 3])
passes.widen(np.eye(3), np.array([[1, 2, 3], [4, 5, 6]], np.float32), box)
assert box.tolist() == [[1, 2, 3], [4, 5, 6]]
"""


NOWHERE = """
from numba.core.caching import CacheImpl
CacheImpl._locator_classes = []
"""
"""As on a machine where neither the package's folder nor the user's can be written."""


def _draw(cache: Path, before: str = "") -> str:
    """What a process says that keeps machine code in a folder; it must end well."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    done = subprocess.run(
        [sys.executable, "-c", before + DRAW], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_kernels_do_without_a_place_to_keep_them(tmp_path):
    assert "machine code of widen is not kept" in _draw(tmp_path, NOWHERE)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
def test_damaged_machine_code_is_compiled_anew(tmp_path, suffix):
    assert _draw(tmp_path) == ""
    kept = [path for path in tmp_path.rglob(f"*{suffix}") if "widen" in path.name]
    assert kept
    for path in kept:
        path.write_bytes(path.read_bytes()[:20])
    _draw(tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_kernel_leaves_its_arrays(tmp_path):
    """Their tests once more, with every index checked."""
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    packages = sorted({name.rpartition(".")[0] for name in _modules()})
    tests = [str(ROOT.parent.joinpath("tests", *package.split(".")[1:])) for package in packages]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "0", "-m", "not slow", *tests]
    done = subprocess.run(command, cwd=ROOT.parent, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    assert any(tmp_path.rglob("*.nbi"))  # they were compiled here, with the checks


class Line(NamedTuple):
    ends: np.ndarray
    number: np.ndarray


@compiled(arguments(record(Line, "float64[::1], int64[::1]"), "int64", "float64, boolean"))
def _along(line, row, share, backwards):
    share = 1.0 - share if backwards else share
    return line.number[row] + line.ends[0] + share * (line.ends[1] - line.ends[0])


def test_a_record_of_arrays_is_one_argument():
    line = Line(np.array([2.0, 4.0]), np.array([100, 200]))
    assert _along(line, 1, 0.25, False) == 202.5
    assert _along(line, 0, 0.25, True) == 103.5


def test_a_record_with_other_arrays_is_refused():
    with pytest.raises(TypeError, match="No matching definition"):
        _along(Line(np.array([2, 4]), np.array([100, 200])), 1, 0.25, False)
