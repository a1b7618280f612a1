"""A missing system library is named, with the line that installs it."""

from __future__ import annotations

from dflow.cadaccess.kernel.check import explain, kernel_problem, missing_library


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
