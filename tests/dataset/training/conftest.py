"""A dataset of random parts and its training subset."""

from __future__ import annotations

import pytest

from dflow.dataset import DatasetLoader
from dflow.dataset.training.subset import CADDataset
from tests.dataset.synthetic import Parts, random_parts, write_parts


@pytest.fixture(scope="module")
def parts() -> Parts:
    return random_parts(80, seed=6)


@pytest.fixture(scope="module")
def train(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> CADDataset:
    loader = DatasetLoader(write_parts(parts, tmp_path_factory.mktemp("torch")).dataset)
    loader.split("category")
    return loader.get_dataset("train")
