"""The manifest lists what must exist, and validation finds what does not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dflow.dataset.format.manifest import Manifest, missing_files, read_manifest
from dflow.errors import DamagedDatasetError, DatasetNotFoundError
from dflow.storage.paths import FlowPaths
from tests.dataset.samples import forget_checksums, merge_three


@pytest.fixture
def paths(tmp_path: Path) -> FlowPaths:
    return merge_three(tmp_path)


def test_manifest_lists_every_file_with_its_size(paths: FlowPaths) -> None:
    manifest = read_manifest(paths.dataset)
    found = {str(p.relative_to(paths.dataset)) for p in paths.dataset.rglob("*") if p.is_file()}
    assert manifest.files.keys() == found - {"manifest.json"}
    assert missing_files(paths.dataset, manifest) == []
    assert manifest.n_bytes == sum((paths.dataset / name).stat().st_size for name in manifest.files)


def test_equal_files_have_equal_builds_whatever_was_merged() -> None:
    files = {"a": (1, 2), "b": (3, 4)}
    assert Manifest(files, "x").build == Manifest(dict(reversed(files.items())), "y").build
    assert Manifest(files).build != Manifest({**files, "b": (3, 5)}).build


def test_missing_and_foreign_datasets_have_errors_of_their_own(paths: FlowPaths, tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match="no dataset"):
        read_manifest(tmp_path / "nothing")
    (tmp_path / "foreign").mkdir()
    with pytest.raises(DamagedDatasetError, match=r"manifest\.json"):
        read_manifest(tmp_path / "foreign")
    manifest = paths.dataset / "manifest.json"
    forget_checksums(paths.dataset)
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format": 99}))
    with pytest.raises(DamagedDatasetError, match="newer dflow"):
        read_manifest(paths.dataset)


def test_a_manifest_that_was_edited_is_not_believed(paths: FlowPaths) -> None:
    manifest = paths.dataset / "manifest.json"
    forget_checksums(paths.dataset)
    document = json.loads(manifest.read_text())
    del document["files"]["faces/areas/c.0"]
    manifest.write_text(json.dumps(document))
    with pytest.raises(DamagedDatasetError, match="digest"):
        read_manifest(paths.dataset)
