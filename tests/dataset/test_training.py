"""A network learns from a dataset that a flow made of real parts."""

from __future__ import annotations

from pathlib import Path

import pytest

import dflow

torch = pytest.importorskip("torch")


@pytest.mark.train
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_face_classes_of_machined_parts_are_learned(shared_data: Path, tmp_path: Path) -> None:
    """400 parts, 8,981 faces, labels through the faces' names: nine faces in ten are right on parts never seen."""
    from tests.examples.face_network import train  # needs torch
    from tests.flows.labelled_tasks import encode, gather

    flow = dflow.create_flow(
        name="mfcad",
        tasks=[gather, encode],
        flows_outputdir=str(tmp_path),
        max_workers=2,
        export_visualization=False,
    )
    _, summary, _ = flow.process(inputs={"sources": [str(shared_data / "mfcad")]})
    assert summary["file_count"] == 400
    result = train(summary["flow_data"])
    assert result.sizes == (280, 60, 60)
    assert result.test_accuracy >= 0.9 > result.majority_share, result
    assert result.losses[-1] < result.losses[0] / 5
