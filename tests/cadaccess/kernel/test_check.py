"""A missing system library is named, with the line that installs it."""

from __future__ import annotations

import sys

import pytest

from dflow.cadaccess.kernel import check
from dflow.cadaccess.kernel.check import explain, kernel_problem, missing_library, require_kernel
from dflow.errors import KernelMissingError


def test_kernel_loads_here() -> None:
    assert kernel_problem() is None


def test_missing_library_is_read_from_the_import_error() -> None:
    error = "ImportError: libGL.so.1: cannot open shared object file: No such file or directory"
    assert missing_library(error) == "libGL.so.1"
    text = explain(error)
    assert "libGL.so.1" in text
    assert "apt-get install -y libgl1" in text


def test_other_import_errors_are_shown_as_they_are() -> None:
    assert "No module named 'OCP'" in explain("Traceback\nModuleNotFoundError: No module named 'OCP'")


@pytest.fixture
def fresh() -> None:
    """Nothing is known of this process's kernel."""
    require_kernel.cache_clear()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the wheel holds all libraries")
def test_a_missing_library_is_an_error_once_loading_the_kernel_confirms_it(
    fresh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "LIBRARIES", ("libdflow-does-not-exist.so.1",))
    problems = [explain("libGL.so.1: cannot open shared object file"), None]
    monkeypatch.setattr(check, "kernel_problem", lambda: problems.pop(0))
    with pytest.raises(
        KernelMissingError, match=r"needs the system library libGL\.so\.1(.|\n)*apt-get install -y libgl1"
    ):
        require_kernel()
    require_kernel()  # the kernel loads although the library was not found
    assert problems == []


def test_a_kernel_that_is_not_installed_is_an_error_with_the_line_that_installs_it(
    fresh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(check, "kernel_problem", lambda: explain("ModuleNotFoundError: No module named 'OCP'"))
    with pytest.raises(KernelMissingError, match=r"No module named 'OCP'\. Install it with: .* -m pip install"):
        require_kernel()


def test_here_the_kernel_is_not_loaded_to_check_it(fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def load() -> None:
        raise AssertionError("another process was started")

    monkeypatch.setattr(check, "kernel_problem", load)
    require_kernel()
