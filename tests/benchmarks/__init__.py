"""Measurements that print ratios; run as ``python -m tests.benchmarks.<name>``."""
