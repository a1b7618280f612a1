"""Disks, files and clocks that fail under a flow: full, damaged, gone, forbidden, jumping."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dflow.errors import OutputFolderError
from tests.faults import gates
from tests.faults.cases import Case, assert_whole, failures

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

Undisturbed = Callable[..., dict[str, Any]]
HELD = "p07"


@pytest.fixture
def small_disk(case: Case) -> Iterator[Path]:
    """A file system of 3 MiB where the flow writes."""
    case.out.mkdir()
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(case.out)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this machine does not allow mounts")
    yield case.out
    subprocess.run(["umount", "--lazy", str(case.out)], check=True)


def fill(disk: Path) -> None:
    """Leave no byte."""
    with (disk / "filler").open("wb", buffering=0) as file:
        for block in (1 << 16, 1 << 12, 1):
            try:
                while file.write(bytes(block)) == block:
                    pass
            except OSError:
                continue


@pytest.mark.parametrize("place", [HELD, f"{HELD}-saved", "survey"])
def test_a_disk_that_fills_up(
    case: Case, small_disk: Path, undisturbed: Undisturbed, tabulate: Callable[..., None], place: str
) -> None:
    gates.hold(case.gates, place)

    def strike(case: Case) -> None:
        gates.arrival(case.gates, place)
        fill(small_disk)

    ended = case.run_struck(strike)
    assert isinstance(ended, OutputFolderError), ended
    assert "No space left" in str(ended)
    (small_disk / "filler").unlink()
    output = case.run()
    equal = case.outputs() == undisturbed()
    where = "between encode and merge" if place == "survey" else f"in encode ({place})"
    tabulate(f"disk full {where}", f"ended with OutputFolderError; next run reused {output.counts.reused}", "-", equal)
    assert_whole(case, output, 12)
    assert output.counts.reused > 0
    assert equal


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 0xFF
    file.write_bytes(bytes(data))


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-50])


def empty(file: Path) -> None:
    file.write_bytes(b"")


def remove(file: Path) -> None:
    file.unlink()


def replace_by_a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()
    (file / "zarr.json").write_text("{}")


def replace_by_another_sample(file: Path) -> None:
    other = next(each for each in sorted(file.parent.glob("*.data")) if each != file)
    shutil.copyfile(other, file)


HARMS = (flip, truncate, empty, remove, replace_by_a_folder, replace_by_another_sample)


@pytest.mark.parametrize("harm", HARMS)
def test_a_store_that_is_damaged_between_encode_and_merge_is_made_again(
    case: Case, undisturbed: Undisturbed, tabulate: Callable[..., None], harm: Callable[[Path], None]
) -> None:
    gates.hold(case.gates, "survey")

    def strike(case: Case) -> None:
        gates.arrival(case.gates, "survey")
        stores = sorted((case.root / "encoded").glob("*.data"), key=lambda path: path.stat().st_size)
        harm(stores[-1])
        harm(stores[0])

    output = case.run_struck(strike)
    assert not isinstance(output, BaseException), output
    equal = case.outputs() == undisturbed()
    tabulate(f".data: {harm.__name__.replace('_', ' ')}", "encoded it again", "nothing failed", equal)
    assert_whole(case, output, 12)
    assert failures(output) == {}
    assert equal


def test_a_folder_of_stores_that_is_deleted_between_encode_and_merge_is_made_again(
    case: Case, undisturbed: Undisturbed, tabulate: Callable[..., None]
) -> None:
    gates.hold(case.gates, "survey")

    def strike(case: Case) -> None:
        gates.arrival(case.gates, "survey")
        shutil.rmtree(case.root / "encoded")

    ended = case.run_struck(strike)
    seen = type(ended).__name__
    output = case.run() if isinstance(ended, BaseException) else ended
    equal = case.outputs() == undisturbed()
    tabulate("folder of .data deleted", f"{seen}, then all encoded again", "-", equal)
    assert_whole(case, output, 12)
    assert equal


@pytest.mark.parametrize("jump_seconds", [86_400.0, -315_360_000.0])
def test_a_clock_that_jumps_changes_nothing(
    case: Case,
    undisturbed: Undisturbed,
    tabulate: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    jump_seconds: float,
) -> None:
    """The clock that sources' times are compared with, and the sources' times; afterwards a change is still seen."""
    gates.hold(case.gates, HELD)

    def strike(case: Case) -> None:
        gates.arrival(case.gates, HELD)
        jumped = SimpleNamespace(time=lambda: time.time() + jump_seconds, monotonic=time.monotonic)
        monkeypatch.setattr("dflow.flowmanager.history.freshness.time", jumped)
        for source in case.sources.iterdir():
            os.utime(source, (jumped.time(), jumped.time()))

    output = case.run_struck(strike)
    assert_whole(case, output, 12)
    equal = case.outputs() == undisturbed()
    again = case.run()
    monkeypatch.undo()
    tabulate(f"clock jumps by {jump_seconds:+g} s", f"went on; next run reused {again.counts.reused}", "-", equal)
    assert equal
    assert again.counts.reused == 12
    (case.sources / "p03.txt").write_text("8 8 8")
    assert case.run().counts.reused == 11
    assert case.outputs() != undisturbed()


def test_sources_that_vanish_are_recorded_and_taken_up_when_they_are_back(
    case: Case, undisturbed: Undisturbed, tabulate: Callable[..., None]
) -> None:
    gates.hold(case.gates, HELD)
    kept = {}

    def strike(case: Case) -> None:
        gates.arrival(case.gates, HELD)
        for stem in (HELD, "p08", "p10"):
            source = case.sources / f"{stem}.txt"
            kept[source] = source.read_text()
            source.unlink()

    output = case.run_struck(strike)
    lost = failures(output)
    equal = case.outputs() == undisturbed(*lost)
    tabulate("sources vanish", "went on without them", ", ".join(sorted(set(lost.values()))), equal)
    assert_whole(case, output, 12)
    assert HELD in lost
    assert set(lost) <= {HELD, "p08", "p10"}
    assert set(lost.values()) == {"vanished"}
    assert equal
    for source, text in kept.items():
        source.write_text(text)
    output = case.run()
    assert output.counts.failed == 0
    assert case.outputs() == undisturbed()


def test_a_source_that_is_replaced_while_it_is_encoded_is_noticed_by_the_next_run(
    case: Case, undisturbed: Undisturbed, tabulate: Callable[..., None]
) -> None:
    """Its content hash was taken before the work: what was read may be either."""
    gates.hold(case.gates, HELD)
    source = case.sources / f"{HELD}.txt"
    original = source.read_text()
    for each in case.sources.iterdir():
        os.utime(each, (1_600_000_000, 1_600_000_000))

    def strike(case: Case) -> None:
        gates.arrival(case.gates, HELD)
        source.write_text(original.replace("7", "9"))

    output = case.run_struck(strike)
    assert_whole(case, output, 12)
    assert case.outputs() != undisturbed()
    source.write_text(original)
    output = case.run()
    equal = case.outputs() == undisturbed()
    tabulate("source replaced while encoded", "went on; next run encoded it again", "-", equal)
    assert output.counts.failed == 0
    assert equal
