"""A network learns from a dataset that a flow made of real parts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import dflow
from dflow.dataset import DatasetExplorer
from tests.extras import Extra

torch = Extra("torch")

pytestmark = [pytest.mark.train, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Batches this small train faster on one thread, and other work on the machine does not slow them down."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


def make_dataset(source: Path, outdir: Path) -> str:
    """Run the flow that brings labels to faces and categories to files; the path of its dataset."""
    from tests.flows.labelled_tasks import encode, gather

    flow = dflow.create_flow(
        name=source.name,
        tasks=[gather, encode],
        flows_outputdir=str(outdir),
        max_workers=2,
        export_visualization=False,
    )
    _, summary, _ = flow.process(inputs={"sources": [str(source)]})
    assert summary["failed"] == 0
    return str(summary["flow_data"])


def test_face_classes_of_machined_parts_are_learned(shared_data: Path, tmp_path: Path) -> None:
    """400 parts, 8,981 faces, labels through the faces' names: nine faces in ten are right on parts never seen."""
    from tests.examples.face_network import train  # needs torch

    result = train(make_dataset(shared_data / "mfcad", tmp_path))
    assert result.sizes == (280, 60, 60)
    assert result.test_accuracy >= 0.9 > result.majority_share, result
    assert result.losses[-1] < result.losses[0] / 5


def test_categories_of_electronic_parts_are_learned(shared_data: Path, tmp_path: Path) -> None:
    """168 files in 14 folders, 50 of them held out."""
    from tests.examples.part_network import draw, train  # needs torch

    dataset = make_dataset(shared_data / "kicad", tmp_path)
    result = train(dataset)
    assert 48 <= result.n_test <= 52
    assert result.test_accuracy >= 0.6 > 4 * result.majority_share, result
    assert result.confusion.shape == (14, 14)
    with DatasetExplorer(merged_store_path=dataset) as explorer:
        labels = explorer.create_distribution("category", None, "labels")["labels"]
    assert labels == sorted(p.name for p in (shared_data / "kicad").iterdir() if p.is_dir())
    draw(result, labels, str(tmp_path / "confusion.png"))
    assert (tmp_path / "confusion.png").stat().st_size > 10_000


def test_a_plain_geometric_network_learns_face_classes(shared_data: Path, tmp_path: Path) -> None:
    """The shortest way: 200 machined parts, 30 of them held out."""
    pytest.importorskip("torch_geometric")
    from tests.examples.geometric_network import train

    source = tmp_path / "mfcad"
    (source / "step").mkdir(parents=True)
    (source / "face_labels.json").symlink_to(shared_data / "mfcad" / "face_labels.json")
    for file in sorted((shared_data / "mfcad" / "step").glob("*.step"))[:200]:
        (source / "step" / file.name).symlink_to(file)
    result = train(make_dataset(source, tmp_path))
    assert result.n_faces > 500
    assert result.accuracy >= 0.96 > 2 * result.majority_share, result
    assert result.losses[-1] < result.losses[0] / 20
