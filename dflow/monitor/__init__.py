"""Monitor running flows: events, their counters, the page on the Dask dashboard.

``events`` and ``counters`` are pure; ``plugin``, ``routes``, ``page`` and ``preload`` run in the scheduler's process.
"""
