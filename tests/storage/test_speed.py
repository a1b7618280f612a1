"""The store's cost against numpy's own file, as ratios measured in turns in one process."""

from __future__ import annotations

import pytest

from tests.benchmarks.storage import measure, report, sample_arrays


@pytest.mark.slow
def test_writing_and_reading_cost_at_most_twice_numpys_own_file() -> None:
    """The best of three, because the machine may be busy; each is a quartile of hundreds of rounds."""
    found = min((measure(sample_arrays()) for _ in range(3)), key=lambda f: f["write"] / f["savez"])
    print(report("13 arrays", found))
    assert found["write"] / found["savez"] < 2
    assert found["read"] / found["load"] < 2
    assert found["data_bytes"] < found["npz_bytes"] / 3
