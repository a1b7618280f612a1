"""Runs of equal values against a walk over the values."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from dflow.cadaccess.geometry.runs import run_lengths, run_numbers, run_starts


@pytest.mark.parametrize("values", [[], [4], [4, 4, 4], [1, 2, 3], [0, 0, 5, 7, 7, 7, 5, 5], [True, False, False]])
def test_runs_are_those_of_itertools(values: list[int]) -> None:
    groups = [len(list(group)) for _, group in itertools.groupby(values)]
    starts = run_starts(np.array(values))
    assert starts.tolist() == [sum(groups[:i]) for i in range(len(groups))]
    assert run_lengths(starts, len(values)).tolist() == groups
    assert run_numbers(starts, len(values)).tolist() == [i for i, n in enumerate(groups) for _ in range(n)]
