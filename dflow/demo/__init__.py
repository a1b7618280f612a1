"""The demo: generated parts become a dataset.

* `run_demo`: generate the parts, run the flow over them, show the dataset
* `write_parts`: generate the parts as STEP files
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dflow.lazy import attach

if TYPE_CHECKING:
    from dflow.demo.flow import SCHEMA, DemoResult, encode_part, gather_files, part_schema, run_demo, show_dataset
    from dflow.demo.parts import write_parts
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "DemoResult": "dflow.demo.flow",
            "SCHEMA": "dflow.demo.flow",
            "encode_part": "dflow.demo.flow",
            "gather_files": "dflow.demo.flow",
            "part_schema": "dflow.demo.flow",
            "run_demo": "dflow.demo.flow",
            "show_dataset": "dflow.demo.flow",
            "write_parts": "dflow.demo.parts",
        },
    )

__all__ = [
    "DemoResult",
    "SCHEMA",
    "encode_part",
    "gather_files",
    "part_schema",
    "run_demo",
    "show_dataset",
    "write_parts",
]
