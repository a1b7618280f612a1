"""Watching a flow: events, their counters, the page on the Dask dashboard.

``events`` and ``counters`` are pure; ``plugin``, ``routes``, ``page`` and ``preload`` live in the scheduler's process.
"""
