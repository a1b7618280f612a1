"""Damaged bytes: whatever is read is checked, validation names all damage, and repair or the next run mends it."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dflow.dataset import DatasetExplorer, DatasetLoader
from dflow.dataset.merge.publish import Outputs
from dflow.dataset.merge.published import note_file
from dflow.dataset.validate import examine, validate_dataset
from dflow.errors import DamagedDatasetError, DflowError
from dflow.flowmanager.history.journal import Entry, Journal
from dflow.flowmanager.repair import repair_dataset
from dflow.flowmanager.reports.flowfiles import write_flow_file
from dflow.records import ItemRecord
from dflow.render import MeshArrays, read_glb, render_sample
from dflow.storage import OptStorage
from dflow.storage.paths import FlowPaths
from tests.dataset.samples import forget_checksums, make_samples, merge, tree_bytes

SIZES = [(5, 2), (6, 3), (7, 4), (3, 1)]
QUICK, SLOW = 60, 2000


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> FlowPaths:
    """A flow's folder with all that a run leaves; not to be changed."""
    paths = FlowPaths.of(tmp_path_factory.mktemp("whole"), "parts")
    records = make_samples(paths, SIZES)
    corner = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)
    normals, edges = np.tile(np.array([0, 0, 1], np.float32), (3, 1)), np.array([[0, 1]], np.int32)
    mesh = MeshArrays(corner, normals, np.zeros(3, np.int32), np.array([[0, 1, 2]], np.int32), corner, edges)
    for record in records:
        render_sample(mesh, paths.preview(record.name), paths.mesh(record.name))
        pixels = read_glb(paths.mesh(record.name))
        render_sample(pixels, paths.preview(record.name))
    merge(paths, records)
    paths.state.mkdir(exist_ok=True)
    journal = Journal(paths.state)
    for record in records:
        item = ItemRecord(0, record.source, "succeeded", (record,))
        journal.append([Entry("encode", record.source, "", 0, 0, "fingerprint", True, 0, 0, (item,))])
    journal.close()
    parts = {"flow_data": paths.dataset, "flow_info": paths.infoset, "flow_attributes": paths.attribset}
    write_flow_file(paths, {"flow_name": "parts", **{key: path.name for key, path in parts.items()}})
    with DatasetLoader(paths.dataset) as loader:
        loader.split(train=0.5, validation=0.25, test=0.25)
    assert validate_dataset(paths.dataset) == []
    return paths


@pytest.fixture
def paths(whole: FlowPaths, tmp_path: Path) -> FlowPaths:
    shutil.copytree(whole.root, tmp_path / "flows" / "parts")
    return FlowPaths.of(tmp_path, "parts")


def _read_all(paths: FlowPaths) -> dict[str, Any]:
    """Everything that readers give of a flow's folder, except the samples' own files."""
    found: dict[str, Any] = {}
    with DatasetExplorer(paths.flow_file) as explorer:
        store = explorer._store  # reads as the explorer does, without the cost of labelled arrays
        for group, columns in store.columns.items():
            found |= {f"{group}/{name}": store.read(group, name).tolist() for name in columns}
        found["files"] = explorer.files.values.tolist()
        found["attributes"] = explorer.attributes.values.tolist()
        found["contents"] = [dict(explorer.schema), explorer.file_values, len(explorer), repr(explorer)]
    with DatasetLoader(paths.dataset) as loader:
        found["split"] = [loader.get_dataset(subset).file_codes.tolist() for subset in ("train", "validation", "test")]
    return found


def _read_beside(paths: FlowPaths) -> dict[str, Any]:
    """What readers give of samples and meshes."""
    found: dict[str, Any] = {}
    for data in sorted(paths.encoded.iterdir()):
        store = OptStorage(str(data.with_suffix("")))
        found[data.name] = {key: store.load_data(key).tolist() for key in store.array_keys()}
        store.close()
    for mesh in sorted(paths.stream_cache.glob("*.glb")):
        found[mesh.name] = [part.tolist() for part in (read_glb(mesh).vertices, read_glb(mesh).triangles)]
    return found


def _is_readable(read: Callable[[FlowPaths], dict[str, Any]], paths: FlowPaths, expected: dict[str, Any]) -> bool:
    """Whether reading gives the expected values; damage may only be an error that names itself."""
    try:
        found = read(paths)
    except (DflowError, ValueError) as error:
        message = str(error)
        own = isinstance(error, DflowError) or "not a mesh that dflow wrote" in message  # meshes have no error class
    else:
        assert json.dumps(found) == json.dumps(expected)
        return True
    assert own, message
    assert str(paths.root) in message
    return False


def _places(files: list[Path], count: int | None, seed: int) -> Iterator[tuple[Path, int]]:
    places = [(file, at) for file in files for at in range(file.stat().st_size)]
    yield from places if count is None else random.Random(seed).sample(places, min(count, len(places)))


def _flips(files: list[Path], count: int | None, seed: int = 0) -> Iterator[tuple[Path, int]]:
    """Flip one bit at each place, or at `count` random ones; each file is whole again afterwards."""
    for file, at in _places(files, count, seed):
        sound = file.read_bytes()
        content = bytearray(sound)
        content[at] ^= 1 << (at % 8)
        file.write_bytes(content)
        yield file, at
        file.write_bytes(sound)


def _believed(paths: FlowPaths) -> list[Path]:
    """What readers open before they read rows, and the tables."""
    documents = [paths.dataset / name for name in ("zarr.json", "manifest.json")]
    beside = [paths.flow_file, *(paths.dataset.with_suffix(suffix) for suffix in (".checksums", ".split"))]
    return [*documents, paths.infoset, paths.attribset, *beside]


def _rest(paths: FlowPaths) -> list[Path]:
    found = [file for folder in (paths.dataset, paths.encoded, paths.stream_cache) for file in folder.rglob("*")]
    return sorted(file for file in found if file.is_file() and file not in _believed(paths))


def _check_believed(paths: FlowPaths, count: int | None) -> None:
    expected, seen = _read_all(paths), 0
    for file, at in _flips(_believed(paths), count):
        seen += not _is_readable(_read_all, paths, expected)
        found = examine(paths.dataset)
        named = [*map(str, found.faults), *(found.uncovered if file.suffix == ".split" else ())]
        assert any(file.name in name for name in named), (file.name, at)
    assert seen > 0.9 * (count or 1)  # all but the member's own name, and files that are not read by all
    assert _is_readable(_read_all, paths, expected)


def _check_rest(paths: FlowPaths, count: int) -> None:
    everything, beside, seen = _read_all(paths), _read_beside(paths), 0
    for file, _ in _flips(_rest(paths), count, seed=1):
        if file.is_relative_to(paths.dataset):
            seen += not _is_readable(_read_all, paths, everything)
        elif file.suffix == ".png":
            assert any(file.name in problem for problem in validate_dataset(paths.dataset))
        else:
            seen += not _is_readable(_read_beside, paths, beside)
    assert seen > 0.1 * count  # much of such small files is names and sizes that nothing reads


def test_a_flipped_bit_of_what_is_believed_is_an_error_or_changes_nothing(paths: FlowPaths) -> None:
    _check_believed(paths, QUICK)


def test_a_flipped_bit_of_anything_else_is_an_error_or_changes_nothing(paths: FlowPaths) -> None:
    _check_rest(paths, QUICK)


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_every_byte_of_what_is_believed(paths: FlowPaths) -> None:
    _check_believed(paths, None)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_two_thousand_bits_of_anything_else(paths: FlowPaths) -> None:
    _check_rest(paths, SLOW)


def test_damage_in_files_of_older_versions_raises_nothing_of_its_own(paths: FlowPaths) -> None:
    """Without checksums other values are possible, other exceptions are not."""
    forget_checksums(paths.dataset)
    assert examine(paths.dataset).uncovered
    for _ in _flips(_believed(paths)[:4], QUICK // 2, seed=2):
        with suppress(DflowError):
            _read_all(paths)
        validate_dataset(paths.dataset)


def test_metadata_that_is_nested_without_end_is_damage(paths: FlowPaths) -> None:
    for file in _believed(paths):
        if file.suffix in (".infoset", ".attribset"):
            continue
        sound = file.read_bytes()
        for content in (
            b"[" * 200_000,
            b'{"a":' * 200_000,
            b"\xff\xfe{",
            b"",
            b"\0" * len(sound),
            b"[]",
            b"3",
            b"null",
        ):
            file.write_bytes(content)
            assert any(file.name in problem for problem in validate_dataset(paths.dataset)), content[:9]
            if file.suffix != ".split":
                with pytest.raises(DflowError):
                    _read_all(paths)
        file.write_bytes(sound)
    assert validate_dataset(paths.dataset) == []


def _flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


DAMAGE: dict[str, Callable[[Path], None]] = {
    "flipped": _flip,
    "lost": Path.unlink,
    "emptied": lambda file: file.write_bytes(b""),
}
PARTS = [
    "parts.dataset/zarr.json",
    "parts.dataset/manifest.json",
    "parts.dataset/faces/zarr.json",
    "parts.dataset/faces/grid/zarr.json",
    "parts.dataset/faces/grid/c.0.0.0",
    "parts.dataset/file/row_count_faces/c.0",
    "parts.infoset",
    "parts.attribset",
    "parts.checksums",
    "parts.flow",
]


@pytest.mark.parametrize("harm", DAMAGE)
@pytest.mark.parametrize("name", PARTS)
def test_repair_gives_the_bytes_of_before(paths: FlowPaths, name: str, harm: str) -> None:
    with DatasetLoader(paths.dataset) as loader:  # what a merge writes: the split stays in its own file
        loader.reset_split_state()
    before = _published(paths)
    DAMAGE[harm](paths.root / name)
    found = examine(paths.dataset)
    assert any(name.removeprefix("parts.dataset/") in str(fault) for fault in found.faults)
    repair = repair_dataset(paths.dataset, found)
    assert (repair.after.faults, repair.impossible) == ((), ())
    assert repair.done
    after = _published(paths)
    if "parts.infoset" not in name and repair.done[0].find("merged again") < 0:
        assert after == before
    assert {key for key in after if after[key] != before.get(key)} <= {
        "parts.infoset",
        "parts.checksums",
        "parts.dataset/manifest.json",
    }


def _published(paths: FlowPaths) -> dict[str, bytes]:
    kept = (paths.dataset, paths.infoset, paths.attribset, paths.flow_file)
    return {f"{path.name}/{key}".rstrip("/"): content for path in kept for key, content in tree_bytes(path).items()}


def test_repair_says_what_cannot_be_made(paths: FlowPaths) -> None:
    data, mesh = sorted(paths.encoded.iterdir())[0], sorted(paths.stream_cache.glob("*.glb"))[0]
    _flip(paths.dataset / "faces/grid/c.0.0.0")
    for file in paths.encoded.iterdir():
        file.write_bytes(b"")
    _flip(mesh)
    paths.dataset.with_suffix(".split").write_text("{}")
    before = _published(paths)
    repair = repair_dataset(paths.dataset, examine(paths.dataset))
    said = "\n".join(repair.impossible)
    for expected in ("faces/grid/c.0.0.0", data.name, mesh.name, "parts.split", "run the flow again"):
        assert expected in said
    assert repair.after.faults
    assert _published(paths) == before  # never a dataset of fewer samples


def test_pictures_are_drawn_again_from_their_meshes(paths: FlowPaths) -> None:
    first, second, *_ = sorted(paths.stream_cache.glob("*.png"))
    before = first.read_bytes(), second.read_bytes()
    _flip(first)
    second.unlink()
    repair = repair_dataset(paths.dataset, examine(paths.dataset))
    assert not repair.after.faults
    assert (first.read_bytes(), second.read_bytes()) == before


def test_repair_of_a_dataset_without_samples_keeps_it(paths: FlowPaths) -> None:
    shutil.rmtree(paths.encoded)
    (paths.dataset / "faces/grid/zarr.json").unlink()
    assert repair_dataset(paths.dataset, examine(paths.dataset)).after.faults == ()
    shutil.rmtree(paths.state)
    (paths.dataset / "manifest.json").write_text("{")
    assert repair_dataset(paths.dataset, examine(paths.dataset)).after.faults == ()
    before = _published(paths)
    _flip(paths.infoset)
    repair = repair_dataset(paths.dataset, examine(paths.dataset))
    assert repair.impossible
    assert _published(paths).keys() == before.keys()


@pytest.mark.parametrize("harm", DAMAGE)
def test_the_next_run_merges_only_what_is_damaged(paths: FlowPaths, harm: str) -> None:
    records = _records(paths)
    assert merge(paths, records).reused
    inodes = {file: file.stat().st_ino for file in paths.dataset.rglob("c.*")}
    victim = paths.dataset / "faces/grid/c.0.0.0"
    before = tree_bytes(paths.dataset)
    DAMAGE[harm](victim)
    with pytest.raises(DamagedDatasetError, match="run `dflow validate --repair "):
        _read_all(paths)
    assert not merge(paths, records).reused
    changed = {file for file, inode in inodes.items() if file.stat().st_ino != inode}
    small = {file for file in inodes if file.parent.parent.name == "file" and file in changed}  # the client's columns
    assert changed - small == {victim}
    after = tree_bytes(paths.dataset)
    assert {key: after[key] for key in before if key != "manifest.json"} == {
        key: content for key, content in before.items() if key != "manifest.json"
    }
    assert merge(paths, records).reused


@pytest.mark.parametrize(
    "name",
    ["parts.infoset", "parts.attribset", "parts.checksums", "parts.dataset/manifest.json", "parts.dataset/zarr.json"],
)
def test_the_next_run_makes_tables_and_metadata_anew_and_keeps_the_shards(paths: FlowPaths, name: str) -> None:
    records = _records(paths)
    merge(paths, records)
    shards = {file: file.stat().st_ino for group in ("faces", "edges") for file in (paths.dataset / group).rglob("c.*")}
    _flip(paths.root / name)
    assert not merge(paths, records).reused
    assert {file: file.stat().st_ino for file in shards} == shards
    assert validate_dataset(paths.dataset) == []
    assert merge(paths, records).reused


def test_damage_that_the_clock_does_not_show_is_found_by_validation_and_then_mended(paths: FlowPaths) -> None:
    records = _records(paths)
    merge(paths, records)
    victim = paths.dataset / "faces/grid/c.0.0.0"
    state = victim.stat()
    _flip(victim)
    os.utime(victim, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert merge(paths, records).reused  # nothing shows it
    assert repair_dataset(paths.dataset, examine(paths.dataset)).after.faults == ()


def test_a_dataset_that_was_moved_or_split_is_not_merged_again(paths: FlowPaths) -> None:
    records = _records(paths)
    merge(paths, records)
    with DatasetLoader(paths.dataset) as loader:
        loader.split(random_state=3)
    assert merge(paths, records).reused
    shutil.copytree(paths.dataset, paths.root / "copy")
    shutil.rmtree(paths.dataset)
    os.rename(paths.root / "copy", paths.dataset)
    assert merge(paths, records).reused
    note_file(Outputs.beside(paths.dataset)).unlink()
    assert merge(paths, records).reused
    assert note_file(Outputs.beside(paths.dataset)).exists()


def _records(paths: FlowPaths) -> Any:
    return make_samples(FlowPaths.of(paths.root / "again", "parts"), SIZES)
