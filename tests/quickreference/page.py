"""The quick reference page as a source of programs: blocks of its re-indented copy, for dflow."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).with_name("flow_quick_reference.txt")
ORIGINAL = Path(__file__).resolve().parents[3] / "shared" / "reference" / "flow_quick_reference.txt"
SHA256_WITHOUT_WHITE_SPACE = "cecca2d37f1557fe08a89d89a1f89678872304f42f2777d2394e02422024aa44"


def without_white_space(text: str) -> str:
    return re.sub(r"\s", "", text)


def block(first: str, last: str, *, after: str = "") -> str:
    """The lines from the first one that begins with `first` to the next that begins with `last`, for dflow.

    `after` names a heading to start looking behind; the page repeats itself.
    """
    lines = PAGE.read_text(encoding="utf-8").replace("hoops_ai", "dflow").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(after)) if after else 0
    begin = next(i for i in range(start, len(lines)) if lines[i].startswith(first))
    end = next(i for i in range(begin, len(lines)) if lines[i].strip().startswith(last))
    return "\n".join(lines[begin : end + 1]) + "\n"


def tasks_module() -> str:
    """Step 1, `cad_tasks.py`."""
    return block("import os", "return storage.get_file_path", after="1. Define Schema")


def create_and_execute() -> str:
    """Step 2, a notebook's cell."""
    return block("from cad_tasks import", "output, summary, flow_file", after="2. Create")


def query() -> str:
    """Step 3, a notebook's cell."""
    return block("from dflow.dataset import", ")", after="3. Query")


def extract_signature() -> str:
    return block("@flowtask.extract(", "return [...]", after="Task Decorators")


def transform_signature() -> str:
    return block("@flowtask.transform(", 'return "path', after="Purpose: Process individual items")


def custom_signature() -> str:
    return block("@flowtask.custom(", "return {", after="Purpose: Aggregation")


def create_flow_signature() -> str:
    return block("dflow.create_flow(", ")", after="Flow Configuration")


def schema_builder() -> str:
    return block("from dflow.storage.datasetstorage", "schema = builder.build()", after="Schema Builder API")


def explorer_api() -> str:
    lines = block("from dflow.dataset import DatasetExplorer", "DatasetLoader API", after="DatasetExplorer API")
    return lines.rsplit("DatasetLoader API", 1)[0]


def loader_api() -> str:
    return block("from dflow.dataset import DatasetLoader", "loader.close_resources", after="DatasetLoader API")


def pattern_encoding() -> str:
    return block("@flowtask.transform", "return storage", after="Pattern 1")


def pattern_gathering() -> str:
    return block("@flowtask.extract", "return all_files", after="Pattern 2")


def pattern_querying() -> str:
    return block("# Complex query", "viewer.show_preview", after="Pattern 3")


def check_logs() -> str:
    return block("import json", "print(f.read())", after="Check Execution Logs")
