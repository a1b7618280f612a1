"""Runs cover a block once, stay below their bounds, and leave the samples that may be cut alone."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dflow.dataset.merge.plan import RUN_BYTES, RUN_SAMPLES, cut_runs, run_rows


@given(st.lists(st.integers(1, 5000), max_size=300), st.sampled_from([0, 1, 300, 3000, 10**7]))
def test_runs_cover_the_samples_and_hold_what_is_predicted(counts: list[int], row_bytes: int) -> None:
    runs = list(cut_runs(counts, row_bytes))
    assert [k for first, stop in runs for k in range(first, stop)] == list(range(len(counts)))
    for first, stop in runs:
        assert 0 < stop - first <= RUN_SAMPLES
        assert stop - first == 1 or sum(counts[first:stop]) * row_bytes <= RUN_BYTES
        if row_bytes:
            assert sum(counts[first:stop]) <= run_rows(np.array(counts), row_bytes)
    if counts:
        assert runs[0][1] == 1
        assert runs[-1][1] - runs[-1][0] == 1


def test_small_samples_are_read_together() -> None:
    assert len(list(cut_runs([20] * 1000, 3000))) < 150
    assert len(list(cut_runs([1] * 1000, 8))) < 20
