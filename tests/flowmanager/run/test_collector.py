"""The collector's thresholds while runs go on."""

from __future__ import annotations

import gc

from dflow.flowmanager.run.collector import rare_full_collections


def test_full_collections_are_rare_in_a_run_and_as_before_after_the_last() -> None:
    before = gc.get_threshold()
    first, second = rare_full_collections(), rare_full_collections()
    with first:
        young, middle, old = gc.get_threshold()
        assert (young, middle) == before[:2]
        assert old >= 1000
        second.__enter__()  # a second flow, in another thread, that ends later
    assert gc.get_threshold() == (young, middle, old)
    second.__exit__(None, None, None)
    assert gc.get_threshold() == before


def test_a_user_s_own_higher_threshold_is_kept() -> None:
    before = gc.get_threshold()
    try:
        gc.set_threshold(500, 5, 5000)
        with rare_full_collections():
            assert gc.get_threshold() == (500, 5, 5000)
        assert gc.get_threshold() == (500, 5, 5000)
    finally:
        gc.set_threshold(*before)
