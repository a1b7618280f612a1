"""A merge that is killed, starved of disk or permissions, or fed damage: nothing that was published is harmed."""

from __future__ import annotations

import os
import pickle
import random
import shutil
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from dask.delayed import Delayed

from dflow.dataset.merge.block_reader import InFolder
from dflow.dataset.merge.nodes import shard_nodes
from dflow.dataset.merge.plan import plan_merge
from dflow.dataset.merge.publish import Outputs, recover
from dflow.dataset.merge.settings import MergeSettings
from dflow.dataset.validate import validate_dataset
from dflow.errors import DatasetError, OutputFolderError
from dflow.records import ShardRecord
from dflow.storage.paths import FlowPaths
from dflow.storage.zarrzip import store_crc
from tests.dataset.samples import SMALL, grid, make_samples, merge, outputs, write_sample


@pytest.fixture
def paths(tmp_path: Path) -> FlowPaths:
    return FlowPaths.of(tmp_path, "parts")


@pytest.mark.parametrize("harm", ["truncated", "missing", "foreign", "swapped", "flipped"])
def test_damaged_sample_is_reported_and_left_out(paths: FlowPaths, harm: str) -> None:
    records = make_samples(paths, [(5, 2), (6, 3), (7, 4), (3, 1)])
    victim = paths.data_file(records[1].name)
    content = victim.read_bytes()
    if harm == "truncated":
        victim.write_bytes(content[: len(content) // 2])
    elif harm == "missing":
        victim.unlink()
    elif harm == "foreign":
        victim.write_bytes(b"ISO-10303-21;")
    elif harm == "swapped":
        victim.write_bytes(paths.data_file(records[2].name).read_bytes())
    else:
        at = content.index(b"faces/face_areas/c/0") + len(b"faces/face_areas/c/0") + 2
        victim.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    report = merge(paths, records)
    assert report.n_samples == 3
    ((name, reason),) = report.damaged
    assert name == records[1].name
    assert reason
    assert validate_dataset(paths.dataset, beside=False) == []
    types = xr.open_zarr(str(paths.dataset), group="faces")["face_types"].values
    assert types.tolist() == [0] * 5 + [2] * 7 + [3] * 3


def test_a_chunk_with_a_right_checksum_that_does_not_expand_is_its_own_samples_damage(paths: FlowPaths) -> None:
    """Only decoding finds it, and many samples are decoded in one call."""
    records = [write_sample(paths, f"{i}.step", {"faces/grid": grid(400, i)}) for i in range(6)]
    victim = paths.data_file(records[3].name)
    content = victim.read_bytes()
    at = content.index(b"faces/grid/c/0/0/0") + len(b"faces/grid/c/0/0/0")
    size = int.from_bytes(content[at - 18 - 12 : at - 18 - 8], "little")  # in the local header, before the name
    chunk = content[at : at + size]
    torn = chunk[:40] + bytes(size - 40)
    old, new = (zlib.crc32(part).to_bytes(4, "little") for part in (chunk, torn))
    victim.write_bytes(content.replace(chunk, torn).replace(old, new))
    records[3] = replace(records[3], data_crc=store_crc(victim))
    report = merge(paths, records)
    ((name, reason),) = report.damaged
    assert name == records[3].name
    assert "expand" in reason
    assert report.n_samples == 5
    assert validate_dataset(paths.dataset, beside=False) == []


def test_losing_every_sample_never_replaces_a_dataset(paths: FlowPaths) -> None:
    records = make_samples(paths, [(5, 2), (6, 3)])
    merge(paths, records[:1])
    before = outputs(paths)
    paths.encoded.rename(paths.root / "unmounted")
    with pytest.raises(DatasetError, match="none of the 2 samples can be read"):
        merge(paths, records)
    assert outputs(paths) == before


def test_trouble_that_is_not_the_files_own_is_no_damage(paths: FlowPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    records = make_samples(paths, [(5, 2), (6, 3)])

    def refuse(*arguments: Any, **options: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("dflow.dataset.merge.block_reader.ChunkReader.read", refuse)
    with pytest.raises(OutputFolderError, match="Permission denied"):
        merge(paths, records)


class Killed(BaseException):
    """A process that ends in the middle of something."""


def test_a_merge_killed_in_any_shard_leaves_the_old_dataset_and_blocks_nothing(paths: FlowPaths) -> None:
    records = make_samples(paths, [(9, 3), (8, 5), (7, 2), (9, 9)])
    merge(paths, records[:3])
    old = outputs(paths)

    def killed_after(n: int) -> Any:
        def run(nodes: Sequence[Delayed]) -> Iterator[ShardRecord]:
            for i, node in enumerate(nodes):
                if i == n:
                    raise Killed
                yield node.compute(scheduler="synchronous")

        return run

    n_nodes = len(shard_nodes(plan_merge(records, SMALL), "", InFolder("")))
    assert n_nodes > 4
    for n in range(n_nodes):
        with pytest.raises(Killed):
            merge(paths, records, compute=killed_after(n))
        assert outputs(paths) == old
        assert validate_dataset(paths.dataset) == []
    assert merge(paths, records).n_samples == 4
    assert not list(paths.root.glob(".tmp-*"))


def test_a_straggler_of_a_dead_merge_cannot_write(paths: FlowPaths) -> None:
    records = make_samples(paths, [(9, 3), (8, 5)])
    straggler: list[Delayed] = []

    def dies(nodes: Sequence[Delayed]) -> Iterator[ShardRecord]:
        for node in nodes:
            if node.key.startswith("merge-"):
                straggler.append(node)
                raise Killed
            yield node.compute(scheduler="synchronous")

    with pytest.raises(Killed):
        merge(paths, records, compute=dies)
    merge(paths, records)
    before = outputs(paths)
    with pytest.raises(FileNotFoundError):
        straggler[0].compute(scheduler="synchronous")
    assert outputs(paths) == before


_CHILD = """
import pickle, sys
from pathlib import Path
from dflow.dataset.merge.merge import compute_inline, merge_dataset
from dflow.storage.paths import FlowPaths
from dflow.storage.zarrzip import store_crc
from tests.dataset.samples import SMALL
if __name__ == "__main__":
    records = pickle.load(sys.stdin.buffer)
    print("begin", flush=True)
    paths = FlowPaths(Path(sys.argv[1]), "parts")
    merge_dataset(records, paths, flow_name="parts", compute=compute_inline, settings=SMALL)
    print("done", flush=True)
"""


@pytest.mark.slow
def test_a_merge_killed_at_ten_random_moments_ends_byte_equal(paths: FlowPaths) -> None:
    """SIGKILL, from the first file to the last rename; what is published is whole after each."""
    records = make_samples(paths, [(9, 3), (8, 5), (7, 2), (9, 9)] * 8)
    merge(paths, records)
    new = outputs(paths)
    shutil.rmtree(paths.dataset)
    merge(paths, records[:20])
    old = outputs(paths)
    begin = time.perf_counter()
    merge(FlowPaths(_copy(paths), "parts"), records)
    duration = time.perf_counter() - begin
    rng, finished = random.Random(7), 0
    for _ in range(10):
        with subprocess.Popen(
            [sys.executable, "-c", _CHILD, str(paths.root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        ) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write(pickle.dumps(records))
            child.stdin.close()
            assert child.stdout.readline() == b"begin\n"
            time.sleep(rng.uniform(0, 1.2 * duration))
            child.kill()
            finished += b"done" in child.stdout.read()
        problems = validate_dataset(paths.dataset)
        assert [p for p in problems if "another build" not in p and "ids are not" not in p] == []
        recover(Outputs.of(paths))
        assert validate_dataset(paths.dataset) == []
        assert outputs(paths) in (old, new)
    merge(paths, records)
    assert outputs(paths) == new
    assert finished < 10


def _copy(paths: FlowPaths) -> Path:
    other = paths.root.with_name("copy")
    shutil.copytree(paths.encoded, other / "encoded")
    return other


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_read_only_folder_is_a_clear_error_and_harms_nothing(paths: FlowPaths) -> None:
    """As a user who is not root: root writes anywhere."""
    records = make_samples(paths, [(5, 2), (6, 3)])
    merge(paths, records)
    before = outputs(paths)
    script = (
        "import os, pickle, sys\n"
        "from dflow.storage.paths import FlowPaths\n"
        "from dflow.dataset.merge.merge import merge_dataset, compute_inline\n"
        "from pathlib import Path\n"
        "paths = FlowPaths(Path(sys.argv[1]), 'parts')\n"
        "records = pickle.load(sys.stdin.buffer)\n"
        "os.setuid(65534) if os.getuid() == 0 else None\n"
        "try:\n"
        "    merge_dataset(records, paths, flow_name='parts', compute=compute_inline)\n"
        "except OSError as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    os.chmod(paths.root, 0o555)
    try:
        done = subprocess.run(
            [sys.executable, "-c", script, str(paths.root)],
            input=pickle.dumps(records[:1]),
            capture_output=True,
            check=True,
        )
    finally:
        os.chmod(paths.root, 0o755)
    assert done.stdout.decode().startswith("OutputFolderError")
    assert outputs(paths) == before


def test_a_full_disk_is_a_clear_error_and_harms_nothing(paths: FlowPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    records = make_samples(paths, [(5, 2), (6, 3)])
    merge(paths, records[:1])
    before = outputs(paths)

    def full(nodes: Sequence[Delayed]) -> Iterator[ShardRecord]:
        raise OSError(28, "No space left on device")
        yield

    with pytest.raises(OutputFolderError, match="No space left"):
        merge(paths, records, compute=full)
    assert outputs(paths) == before
    assert not list(paths.root.glob(".tmp-*"))


def test_a_disk_that_fills_up_while_shards_are_written(tmp_path: Path) -> None:
    """A tmpfs of 900 KiB: the old dataset stays whole, and the folder is as it was."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=900k", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("this machine does not allow mounts")
    try:
        paths, other = FlowPaths.of(disk, "parts"), FlowPaths.of(tmp_path, "parts")
        rng = np.random.default_rng(0)
        records = [write_sample(other, f"{i}.step", {"faces/noise": rng.random((300, 100))}) for i in range(5)]
        os.makedirs(paths.root)
        paths.encoded.symlink_to(other.encoded)
        merge(paths, records[:1], settings=MergeSettings())
        before = outputs(paths)
        with pytest.raises(OutputFolderError, match="No space left"):
            merge(paths, records, settings=MergeSettings())
        assert outputs(paths) == before
        assert validate_dataset(paths.dataset) == []
        assert not list(paths.root.glob(".tmp-*"))
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
