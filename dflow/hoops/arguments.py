"""Arguments that only scripts written for HOOPS AI pass."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

RENAMED: Mapping[str, Mapping[str, str]] = {
    "BrepEncoder.__init__": {"brep_access": "brep", "storage_handler": "storage"},
    "DatasetExplorer.available_arrays": {"group_name": "group"},
    "DatasetExplorer.get_array_data": {"group_name": "group", "array_name": "array"},
    "DatasetExplorer.get_array_statistics": {"group_name": "group", "array_name": "array"},
    "DatasetExplorer.get_group_data": {"group_name": "group"},
    "DataStorage.load_data": {"data_key": "key"},
    "DataStorage.save_data": {"data_key": "key"},
    "Flow.process": {"clean_ouput_dir": "clean_output_dir"},
}
"""HOOPS AI's keywords and dflow's, by the function's qualified name; None counts as not passed."""

UNUSED: Mapping[str, tuple[str, ...]] = {
    "CADViewer.__init__": ("static_folder", "silent", "operation_delay"),
    "CADViewer.color_faces_by_groups": ("delay", "verbose"),
    "CADViewer.load_cad_file": ("auto_convert", "white_background"),
    "CADViewer.show": ("display_mode",),
    "DatasetExplorer.__init__": ("dask_client_params",),
    "DatasetExplorer.close": ("close_dask",),
    "DatasetViewer.show_preview_as_3d": ("layout", "host", "start_port", "silent"),
    "quick_view": ("static_folder",),
}
"""Keywords without a counterpart in dflow; their values are dropped."""

POSITIONAL: Mapping[str, tuple[str, ...]] = {
    "CADViewer.__init__": (
        "host",
        "port",
        "static_folder",
        "display_mode",
        "auto_display",
        "silent",
        "operation_delay",
    ),
    "DatasetExplorer.__init__": (
        "flow_output_file",
        "merged_store_path",
        "parquet_file_path",
        "parquet_file_attribs",
        "dask_client_params",
    ),
    "DatasetExplorer.close": ("close_dask",),
}
"""HOOPS AI's order of positional arguments after ``self``, for functions where an unused one is among them."""


def hoops_arguments(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function so that it also accepts HOOPS AI's arguments.

    Parameters
    ----------
    function : a function that `RENAMED` or `UNUSED` names

    Notes
    -----
    The signature that ``help()`` and `inspect.signature` show stays the function's own.
    """
    renamed = RENAMED.get(function.__qualname__, {})
    unused = UNUSED.get(function.__qualname__, ())
    positions = POSITIONAL.get(function.__qualname__, ())

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> R:
        if positions and 1 < len(args) <= 1 + len(positions):
            named = dict(zip(positions, args[1:], strict=False))
            if twice := named.keys() & kwargs.keys():
                raise TypeError(f"{function.__qualname__}() got multiple values for argument {min(twice)!r}")
            args, kwargs = args[:1], named | kwargs
        for name in unused:
            kwargs.pop(name, None)
        for theirs, ours in renamed.items():
            value = kwargs.pop(theirs, None)
            if value is not None:
                kwargs[ours] = value
        return function(*args, **kwargs)

    return call


def compared_in_3d(method: Callable[P, R]) -> Callable[P, R]:
    """Decorate `DatasetViewer.create_comparison_view`: called with HOOPS AI's keywords it returns two 3D views.

    Parameters
    ----------
    method : with two groups of parts it draws a figure of them

    Notes
    -----
    HOOPS AI's call is ``create_comparison_view(file_id_a=0, file_id_b=1, display_mode="inline")``.
    """

    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        if "file_id_a" not in kwargs and "file_id_b" not in kwargs:
            return method(*args, **kwargs)
        ids = [kwargs.pop("file_id_a"), kwargs.pop("file_id_b")]
        return tuple(args[0].show_preview_as_3d(ids, len(ids), **kwargs))

    return call
