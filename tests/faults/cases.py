"""One flow that is going to be struck: its sources, its gates, how it is run, and what it must look like afterwards."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dflow
from dflow.dataset.validate import validate_dataset
from tests.faults import gates, held_tasks
from tests.faults.held_tasks import encode, gather, survey
from tests.trees import tree_digest

NAME = "struck"


@dataclass
class Case:
    """A flow over `base`/in that writes to `base`/out; equal depths give equal relative paths, and so equal bytes."""

    base: Path
    arguments: dict[str, Any]
    tasks: tuple[Any, ...] = (gather, encode, survey)

    @property
    def sources(self) -> Path:
        return self.base / "in"

    @property
    def gates(self) -> Path:
        return self.base / "gates"

    @property
    def out(self) -> Path:
        return self.base / "out"

    @property
    def root(self) -> Path:
        return self.out / "flows" / NAME

    def prepare(self) -> Case:
        """Write the sources and open all gates."""
        held_tasks.write_sources(self.sources)
        self.gates.mkdir()
        return self

    def flow(self, **changes: Any) -> Any:
        arguments = {"export_visualization": False, **self.arguments, **changes}
        return dflow.create_flow(NAME, list(self.tasks), self.out, **arguments)

    @property
    def inputs(self) -> dict[str, Any]:
        return {"sources": [str(self.sources)], "gates": str(self.gates)}

    def run(self, **changes: Any) -> Any:
        """The output of a run to its end."""
        output, _, _ = self.flow(**changes).process(inputs=self.inputs, progress=False)
        return output

    def run_struck(self, strike: Callable[[Case], None], **changes: Any) -> Any:
        """Run while `strike` does its harm: the output, or the error that ended the flow."""
        ended: list[Any] = []

        def target() -> None:
            try:
                ended.append(self.run(**changes))
            except BaseException as error:
                ended.append(error)

        thread = threading.Thread(target=target)
        thread.start()
        try:
            strike(self)
        except AssertionError as nobody_came:
            raise AssertionError(f"{nobody_came}; the flow: {ended}") from None
        finally:
            gates.release(self.gates)
            thread.join(60)
        assert not thread.is_alive(), "the flow hangs"
        return ended[0]

    def outputs(self) -> dict[str, Any]:
        """Digests of what the flow publishes, by relative path."""
        found = {f"dataset/{path}": digest for path, digest in tree_digest(self.root / f"{NAME}.dataset").items()}
        tables = [self.root / f"{NAME}.{suffix}" for suffix in ("infoset", "attribset")]
        return found | {path.name: path.read_bytes() for path in tables}


def assert_whole(case: Case, output: Any, n_submitted: int) -> None:
    """Every submitted file is in exactly one place, the dataset checks, and nothing unfinished lies about."""
    counts = output.counts
    assert counts.submitted == n_submitted
    assert counts.succeeded + counts.skipped + counts.failed == n_submitted
    assert counts.samples == counts.succeeded
    assert validate_dataset(case.root / f"{NAME}.dataset", beside=False) == []
    assert leftovers(case.root) == []


def leftovers(root: Path) -> list[str]:
    """Temporary things, locks and unfinished work."""
    return [str(p) for p in root.rglob("*") if p.name.startswith(".tmp-") or p.name in ("work", "lock.json")]


def failures(output: Any) -> dict[str, str]:
    """What failed: the kind of each failed file, by its stem."""
    return {Path(error.file).stem: error.kind for error in output.errors}
