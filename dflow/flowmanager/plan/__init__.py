"""Decided before anything runs, by pure functions over frozen records."""
